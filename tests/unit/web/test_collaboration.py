# SPDX-License-Identifier: Apache-2.0
"""Contributions, the queue, branch rules and reviews on their pages and over the API."""

from __future__ import annotations

import pytest

from gallery import Gallery
from plait.collaboration import contributions, jobs
from plait.hub import AddBytes, Repository

from .conftest import Browser

MODEL = "/commons/sentiment"
API = "/api/plait/models/commons/sentiment"


@pytest.fixture
def model(gallery: Gallery) -> Repository:
    found = gallery.hub.repositories.find("model", "commons/sentiment")
    assert found is not None
    return found


def test_contributions_are_listed_and_withdrawn(
    gallery: Gallery, browser: Browser, model: Repository
) -> None:
    page = browser(None).get(f"{MODEL}/contributions").text
    assert "Fine-tune merged" in page
    assert "/withdraw" not in page, "nobody who is not signed in may"
    assert "/withdraw" not in browser("stranger").get(f"{MODEL}/contributions").text
    client = browser("shop-user")  # whose contribution it is
    assert "/contributions/1/withdraw" in client.get(f"{MODEL}/contributions").text
    listed = client.get(f"{API}/contributions").json()
    assert [one["number"] for one in listed["contributions"]] == [1]
    assert browser("stranger").post(f"{MODEL}/contributions/1/withdraw").status_code == 403
    assert browser("stranger").post(f"{MODEL}/contributions/77/withdraw").status_code == 404
    answer = client.post(f"{MODEL}/contributions/1/withdraw", data={"anyway": "yes"})
    assert answer.status_code == 403, "landing whatever the gate says is the maintainers' decision"
    assert client.post(f"{MODEL}/contributions/1/withdraw").status_code == 303
    assert "being withdrawn" in client.get(f"{MODEL}/contributions").text
    job = next(one for one in jobs.recent(gallery.hub) if one.kind == "withdraw")
    assert (job.repository_id, job.payload) == (model.id, {"number": 1, "anyway": False})
    jobs.cancel(gallery.hub, job.id)
    assert client.get("/datasets/commons/files-of-every-kind/contributions").status_code == 404


@pytest.mark.parametrize(
    ("stated", "told"),
    [
        ("{epsilon: 8, delta: 1e-5}", {"epsilon": 8.0, "delta": 1e-5}),  # a text, as YAML reads it
        ("{epsilon: .inf}", None),
        ("{epsilon: -1, delta: .nan}", None),
        (f"{{epsilon: 1{'0' * 400}}}", None),
    ],
)
def test_the_privacy_cost_is_what_the_card_states(
    gallery: Gallery, model: Repository, stated: str, told: object
) -> None:
    card = f"---\nlicense: mit\nprivacy: {stated}\n---\n".encode()
    outcome = gallery.hub.commits.apply(
        gallery.actors["shop"],
        model,
        "main",
        [AddBytes("README.md", card)],
        "A private one",
        create_pr=True,
    )
    assert contributions.stated_privacy(gallery.hub, model, outcome.oid) == told


def test_rules_are_made_shown_and_removed(gallery: Gallery, browser: Browser) -> None:
    address = f"{MODEL}/settings/branches"
    assert browser(None).get(address).status_code == 303
    assert browser("stranger").get(address).status_code == 403
    owner = browser("commons-user")
    form = {
        "pattern": "release/*", "push_who": "named", "push": "role:admin, user:shop-user",
        "merge_who": "writers", "reviews": "2", "contexts": "ci/tests\nci/licence",
    }  # fmt: skip
    assert owner.post(address, data={**form, "reviews": "many"}).status_code == 400
    assert owner.post(address, data={**form, "push": "user:nobody-here"}).status_code == 400
    assert browser("stranger").post(address, data=form).status_code == 403
    assert owner.post(address, data=form).status_code == 303
    page = owner.get(address).text
    assert "ci/licence" in page
    assert "user:shop-user" in page
    rules = owner.get(f"{API}/protection", headers=bearer(gallery, "commons-user")).json()["rules"]
    assert rules == [
        {
            "pattern": "release/*", "push": ["role:admin", "user:shop-user"], "merge": None,
            "reviews": 2, "contexts": ["ci/licence", "ci/tests"],
        }
    ]  # fmt: skip
    assert owner.post(f"{address}/remove", data={"pattern": "release/*"}).status_code == 303
    assert "release/*" not in owner.get(address).text.split("<form")[0]


def test_reviews_and_checks_stand_on_the_pull_request(
    gallery: Gallery, browser: Browser, model: Repository
) -> None:
    head = gallery.hub.git.resolve(model, "refs/pr/2")
    mine = bearer(gallery, "commons-user")
    client = browser(None)
    said = {"state": "failure", "context": "ci/tests", "target_url": "https://ci.example/7"}
    assert client.post(f"{API}/statuses/{head}", json=said).status_code == 401
    refused = client.post(f"{API}/statuses/{head}", json=said, headers=bearer(gallery, "stranger"))
    assert refused.status_code == 403
    assert client.post(f"{API}/statuses/{head}", json=said, headers=mine).status_code == 201
    found = client.get(f"{API}/statuses/{head}").json()
    assert (found["state"], found["total_count"]) == ("failure", 1)
    assert found["statuses"][0]["creator"] == {"login": "commons-user"}
    owner = browser("commons-user")
    stale = {"verdict": "approve", "head": "0" * 40}
    assert owner.post(f"{MODEL}/discussions/2/review", data=stale).status_code == 409
    given = {"verdict": "approve", "head": head, "comment": "Looks right."}
    assert owner.post(f"{MODEL}/discussions/2/review", data=given).status_code == 303
    page = browser(None).get(f"{MODEL}/discussions/2").text
    assert "https://ci.example/7" in page
    assert "commons-user" in page
    assert "Looks right." in page
    needs = client.get(f"{API}/pulls/2/requirements").json()
    assert [one["verdict"] for one in needs["reviews"]] == ["approve"]
    assert (
        browser("press-user")
        .post(f"{MODEL}/discussions/2/review", data={"verdict": "approve"})
        .status_code
        == 403
    ), "their own"


def test_the_queue_is_asked_by_those_who_may_merge(gallery: Gallery, browser: Browser) -> None:
    assert "has not been tried" in browser(None).get(f"{MODEL}/queue").text
    assert browser("stranger").post(f"{MODEL}/queue").status_code == 403
    owner = browser("commons-user")
    assert owner.post(f"{MODEL}/queue").status_code == 303
    state = browser(None).get(f"{API}/queue").json()
    assert state["job"]["kind"] == "queue"
    blind = owner.post(f"{MODEL}/queue", data={"land": "yes"})
    assert blind.status_code == 400, "what lands is what was shown"
    assert "does not say which proposal" in blind.text
    number = state["job"]["id"]
    unproposed = owner.post(f"{MODEL}/queue", data={"land": "yes", "proposal": str(number)})
    assert unproposed.status_code == 409
    assert "proposes no set that could land" in unproposed.text
    elsewhere = owner.post(f"{MODEL}/queue", data={"land": "yes", "proposal": "999999"})
    assert elsewhere.status_code == 404
    jobs.cancel(gallery.hub, state["job"]["id"])
    assert browser("commons-user").get("/datasets/shop/gated/queue").status_code == 404


def bearer(gallery: Gallery, name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {gallery.token(name)}"}
