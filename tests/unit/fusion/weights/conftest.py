# SPDX-License-Identifier: Apache-2.0
"""Fixtures of fusion's tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .models import bert, write_model


@pytest.fixture
def family(tmp_path: Path) -> Callable[..., dict[str, Path]]:
    """Make a base and its fine-tunes as folders: family(3) gives base, m0, m1, m2."""

    def make(count: int = 3, **options: Any) -> dict[str, Path]:
        base = bert(0, **options)
        folders = {"base": write_model(tmp_path / "base", base)}
        for number in range(count):
            tuned = bert(number + 1, base, **options)
            folders[f"m{number}"] = write_model(tmp_path / f"m{number}", tuned)
        return folders

    return make
