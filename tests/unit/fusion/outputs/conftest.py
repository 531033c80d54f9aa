# SPDX-License-Identifier: Apache-2.0
"""Members that are made once, and their data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from . import members


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Text models of four architectures and two tokenizers, an image model, labelled items."""
    pytest.importorskip("torch")
    place = tmp_path_factory.mktemp("zoo")
    other = [*members.GOOD, *members.PLAIN, *members.BAD, "unlike"]
    data = members.data_set(
        place / "data", validation=members.sentences(90), test=members.sentences(45, 1)
    )
    return {
        "bert": members.text_model(place / "bert", "bert", seed=1),
        "distil": members.text_model(
            place / "distil", "distilbert", seed=2, labels=("Positive", "NEGATIVE")
        ),
        "llama": members.text_model(
            place / "llama", "llama", seed=3, words=other, start="<s>", dtype="bfloat16"
        ),
        "bart": members.text_model(place / "bart", "bart", seed=4),
        "vit": members.image_model(place / "vit", seed=3),
        "data": data,
        "pairs": pairs(place / "pairs"),
    }


def pairs(folder: Path) -> Path:
    """Labelled texts with pictures; some items lack one or the other."""
    import numpy as np
    from PIL import Image

    (folder / "pictures").mkdir(parents=True)
    random = np.random.default_rng(0)
    rows: list[dict[str, Any]] = members.sentences(60, 2)
    for place, row in enumerate(rows):
        row["image"] = None if place % 6 == 0 else f"pictures/{place}.png"
        if row["image"]:
            pixels = random.integers(0, 255, (20, 20, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / row["image"])
        if place % 6 == 3:
            row["text"] = None
    return members.data_set(folder, validation=rows)
