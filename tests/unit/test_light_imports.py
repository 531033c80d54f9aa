# SPDX-License-Identifier: Apache-2.0
"""Weight stays optional: what starts often must not load what is heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "datasets", "sklearn", "scipy", "matplotlib", "pandas")


@pytest.mark.parametrize(
    "statement",
    [
        "import plait",
        "import plait.cli.main",
        "import plait.hub",
        "import plait.fusion",
        "import plait.api, plait.web",
        "import plait.collaboration",
        "import plait.recipes.project, plait.cards, plait.settings, plait.charts, plait.lineage",
    ],
)
def test_nothing_heavy_is_loaded(statement: str) -> None:
    code = f"{statement}\nimport sys\nprint([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "[]"


def test_the_ground_loads_no_database_and_no_server() -> None:
    code = (
        "import plait.recipes.project, plait.recipes.fusion\n"
        "import plait.cards, plait.charts, plait.lineage\n"
        "import sys\n"
        "print([m for m in ('sqlalchemy', 'fastapi', 'pygit2', 'huggingface_hub') "
        "if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "[]"
