# SPDX-License-Identifier: Apache-2.0
"""Which tensors a mixture has, and which tensor of which model each is."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from plait.errors import BadInput
from plait.fusion.weights import methods
from plait.fusion.weights.checkpoints import Checkpoint
from plait.fusion.weights.computed import Computed, Read
from plait.fusion.weights.mixture.architectures import NO_SHARED, PARTS, Architecture
from plait.fusion.weights.mixture.gates import Gates
from plait.fusion.weights.numbers import CODES, FLOATS, Array, promote
from plait.fusion.weights.plan import Job, Plan
from plait.fusion.weights.safetensors import Entry
from plait.recipes.fusion import FusionRecipe, Source
from plait.recipes.mixture import Expert, MixtureRecipe

_MLP = re.compile(r"(model\.layers\.(\d+)\.)mlp\.(.+)")
_DROPPED = "rotary_emb.inv_freq"  # old models' files have what the configuration says anyway


@dataclass(frozen=True)
class Held(Computed):
    """A tensor that is in memory: a gate."""

    values: Array = field(default_factory=lambda: np.zeros(0, np.float32), compare=False)

    def rows(self, read: Read, low: int, high: int) -> Array:
        """Return rows of it."""
        return self.values.reshape(-1, self.row)[low:high]


@dataclass(frozen=True)
class Dense:
    """The sizes of the dense models: layers, their prefixes, hidden width and inner width."""

    prefixes: tuple[str, ...]
    hidden: int
    inner: int


def measure(recipe: MixtureRecipe, models: Mapping[str, Checkpoint]) -> Dense:
    """Return the sizes of the models, which must be alike.

    Raises:
        BadInput: naming the two tensors that differ in shape, or what a model lacks.
    """
    experts = [*recipe.experts, *([recipe.shared] if recipe.shared else [])]
    first = models[experts[0].model]
    prefixes = {int(m[2]): m[1] for m in map(_MLP.fullmatch, first.tensors) if m}
    if not prefixes or sorted(prefixes) != list(range(len(prefixes))):
        raise BadInput(
            f"'{experts[0].model}' has no feed-forward layers 'model.layers.0.mlp.…' to be experts."
        )
    for expert in experts:
        _check_expert(expert.model, models, experts[0].model, prefixes)
    base = models[recipe.base_model]
    for number in range(len(prefixes)):
        if f"{prefixes[number]}input_layernorm.weight" not in base.tensors:
            raise BadInput(
                f"'{recipe.base_model}' has no layer {number}, but '{experts[0].model}' has "
                f"{len(prefixes)} layers; a mixture's models have the same number."
            )
    inner, hidden = first.tensors[f"{prefixes[0]}mlp.gate_proj.weight"].shape
    norm = base.tensors[f"{prefixes[0]}input_layernorm.weight"].shape
    if norm != (hidden,):
        raise BadInput(
            f"'{recipe.base_model}' has layers of width {list(norm)}, the experts of [{hidden}]; "
            "a mixture's models have the same."
        )
    return Dense(tuple(prefixes[n] for n in range(len(prefixes))), hidden, inner)


def _check_expert(
    reference: str, models: Mapping[str, Checkpoint], first: str, prefixes: Mapping[int, str]
) -> None:
    own, others = models[reference].tensors, models[first].tensors
    for name in own:
        match = _MLP.fullmatch(name)
        if match and int(match[2]) not in prefixes:
            raise BadInput(
                f"'{reference}' has a layer {match[2]}, but '{first}' has {len(prefixes)} layers; "
                "a mixture's models have the same number."
            )
        if match and match[3] not in [f"{part}.weight" for part in PARTS]:
            raise BadInput(
                f"'{reference}' has '{name[:100]}' in its feed-forward layer, which a mixture has "
                "no place for; only dense models can be experts."
            )
    for prefix in prefixes.values():
        for part in PARTS:
            name = f"{prefix}mlp.{part}.weight"
            if name not in own or name not in others:
                raise BadInput(f"'{reference if name not in own else first}' has no '{name}'.")
            if own[name].shape != others[name].shape or len(own[name].shape) != 2:
                raise BadInput(
                    f"'{name}' has the shape {list(own[name].shape)} in '{reference}' and "
                    f"{list(others[name].shape)} in '{first}'; experts are alike in shape."
                )


def plan_mixture(
    recipe: MixtureRecipe,
    models: Mapping[str, Checkpoint],
    target: Architecture,
    dense: Dense,
    gates: Gates,
) -> Plan:
    """Plan a mixture: the base's tensors, the experts' layers, the gates."""
    base = models[recipe.base_model]
    kinds = {
        e.kind
        for m in models.values()
        for e in m.tensors.values()
        if e.code in FLOATS and not e.name.endswith(_DROPPED)
    }
    out = CODES.get(recipe.dtype or "") or promote(kinds)
    jobs = []
    for name, entry in base.tensors.items():
        if not _MLP.fullmatch(name) and not name.endswith(_DROPPED):
            jobs.append(_job(name, entry, recipe.base_model, out))
    for name, entry, reference, scale in _layers(recipe, models, target, dense):
        jobs.append(_job(name, entry, reference, out, scale))
    digest = hashlib.sha256(repr(recipe).encode())
    for name, values in _gates(target, dense, gates, shared=recipe.shared is not None):
        digest.update(values.tobytes())
        jobs.append(_job(name, _held(name, values, base.files[0]), recipe.base_model, out))
    jobs.sort(key=lambda j: j.name)
    method = methods.get("passthrough")
    stand_in = FusionRecipe(
        method.name,
        models=tuple(Source(r) for r in models),
        base_model=recipe.base_model,
        out_dtype=recipe.dtype,
    )
    layers = {"model.layers": len(dense.prefixes)}
    return Plan(
        stand_in,
        method,
        tuple(jobs),
        recipe.base_model,
        layers,
        recipe.seed,
        basis=digest.hexdigest(),
    )


def _layers(
    recipe: MixtureRecipe, models: Mapping[str, Checkpoint], target: Architecture, dense: Dense
) -> Iterator[tuple[str, Entry, str, float]]:
    """Yield name, tensor, model and factor of all experts' matrices."""

    def parts(expert: Expert, prefix: str) -> Iterator[tuple[str, Entry, float]]:
        for part in PARTS:
            entry = models[expert.model].tensors[f"{prefix}mlp.{part}.weight"]
            # what leaves an expert is scaled by its last matrix
            yield part, entry, expert.scale if part == "down_proj" else 1.0

    for prefix in dense.prefixes:
        for number, expert in enumerate(recipe.experts):
            for part, entry, scale in parts(expert, prefix):
                yield target.expert(prefix, number, part), entry, expert.model, scale
        if recipe.shared:
            for part, entry, scale in parts(recipe.shared, prefix):
                name = f"{prefix}{target.block}.shared_expert.{part}.weight"
                yield name, entry, recipe.shared.model, scale


def _gates(
    target: Architecture, dense: Dense, gates: Gates, *, shared: bool
) -> Iterator[tuple[str, Array]]:
    for number, prefix in enumerate(dense.prefixes):
        yield target.gate(prefix), gates.experts[number]
        if not target.shared:
            continue
        place = f"{prefix}{target.block}.shared_expert"
        if shared:
            yield f"{place}_gate.weight", gates.shared[number]
            continue
        # the architecture always has a shared expert: one of zeros adds nothing
        yield f"{place}_gate.weight", np.zeros((1, dense.hidden), np.float32)
        for part in PARTS:
            rows, columns = NO_SHARED, dense.hidden
            shape = (columns, rows) if part == "down_proj" else (rows, columns)
            yield f"{place}.{part}.weight", np.zeros(shape, np.float32)


def _held(name: str, values: Array, path: Path) -> Held:
    origin = Entry(name, "F32", values.shape, path, 0, values.nbytes)
    return Held(name, "F32", values.shape, path, 0, values.nbytes, origin, values)


def _job(name: str, entry: Entry, reference: str, out: str, scale: float = 1.0) -> Job:
    copies = entry.code not in FLOATS
    return Job(
        name=name,
        shape=entry.shape,
        size=entry.size,
        out=entry.code if copies else out,
        arithmetic="" if copies else "F64" if entry.code == "F64" else "F32",
        base=None,
        inputs=(entry,),
        models=(reference,),
        settings=() if copies else ({"scale": scale},),
        options={} if copies else {"dialect": "mergekit"},
        copies=copies,
    )
