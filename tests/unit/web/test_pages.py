# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
import io
import re
from html.parser import HTMLParser

import pytest
from fastapi.testclient import TestClient

from furnishing import KEEPER, SYSTEM_ADDRESSES, own_addresses
from gallery import Gallery, weights
from plait.collaboration import jobs
from plait.hub import AddBytes
from plait.hub.people.tokens import SESSION_COOKIE
from plait.web.session import LARGEST_FORM

from .conftest import Browser

BASE = "/commons/sentiment"


class Outline(HTMLParser):
    """Headings, ids, landmarks, and the sizes of tables' rows."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.levels: list[int] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.inline: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if re.fullmatch("h[1-6]", tag):
            self.levels.append(int(tag[1]))
        for name, value in attrs:
            if name == "id" and value:
                self.ids.append(value)
            if name == "style" or name.startswith("on"):
                self.inline.append(f"{tag} {name}")


def test_every_page_opens_in_both_languages(gallery: Gallery, browser: Browser) -> None:
    pages = (
        (None, gallery.addresses()),
        ("commons-user", own_addresses(gallery)),
        (KEEPER, SYSTEM_ADDRESSES),
    )
    for visitor, addresses in pages:
        client = browser(visitor)
        for address in addresses:
            for code in ("en", "zh"):
                answer = client.get(address, headers={"Accept-Language": code})
                assert answer.status_code == (404 if "nobody" in address else 200), address
                assert f'<html lang="{"zh-Hans" if code == "zh" else "en"}">' in answer.text


def test_pages_have_one_main_heading_in_order_and_nothing_inline(
    gallery: Gallery, browser: Browser
) -> None:
    client = browser("commons-user")
    for address in (*gallery.addresses(), *own_addresses(gallery)):
        outline = Outline(client.get(address).text)
        assert outline.levels.count(1) == 1, address
        steps = zip(outline.levels, outline.levels[1:], strict=False)
        assert all(after <= before + 1 for before, after in steps), (address, outline.levels)
        assert len(outline.ids) == len(set(outline.ids)), address
        assert outline.inline == [], address
        assert outline.tags.count("main") == 1 and "style" not in outline.tags


def test_every_page_carries_the_security_headers(gallery: Gallery, browser: Browser) -> None:
    client = browser(None)
    for address in (*gallery.addresses(), "/static/plait.css", "/logout"):
        headers = client.get(address).headers
        assert "unsafe" not in headers["content-security-policy"], address
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"


def test_what_a_page_shows_is_not_kept_for_others(browser: Browser) -> None:
    headers = browser(None).get(BASE).headers
    assert "private" in headers["cache-control"] and "Cookie" in headers["vary"]


def test_strangers_markup_does_not_act(gallery: Gallery, browser: Browser) -> None:
    client = browser(None)
    for address in gallery.addresses():
        html = client.get(address).text
        assert "<script>alert" not in html, address
        assert not re.search(r"<[^>]*\son(error|click)=", html), address
        assert 'href="javascript:' not in html, address
        assert 'src="https:' not in html, address


@pytest.mark.parametrize("visitor", [None, "shop-user", "stranger"])
def test_a_private_repository_does_not_exist_for_others(
    gallery: Gallery, browser: Browser, visitor: str | None
) -> None:
    client = browser(visitor)
    head = gallery.hub.repositories.find("dataset", "press/reviews")
    assert head is not None
    oid = gallery.hub.git.head(head)
    for path in (
        "", "/tree/main", "/blob/main/README.md", "/commits/main", f"/commit/{oid}",
        "/discussions", "/discussions/1", "/discussions/new", "/lineage",
    ):  # fmt: skip
        hidden = client.get(f"/datasets/press/reviews{path}")
        absent = client.get(f"/datasets/press/absent{path}")
        assert hidden.status_code == absent.status_code == 404, path
        assert hidden.text.replace("reviews", "") == absent.text.replace("absent", ""), path
    for address in ("/", "/datasets", "/press", "/?search=reviews", BASE):
        assert 'href="/datasets/press/reviews"' not in client.get(address).text, address


def test_its_owner_sees_it(browser: Browser) -> None:
    client = browser("press-user")
    assert client.get("/datasets/press/reviews").status_code == 200
    assert 'href="/datasets/press/reviews"' in client.get("/press").text
    assert 'href="/datasets/press/reviews"' in client.get(BASE).text


def test_a_job_of_an_unreadable_repository_does_not_exist(
    gallery: Gallery, browser: Browser
) -> None:
    secret = gallery.hub.repositories.find("dataset", "press/reviews")
    assert secret is not None
    job = jobs.enqueue(gallery.hub, "merge", {}, repo=secret.id)
    for path in (f"/jobs/{job.id}", f"/jobs/{job.id}/state"):
        assert browser("shop-user").get(path).status_code == 404
        assert browser("press-user").get(path).status_code == 200
    assert browser("shop-user").post(f"/jobs/{job.id}/cancel").status_code == 404
    jobs.cancel(gallery.hub, job.id)


def test_signing_in_and_out(gallery: Gallery, browser: Browser) -> None:
    client = browser(None)
    wrong = client.post("/login", data={"token": "plait_wrong"})
    assert wrong.status_code == 401 and "unknown, expired or revoked" in wrong.text
    right = client.post("/login", data={"token": gallery.token("shop-user"), "next": BASE})
    assert right.status_code == 303 and right.headers["location"] == BASE
    cookie = right.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=lax" in cookie
    assert "shop-user" in client.get("/").text
    kept = client.cookies[SESSION_COOKIE]
    assert client.post("/logout").status_code == 303
    client.cookies.set(SESSION_COOKIE, kept)
    assert "shop-user" not in client.get("/login").text


def test_a_session_ends_with_its_token(gallery: Gallery, browser: Browser) -> None:
    client = browser(None)
    plain = gallery.token("shop-user")
    client.post("/login", data={"token": plain})
    found = gallery.hub.tokens.authenticate(plain)
    assert found is not None
    gallery.hub.tokens.revoke(found[1].id)
    answer = client.get(f"{BASE}/discussions/new")
    assert answer.status_code == 303 and answer.headers["location"].startswith("/login?next=")


def test_forms_of_other_sites_are_refused(gallery: Gallery, browser: Browser) -> None:
    client = browser("commons-user")
    for path in (
        "/login", "/logout", f"{BASE}/discussions/new",
        f"{BASE}/discussions/{gallery.numbers['waiting']}/comment",
        f"{BASE}/discussions/{gallery.numbers['waiting']}/status",
        f"{BASE}/discussions/{gallery.numbers['waiting']}/merge",
        f"/jobs/{gallery.jobs['running']}/cancel",
    ):  # fmt: skip
        for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.test"}):
            answer = client.post(path, data={"comment": "x", "status": "closed"}, headers=headers)
            assert answer.status_code == 403, path
            assert "another site" in answer.text


def test_a_form_is_bounded_and_must_be_one(browser: Browser) -> None:
    client = browser("commons-user")
    large = client.post(f"{BASE}/discussions/new", data={"title": "x" * (LARGEST_FORM + 1)})
    assert large.status_code == 413
    other = client.post(f"{BASE}/discussions/new", json={"title": "x"})
    assert other.status_code == 400


def test_commenting_closing_and_opening(gallery: Gallery, browser: Browser) -> None:
    address = f"{BASE}/discussions/{gallery.numbers['waiting']}"
    assert browser(None).post(f"{address}/comment", data={"comment": "x"}).status_code == 401
    stranger = browser("stranger")
    answer = stranger.post(f"{address}/comment", data={"comment": "**Well** done"})
    assert answer.status_code == 303 and "#event-" in answer.headers["location"]
    assert "<strong>Well</strong> done" in stranger.get(address).text
    assert stranger.post(f"{address}/status", data={"status": "closed"}).status_code == 403
    owner = browser("commons-user")
    owner.post(f"{address}/status", data={"status": "closed"})
    assert "Closed without merging" in owner.get(address).text
    owner.post(f"{address}/status", data={"status": "open"})
    assert "Ready to merge" in owner.get(address).text
    assert owner.post(f"{address}/comment", data={"comment": " "}).status_code == 400


def test_starting_a_discussion(browser: Browser) -> None:
    client = browser("stranger")
    made = client.post(
        f"{BASE}/discussions/new", data={"title": "A question", "description": "Which *labels*?"}
    )
    assert made.status_code == 303
    page = client.get(made.headers["location"]).text
    assert "A question" in page and "<em>labels</em>" in page


def shown(client: TestClient, gallery: Gallery, what: str) -> str:
    return client.get(f"{BASE}/discussions/{gallery.numbers[what]}").text


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("merged", ("Passes", "75.0", "81.0", "+6.0 points on average", "Landed as")),
        ("unsure", ("Not merged: not enough data", "main is as before", "Merge again")),
        ("regresses", ("Not merged: it regresses", "main is as before", "Merge again")),
        ("waiting", ("Ready to merge", "Not judged yet", "Merge</button>")),
        ("running", ("Merging", "looking for the best fusion", "Cancel the job")),
        ("failed", ("The merge did not finish", "has a NaN in encoder.weight")),
        ("text", ("Ready to merge", "merges at once", "Other")),
        ("draft", ("Draft", "Mark as ready")),
    ],
)
def test_a_pull_request_says_how_it_stands_and_what_to_press(
    gallery: Gallery, browser: Browser, what: str, words: tuple[str, ...]
) -> None:
    page = re.sub(r"\s+", " ", shown(browser("press-user"), gallery, what))
    owner = re.sub(r"\s+", " ", shown(browser("commons-user"), gallery, what))
    for word in words:
        assert word in owner or word in page, word


def test_only_those_who_may_merge_see_the_button(gallery: Gallery, browser: Browser) -> None:
    for visitor, sees in ((None, False), ("stranger", False), ("commons-user", True)):
        page = shown(browser(visitor), gallery, "waiting")
        assert (f"{gallery.numbers['waiting']}/merge" in page) is sees, visitor
    address = f"{BASE}/discussions/{gallery.numbers['waiting']}/merge"
    assert browser("stranger").post(address).status_code == 403
    assert browser(None).post(address).status_code in (401, 403)


def test_a_text_change_lands_at_once(gallery: Gallery, browser: Browser) -> None:
    proposed = gallery.hub.commits.apply(
        gallery.actors["press"], gallery.model, "main",
        [AddBytes("docs/more.txt", b"more\n")], "Say more", create_pr=True,
    ).discussion  # fmt: skip
    assert proposed is not None
    client = browser("commons-user")
    answer = client.post(f"{BASE}/discussions/{proposed.number}/merge", data={})
    assert answer.status_code == 303
    assert "Landed as" in client.get(answer.headers["location"]).text
    assert client.get(f"{BASE}/blob/main/docs/more.txt").status_code == 200


def test_scores_can_be_taken_away(gallery: Gallery, browser: Browser) -> None:
    address = f"{BASE}/discussions/{gallery.numbers['merged']}"
    table = list(csv.DictReader(io.StringIO(browser(None).get(f"{address}/scores.csv").text)))
    assert len(table) == 12
    found = next(r for r in table if (r["task"], r["model"]) == ("shop", "candidate"))
    assert float(found["score"]) == pytest.approx(0.82) and found["verdict"] == "passes"
    assert browser(None).get(f"{address}/report.json").json()["verdict"] == "passes"
    none = browser(None).get(f"{BASE}/discussions/{gallery.numbers['waiting']}/scores.csv")
    assert none.status_code == 404


def test_nobody_can_post_a_verdict(gallery: Gallery, browser: Browser) -> None:
    discussion = gallery.hub.discussions.get(gallery.model, gallery.numbers["waiting"])
    gallery.hub.discussions.add_comment(
        gallery.actors["stranger"],
        discussion,
        "fine",
        data={"kind": "verdict", "verdict": "passes"},
    )
    assert "verdict-chip" not in shown(browser(None), gallery, "waiting")


def test_a_running_job_can_be_followed_with_and_without_script(
    gallery: Gallery, browser: Browser
) -> None:
    number = gallery.jobs["running"]
    page = browser(None).get(f"/jobs/{number}").text
    assert '<meta http-equiv="refresh"' in page and "Reading &lt;models&gt;" in page
    state = browser(None).get(f"/jobs/{number}/state").json()
    assert (state["percent"], state["live"]) == (42, True)
    assert state["lines"] == ["Reading <models>", "Searching"]
    again = browser(None).get(f"/jobs/{number}/state?after={state['last']}").json()
    assert again["lines"] == [] and again["last"] == state["last"]
    assert browser("stranger").post(f"/jobs/{number}/cancel").status_code == 403


def test_files_are_shown_as_their_kind_allows(gallery: Gallery, browser: Browser) -> None:
    client = browser(None)
    tensors = client.get(f"{BASE}/blob/main/model.safetensors").text
    assert "classifier.weight" in tensors and "2 × 2" in tensors and "SHA-256" in tensors
    source = client.get(f"{BASE}/blob/main/README.md?plain=1").text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in source and 'id="L1"' in source
    assert "<img src=" in client.get(f"{BASE}/blob/main/docs/picture.png").text
    assert client.get(f"{BASE}/blob/main/absent").status_code == 404
    assert client.get(f"{BASE}/tree/absent").status_code == 404
    assert client.get(f"{BASE}/blob/main/docs").headers["location"].endswith("/tree/main/docs")
    pull = client.get(f"{BASE}/tree/refs%2Fpr%2F{gallery.numbers['waiting']}/docs")
    assert pull.status_code == 200 and "labels.txt" in pull.text


def test_branches_with_slashes_can_be_browsed(gallery: Gallery, browser: Browser) -> None:
    gallery.hub.references.create_branch(gallery.actors["commons"], gallery.model, "a/b")
    client = browser(None)
    for written in ("a/b", "a%2Fb"):
        assert "labels.txt" in client.get(f"{BASE}/tree/{written}/docs").text


def test_lists_are_filtered(browser: Browser) -> None:
    client = browser(None)
    assert "commons/" in client.get("/models?search=senti").text
    assert "commons/" in client.get("/?filter=sentiment").text
    assert 'href="/commons/sentiment"' not in client.get("/?filter=other").text
    assert 'href="/commons/sentiment"' not in client.get("/datasets").text
    assert 'href="/datasets/shop/reviews"' in client.get("/datasets?author=shop").text


def test_lists_are_filtered_by_domain(gallery: Gallery, browser: Browser) -> None:
    hub, owner = gallery.hub, gallery.actors["commons"]
    for name, head in (
        ("clinic", "tags: [domain:medicine]"),
        ("court", "tags: [domain:law]"),
    ):
        repo = hub.repositories.create(owner, "model", f"commons/{name}")
        card = AddBytes("README.md", f"---\n{head}\n---\n# A model\n".encode())
        hub.commits.apply(owner, repo, "main", [card], "Card")
    client = browser(None)

    def listed(query: str) -> set[str]:
        return {one["id"] for one in client.get(f"/api/models?{query}").json()}

    assert listed("filter=domain:medicine") == {"commons/clinic"}
    assert listed("filter=domain:medicine&filter=domain:law") == set()
    assert listed("filter=domain:none") == set()
    page = client.get("/models?domain=medicine").text
    assert "/commons/clinic" in page and "/commons/court" not in page
    whole = client.get("/models").text
    assert "/commons/court" in whole
    assert "domain=medicine" in whole and "domain=law" in whole, "the facets offer both"


def test_the_language_of_a_link_is_kept(browser: Browser) -> None:
    client = browser(None)
    client.get("/?lang=zh")
    assert "模型" in client.get("/models").text


@pytest.mark.parametrize(
    "address",
    ["/jobs/x", "/jobs/0", f"/jobs/{2**70}", f"{BASE}/discussions/{2**70}",
     f"{BASE}/discussions/-1", f"{BASE}/discussions/1%00", f"{BASE}/blob/main/..%2F..%2Fetc",
     f"{BASE}/blob/main/a%00b",
     f"{BASE}/commit/zz", "/a/b/c/d/e", "/static/../app.py", "/static/nothing.css",
     f"{BASE}/tree/", "/datasets/shop"],
)  # fmt: skip
def test_odd_addresses_are_answered_with_a_page(browser: Browser, address: str) -> None:
    answer = browser(None).get(address, headers={"Accept": "text/html"})
    assert answer.status_code in (400, 404), answer.status_code
    assert "<h1>" in answer.text


def test_the_api_keeps_its_own_answers(browser: Browser) -> None:
    client = browser(None)
    assert "commons/sentiment" in {one["id"] for one in client.get("/api/models").json()}
    assert client.get("/api/models/no/body").headers["content-type"].startswith("application/json")
    raw = client.get(f"{BASE}/resolve/main/docs/labels.txt")
    assert raw.text == "negative\npositive\n"
    assert client.get("/nothing/at/all/here").headers["content-type"] == "application/json"


def test_styles_may_be_kept_for_ever_under_their_version(browser: Browser) -> None:
    client = browser(None)
    link = re.search(r'href="(/static/plait\.css\?v=\w+)"', client.get("/").text)
    assert link is not None
    kept = client.get(link[1])
    assert "immutable" in kept.headers["cache-control"]
    again = client.get(link[1], headers={"If-None-Match": kept.headers["etag"]})
    assert again.status_code == 304
    assert client.get("/static/plait.css").headers["cache-control"] == "no-cache"


def test_a_refused_form_leads_back_to_its_page(gallery: Gallery, browser: Browser) -> None:
    address = f"{BASE}/discussions/{gallery.numbers['draft']}"
    client = browser("commons-user")
    refused = client.post(f"{address}/merge", headers={"Referer": f"http://hub.test{address}"})
    assert refused.status_code == 400 and "is a draft" in refused.text
    assert f'href="{address}">Back</a>' in refused.text
    elsewhere = client.post(f"{address}/merge", headers={"Referer": "https://evil.test/x"})
    assert "Back</a>" not in elsewhere.text


def test_programs_may_ask_for_the_head_of_a_page(browser: Browser) -> None:
    answer = browser(None).head(BASE)
    assert answer.status_code == 200 and answer.text == ""


def test_an_earlier_merges_numbers_are_not_taken_for_the_running_ones(
    gallery: Gallery, browser: Browser
) -> None:
    discussion = gallery.hub.discussions.get(gallery.model, gallery.numbers["unsure"])
    job = jobs.enqueue(gallery.hub, "merge", {}, repo=gallery.model.id, discussion=discussion.id)
    try:
        page = shown(browser(None), gallery, "unsure")
        assert "banner-score" not in page and "an earlier merge of this pull request" in page
        assert re.search(r'<section class="banner running"', page)
    finally:
        jobs.cancel(gallery.hub, job.id)
    page = shown(browser(None), gallery, "unsure")
    assert "The merge was cancelled" in page


def test_weights_that_no_rule_judges_are_not_promised_a_verdict(
    gallery: Gallery, browser: Browser
) -> None:
    plain = gallery.hub.repositories.create(gallery.actors["shop"], "model", "shop/plain")
    proposed = gallery.hub.commits.apply(
        gallery.actors["shop"], plain, "main",
        [AddBytes("model.safetensors", weights(1))], "First weights", create_pr=True,
    ).discussion  # fmt: skip
    assert proposed is not None
    page = browser("shop-user").get(f"/shop/plain/discussions/{proposed.number}").text
    assert "nothing here is fused or judged" in page and "Not judged yet" not in page
