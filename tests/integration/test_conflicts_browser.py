# SPDX-License-Identifier: Apache-2.0
"""Conflicts in a real browser: settled by hand, readable on a phone and in the dark, for axe."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from plait.cli.serve import build_app
from unit.web.test_conflicts import PAGE, Scene

CHROMIUM = Path("/usr/bin/chromium")
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}"),
]
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Scene, str]]:
    """The scene behind a real server."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    scene = Scene(tmp_path / "hub")
    scene.hub.settings = scene.hub.settings.with_address("127.0.0.1", port)
    server = uvicorn.Server(uvicorn.Config(build_app(scene.hub), port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.05)
    yield scene, f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(20)
    scene.hub.close()


@pytest.fixture
def chromium() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=str(CHROMIUM), args=["--headless", "--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


def sign_in(page: Any, scene: Scene, url: str) -> None:
    token = scene.hub.tokens.create(scene.hub.accounts.get_user("bob"), scope="write")
    page.goto(f"{url}/login")
    page.get_by_label("Access token").fill(token)
    page.get_by_role("button", name="Sign in with the token").click()
    page.wait_for_url(f"{url}/")


def test_axe_finds_nothing_and_no_page_is_too_wide(
    served: tuple[Scene, str], chromium: Any
) -> None:
    axe = pytest.importorskip("axe_core_python.base", reason="axe-core is not installed")
    scene, url = served
    found = []
    for scheme, width in (("light", 1280), ("dark", 390)):
        context = chromium.new_context(
            color_scheme=scheme, viewport={"width": width, "height": 800}
        )
        page = context.new_page()
        sign_in(page, scene, url)
        for address in (PAGE, PAGE + "/conflicts", PAGE + "/conflicts?lang=zh"):
            page.goto(url + address)
            page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
            page.evaluate(axe.AXE_SCRIPT)
            results = page.evaluate(
                "rules => axe.run(document, {runOnly: rules, resultTypes: ['violations']})", WCAG
            )
            found += [
                f"{scheme} {address}: {violation['id']} {node['target']}"
                for violation in results["violations"]
                for node in violation["nodes"]
            ]
            over = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
            found += [f"{address} is {over} too wide"] if over > 0 else []
        context.close()
    assert found == [], "\n".join(found)


def test_a_person_settles_with_clicks_and_words(served: tuple[Scene, str], chromium: Any) -> None:
    scene, url = served
    page = chromium.new_context().new_page()
    sign_in(page, scene, url)
    page.goto(url + PAGE)
    page.get_by_role("link", name="Settle the conflicts").click()
    licence = page.get_by_role("group", name="license")
    licence.get_by_label("pull request").check()
    label = page.get_by_role("group", name="row 0, column 'label'")
    label.get_by_label("Write it yourself").check()
    label.get_by_role("textbox").fill("5")
    page.get_by_role("button", name="Settle", exact=True).click()
    page.wait_for_url("**/conflicts")
    assert page.get_by_role("group", name="license").count() == 0
    page.get_by_role("button", name="main's everywhere").click()
    page.wait_for_url(f"{url}{PAGE}")
    assert page.get_by_role("heading", name="Conflicts with main").count() == 0
    head = scene.hub.git.head(scene.repo, "refs/pr/1")
    assert head is not None
    rows = scene.hub.git.read(scene.repo, head, "data/train.jsonl").decode()
    assert '"label": 5' in rows
    assert "main's text" in rows
