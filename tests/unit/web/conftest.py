# SPDX-License-Identifier: Apache-2.0
"""One gallery for a module's tests, and browsers that are signed in or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from gallery import Gallery, build_gallery

Browser = Callable[[str | None], TestClient]


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    built = build_gallery(Path(tmp_path_factory.mktemp("gallery")) / "hub")
    yield built
    built.hub.close()


@pytest.fixture
def browser(gallery: Gallery) -> Browser:
    app = gallery.app()

    def open_browser(name: str | None = None) -> TestClient:
        client = TestClient(app, base_url="http://hub.test", follow_redirects=False)
        if name is not None:
            answer = client.post("/login", data={"token": gallery.token(name)})
            assert answer.status_code == 303
        return client

    return open_browser
