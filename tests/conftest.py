# SPDX-License-Identifier: Apache-2.0
"""What every test gets: no network for the clients, a home of its own, and its place in the run."""

from __future__ import annotations

import os
import sys
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
    # Two workers share the cores already; more threads of each only wait for one another.
    OMP_NUM_THREADS="1",
    OPENBLAS_NUM_THREADS="1",
)
# Hundreds of processes are started: without bytecode, each would compile Plait anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Files that take longest, with about the CPU-seconds that they take. With --dist loadfile and
# --no-loadscope-reorder they are handed out longest first, and small files fill the end.
LONG = {
    "integration/clients/test_matrix.py": 220,
    "integration/test_pages_browser.py": 120,
    "integration/merging/test_ray_cluster.py": 80,
    "integration/test_demo.py": 60,
    "integration/graphs/test_demo.py": 36,
    "integration/merging/test_kinds.py": 35,
    "integration/merging/test_commands.py": 35,
    "integration/test_third_party_scan.py": 33,
    "integration/test_fusion_levels.py": 29,
    "integration/test_graph_browser.py": 29,
    "integration/merging/test_collaboration_commands.py": 26,
    "integration/test_clients_crash.py": 24,
    "integration/test_clients_libraries.py": 23,
    "unit/fusion/outputs/test_run.py": 20,
    "unit/web/test_lineage.py": 16,
    "integration/merging/test_preview.py": 15,
    "integration/test_many_committers.py": 15,
    "integration/test_conflicts_browser.py": 14,
    "integration/strangers/test_strangers.py": 12,
    "integration/merging/test_commands_gates.py": 12,
    "unit/fusion/outputs/test_choosing.py": 11,
    "unit/hub/test_crash.py": 10,
    "unit/cli/test_graph.py": 10,
    "integration/merging/test_hidden.py": 10,
}

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


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what takes longest: then the integration tests, then all others.

    Where other services are asked for, tests that stand on none of them are left out: they would
    only repeat what they did without.
    """
    if os.environ.get("PLAIT_TEST_DATABASE") or os.environ.get("PLAIT_TEST_STORE"):
        apart = [item for item in items if "backend" not in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=apart)
        items[:] = [item for item in items if "backend" in getattr(item, "fixturenames", ())]

    def place(item: pytest.Item) -> tuple[int, int]:
        name = item.nodeid.split("::")[0].removeprefix("tests/")
        return -LONG.get(name, 0), not name.startswith("integration/")

    items.sort(key=place)
