# SPDX-License-Identifier: Apache-2.0
"""A gallery behind a real server, a real browser, and signing in."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from community import gather
from gallery import Gallery, build_gallery

CHROMIUM = Path("/usr/bin/chromium")


@contextmanager
def serve_gallery(folder: Path) -> Iterator[tuple[Gallery, str]]:
    """Serve a gallery with its community; give it and its address."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    built = build_gallery(folder / "hub", port)
    gather(built)
    server = uvicorn.Server(uvicorn.Config(built.app(), port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.05)
    yield built, f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(20)
    built.hub.close()


@contextmanager
def open_chromium() -> Iterator[Any]:
    """Start the browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as found:
        launched = found.chromium.launch(
            executable_path=str(CHROMIUM), args=["--headless", "--no-sandbox", "--disable-gpu"]
        )
        yield launched
        launched.close()


def sign_in(page: Any, url: str, token: str) -> None:
    """Sign in with a token, as a person does."""
    page.goto(f"{url}/login?lang=en")
    page.get_by_label("Access token").fill(token)
    page.get_by_role("button", name="Sign in with the token").click()
    page.wait_for_url(f"{url}/")
