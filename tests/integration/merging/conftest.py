# SPDX-License-Identifier: Apache-2.0
"""The tiny models, made once, and a fresh hub with the base for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from . import tiny
from .town import Town, build_town


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the base and a fine-tune for each domain."""
    folder = tmp_path_factory.mktemp("tiny")
    base = tiny.make_base(folder / "base")
    for name in tiny.DOMAINS:
        tiny.fine_tune(base, folder / name, tiny.sentences(name, 200, 1))
    return folder


@pytest.fixture
def town(tmp_path: Path, tiny_models: Path) -> Iterator[Town]:
    """Return a hub with ``commons/sentiment``."""
    made = build_town(tmp_path / "hub", tiny_models)
    yield made
    made.hub.close()
