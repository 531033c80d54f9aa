# SPDX-License-Identifier: Apache-2.0
"""The same tests over a folder and over a real S3 server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.services import SeaweedFS
from plait.hub import Hub
from plait.hub.storage import ObjectStore, open_store
from plait.settings import Settings, load_settings


@pytest.fixture(scope="session")
def s3_server() -> Iterator[SeaweedFS]:
    reason = SeaweedFS.missing()
    if reason is not None:
        pytest.skip(reason)
    server = SeaweedFS().start()
    yield server
    server.stop()


@pytest.fixture(params=["disk", "s3"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings of a hub on either store."""
    environ = {"PLAIT_MAX_BLOB": "1000000"}
    if request.param == "s3":
        server: SeaweedFS = request.getfixturevalue("s3_server")
        environ |= server.environment()
    return load_settings(tmp_path / "hub", environ)


@pytest.fixture
def store(settings: Settings) -> ObjectStore:
    settings.temporary_dir.mkdir(parents=True)
    return open_store(settings)


@pytest.fixture
def hub(settings: Settings) -> Iterator[Hub]:
    with Hub.open(settings) as opened:
        yield opened
