# SPDX-License-Identifier: Apache-2.0
"""Files of a stranger, opened in every way that a browser has: they never act on the hub."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from plait.hub import AddBytes

from .live import LiveHub, Person

CHROMIUM = Path("/usr/bin/chromium")
RUN = "window.top.acted = true; document.title = 'acted'; fetch('/acted')"
HTML = f"<!doctype html><title>quiet</title><script>{RUN}</script>".encode()
SVG = f'<svg xmlns="http://www.w3.org/2000/svg"><script>{RUN}</script></svg>'.encode()
FILES = {
    "evil.html": HTML,
    "evil.htm": HTML,
    "evil.xhtml": b'<html xmlns="http://www.w3.org/1999/xhtml"><script>%b</script></html>'
    % RUN.encode(),
    "evil.svg": SVG,
    "evil.svgz": SVG,
    "evil.xml": b'<?xml version="1.0"?><x:script xmlns:x="http://www.w3.org/1999/xhtml">%b</x:script>'
    % RUN.encode(),
    "evil.js": RUN.encode(),
    "evil.mjs": f"export default 1; {RUN}".encode(),
    "evil.css": b"body { display: none }",
    "evil.pdf": b"%PDF-1.4\n1 0 obj<</OpenAction<</S/JavaScript/JS(app.alert(1))>>>>endobj",
    "evil.txt": HTML,
    "evil.png": HTML,
    "evil.json": RUN.encode(),
    "evil.wasm": b"\0asm\x01\0\0\0",
    "evil.swf": b"FWS",
    "evil.webmanifest": b'{"start_url": "/"}',
    "evil.appcache": b"CACHE MANIFEST",
    "evil": HTML,
    "evil.HTML": HTML,
    "evil.html.txt": HTML,
    "evil.txt.html": HTML,
    'evil".html': HTML,
}
SCRIPTS = ("javascript", "ecmascript", "html", "xml", "css", "flash", "manifest", "wasm")


@pytest.fixture
def repository(live_hub: LiveHub, alice: Person) -> str:
    hub = live_hub.hub
    actor = hub.accounts.actor_for(hub.accounts.get(alice.name))
    repo = hub.repositories.create(actor, "model", f"{alice.name}/evil")
    files = [AddBytes(f"d{n}/{name}", data) for n, (name, data) in enumerate(FILES.items())]
    hub.commits.apply(actor, repo, "main", files, "attack")
    return repo.full_name


def addresses(repository: str, kind: str) -> Iterator[tuple[str, str]]:
    for number, name in enumerate(FILES):
        quoted = name.replace('"', "%22")
        yield name, f"/{repository}/{kind}/main/d{number}/{quoted}"


@pytest.mark.parametrize("kind", ["resolve", "raw"])
def test_headers_keep_a_file_harmless(live_hub: LiveHub, repository: str, kind: str) -> None:
    with httpx.Client(base_url=live_hub.url) as client:
        for name, address in addresses(repository, kind):
            answer = client.get(address)
            assert answer.status_code == 200, name
            media = answer.headers["Content-Type"]
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            policy = answer.headers["Content-Security-Policy"]
            assert "sandbox" in policy
            assert "default-src 'none'" in policy
            assert "allow-" not in policy
            assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
            if media.startswith("image/svg"):
                assert answer.headers["Content-Disposition"].startswith("attachment")
            else:
                assert not any(part in media for part in SCRIPTS), (name, media)
            assert "\n" not in answer.headers["Content-Disposition"]
            assert "access-control-allow-origin" not in answer.headers


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}")
def test_no_file_acts_in_a_browser(live_hub: LiveHub, repository: str) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    acted: list[str] = []
    with playwright.sync_playwright() as found:
        browser = found.chromium.launch(
            executable_path=str(CHROMIUM), args=["--headless", "--no-sandbox", "--disable-gpu"]
        )
        context = browser.new_context(accept_downloads=True)
        context.on("request", lambda r: acted.append(r.url) if r.url.endswith("/acted") else None)
        page = context.new_page()
        for _, address in addresses(repository, "resolve"):
            _open(page, live_hub.url + address)
        page.goto(f"{live_hub.url}/{repository}")
        found_scripts: dict[str, Any] = {}
        for name, address in addresses(repository, "resolve"):
            found_scripts[name] = page.evaluate(_TRY_ALL, address)
        # A page of the hub's own, whose policy is off: the files' headers alone must hold.
        bare = context.new_page()
        bare.route(
            "**/bare",
            lambda route: route.fulfill(body="<!doctype html><p>bare", content_type="text/html"),
        )
        bare.goto(f"{live_hub.url}/bare")
        for name, address in addresses(repository, "resolve"):
            outcome = bare.evaluate(_TRY_ALL, address)
            assert outcome == {"module": False, "script": False, "worker": False}, name
        assert bare.evaluate("window.acted === undefined && document.title !== 'acted'")
        assert page.evaluate("window.acted === undefined && document.title !== 'acted'")
        browser.close()
    assert not acted
    assert not any(any(o.values()) for o in found_scripts.values()), json.dumps(found_scripts)


_TRY_ALL = """
async address => {
  const late = (work, value) => Promise.race([
    work, new Promise(done => setTimeout(() => done(value), 1500))]);
  const add = (tag, set) => new Promise(done => {
    const node = document.createElement(tag);
    set(node);
    node.onload = () => done(true);
    node.onerror = () => done(false);
    document.body.append(node);
  });
  const module = await late(import(address).then(() => true, () => false), false);
  const script = await late(add('script', n => { n.src = address; }), false);
  const worker = navigator.serviceWorker
    ? await late(navigator.serviceWorker.register(address).then(() => true, () => false), false)
    : false;
  for (const tag of ['iframe', 'embed']) {
    const node = document.createElement(tag);
    node.src = address;
    document.body.append(node);
  }
  const object = document.createElement('object');
  object.data = address;
  document.body.append(object);
  await new Promise(done => setTimeout(done, 30));
  return {module, script, worker};
}
"""


def _open(page: Any, address: str) -> None:
    try:
        page.goto(address, wait_until="load", timeout=3000)
    except Exception as error:
        # What is saved instead of shown ends the navigation.
        assert "Download" in str(error) or "ERR_ABORTED" in str(error), error
