# SPDX-License-Identifier: Apache-2.0
"""One running hub for all tests of a worker, and two people to begin with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from integration.live import LiveHub, Person, Server
from integration.services import Backend
from plait.hub import Hub
from plait.settings import load_settings


@pytest.fixture(scope="session")
def live_hub(tmp_path_factory: pytest.TempPathFactory, backend: Backend) -> Iterator[LiveHub]:
    """One server for all tests of a worker: they make users and repositories of their own."""
    folder = tmp_path_factory.mktemp("live") / "hub"
    with backend.fresh() as places:
        server = Server(folder, **places).start()
        settings = load_settings(folder, places).with_address("127.0.0.1", server.port)
        try:
            with Hub.open(settings) as hub:
                yield LiveHub(server, hub, tmp_path_factory.mktemp("homes"))
        finally:
            server.stop()
    broken = [line for line in server.lines if "Traceback" in line or "rror" in line]
    assert not broken, "".join(server.lines)[-4000:]


@pytest.fixture
def alice(live_hub: LiveHub) -> Person:
    return live_hub.person("alice")


@pytest.fixture
def bob(live_hub: LiveHub) -> Person:
    return live_hub.person("bob")
