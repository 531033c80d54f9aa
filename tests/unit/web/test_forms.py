# SPDX-License-Identifier: Apache-2.0
"""What can be done in the browser: each form as those who may, and as those who may not."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from httpx import Response

from furnishing import KEEPER, SYSTEM_ADDRESSES, own_addresses
from gallery import Gallery
from plait.errors import TooManyRequests
from plait.hub import Repository
from plait.hub.database import now

from .conftest import Browser

FILES = "/datasets/commons/files-of-every-kind"
GATED = "/datasets/shop/gated"


def record(gallery: Gallery, kind: str, name: str) -> Repository:
    found = gallery.hub.repositories.find(kind, name)
    assert found is not None
    return found


def read(gallery: Gallery, path: str, revision: str = "main") -> bytes:
    repo = record(gallery, "dataset", "commons/files-of-every-kind")
    return gallery.hub.git.read(repo, gallery.hub.git.resolve(repo, revision), path)


def sent(client: TestClient, address: str, **fields: str) -> Response:
    answer = client.post(address, data=fields)
    assert answer.status_code == 303, (answer.status_code, re.sub(r"\s+", " ", answer.text)[:2500])
    return answer


# -- files ----------------------------------------------------------------------------------------


def test_a_file_is_written_edited_renamed_and_deleted(gallery: Gallery, browser: Browser) -> None:
    client = browser("commons-user")
    form = client.get(f"{FILES}/new/main/made").text
    parent = re.search(r'name="parent" value="([0-9a-f]{40})"', form)
    assert parent is not None
    answer = sent(
        client, f"{FILES}/new/main/made", name="in/here.txt", content="one\r\ntwo\r\n",
        parent=parent[1], where="commit",
    )  # fmt: skip
    assert f"{FILES}/commit/" in answer.headers["location"]
    assert read(gallery, "made/in/here.txt") == b"one\ntwo\n"
    again = client.post(f"{FILES}/new/main/made", data={"name": "in/here.txt", "content": "x"})
    assert again.status_code == 400 and "already" in again.text
    assert "one\ntwo" in client.get(f"{FILES}/edit/main/made/in/here.txt").text
    sent(
        client, f"{FILES}/edit/main/made/in/here.txt", name="made/there.txt", content="three",
        summary="Move it", where="commit",
    )  # fmt: skip
    assert read(gallery, "made/there.txt") == b"three"
    assert client.get(f"{FILES}/blob/main/made/in/here.txt").status_code == 404
    sent(client, f"{FILES}/delete/main/made/there.txt", where="commit")
    assert client.get(f"{FILES}/blob/main/made/there.txt").status_code == 404


def test_an_edit_of_what_has_changed_meanwhile_is_kept_and_said(
    gallery: Gallery, browser: Browser
) -> None:
    client = browser("commons-user")
    log = gallery.hub.git.log(record(gallery, "dataset", "commons/files-of-every-kind"),
                              gallery.places["commit"], 2)  # fmt: skip
    answer = client.post(
        f"{FILES}/edit/main/more.txt",
        data={"name": "more.txt", "content": "mine &amp; mine", "parent": log[1].oid},
    )
    assert answer.status_code == 412
    assert "mine &amp;amp; mine" in answer.text and 'role="alert"' in answer.text


def test_a_card_that_cannot_be_read_is_not_saved(gallery: Gallery, browser: Browser) -> None:
    client = browser("commons-user")
    form = {"name": "README.md", "content": "---\na: [\n---\n", "where": "commit"}
    answer = client.post(f"{FILES}/edit/main/README.md", data=form)
    assert answer.status_code == 400 and "YAML" in answer.text


def test_a_stranger_may_propose_and_not_commit(gallery: Gallery, browser: Browser) -> None:
    client = browser("stranger")
    form = client.get(f"{FILES}/edit/main/more.txt").text
    assert 'value="commit"' not in form and 'value="propose"' in form
    refused = client.post(
        f"{FILES}/edit/main/more.txt", data={"name": "more.txt", "content": "x", "where": "commit"}
    )
    assert refused.status_code == 403 and read(gallery, "more.txt") == b"one\ntwo\n"
    made = sent(client, f"{FILES}/edit/main/more.txt", content="better\n", where="propose")
    page = client.get(made.headers["location"])
    assert page.status_code == 200 and "better" in page.text
    assert read(gallery, "more.txt") == b"one\ntwo\n"


def test_files_are_uploaded_as_the_client_would(gallery: Gallery, browser: Browser) -> None:
    client = browser("commons-user")
    files = [
        ("files", ("note.txt", b"hello\n", "text/plain")),
        ("files", ("C:\\pictures\\dot.png", b"\x89PNG\x00\xff", "image/png")),
    ]
    answer = client.post(f"{FILES}/upload/main/up", data={"where": "commit"}, files=files)
    assert answer.status_code == 303
    assert read(gallery, "up/note.txt") == b"hello\n"
    assert read(gallery, "up/dot.png").startswith(b"version https://git-lfs")
    empty = client.post(f"{FILES}/upload/main/up", data={"where": "commit"}, files=[])
    assert empty.status_code == 400
    wild = [("files", ("..", b"x", "text/plain"))]
    assert client.post(f"{FILES}/upload/main", data={}, files=wild).status_code == 400
    refused = browser("stranger").post(
        f"{FILES}/upload/main", data={"where": "commit"}, files=files
    )
    assert refused.status_code == 403


def test_only_branches_are_edited(browser: Browser) -> None:
    client = browser("commons-user")
    assert client.get(f"{FILES}/edit/v1.0/more.txt").status_code == 400
    assert client.get(f"{FILES}/edit/main/data/rows.parquet").status_code in (400, 404)
    assert "/edit/" not in client.get(f"{FILES}/blob/v1.0/more.txt").text


def test_branches_and_tags_are_made_and_deleted(browser: Browser) -> None:
    client = browser("commons-user")
    sent(client, f"{FILES}/refs/branch", branch="try/it", **{"from": "v1.0"})
    sent(client, f"{FILES}/refs/tag", tag="v2", at="main", message="Second")
    page = client.get(f"{FILES}/refs").text
    assert "try/it" in page and ">v2<" in page
    twice = client.post(f"{FILES}/refs/branch", data={"branch": "try/it"})
    assert twice.status_code == 409 and "try/it" in twice.text
    assert client.post(f"{FILES}/refs/branch/delete", data={"name": "main"}).status_code == 400
    sent(client, f"{FILES}/refs/branch/delete", name="try/it")
    sent(client, f"{FILES}/refs/tag/delete", name="v2")
    assert browser("stranger").post(
        f"{FILES}/refs/branch", data={"branch": "x"}
    ).status_code == 403  # fmt: skip


def test_revisions_are_compared(browser: Browser) -> None:
    client = browser(None)
    page = client.get(f"{FILES}/compare?base=feature/long-name&head=main")
    assert page.status_code == 200
    unknown = client.get(f"{FILES}/compare?base=main&head=<b>none</b>")
    assert unknown.status_code == 404 and "<b>none" not in unknown.text


# -- repositories ---------------------------------------------------------------------------------


def test_a_repository_is_made_configured_moved_and_deleted(
    gallery: Gallery, browser: Browser
) -> None:
    client = browser("commons-user")
    made = sent(
        client, "/new", type="model", owner="commons", name="made-here", license="mit",
        visibility="private",
    )  # fmt: skip
    assert made.headers["location"] == "/commons/made-here?done=created"
    assert "mit" in client.get("/commons/made-here").text
    taken = client.post("/new", data={"type": "model", "owner": "commons", "name": "made-here"})
    assert taken.status_code == 409
    assert client.post(
        "/new", data={"owner": "shop", "name": "x", "type": "model"}
    ).status_code in (403,)
    assert browser("stranger").get("/commons/made-here").status_code == 404
    sent(client, "/commons/made-here/settings/visibility", visibility="public")
    sent(client, "/commons/made-here/settings/gate", gate="auto")
    assert record(gallery, "model", "commons/made-here").gated == "auto"
    assert client.post("/commons/made-here/settings/gate", data={"gate": "x"}).status_code == 400
    moved = sent(client, "/commons/made-here/settings/move", owner="commons-user", name="elsewhere")
    assert moved.headers["location"].startswith("/commons-user/elsewhere/settings")
    led = browser("stranger").get("/commons/made-here/tree/main?x=1")
    assert led.status_code == 307
    assert led.headers["location"] == "/commons-user/elsewhere/tree/main?x=1"
    wrong = client.post("/commons-user/elsewhere/settings/delete", data={"name": "elsewhere"})
    assert wrong.status_code == 400
    sent(client, "/commons-user/elsewhere/settings/delete", name="commons-user/elsewhere")
    assert client.get("/commons-user/elsewhere").status_code == 404


@pytest.mark.parametrize("visitor", ["stranger", "press-user"])
def test_settings_are_for_those_who_run_the_repository(browser: Browser, visitor: str) -> None:
    client = browser(visitor)
    assert client.get(f"{FILES}/settings").status_code == 403
    for name in ("visibility", "gate", "move", "squash", "delete", "close"):
        form = {"name": "commons/files-of-every-kind", "visibility": "private"}
        assert client.post(f"{FILES}/settings/{name}", data=form).status_code == 403, name


def test_a_repository_is_liked(gallery: Gallery, browser: Browser) -> None:
    client = browser("stranger")
    sent(client, f"{FILES}/like", like="yes")
    assert 'aria-pressed="true"' in client.get(FILES).text
    assert "stranger" in client.get(f"{FILES}/likers").text
    assert 'href="/datasets/commons/files-of-every-kind"' in client.get(
        "/stranger?tab=likes"
    ).text  # fmt: skip
    sent(client, f"{FILES}/like", like="no")
    assert 'aria-pressed="false"' in client.get(FILES).text


def test_a_gate_is_closed_until_its_owner_opens_it(gallery: Gallery, browser: Browser) -> None:
    visitor, owner = browser("press-user"), browser("shop-user")
    closed = visitor.get(f"{GATED}/blob/main/secret.txt")
    assert closed.status_code == 403 and "behind the gate" not in closed.text
    assert f'href="{GATED}/access"' in closed.text
    assert "Reviews behind a gate" in visitor.get(GATED).text
    repo = record(gallery, "dataset", "shop/gated")
    for path in (f"/commit/{gallery.hub.git.head(repo)}", "/compare?head=main",
                 "/edit/main/secret.txt", "/new/main"):  # fmt: skip
        assert visitor.get(f"{GATED}{path}").status_code == 403, path
    form = visitor.get(f"{GATED}/access").text
    assert "<strong>Keep them to yourself.</strong>" in form and "Affiliation" in form
    missing = visitor.post(f"{GATED}/access", data={"answer-0": "A paper"})
    assert missing.status_code == 400 and "A paper" in missing.text
    answers = {"answer-0": "A paper", "answer-1": "Research", "answer-2": "2026-01-01",
               "answer-3": "yes"}  # fmt: skip
    sent(visitor, f"{GATED}/access", **answers)
    assert visitor.get(f"{GATED}/settings/access").status_code == 403
    asked = owner.get(f"{GATED}/settings/access").text
    assert "press-user" in asked and "A paper" in asked
    request = re.search(r'press-user.*?name="request" value="([0-9a-f]{24})"', asked, re.S)
    assert request is not None
    sent(owner, f"{GATED}/settings/access", request=request[1], status="accepted")
    assert "behind the gate" in visitor.get(f"{GATED}/blob/main/secret.txt").text


# -- people ---------------------------------------------------------------------------------------


def test_a_token_is_shown_once_and_revoked(gallery: Gallery, browser: Browser) -> None:
    client = browser("press-user")
    answer = client.post(
        "/settings/tokens/new",
        data={"name": "mine", "scope": "fine-grained", "days": "7",
              "place-1": "datasets/press/reviews", "permission-1": "write",
              "place-2": "press", "permission-2": "read"},
    )  # fmt: skip
    assert answer.status_code == 200 and answer.headers["cache-control"] == "no-store"
    secret = re.search(r"plait_[0-9A-Za-z]{49}", answer.text)
    assert secret is not None and "dataset press/reviews" in answer.text
    found = gallery.hub.tokens.authenticate(secret[0])
    assert found is not None and found[1].scope == "fine-grained"
    assert found[1].expires_at is not None
    assert found[1].expires_at - now() < timedelta(days=7, minutes=1)
    assert secret[0] not in client.get("/settings/tokens").text
    hidden = client.post(
        "/settings/tokens/new",
        data={
            "name": "x",
            "scope": "fine-grained",
            "days": "7",
            "place-1": "nobody/nothing",
            "permission-1": "read",
        },
    )
    assert hidden.status_code == 404 and "nothing" in hidden.text
    other = browser("stranger").post("/settings/tokens/revoke", data={"token": str(found[1].id)})
    assert other.status_code == 404
    sent(client, "/settings/tokens/revoke", token=str(found[1].id))
    assert gallery.hub.tokens.authenticate(secret[0]) is None


def test_a_browser_signed_in_with_a_reading_token_changes_nothing(
    gallery: Gallery, browser: Browser
) -> None:
    client = browser(None)
    answer = client.post("/login", data={"token": gallery.token("press-user", "read")})
    assert answer.status_code == 303
    assert client.get("/settings/tokens").status_code == 403
    made = client.post("/settings/tokens/new", data={"name": "x", "scope": "write", "days": "7"})
    assert made.status_code == 403 and "plait_" not in made.text
    assert client.post(f"{FILES}/like", data={"like": "yes"}).status_code == 403


def test_one_invites_and_the_other_chooses_a_password(gallery: Gallery, browser: Browser) -> None:
    keeper, guest = browser(KEEPER), browser(None)
    answer = keeper.post("/system/users", data={"do": "create", "user": "guest"})
    assert answer.status_code == 200 and answer.headers["cache-control"] == "no-store"
    secret = re.search(r"/setup#([\w-]{20,})", answer.text)
    assert secret is not None
    form = {"secret": secret[1], "password": "brass kettle over pine", "again": "other"}
    differs = guest.post("/setup", data=form)
    assert differs.status_code == 400
    weak = guest.post("/setup", data={**form, "password": "short", "again": "short"})
    assert weak.status_code == 400
    form["again"] = form["password"]
    welcome = sent(guest, "/setup", **form)
    assert welcome.headers["location"] == "/?done=welcome"
    assert browser(None).post("/setup", data=form).status_code == 401
    assert "guest" in guest.get("/settings/sessions").text or guest.get("/guest").status_code == 200
    wrong = browser(None).post("/login", data={"name": "guest", "password": "no"})
    assert wrong.status_code == 401 and "aria-invalid" in wrong.text
    other = browser(None)
    sent(other, "/login", name="guest", password=form["password"])
    new = "a quite different sentence"
    bad = guest.post("/settings/password", data={"old": "x", "password": new, "again": new})
    assert bad.status_code == 401
    sent(guest, "/settings/password", old=form["password"], password=new, again=new)
    assert guest.get("/settings/password").status_code == 200
    assert other.get("/settings/password").status_code == 303
    sent(keeper, "/system/users", user="guest", do="disable")
    assert guest.get("/settings/password").status_code == 303


def test_sessions_are_ended(browser: Browser) -> None:
    first, second = browser("stranger"), browser("stranger")
    names = re.findall(
        r'name="session" value="([0-9a-f]{16})"', first.get("/settings/sessions").text
    )
    assert names
    sent(first, "/settings/sessions", session=names[0])
    sent(first, "/settings/sessions", session="all")
    assert second.get("/settings/sessions").status_code == 303


def test_an_organisation_is_made_and_run(gallery: Gallery, browser: Browser) -> None:
    client = browser("press-user")
    sent(client, "/organizations/new", name="newsroom", fullname="The News")
    base = "/organizations/newsroom/settings"
    sent(client, f"{base}/members", user="stranger", role="read")
    assert (
        client.post(f"{base}/members", data={"user": "nobody", "role": "read"}).status_code == 404
    )
    last = client.post(f"{base}/members", data={"user": "press-user", "role": "read"})
    assert last.status_code == 409 and "last admin" in last.text
    sent(client, f"{base}/profile", fullname="News", about="# About <script>x</script>")
    page = browser(None).get("/newsroom").text
    assert "About" in page and "<script>x" not in page
    sent(client, f"{base}/teams", name="desk", description="")
    sent(client, f"{base}/teams/desk", do="member", user="stranger", role="write")
    assert "stranger" in client.get(f"{base}/teams/desk").text
    sent(client, f"{base}/teams/desk", do="delete")
    assert "member.add" in client.get(f"{base}/audit").text
    visitor = browser("stranger")
    for page_name in ("profile", "members", "teams", "audit"):
        assert visitor.get(f"{base}/{page_name}").status_code == 404, page_name
    sent(visitor, "/settings/organizations", organization="newsroom")
    assert client.post(f"{base}/delete", data={"name": "x"}).status_code == 400
    sent(client, f"{base}/delete", name="newsroom")
    assert client.get("/newsroom").status_code == 404


def test_people_follow_each_other(browser: Browser) -> None:
    client = browser("stranger")
    sent(client, "/shop/follow", follow="yes")
    assert "stranger" in client.get("/shop?tab=followers").text
    sent(client, "/shop/follow", follow="no")
    assert "stranger" not in browser(None).get("/shop?tab=followers").text


# -- collections, webhooks, discussions -----------------------------------------------------------


def test_a_collection_is_made_filled_ordered_and_deleted(browser: Browser) -> None:
    client, other = browser("press-user"), browser("stranger")
    made = sent(client, "/collections/new", owner="press-user", title="Mine", visibility="private")
    address = made.headers["location"].split("?")[0]
    assert other.get(address).status_code == 404
    sent(client, f"{address}/items", kind="model", name="commons/sentiment", note="First")
    sent(client, f"{address}/items", kind="model", name="http://hub.test/datasets/press/reviews")
    assert client.post(f"{address}/items", data={"name": "a/b"}).status_code == 404
    page = client.get(address).text
    items = re.findall(r"/items/([0-9a-f]{24})", page)
    sent(client, f"{address}/items/{items[1]}", do="up")
    page = client.get(address).text
    assert page.index("press/reviews") < page.index("commons/sentiment")
    sent(client, f"{address}/items/{items[0]}", do="note", note="Read <i>this</i>")
    assert "Read &lt;i&gt;this" in client.get(address).text
    saved = sent(client, f"{address}/edit", title="Ours", visibility="public", theme="green")
    address = saved.headers["location"].split("?")[0]
    seen = other.get(address).text
    assert "commons/sentiment" in seen and "press/reviews" not in seen
    assert other.post(f"{address}/delete").status_code == 403
    assert "Ours" in client.get("/commons/sentiment").text
    sent(client, f"{address}/items/{items[0]}", do="remove")
    sent(client, f"{address}/delete")
    assert client.get(address).status_code == 404


def test_a_webhook_is_its_owners_alone(gallery: Gallery, browser: Browser) -> None:
    client, other = browser("commons-user"), browser("stranger")
    address = gallery.places["webhook"]
    page = client.get(address)
    assert "&lt;h1&gt;Oops" in page.text and "repo.content" in page.text
    assert other.get(address).status_code == 404
    delivery = re.search(r'name="delivery" value="([0-9a-f]{24})"', page.text)
    assert delivery is not None
    assert client.post(f"{address}/replay", data={"delivery": delivery[1]}).status_code == 409
    sent(client, f"{address}/switch", disabled="no")
    sent(client, f"{address}/replay", delivery=delivery[1])
    sent(client, f"{address}/switch", disabled="yes")
    inside = client.post(
        "/settings/webhooks/new",
        data={"url": "http://127.0.0.1/x", "watched": "user commons-user", "repo": "yes"},
    )
    assert inside.status_code == 400 and "127.0.0.1" in inside.text
    odd = client.post(address, data={"url": "https://hooks.example/x", "watched": "house x/y"})
    assert odd.status_code == 400
    for path in ("", "/switch", "/delete", "/replay"):
        assert other.post(f"{address}{path}").status_code == 404, path


def test_a_discussion_is_renamed_and_its_comments_edited_and_hidden(
    gallery: Gallery, browser: Browser
) -> None:
    author, owner, other = browser("press-user"), browser("commons-user"), browser("stranger")
    made = sent(author, "/commons/sentiment/discussions/new", title="Before", description="Hm")
    address = made.headers["location"]
    sent(author, f"{address}/title", title="After <b>")
    assert "After &lt;b&gt;" in other.get(address).text
    assert other.post(f"{address}/title", data={"title": "Mine"}).status_code == 403
    comment = re.search(r"/comments/([0-9a-f]{24})/edit", author.get(address).text)
    assert comment is not None
    place = f"{address}/comments/{comment[1]}"
    sent(author, f"{place}/edit", comment="Better")
    assert "Better" in other.get(address).text
    assert owner.post(f"{place}/edit", data={"comment": "Mine"}).status_code == 403
    assert other.post(f"{place}/hide").status_code == 403
    sent(owner, f"{place}/hide")
    assert "Better" not in author.get(address).text
    listed = author.get("/commons/sentiment/discussions?author=press-user&type=discussion").text
    assert "After &lt;b&gt;" in listed
    assert "After" not in author.get("/commons/sentiment/discussions?author=stranger").text


# -- who may open and send ------------------------------------------------------------------------


def test_administration_does_not_exist_for_others(browser: Browser) -> None:
    client, nobody = browser("commons-user"), browser(None)
    for address in SYSTEM_ADDRESSES:
        assert client.get(address).status_code == 404, address
        assert nobody.get(address).headers["location"].startswith("/login?next="), address
    for address in ("/system/users", "/system/repositories"):
        assert client.post(address, data={"do": "promote", "user": "shop-user"}).status_code == 404
    assert "/system" not in client.get("/").text and "/system" in browser(KEEPER).get("/").text


def test_an_administrator_closes_a_repository(gallery: Gallery, browser: Browser) -> None:
    keeper = browser(KEEPER)
    form = {"type": "dataset", "name": "shop/reviews"}
    sent(keeper, "/system/repositories", disabled="yes", **form)
    assert browser("stranger").get("/datasets/shop/reviews/blob/main/README.md").status_code == 403
    sent(keeper, "/system/repositories", disabled="no", **form)
    assert browser("stranger").get("/datasets/shop/reviews/blob/main/README.md").status_code == 200


def test_secrets_among_the_settings_are_masked(gallery: Gallery, browser: Browser) -> None:
    page = browser(KEEPER).get("/system/settings").text
    assert "PLAIT_MAX_REGULAR_FILE" in page and "10485760" in page


def test_pages_of_ones_own_ask_nobody_to_sign_in(gallery: Gallery, browser: Browser) -> None:
    client = browser(None)
    for address in own_addresses(gallery):
        answer = client.get(address)
        if address == "/commons?tab=members":
            assert "shop-user" not in answer.text
            continue
        assert answer.status_code == 303, address
        assert answer.headers["location"].startswith("/login?next="), address


def forms(html: str) -> list[str]:
    return re.findall(r'<form[^>]*method="post"[^>]*action="([^"]+)"', html) + re.findall(
        r'<form[^>]*action="([^"]+)"[^>]*method="post"', html
    )


def test_every_form_refuses_what_another_site_sends(gallery: Gallery, browser: Browser) -> None:
    client = browser("commons-user")
    found = {
        action
        for address in (*gallery.addresses(), *own_addresses(gallery))
        for action in forms(client.get(address).text)
    }
    keeper = browser(KEEPER)
    found |= {action for page in SYSTEM_ADDRESSES for action in forms(keeper.get(page).text)}
    assert len(found) > 60
    for action in sorted(found):
        for headers in (
            {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.test"},
            {"Sec-Fetch-Site": "same-site"},
            {"Origin": "https://evil.test"},
            {"Origin": "null"},
        ):
            answer = keeper.post(action, data={"name": "x"}, headers=headers)
            assert answer.status_code == 403, (action, headers)


def test_a_picture_in_the_store_itself_is_the_only_thing_let_in_from_there(
    gallery: Gallery, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = browser("commons-user")
    files = [("files", ("photo.png", b"\x89PNG\x00\xff\xfe", "image/png"))]
    assert client.post(
        f"{FILES}/upload/main/pictures", data={"where": "commit"}, files=files
    ).status_code == 303  # fmt: skip
    address = f"{FILES}/blob/main/pictures/photo.png"
    assert "img-src 'self';" in client.get(address).headers["content-security-policy"]
    monkeypatch.setattr(
        gallery.hub.blobs, "signed_url", lambda *_: "https://store.example/b/x?signature=1"
    )
    policy = client.get(address).headers["content-security-policy"]
    assert "img-src 'self' https://store.example;" in policy and "script-src 'self';" in policy
    assert "store.example" not in client.get(FILES).headers["content-security-policy"]


def test_who_tries_too_often_is_told_when_to_come_back(
    gallery: Gallery, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise TooManyRequests("Too many.", retry_after=7, limit=1, window=60)

    monkeypatch.setattr(gallery.hub.limits, "spend", refuse)
    client = browser(None)
    searched = client.get("/models?search=a")
    assert searched.status_code == 429 and searched.headers["retry-after"] == "7"
    assert "Too many attempts" in searched.text
    signing = client.post("/login", data={"name": "a", "password": "b"})
    assert signing.status_code == 429 and signing.headers["retry-after"] == "7"
    assert "7 seconds" in signing.text and 'id="password"' in signing.text
