# SPDX-License-Identifier: Apache-2.0
"""The pages in a real browser: with and without JavaScript, on a phone, in the dark, for axe."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from browsing import CHROMIUM, open_chromium, serve_gallery, sign_in
from community import (
    chinese_addresses,
    community_addresses,
    member_addresses,
)
from furnishing import KEEPER, PASSWORD, SYSTEM_ADDRESSES, own_addresses
from gallery import Gallery
from plait.collaboration import jobs

WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
OF_COLOURS = {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}
WIDTHS = (390, 768, 1280)
_RUN_AXE = "rules => axe.run(document, {runOnly: rules, resultTypes: ['violations']})"
BASE = "/commons/sentiment"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}"),
]
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gallery, str]]:
    """The gallery behind a real server."""
    with serve_gallery(Path(tmp_path_factory.mktemp("gallery"))) as served:
        yield served


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with open_chromium() as launched:
        yield launched


def test_every_page_fits_every_window_and_axe_finds_nothing_in_the_light_or_the_dark(
    gallery: tuple[Gallery, str], chromium: Any
) -> None:
    """Each page is opened once; the window's width and the scheme of colours change around it."""
    axe = pytest.importorskip("axe_core_python.base", reason="axe-core is not installed")
    built, url = gallery
    context = chromium.new_context(color_scheme="light", reduced_motion="reduce")
    page = context.new_page()
    sign_in(page, url, built.token("commons-user"))
    found = []
    both = [*community_addresses(built), *member_addresses(built)]
    chinese = chinese_addresses(built)
    pages = [*built.addresses(), *own_addresses(built), *both, *chinese, None, *SYSTEM_ADDRESSES]
    for address in pages:
        if address is None:
            context.clear_cookies()
            sign_in(page, url, built.token(KEEPER))
            continue
        page.goto(url + address)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 800})
            over = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
            if over > 0:
                found.append(f"{address}: {over} pixels wider than a window of {width}")
        page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
        page.evaluate(axe.AXE_SCRIPT)
        for scheme, rules in (("light", WCAG), ("dark", OF_COLOURS)):
            if scheme == "dark" and address in chinese:
                continue  # both languages share their colours
            page.emulate_media(color_scheme=scheme)
            assert page.evaluate(f"matchMedia('(prefers-color-scheme: {scheme})').matches")
            results = page.evaluate(_RUN_AXE, rules)
            found += [
                f"{address} ({scheme}): {violation['id']} {node['target']} "
                f"{node.get('failureSummary')}"
                for violation in results["violations"]
                for node in violation["nodes"]
            ]
        page.emulate_media(color_scheme="light")
    context.close()
    assert found == [], "\n".join(found)


def test_nothing_is_blocked_or_fails_in_the_browser(
    gallery: tuple[Gallery, str], chromium: Any
) -> None:
    built, url = gallery
    context = chromium.new_context()
    page = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(f"{page.url}: {message.text}"))
    page.on("pageerror", lambda error: said.append(f"{page.url}: {error}"))
    page.on("request", lambda request: asked.append(request.url))
    for address in (*built.addresses(), *community_addresses(built)):
        page.goto(url + address)
    context.close()
    missing = f"{url}/nobody/nothing"
    # HOSTILE's picture does not exist; that its request is all that is left of it is the point.
    unexpected = [
        line
        for line in said
        if not line.startswith(missing) and "404 (Not Found)" not in line and "verbose" not in line
        and "Password forms" not in line
    ]  # fmt: skip
    assert unexpected == []
    assert [address for address in asked if not address.startswith(url)] == []


def test_a_pull_request_can_be_read_without_javascript(
    gallery: tuple[Gallery, str], chromium: Any
) -> None:
    built, url = gallery
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{url}{BASE}/discussions/{built.numbers['merged']}")
    assert page.get_by_role("heading", name="Passes").is_visible()
    assert page.get_by_role("img", name="Scores of base, main").is_visible()
    assert page.get_by_role("table", name="Scores by task").is_visible()
    page.get_by_text("Recipe", exact=True).click()
    assert page.get_by_text("merge_method: ties").is_visible()
    context.close()


def test_the_keyboard_reaches_the_content_first(
    gallery: tuple[Gallery, str], chromium: Any
) -> None:
    _, url = gallery
    context = chromium.new_context()
    page = context.new_page()
    page.goto(url + BASE)
    page.keyboard.press("Tab")
    link = page.get_by_role("link", name="Skip to the content")
    assert link.is_visible() and link.evaluate("e => e === document.activeElement")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    context.close()


def test_signing_in_commenting_and_signing_out(gallery: tuple[Gallery, str], chromium: Any) -> None:
    built, url = gallery
    context = chromium.new_context()
    page = context.new_page()
    sign_in(page, url, built.token("press-user"))
    page.goto(f"{url}{BASE}/discussions/{built.numbers['waiting']}")
    page.locator("#comment").fill("From a **browser**")
    page.get_by_role("button", name="Comment").click()
    assert page.locator(".comment strong", has_text="browser").is_visible()
    assert page.get_by_role("button", name="Merge").count() == 0
    page.locator(".top summary", has_text="press-user").click()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(f"{url}/")
    assert page.get_by_role("link", name="Sign in").is_visible()
    context.close()


def test_a_running_job_is_followed_to_its_end(gallery: tuple[Gallery, str], chromium: Any) -> None:
    built, url = gallery
    hub = built.hub
    job = jobs.enqueue(hub, "to-follow", {}, repo=built.model.id)
    held = jobs.lease(hub, "browser-worker", ["to-follow"])
    assert held is not None
    context = chromium.new_context()
    page = context.new_page()
    page.goto(f"{url}/jobs/{job.id}")
    jobs.progress(hub, held, 0.7, "fusing the chosen candidate")
    jobs.log(hub, job.id, "Fused <b>now</b>")
    playwright.expect(page.get_by_text("fusing the chosen candidate")).to_be_visible(timeout=9000)
    playwright.expect(page.locator("#log")).to_contain_text("Fused <b>now</b>")
    assert page.locator("progress").evaluate("e => e.value") == 70
    jobs.succeed(hub, held, None)
    playwright.expect(page.get_by_text("Done")).to_be_visible(timeout=9000)
    assert page.locator("progress").count() == 0
    context.close()


def test_tables_can_be_sorted(gallery: tuple[Gallery, str], chromium: Any) -> None:
    built, url = gallery
    context = chromium.new_context()
    page = context.new_page()
    page.goto(f"{url}{BASE}/discussions/{built.numbers['merged']}")
    page.get_by_text("What changed, layer by layer").click()
    table = page.get_by_role("table", name="Change against the base")
    column = table.locator("tbody tr td:nth-of-type(2)")
    assert column.all_inner_texts() == ["2.0", "40.0"]
    table.get_by_role("button", name="Change").click()
    table.get_by_role("button", name="Change").click()
    assert column.all_inner_texts() == ["40.0", "2.0"]
    head = table.get_by_role("columnheader", name="Change")
    assert head.get_attribute("aria-sort") == "descending"
    context.close()


def press(page: Any, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def test_a_file_is_proposed_with_the_keyboard_alone_and_without_javascript(
    gallery: tuple[Gallery, str], chromium: Any
) -> None:
    """Sign in, find the repository, open the editor, write, propose: Tab, arrows, Enter."""
    built, url = gallery
    user = built.hub.accounts.get("stranger")
    built.hub.accounts.use_secret(built.hub.accounts.invite(user), PASSWORD)
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{url}/datasets/commons/files-of-every-kind/edit/main/more.txt")
    assert page.url.startswith(f"{url}/login?next=")
    page.get_by_label("User name").focus()
    page.keyboard.type("stranger")
    press(page, "Tab")
    page.keyboard.type(PASSWORD)
    press(page, "Enter")
    page.wait_for_url(f"{url}/datasets/commons/files-of-every-kind/edit/main/more.txt")
    page.get_by_label("Text", exact=True).focus()
    press(page, "Control+Home")
    page.keyboard.type("zero")
    press(page, "Enter", "Tab")
    page.keyboard.type("Count from zero")
    press(page, "Tab", "Tab", "Tab")
    assert page.locator(":focus").inner_text() == "Save"
    press(page, "Enter")
    page.wait_for_url("**/discussions/*")
    assert page.get_by_role("heading", name="Count from zero").is_visible()
    assert page.get_by_text("zero", exact=True).is_visible()
    context.close()


def test_menus_open_and_close_with_the_keyboard(
    gallery: tuple[Gallery, str], chromium: Any
) -> None:
    built, url = gallery
    context = chromium.new_context()
    page = context.new_page()
    sign_in(page, url, built.token("commons-user"))
    summary = page.locator(".top summary", has_text="New")
    summary.focus()
    press(page, "Enter")
    link = page.get_by_role("link", name="New data set")
    assert link.is_visible()
    press(page, "Escape")
    assert not link.is_visible()
    assert summary.evaluate("e => e === document.activeElement")
    press(page, "Enter", "Tab", "Tab", "Enter")
    page.wait_for_url(f"{url}/new?type=dataset")
    context.close()


def test_a_one_time_link_keeps_its_secret_out_of_the_address(
    gallery: tuple[Gallery, str], chromium: Any
) -> None:
    built, url = gallery
    user = built.hub.accounts.create_user("invited")
    secret = built.hub.accounts.invite(user)
    context = chromium.new_context()
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{url}/setup#{secret}")
    assert page.get_by_label("One-time secret").input_value() == secret
    assert page.url == f"{url}/setup" and not [one for one in asked if secret in one]
    page.get_by_label("New password").fill(PASSWORD)
    page.get_by_label("The same again").fill(PASSWORD)
    page.get_by_role("button", name="Set the password").click()
    page.wait_for_url(f"{url}/?done=welcome")
    assert page.get_by_role("status").inner_text().strip().startswith("Welcome")
    context.close()
