# SPDX-License-Identifier: Apache-2.0
"""Pairs of a picture and a word whose label only both tell, with small encoders of each."""

from __future__ import annotations

import math
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ..outputs import members

WORDS = ("sun", "moon")
LABELS = ("red-sun", "red-moon", "blue-sun", "blue-moon")


def rows(folder: Path, count: int, seed: int) -> list[dict[str, Any]]:
    """Items whose label is their picture's colour and their text's word; a tone says the word."""
    from PIL import Image

    random = np.random.default_rng(seed)
    for name in ("pictures", "sounds"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    made = []
    for place in range(count):
        blue, moon = int(random.integers(2)), int(random.integers(2))
        pixels = random.integers(0, 60, (16, 16, 3)).astype(np.uint8)
        pixels[..., 2 * blue] += 180
        picture = f"pictures/{seed}-{place}.png"
        Image.fromarray(pixels).save(folder / picture)
        sound = f"sounds/{seed}-{place}.wav"
        tone(folder / sound, (400, 1600)[moon], 0.1 + 0.1 * random.random())
        more = " ".join(random.choice(members.PLAIN, 3))
        made.append(
            {"label": LABELS[2 * blue + moon], "text": f"{more} {WORDS[moon]}", "image": picture,
             "audio": sound, "family": f"{seed}-{place // 2}"}
        )  # fmt: skip
    return made


def tone(file: Path, pitch: float, seconds: float, rate: int = 8_000) -> None:
    values = np.sin(2 * math.pi * pitch * np.arange(int(seconds * rate)) / rate)
    with wave.open(str(file), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes((values * 8_000).astype("<i2").tobytes())


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of a text encoder, an image encoder, and data with three splits."""
    pytest.importorskip("torch")
    place = tmp_path_factory.mktemp("features")
    data = place / "data"
    splits = {
        split: rows(data, count, seed)
        for seed, (split, count) in enumerate({"train": 80, "validation": 32, "test": 32}.items())
    }
    members.data_set(data, **splits)
    words = (*members.PLAIN, *WORDS)
    return {
        "text": members.text_model(place / "text", "bert", words=words, seed=1),
        "image": members.image_model(place / "image", seed=2),
        "data": data,
    }


def recipe(world: dict[str, Path], *modalities: str, **more: Any) -> dict[str, Any]:
    """A recipe that learns within seconds; `tune` says which encoders are tuned."""
    tune = more.pop("tune", ())
    data = more.pop("data", world["data"])
    models = [
        {
            "name": name,
            "model": "log-mel" if name == "audio" else str(more.pop(name, world.get(name))),
            "modality": name,
            "tune": "tuned" if name in tune else "frozen",
        }
        for name in modalities
    ]
    columns = {name: name for name in modalities} | {"group": "family"}
    usual = {"width": 16, "dropout": 0.0, "epochs": 20, "learning_rate": 0.02, "patience": 20}
    return {
        "method": "feature_fusion",
        "models": models,
        "tasks": [{"name": "pairs", "dataset": str(data), "columns": columns}],
        "parameters": usual | more,
    }
