# SPDX-License-Identifier: Apache-2.0
"""How smoothly a graph's page draws 5,000 entities in Chromium, drawn by the processor alone.

A hub serves a random graph of communities; the page is opened, panned, zoomed, filtered and
dragged, and the time between frames is taken. Rendering is SwiftShader's (software), which is the
slowest case: with a graphics card frames cost what the script costs. Writes
``benchmarks/results/graph-pages.json``.
"""

from __future__ import annotations

import json
import random
import socket
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import uvicorn
from playwright.sync_api import sync_playwright

from plait.cli.serve import build_app
from plait.graphs.graph import Builder, Graph
from plait.graphs.storage import graph_files
from plait.hub import AddBytes, Hub
from plait.recipes.graph import GraphFile
from plait.settings import load_settings

RESULT = Path(__file__).parent / "results" / "graph-pages.json"
ENTITIES = 5_000
FRAMES = 120
MOVED = """async (frames) => {
  const view = document.querySelector("figure[data-graph]").view, camera = view.getCamera();
  const took = [];
  let last = performance.now();
  for (let i = 0; i < frames; i++) {
    camera.setState({x: .5 + .2 * Math.sin(i / 10), y: .5 + .1 * Math.cos(i / 9)});
    await new Promise(requestAnimationFrame);
    took.push(performance.now() - last);
    last = performance.now();
  }
  camera.setState({x: .5, y: .5, ratio: 1});
  return took.slice(1);
}"""
FILTERED = """() => {
  const view = document.querySelector("figure[data-graph]").view, took = [];
  for (let i = 0; i < 30; i++) {
    const start = performance.now();
    view.refresh({skipIndexation: true});
    took.push(performance.now() - start);
  }
  return took;
}"""
WATCH = """() => {
  window.frames_taken = [];
  let last = performance.now();
  const tick = () => {
    const now = performance.now();
    window.frames_taken.push(now - last);
    last = now;
    window.watching = requestAnimationFrame(tick);
  };
  requestAnimationFrame(tick);
}"""


def drawn(count: int) -> Graph:
    """Draw communities of a hundred entities, with a few statements between them."""
    chance = random.Random(1)
    builder = Builder(GraphFile(title="Random communities"))
    for number in range(count):
        builder.entity(f"e{number}", types=[f"T{number % 10}"])
        builder.label(f"e{number}", f"Entity {number}", language="en", source="a")
    for number in range(1, count):
        start = number // 100 * 100
        for _ in range(chance.choice([1, 2, 3, 4])):
            near = chance.random() < 0.9
            other = (
                chance.randrange(start, min(start + 100, count))
                if near
                else int(count * chance.random() ** 3)
            )
            if other != number:
                builder.statement(
                    f"e{number}",
                    chance.choice(["near", "made", "knows"]),
                    object=f"e{other}",
                    source=chance.choice(["a", "b", "c"]),
                    confidence=round(chance.random(), 2),
                )
    return builder.build()


def summary(took: list[float]) -> dict[str, float]:
    """Return the median, the 95th percentile and the largest, in milliseconds."""
    took = sorted(took)
    return {
        "median_ms": round(took[len(took) // 2], 1),
        "p95_ms": round(took[int(0.95 * len(took))], 1),
        "max_ms": round(took[-1], 1),
    }


def measure(url: str) -> dict[str, Any]:
    """Open the page and move it."""
    with sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=["--headless", "--no-sandbox", "--use-angle=swiftshader",
                  "--enable-unsafe-swiftshader"],
        )  # fmt: skip
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        began = time.perf_counter()
        page.goto(url)
        page.wait_for_selector("figure[data-ready]")
        ready = time.perf_counter() - began
        page.wait_for_selector("figure[data-arranged]", timeout=120_000)
        arranged = time.perf_counter() - began
        found: dict[str, Any] = {
            "browser": f"Chromium {browser.version}, SwiftShader, 1280 × 900",
            "seconds_to_draw": round(ready, 2),
            "seconds_to_arrange": round(arranged, 2),
            "every_line_drawn_anew": summary(page.evaluate(MOVED, FRAMES)),
            "filter": summary(page.evaluate(FILTERED)),
        }
        box = page.locator(".canvas").bounding_box()
        assert box is not None
        x, y = box["x"] + 40, box["y"] + box["height"] - 40
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + 2, y)
        page.wait_for_timeout(1_500)
        page.evaluate(WATCH)
        for step in range(90):
            page.mouse.move(x + 3 * step, y - 2 * step)
            page.wait_for_timeout(16)
        found["drag"] = summary(page.evaluate("() => window.frames_taken.slice(1)"))
        page.mouse.up()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.wait_for_timeout(1_000)
        page.evaluate("() => { window.frames_taken = []; }")
        for step in range(60):
            page.mouse.wheel(0, -120 if step < 30 else 120)
            page.wait_for_timeout(40)
        found["wheel"] = summary(page.evaluate("() => window.frames_taken.slice(1)"))
        browser.close()
    return found


def main() -> None:
    """Serve the graph, measure and write what was found."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(Path(folder) / "hub", {"PLAIT_BACKGROUND": "0"})
        with Hub.open(settings.with_address("127.0.0.1", port)) as hub:
            ann = hub.accounts.actor_for(hub.accounts.create_user("ann"))
            hub.repositories.create(ann, "dataset", "ann/graph")
            repo = hub.repositories.get(ann, "dataset", "ann/graph")
            graph = drawn(ENTITIES)
            files = [AddBytes(path, data) for path, data in graph_files(graph).items()]
            hub.commits.apply(ann, repo, "main", files, "Graph")
            server = uvicorn.Server(uvicorn.Config(build_app(hub), port=port, log_level="error"))
            thread = threading.Thread(target=server.run, daemon=True)
            thread.start()
            while not server.started:
                time.sleep(0.05)
            address = f"http://127.0.0.1:{port}/datasets/ann/graph/graph"
            measure(address)  # the first visit makes the index
            found = measure(address)
            server.should_exit = True
            thread.join(20)
    found = {"entities": ENTITIES, "statements": len(graph), **found}
    text = json.dumps(found, indent=1, ensure_ascii=False)
    RESULT.write_text(text + "\n", "utf-8")
    print(text)


if __name__ == "__main__":
    main()
