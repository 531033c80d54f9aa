# SPDX-License-Identifier: Apache-2.0
"""Whether models come from one base, and how far apart they are, from a sample of their weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from plait.fusion.weights.checkpoints import Checkpoint
from plait.fusion.weights.engine import Readers
from plait.fusion.weights.numbers import FLOATS, STORAGE, Array, decode
from plait.fusion.weights.safetensors import Entry

SAMPLE = 4_096  # elements of a tensor
SAMPLES = 4_000_000  # elements of a model
RELATED = 0.9
DISTANT = 0.3

Kinship = Literal["same", "related", "distant", "unrelated"]


@dataclass(frozen=True)
class Relation:
    """How a model's weights stand to an origin's, over a sample.

    `distance` is the length of the change over the length of the origin's weights, `cosine` that of
    the angle between the two, `changed` the share of sampled weights that differ.
    """

    model: str
    origin: str
    distance: float
    cosine: float
    changed: float

    @property
    def kinship(self) -> Kinship:
        """What the numbers say: a fine-tune keeps its base's direction, a stranger's is at random.

        Two initialisations by chance have a cosine near 0 (up to some tenths, for what is the same
        in all models: norms that start at one); fine-tunes stay above 0.9.
        """
        if self.changed == 0:
            return "same"
        if self.cosine >= RELATED:
            return "related"
        return "distant" if self.cosine >= DISTANT else "unrelated"


@dataclass(frozen=True)
class Agreement:
    """Two models' changes from one origin: the share of common changes with one sign."""

    one: str
    other: str
    signs: float | None
    cosine: float


def compare_models(
    models: Mapping[str, Checkpoint], origin: str, *, sample: int = SAMPLE
) -> tuple[list[Relation], list[Agreement]]:
    """Compare models with an origin, and their changes from it with each other.

    Only matrices are looked at: vectors (norms, biases) are alike in unrelated models too. The
    sample is the middle of each tensor (`sample` elements). Models with NaN or infinity in it are
    left out: nothing can be said of them.
    """
    others = [r for r in models if r != origin]
    names = _common(models, origin)
    step = max(1, len(names) * sample // SAMPLES)
    pieces: dict[str, list[Array]] = {r: [] for r in models}
    with Readers() as readers:
        for name in names[::step]:
            for reference in models:
                pieces[reference].append(_middle(readers, models[reference].tensors[name], sample))
    if not names:
        return [], []
    values = {r: np.concatenate(p) for r, p in pieces.items()}
    base = values[origin]
    if not np.isfinite(base).all():
        return [], []
    others = [r for r in others if np.isfinite(values[r]).all()]
    changes = {r: values[r] - base for r in others}
    relations = [
        Relation(
            r,
            origin,
            _ratio(_length(changes[r]), _length(base)),
            _cosine(values[r], base),
            float(np.count_nonzero(changes[r])) / base.size,
        )
        for r in others
    ]
    return relations, _agreements(changes)


def _agreements(changes: Mapping[str, Array]) -> list[Agreement]:
    found = []
    references = list(changes)
    for i, one in enumerate(references):
        for other in references[i + 1 :]:
            both = np.sign(changes[one]) * np.sign(changes[other])
            common = int(np.count_nonzero(both))
            signs = float(np.count_nonzero(both > 0)) / common if common else None
            found.append(Agreement(one, other, signs, _cosine(changes[one], changes[other])))
    return found


def _common(models: Mapping[str, Checkpoint], origin: str) -> Sequence[str]:
    """Return the matrices that all models have, in one shape."""
    return [
        name
        for name, entry in sorted(models[origin].tensors.items())
        if len(entry.shape) > 1
        and entry.size
        and all(
            name in m.tensors
            and m.tensors[name].shape == entry.shape
            and m.tensors[name].code in FLOATS
            for m in models.values()
        )
    ]


def _middle(readers: Readers, entry: Entry, most: int) -> Array:
    size = min(most, entry.size)
    raw = np.empty(size, STORAGE[entry.code])
    readers.read(entry, (entry.size - size) // 2, raw)
    values = np.empty(size, np.float64 if entry.code == "F64" else np.float32)
    decode(raw, entry.code, values)
    return values.astype(np.float64)


def _length(values: Array) -> float:
    return math.sqrt(float(np.add.reduce(np.square(values))))


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else (0.0 if part == 0 else math.inf)


def _cosine(one: Array, other: Array) -> float:
    size = _length(one) * _length(other)
    return float(np.add.reduce(one * other)) / size if size > 0 else 0.0
