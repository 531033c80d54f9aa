# SPDX-License-Identifier: Apache-2.0
"""What every test gets: no network for the clients, and a home of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from integration import services

os.environ.update(
    HF_HUB_DISABLE_TELEMETRY="1",
    HF_HUB_DISABLE_UPDATE_CHECK="1",
    HF_HUB_DISABLE_PROGRESS_BARS="1",
    HF_DATASETS_DISABLE_PROGRESS_BARS="1",
    DO_NOT_TRACK="1",
    TOKENIZERS_PARALLELISM="false",
    PLAIT_CHECKSUM_CACHE="off",
)

# How long an example takes says how busy the machine is, and nothing of the code.
hypothesis.settings.register_profile(
    "plait", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("plait")


@pytest.fixture(autouse=True)
def hf_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A fresh ``HF_HOME``: clients cache what they know of a hub, and each test has its own hub."""
    home = tmp_path / "hf-home"
    monkeypatch.setenv("HF_HOME", str(home))
    monkeypatch.setenv("HF_XET_CACHE", str(home / "xet"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    yield home


@pytest.fixture(scope="session")
def backend() -> Iterator[services.Backend]:
    """What the hubs of the tests stand on; ``PLAIT_TEST_DATABASE`` and ``PLAIT_TEST_STORE`` say."""
    with services.backend() as found:
        yield found


@pytest.fixture
def places(backend: services.Backend) -> Iterator[dict[str, str]]:
    """Settings of one hub's database and store, shared with no other hub."""
    with backend.fresh() as found:
        yield found
