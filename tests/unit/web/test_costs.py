# SPDX-License-Identifier: Apache-2.0
"""What jobs cost, on an organisation's page and over the API, and orders about them."""

from __future__ import annotations

from gallery import Gallery
from plait.collaboration import budgets, jobs

from .conftest import Browser


def test_members_see_what_their_jobs_cost(gallery: Gallery, browser: Browser) -> None:
    hub = gallery.hub
    repo = hub.repositories.find("model", "commons/sentiment")
    assert repo is not None
    job = jobs.enqueue(hub, "merge", {}, repo=repo.id)
    held = jobs.lease(hub, "w")
    while held is not None and held.job.id != job.id:
        held = jobs.lease(hub, "w")
    assert held is not None
    jobs.account(hub, held, budgets.Cost(12.5, 0.0, 3_000_000))
    jobs.succeed(hub, held, {})
    ann = browser("commons-user")
    page = ann.get("/commons").text
    assert "What jobs cost" in page
    assert "12.5" in page
    for name in (None, "stranger"):
        assert "What jobs cost" not in browser(name).get("/commons").text
    seen = ann.get("/api/plait/costs/commons").json()
    assert seen["cpu_seconds"] >= 12.5
    assert browser("stranger").get("/api/plait/costs/commons").status_code == 404
    assert browser(None).get("/api/plait/costs/commons").status_code == 401
    assert ann.get("/api/plait/costs").status_code in (200, 403)


def test_orders_are_the_administrators(gallery: Gallery, browser: Browser) -> None:
    hub = gallery.hub
    job = jobs.enqueue(hub, "suggest", {}, requested_by=hub.accounts.get_user("commons-user").id)
    root = hub.accounts.create_user("root-of-costs", admin=True)
    admin, other = browser(root.name), browser("stranger")
    for client, name in ((admin, root.name), (other, "stranger")):
        client.headers["Authorization"] = f"Bearer {gallery.token(name)}"
    assert other.put(f"/api/plait/jobs/{job.id}/priority", json={"priority": 7}).status_code == 403
    answer = admin.put(f"/api/plait/jobs/{job.id}/priority", json={"priority": 7})
    assert answer.json()["priority"] == 7
    wrong = admin.put(f"/api/plait/jobs/{job.id}/priority", json={"priority": 700})
    assert wrong.status_code in (400, 422)
    assert other.put("/api/plait/costs/commons/limit", json={"running": 2}).status_code == 403
    assert admin.put("/api/plait/costs/commons/limit", json={"running": 2}).json()["limit"] == 2
    assert "At most 2 run" in admin.get("/commons").text
    assert admin.put("/api/plait/costs/commons/limit", json={}).json()["limit"] is None
    listed = admin.get("/api/plait/jobs?limit=5").json()["jobs"]
    assert (listed[0]["id"], listed[0]["namespace"]) == (job.id, "commons-user")
    assert other.get("/api/plait/jobs").status_code == 403
    page = admin.get("/system/jobs").text
    assert '<a href="/commons-user">commons-user</a>' in page
    jobs.cancel(hub, job.id)
