# SPDX-License-Identifier: Apache-2.0
"""What people press when they build a model together, in a real browser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from browsing import CHROMIUM, open_chromium, serve_gallery, sign_in
from gallery import Gallery
from plait.collaboration import jobs, suggest
from plait.hub import AddBytes

BASE = "/commons/sentiment"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}"),
]
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gallery, str]]:
    with serve_gallery(Path(tmp_path_factory.mktemp("gallery"))) as found:
        yield found


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with open_chromium() as launched:
        yield launched


@pytest.fixture
def page(served: tuple[Gallery, str], chromium: Any) -> Iterator[Any]:
    """A browser in which the user of ``commons`` is signed in."""
    built, url = served
    context = chromium.new_context()
    found = context.new_page()
    sign_in(found, url, built.token("commons-user"))
    yield found
    context.close()


def test_a_contribution_is_withdrawn(served: tuple[Gallery, str], page: Any) -> None:
    built, url = served
    page.goto(f"{url}{BASE}/contributions")
    row = page.get_by_role("row", name="Fine-tune merged").first
    row.locator("summary", has_text="Withdraw").click()
    row.get_by_role("button", name="Withdraw it").click()
    page.wait_for_url(f"{url}{BASE}/contributions?done=withdrawing")
    link = page.get_by_role("row", name="Fine-tune merged").first.get_by_role(
        "link", name="withdrawn"
    )
    job = jobs.get(built.hub, int(str(link.get_attribute("href")).rsplit("/", 1)[1]))
    assert (job.kind, job.state, job.payload["number"]) == ("withdraw", "queued", 1)
    link.click()
    page.get_by_role("button", name="Cancel").click()
    page.wait_for_url(lambda address: "/jobs/" not in address)
    assert jobs.get(built.hub, job.id).state == "cancelled"


def test_a_pull_request_is_reviewed(served: tuple[Gallery, str], page: Any) -> None:
    built, url = served
    number = built.numbers["unsure"]
    page.goto(f"{url}{BASE}/discussions/{number}")
    page.get_by_text("Review this pull request").click()
    page.locator("#review-comment").fill("Read **every** line.")
    page.get_by_role("button", name="Approve").click()
    page.wait_for_url(f"**{BASE}/discussions/{number}*")
    found = page.locator(".reviews li")
    assert "commons-user" in found.inner_text() and "approve" in found.inner_text()
    playwright.expect(page.locator(".comment strong", has_text="every")).to_be_visible()
    head = built.hub.git.resolve(built.model, f"refs/pr/{number}")
    assert head[:10] in found.inner_text()


def test_the_queue_is_started_and_seen(served: tuple[Gallery, str], page: Any) -> None:
    built, url = served
    page.goto(f"{url}{BASE}/discussions")
    page.get_by_role("link", name="Merge queue").first.click()
    assert page.get_by_role("heading", name="Proposed: merge 1 pull request").is_visible()
    page.get_by_role("button", name="Land this set").click()
    playwright.expect(page.locator("progress")).to_be_visible()
    job = next(one for one in jobs.recent(built.hub) if one.kind == "queue")
    assert (job.state, job.payload["land"]) == ("queued", True)
    held = jobs.lease(built.hub, "browser-worker", ["queue"])
    assert held is not None
    jobs.progress(built.hub, held, 0.4, "trying #2 and #3 together")
    playwright.expect(page.get_by_text("trying #2 and #3 together")).to_be_visible(timeout=9000)
    jobs.fail(built.hub, held, "No open pull request changes weights that can be fused.")
    page.goto(f"{url}{BASE}/queue")
    assert page.get_by_role("alert").inner_text().strip().startswith("No open pull request")


def test_a_licence_is_decided(served: tuple[Gallery, str], page: Any) -> None:
    built, url = served
    card = b"---\nlicense: house-rules\n---\n# Mine\n"
    proposed = built.hub.commits.apply(
        built.actors["press"], built.model, "main",
        [AddBytes("README.md", card), AddBytes("extra.txt", b"x\n")], "House rules",
        create_pr=True,
    ).discussion  # fmt: skip
    assert proposed is not None
    page.goto(f"{url}{BASE}/discussions/{proposed.number}")
    assert page.locator("form[action$='/merge']").count() == 0
    page.get_by_label("Your decision's reason").fill("We wrote <to> them.")
    page.locator("#licence button[value=accepted]").click()
    page.wait_for_url(f"**{BASE}/discussions/{proposed.number}*")
    assert page.locator("q", has_text="We wrote <to> them.").is_visible()
    assert page.locator("form[action$='/merge'] button").is_visible()


def test_models_of_a_leaderboard_are_compared(served: tuple[Gallery, str], page: Any) -> None:
    built, url = served
    page.goto(url + built.places["board"])
    for name in ("careful", "guessing"):
        page.get_by_role("checkbox", name=f"Compare commons/{name}", exact=True).check()
    page.get_by_role("button", name="Compare").first.click()
    assert page.get_by_role("table").first.locator("tbody tr").count() == 2
    assert page.locator("svg.chart, .plot svg").first.is_visible()
    assert page.get_by_text("commons/careful − commons/guessing").first.is_visible()
    count = page.locator("h2", has_text="differ").last.locator(".count").inner_text()
    assert int(count) > 20


def test_a_leaderboard_is_sorted_both_ways(served: tuple[Gallery, str], page: Any) -> None:
    built, url = served
    page.goto(url + built.places["board"])
    table = page.get_by_role("table").first

    def models() -> list[str]:
        return [str(cell) for cell in table.locator("tbody th").all_inner_texts()]

    ranked = models()
    assert ranked == [f"commons/{name}" for name in ("careful-too", "careful", "plain", "guessing")]
    table.get_by_role("link", name="Rank").click()
    page.wait_for_url("**sort=rank&descending=yes")
    assert models() == ranked[::-1]
    assert table.get_by_role("columnheader", name="Rank").get_attribute("aria-sort") == "descending"
    table.get_by_role("link", name="Model", exact=True).click()
    page.wait_for_url("**sort=model")
    assert models() == sorted(ranked)
    assert table.get_by_role("columnheader", name="Model").get_attribute("aria-sort") == "ascending"
    table.get_by_role("link", name="Model").first.click()
    page.wait_for_url("**sort=model&descending=yes")
    assert models() == sorted(ranked, reverse=True)


def test_models_are_submitted_to_a_leaderboard(served: tuple[Gallery, str], page: Any) -> None:
    built, url = served
    data = built.hub.repositories.find("dataset", "shop/moods")
    model = built.hub.repositories.find("model", "commons/sentiment")
    assert data is not None and model is not None
    page.goto(url + built.places["board"])
    page.get_by_label("Model (namespace/name)").fill(model.full_name)
    page.get_by_label("Revision").fill("nowhere")
    page.get_by_role("button", name="Score it").click()
    assert "nowhere" in page.get_by_role("alert").inner_text()
    page.get_by_label("Model (namespace/name)").fill(model.full_name)
    page.get_by_label("Revision").fill("refs/pr/1")
    page.get_by_role("button", name="Score it").click()
    page.wait_for_url("**/jobs/*")
    job = jobs.get(built.hub, int(page.url.rsplit("/", 1)[1]))
    assert (job.kind, job.state, job.payload["dataset"]) == ("leaderboard", "queued", data.id)
    oid = built.hub.git.resolve(model, "refs/pr/1")
    assert job.payload["models"] == [{"model": model.id, "oid": oid, "named": "refs/pr/1"}]
    # From outside: the pull request that names one has a button for its author.
    page.goto(url + built.places["submission"])
    page.get_by_role("button", name="Score what it submits").click()
    page.wait_for_url("**/jobs/*")
    other = jobs.get(built.hub, int(page.url.rsplit("/", 1)[1]))
    plain = built.hub.repositories.find("model", "commons/plain")
    assert plain is not None
    assert [one["model"] for one in other.payload["models"]] == [plain.id]
    for one in (job, other):
        jobs.cancel(built.hub, one.id)


def test_a_sample_is_sent_as_a_file(served: tuple[Gallery, str], page: Any, tmp_path: Path) -> None:
    built, url = served
    page.goto(f"{url}/suggest")
    sample = tmp_path / "sample.csv"
    sample.write_text("text,label\nalone,yes\n")
    page.get_by_label("Or a file").set_input_files(sample)
    page.get_by_role("button", name="Rank models and data sets").click()
    assert "20 rows or more" in page.get_by_role("alert").inner_text()
    rows = "".join(f'"Text <{k}>, told",{("no", "yes")[k % 2]}\n' for k in range(24))
    sample.write_text(f"text,label\n{rows}")
    page.get_by_label("Only these models").fill("commons/plain")
    page.get_by_label("Or a file").set_input_files(sample)
    page.get_by_role("button", name="Rank models and data sets").click()
    page.wait_for_url("**/suggest?job=*")
    job = jobs.get(built.hub, int(page.url.rsplit("=", 1)[1]))
    assert (job.kind, job.state, job.payload["models"]) == (
        suggest.KIND, "queued", ["commons/plain"],
    )  # fmt: skip
    kept = json.loads(
        (built.hub.settings.work_dir / f"sample-{job.payload['sample']}.json").read_text()
    )
    assert kept["texts"][3] == "Text <3>, told" and kept["labels"][:2] == ["no", "yes"]
    jobs.cancel(built.hub, job.id)


def test_models_are_measured_on_a_data_set(served: tuple[Gallery, str], page: Any) -> None:
    built, url = served
    page.goto(url + built.places["measured"])
    assert page.get_by_role("table").first.locator("tbody tr").count() == 3
    assert page.locator("svg.chart, figure svg").first.is_visible()
    assert page.get_by_label("Dataset").input_value() == "shop/moods"
    page.get_by_label("Models or revisions").fill("commons/plain commons/careful@main")
    page.get_by_label("Split").fill("gate")
    page.get_by_role("button", name="Measure").click()
    assert "it has: test" in page.get_by_role("alert").inner_text()
    page.get_by_label("Split").fill("test")
    page.get_by_role("button", name="Measure").click()
    page.wait_for_url("**/compare?job=*")
    playwright.expect(page.locator("progress")).to_be_visible()
    job = jobs.get(built.hub, int(page.url.rsplit("=", 1)[1]))
    assert (job.kind, job.state, len(job.payload["models"])) == ("compare", "queued", 2)
    jobs.cancel(built.hub, job.id)
