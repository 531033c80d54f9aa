# SPDX-License-Identifier: Apache-2.0
"""Weights of task arithmetic in closed form, from statistics that owners publish.

RegMean (2212.09849) asks, for every linear layer, for the matrix whose outputs on each owner's data
are nearest to those of the owner's own; inner products G_i of the layer's inputs are all that it
needs of the data. Among the matrices that task arithmetic can make, base + sum of w_j D_j with
D_j = W_j - base, the nearest has weights that solve

    sum_k w_k sum_i <D_j G_i, D_k> = sum_i <D_j G_i, D_i>        for every j,

summed over the layers. No item is looked at, so that the point is a candidate like any other: it is
measured, and taken only if it is clearly better than the default.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from plait.fusion.search.candidates import Candidate
from plait.fusion.search.space import Space
from plait.fusion.weights.checkpoints import Checkpoint
from plait.fusion.weights.engine import Readers
from plait.fusion.weights.numbers import FLOATS, STORAGE, decode
from plait.fusion.weights.safetensors import Entry
from plait.recipes.search import Range

METHOD = "task_arithmetic"
_OTHERS = ("lambda", "normalize")
"""Parameters that change what a weight means; the closed form is for their defaults."""

Doubles = NDArray[np.float64]


def closed_form(space: Space, models: Mapping[str, Checkpoint]) -> Candidate | None:
    """Return the point of a space that the owners' statistics ask for.

    None where there is no closed form: another method, weights that differ by layer, other
    coefficients that vary as well, or a model without statistics.
    """
    recipe = space.recipe
    dimensions = space.dimensions.get(METHOD, ())
    own = {one.model for one in dimensions}
    fits = dimensions and all(
        one.parameter == "weight" and one.part is None and isinstance(one.varies, Range)
        for one in dimensions
    )
    given = {*recipe.parameters, *(name for s in recipe.models for name in s.parameters)}
    if not fits or recipe.base_model is None or not recipe.models or given & set(_OTHERS):
        return None
    members = [s.model for s in recipe.models if s.model != recipe.base_model]
    places = [i for i, s in enumerate(recipe.models) if s.model != recipe.base_model]
    found = _equations(models[recipe.base_model], [models[name] for name in members])
    if found is None:
        return None
    left, right = found
    if own == {None}:
        total = float(left.sum())
        weights = [float(right.sum()) / total] if total > 0 else []
    elif own == set(places):
        solved = np.linalg.lstsq(left, right, rcond=None)[0]
        weights = [float(solved[places.index(one.model or 0)]) for one in dimensions]
    else:
        return None
    if not weights or not np.isfinite(weights).all():
        return None
    values = {}
    for one, weight in zip(dimensions, weights, strict=True):
        assert isinstance(one.varies, Range), "checked above"
        values[one.key] = float(f"{min(max(weight, one.varies.low), one.varies.high):.4g}")
    return Candidate.of(METHOD, **values)


def _equations(base: Checkpoint, models: list[Checkpoint]) -> tuple[Doubles, Doubles] | None:
    """Return both sides of the equations, or None if no layer has every owner's statistics."""
    count = len(models)
    left, right = np.zeros((count, count)), np.zeros(count)
    layers = 0
    with Readers() as readers:
        for name, entry in base.tensors.items():
            if len(entry.shape) != 2 or entry.code not in FLOATS:
                continue
            grams = [model.statistics.get(f"gram.{name}") for model in models]
            entries = [model.tensors.get(name) for model in models]
            if any(g is None for g in grams) or any(
                e is None or e.shape != entry.shape for e in entries
            ):
                continue
            start = _read(readers, entry)
            changes = [_read(readers, e) - start for e in entries if e is not None]
            for owner, gram in enumerate(grams):
                assert gram is not None, "checked above"
                if gram.shape not in ((entry.shape[1],), (entry.shape[1],) * 2):
                    return None
                inner = _read(readers, gram)
                for j, change in enumerate(changes):
                    weighed = change * inner if inner.ndim == 1 else change @ inner
                    left[j] += [float(np.vdot(weighed, other)) for other in changes]
                    right[j] += float(np.vdot(weighed, changes[owner]))
            layers += 1
    return (left, right) if layers else None


def _read(readers: Readers, entry: Entry) -> Doubles:
    raw = np.empty(entry.size, STORAGE[entry.code])
    readers.read(entry, 0, raw)
    values = np.empty(entry.size, np.float64 if entry.code == "F64" else np.float32)
    decode(raw, entry.code, values)
    return values.astype(np.float64).reshape(entry.shape)
