# SPDX-License-Identifier: Apache-2.0
"""A graph's pages in a real browser: drawn, searched, filtered, answered from the keyboard, axe."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from countries import Atlas, build_atlas

CHROMIUM = Path("/usr/bin/chromium")
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
AT = "/datasets/ann/countries/graph"
DRAWN = "figure[data-arranged]"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}"),
]
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Atlas, str]]:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    atlas = build_atlas(tmp_path_factory.mktemp("atlas") / "hub")
    atlas.hub.settings = atlas.hub.settings.with_address("127.0.0.1", port)
    server = uvicorn.Server(uvicorn.Config(atlas.app, port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.05)
    yield atlas, f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(20)
    atlas.hub.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=str(CHROMIUM),
            args=["--headless", "--no-sandbox", "--use-angle=swiftshader",
                  "--enable-unsafe-swiftshader"],
        )  # fmt: skip
        yield browser
        browser.close()


def opened(chromium: Any, served: tuple[Atlas, str], **options: Any) -> Any:
    """Return a page of somebody who is signed in; an error of a script fails the test."""
    atlas, url = served
    context = chromium.new_context(base_url=url, **options)
    page = context.new_page()
    page.problems = []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("console", lambda said: said.type == "error" and page.problems.append(said.text))
    page.request.post("/login", form={"token": atlas.token("ann")})
    return page


def test_the_graph_is_drawn_searched_and_filtered(served: tuple[Atlas, str], chromium: Any) -> None:
    page = opened(chromium, served)
    page.goto(AT)
    page.wait_for_selector(DRAWN)
    assert "10 of 10 entities" in page.locator("figcaption").inner_text()
    count = "document.querySelector('figure[data-graph]').view"
    assert page.evaluate(f"{count}.getGraph().order") == 10
    shown = f"[...{count}.getGraph().edges()].filter(e => !{count}.getEdgeDisplayData(e).hidden)"
    assert page.evaluate(f"{shown}.length") == 7
    page.get_by_label("Geo", exact=True).uncheck()
    page.wait_for_timeout(100)
    assert page.evaluate(f"{shown}.length") == 4
    page.get_by_label("Geo", exact=True).check()
    page.locator("#graph-sure").fill("0.55")
    page.wait_for_timeout(100)
    assert page.evaluate(f"{shown}.length") == 5
    assert page.locator("output").inner_text() == "0.55"
    page.locator("#graph-sure").fill("0")
    # Finding an entity shows its statements with their sources.
    page.get_by_label("Find", exact=True).fill("kaza")
    page.keyboard.press("Enter")
    beside = page.locator(".beside")
    beside.get_by_text("Nur-Sultan").wait_for()
    assert "The Atlas" in beside.inner_text()
    # What is hostile stays text.
    page.get_by_label("Find", exact=True).fill("<img src=x onerror=alert(1)>")
    page.keyboard.press("Enter")
    beside.get_by_role("heading", name="<img").wait_for()
    assert page.locator(".beside img, .legend img").count() == 0
    for way, name in (("source", "The Atlas"), ("contribution", "The graph"), ("type", "City")):
        page.locator("#graph-colour").select_option(way)
        assert name in page.locator(".colours").inner_text()
    assert page.problems == []


def test_a_line_tells_the_sources_of_what_connects_two(
    served: tuple[Atlas, str], chromium: Any
) -> None:
    page = opened(chromium, served)
    page.goto(AT + "?entity=paris")
    page.wait_for_selector(DRAWN)
    page.locator(".canvas").scroll_into_view_if_needed()
    x, y = page.evaluate(
        """() => {
          const view = document.querySelector("figure[data-graph]").view, graph = view.getGraph();
          const [a, b] = graph.extremities(graph.edges()[0]).map(n => graph.getNodeAttributes(n));
          const at = view.graphToViewport({x: (a.x + b.x) / 2, y: (a.y + b.y) / 2});
          const place = document.querySelector(".canvas").getBoundingClientRect();
          return [place.x + at.x, place.y + at.y];
        }"""
    )
    page.mouse.click(x, y)
    page.locator(".beside").get_by_role("link", name="Paris").first.wait_for()
    assert "capital" in page.locator(".beside").inner_text()
    # A look at a neighbour brings what stands around it.
    order = "document.querySelector('figure[data-graph]').view.getGraph().order"
    assert page.evaluate(order) == 2
    page.get_by_label("Find", exact=True).fill("France")
    for _ in range(100):
        if page.evaluate(order) > 2:
            break
        page.wait_for_timeout(50)
    assert page.evaluate(order) > 2
    assert page.problems == []


def test_pairs_are_answered_from_the_keyboard(served: tuple[Atlas, str], chromium: Any) -> None:
    page = opened(chromium, served)
    page.goto(AT + "/identities")
    chosen = "[...document.querySelectorAll('.pair input[type=radio]:checked')].map(b => b.value)"
    page.keyboard.press("y")
    page.keyboard.press("n")
    assert page.evaluate(chosen) == ["yes", "no"]
    page.keyboard.press("u")
    assert page.evaluate(chosen) == ["yes", ""]
    assert page.locator(".told").inner_text() == "1 of 2 answered"
    page.keyboard.press("s")
    assert page.evaluate("document.activeElement.innerText") == "Keep these answers"
    page.keyboard.press("Enter")
    page.get_by_text("Your answers are kept.").wait_for()
    assert page.locator(".pair").count() == 1
    assert page.problems == []


def test_everything_is_there_without_scripts(served: tuple[Atlas, str], chromium: Any) -> None:
    page = opened(chromium, served, java_script_enabled=False)
    page.goto(AT)
    assert page.locator("table").get_by_text("Kazakhstan").is_visible()
    assert not page.locator(".drawing").is_visible()
    page.get_by_role("link", name="Kazakhstan").click()
    assert page.locator("table").get_by_text("Nur-Sultan").is_visible()


def test_axe_finds_nothing_and_no_page_is_too_wide(
    served: tuple[Atlas, str], chromium: Any
) -> None:
    axe = pytest.importorskip("axe_core_python.base", reason="axe-core is not installed")
    found = []
    pages = ["", "?entity=de", "/query", "/conflicts", "/conflicts?settled=yes", "/identities"]
    for scheme, width, language in (("light", 1280, "en"), ("dark", 390, "zh")):
        size = {"width": width, "height": 800}
        page = opened(chromium, served, color_scheme=scheme, viewport=size)
        for address in pages:
            page.goto(f"{AT}{address}{'&' if '?' in address else '?'}lang={language}")
            if page.locator("figure[data-graph]").count():
                page.wait_for_selector(DRAWN)
            page.evaluate(axe.AXE_SCRIPT)
            results = page.evaluate(
                "rules => axe.run(document, {runOnly: rules, resultTypes: ['violations']})", WCAG
            )
            found += [
                f"{scheme} {address}: {violation['id']} {node['target']}"
                for violation in results["violations"]
                for node in violation["nodes"]
            ]
            if page.evaluate("document.documentElement.scrollWidth") > width:
                found.append(f"{scheme} {address} is wider than {width}")
        assert page.problems == []
    assert found == []
