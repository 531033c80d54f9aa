# SPDX-License-Identifier: Apache-2.0
"""One hub with a graph for a module's tests, and browsers that are signed in or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from fastapi.testclient import TestClient

from countries import Atlas, build_atlas

Browser = Callable[[str | None], TestClient]


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Atlas]:
    made = build_atlas(tmp_path_factory.mktemp("atlas") / "hub")
    yield made
    made.hub.close()


@pytest.fixture
def browser(atlas: Atlas) -> Browser:
    def open_browser(name: str | None = None) -> TestClient:
        client = TestClient(atlas.app, base_url="http://hub.test", follow_redirects=False)
        if name is not None:
            answer = client.post("/login", data={"token": atlas.token(name)})
            assert answer.status_code == 303
        return client

    return open_browser
