# SPDX-License-Identifier: Apache-2.0
"""Which tensors the fused model has, and which tensors of its sources each is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from plait.errors import BadInput
from plait.fusion.weights import methods, naming
from plait.fusion.weights.alike import Misfit, different, other_vocabulary
from plait.fusion.weights.checkpoints import Checkpoint
from plait.fusion.weights.methods.base import Method
from plait.fusion.weights.numbers import FLOATS
from plait.fusion.weights.safetensors import Entry
from plait.fusion.weights.vocabulary import is_embedding
from plait.recipes.fusion import FusionRecipe, Module, Setting, Slice, Source

Claim = Callable[[str], bool]
WHOLE = ("default", "model")


@dataclass(frozen=True)
class Input:
    """A model's tensor as a source gives it."""

    source: Source
    entry: Entry


@dataclass(frozen=True)
class Made:
    """A tensor to make: its inputs, whose parameters hold for it, and its layer's position."""

    name: str
    inputs: tuple[Input, ...]
    scopes: tuple[Mapping[str, Setting], ...]
    position: float
    base: str | None


def has_base(method: Method, base: str | None) -> bool:
    """Tell whether the base is the models' common origin, rather than one of them or none."""
    return method.base in ("required", "member") or (method.base == "optional" and base is not None)


def arrange(
    recipe: FusionRecipe, models: Mapping[str, Checkpoint]
) -> tuple[list[Made], dict[str, int]]:
    """Return the tensors to make, and the number of layers of each stack of the result.

    Raises:
        BadInput: if the recipe asks for what cannot be.
        Misfit: if models lack what the recipe takes from them, or have it in other shapes.
    """
    method = methods.get(recipe.method)
    modules = recipe.modules or {"default": Module(recipe.models, recipe.slices)}
    claims = _claims(modules, models[next(iter(recipe.references()))])
    made: list[Made] = []
    layers: dict[str, int] = {}
    for name, module in modules.items():
        shared = (module.parameters, recipe.parameters)
        if module.slices:
            _check_count(module.slices, recipe, method)
            found, counts = _stacked(module.slices, models, claims[name], recipe, shared)
        else:
            part = _whole_models(module.models, recipe, method)
            _check_count([part], recipe, method)
            found, counts = _every_tensor(part, models, claims[name], recipe, shared)
        made += found
        layers |= counts
    return made, layers


def _claims(modules: Mapping[str, Module], first: Checkpoint) -> dict[str, Claim]:
    """Say for each module which tensors are its own.

    A module is named by the first part of its tensors' names (or the second, after `model`). What
    no name claims goes to the first module if it comes before the layers, else to the last.
    """
    if len(modules) == 1 and next(iter(modules)) in WHOLE:
        return {next(iter(modules)): lambda name: True}
    names = list(modules)

    def owner(tensor: str) -> str:
        parts = tensor.split(".")
        for part in parts[:2] if parts[0] == "model" else parts[:1]:
            if part in modules:
                return part
        return names[0] if naming.comes_before_layers(tensor) else names[-1]

    for name in names:
        if not any(name in t.split(".")[:2] and owner(t) == name for t in first.tensors):
            tops = sorted({t.split(".")[0] for t in first.tensors})[:10]
            raise BadInput(
                f"The model has no module '{name[:60]}'; its tensors begin with {', '.join(tops)}."
            )
    return {name: lambda tensor, name=name: owner(tensor) == name for name in names}  # type: ignore[misc]


def _whole_models(sources: tuple[Source, ...], recipe: FusionRecipe, method: Method) -> Slice:
    named = [s.model for s in sources]
    for name in named:
        if named.count(name) > 1:
            raise BadInput(
                f"The recipe names the model '{name}' twice; give it once with one weight."
            )
    if has_base(method, recipe.base_model) and recipe.base_model not in named:
        sources = (Source(recipe.base_model or ""), *sources)
    return Slice(sources)


def _check_count(slices: Sequence[Slice], recipe: FusionRecipe, method: Method) -> None:
    for part in slices:
        count = len(part.sources)
        base = part.base_model or recipe.base_model
        with_base = has_base(method, base)
        if with_base:
            members = sum(s.model == base for s in part.sources)
            if members == 0:
                raise BadInput(
                    f"Each slice must have the base model '{base}' among its sources "
                    f"for the method '{method.name}'."
                )
            count -= members
        low, high = method.models
        if count < low or (high is not None and count > high):
            wanted = f"exactly {low}" if low == high else f"at least {low}"
            besides = " besides the base" if with_base else ""
            raise BadInput(
                f"The method '{method.name}' needs {wanted} model{'' if low == 1 else 's'}"
                f"{besides}; the recipe gives {count or 'none'}."
            )


def _every_tensor(
    part: Slice,
    models: Mapping[str, Checkpoint],
    claims: Claim,
    recipe: FusionRecipe,
    shared: tuple[Mapping[str, Setting], ...],
) -> tuple[list[Made], dict[str, int]]:
    """List each tensor that the models have, with its layer's position in [0, 1]."""
    names: dict[str, None] = {}
    for source in part.sources:
        names.update(dict.fromkeys(n for n in models[source.model].tensors if claims(n)))
    counts = naming.layer_counts(names)
    made = []
    for name in names:
        inputs = [(s, _find(models[s.model], name)) for s in part.sources]
        complete = _complete(name, inputs, models)
        made.append(Made(name, complete, shared, _position(name, counts), recipe.base_model))
    return made, counts


def _position(name: str, counts: Mapping[str, int]) -> float:
    place = naming.layer_of(name)
    if place is None:
        return 0.0
    count = counts[place[0]]
    return place[1] / (count - 1) if count > 1 else 1.0


def _stacked(
    slices: Sequence[Slice],
    models: Mapping[str, Checkpoint],
    claims: Claim,
    recipe: FusionRecipe,
    shared: tuple[Mapping[str, Setting], ...],
) -> tuple[list[Made], dict[str, int]]:
    """List the tensors of a model put together from slices, its layers numbered anew."""
    first = models[slices[0].sources[0].model]
    own = [n for n in first.tensors if claims(n)]
    stacks = naming.layer_counts(own)
    if len(stacks) != 1:
        raise BadInput(
            f"'slices' needs models with one stack of layers; {first.folder} has {len(stacks)}"
            f"{' (name each under modules)' if len(stacks) > 1 else ''}."
        )
    (stack,) = stacks
    made: list[Made] = []
    number = 0

    def add(name: str, inputs: list[tuple[Source, Entry | None]], part: Slice, t: float) -> None:
        scopes = (part.parameters, *shared)
        complete = _complete(name, inputs, models)
        made.append(Made(name, complete, scopes, t, part.base_model or recipe.base_model))

    for part in slices:
        length = _slice_length(part, models, stack)
        for offset in range(length):
            t = offset / (length - 1) if length > 1 else 1.0
            lows = [(s.layer_range or (0, 0))[0] for s in part.sources]
            layer = f"{stack}{lows[0] + offset}."
            for name in models[part.sources[0].model].tensors:
                if not name.startswith(layer):
                    continue
                inputs = [
                    (s, _find(models[s.model], naming.renumber(name, low + offset)))
                    for s, low in zip(part.sources, lows, strict=True)
                ]
                add(naming.renumber(name, number), inputs, part, t)
            number += 1
    for name in own:
        if naming.layer_of(name) is None:
            part = slices[0] if naming.comes_before_layers(name) else slices[-1]
            add(name, [(s, _find(models[s.model], name)) for s in part.sources], part, 0.0)
    return made, {stack: number}


def _slice_length(part: Slice, models: Mapping[str, Checkpoint], stack: str) -> int:
    lengths = set()
    for source in part.sources:
        count = naming.layer_counts(models[source.model].tensors).get(stack, 0)
        low, high = source.layer_range or (0, count)
        if high > count:
            raise BadInput(
                f"'{source.model}' has {count} layers; layer_range [{low}, {high}] goes beyond."
            )
        lengths.add(high - low)
    if len(lengths) > 1:
        raise BadInput("Every source of a slice must have as many layers as the others.")
    return lengths.pop()


def _find(model: Checkpoint, name: str) -> Entry | None:
    if name in model.tensors:
        return model.tensors[name]
    return next((model.tensors[n] for n in naming.tied_names(name) if n in model.tensors), None)


def _complete(
    name: str, inputs: list[tuple[Source, Entry | None]], models: Mapping[str, Checkpoint]
) -> tuple[Input, ...]:
    """Return the inputs if each model has the tensor, in one shape."""
    have = [(s, e) for s, e in inputs if e is not None]
    source, entry = have[0]
    if len(have) < len(inputs) and entry.code in FLOATS:
        lacking = next(s for s, e in inputs if e is None)
        raise Misfit(
            different(source.model, lacking.model, models, f"'{name}' is in the first only")
        )
    for other, found in have[1:]:
        if found.shape != entry.shape:
            if is_embedding(name) and found.shape[1:] == entry.shape[1:]:
                shapes = (entry.shape, found.shape)
                raise Misfit(other_vocabulary(source.model, other.model, name, shapes))
            raise Misfit(
                different(
                    source.model,
                    other.model,
                    models,
                    f"'{name}' has the shape {list(entry.shape)} in the first "
                    f"and {list(found.shape)} in the second",
                )
            )
    return tuple(Input(s, e) for s, e in have)
