# SPDX-License-Identifier: Apache-2.0
"""From a recipe and the headers of its models to a list of tensors to make. No weights are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from plait.errors import BadInput
from plait.fusion import methods, naming
from plait.fusion.checkpoints import Checkpoint
from plait.fusion.methods.base import Method, Value
from plait.fusion.numbers import CODES, FLOATS, promote
from plait.fusion.safetensors import Entry
from plait.recipes.fusion import FusionRecipe, Scalar, Setting, Slice, Source, evaluate, hint

# settings that must be alike for weights of one shape to mean the same
_SAME_CONFIG = (
    "model_type",
    "num_attention_heads",
    "num_key_value_heads",
    "n_head",
    "head_dim",
    "hidden_act",
)
# parameters that mergekit's recipes give to methods that have no use for them
_NO_MATTER = frozenset(
    ("int8_mask", "weight", "normalize", "rescale", "density", "lambda", "t", "epsilon", "gamma")
)


@dataclass(frozen=True)
class Job:
    """One tensor to make: where its inputs lie and the parameters that hold for it."""

    name: str
    shape: tuple[int, ...]
    size: int
    out: str
    arithmetic: str
    base: Entry | None
    inputs: tuple[Entry, ...]
    models: tuple[str, ...]
    settings: tuple[Mapping[str, Value], ...]
    options: Mapping[str, Value]
    copies: bool = False


@dataclass(frozen=True)
class Plan:
    """All tensors to make, and where everything that is not weights comes from."""

    recipe: FusionRecipe
    method: Method
    jobs: tuple[Job, ...]
    donor: str
    layers: Mapping[str, int]
    seed: int

    @property
    def bytes(self) -> int:
        """Bytes to read: what progress is counted in."""
        return sum(e.nbytes for j in self.jobs for e in (*j.inputs, *([j.base] if j.base else [])))


@dataclass(frozen=True)
class _Input:
    """A model's tensor as a slice's source gives it."""

    source: Source
    entry: Entry


def build_plan(recipe: FusionRecipe, models: Mapping[str, Checkpoint]) -> Plan:
    """Plan a fusion from the recipe and the opened models by reference.

    Raises:
        BadInput: if the recipe asks for what the method or the models cannot give.
    """
    method = methods.get(recipe.method)
    _check_parameters(recipe, method)
    if recipe.dialect not in (None, *method.dialects):
        raise BadInput(
            f"The method '{method.name}' has no dialect '{recipe.dialect}'; "
            f"it has: {', '.join(method.dialects)}."
        )
    if method.base == "required" and not recipe.base_model:
        raise BadInput(
            f"The method '{method.name}' fuses changes from a base: the recipe needs 'base_model'."
        )
    if method.base == "member" and not recipe.base_model:
        raise BadInput(
            f"The method '{method.name}' needs 'base_model', the model that t = 0 gives."
        )
    _check_alike(models)
    slices = recipe.slices or (_whole_models(recipe, models),)
    _check_count(slices, recipe, method)
    outputs, layers = (
        _outputs(slices, models) if recipe.slices else _every_tensor(slices[0], models)
    )
    jobs = [
        _job(name, inputs, part, t, recipe, method, models) for name, inputs, part, t in outputs
    ]
    if not any(not j.copies for j in jobs):
        raise BadInput("The models have no floating-point tensors to fuse.")
    donor = recipe.base_model or slices[0].sources[0].model
    return Plan(
        recipe, method, tuple(sorted(jobs, key=lambda j: j.name)), donor, layers, recipe.seed
    )


def _whole_models(recipe: FusionRecipe, models: Mapping[str, Checkpoint]) -> Slice:
    sources = list(recipe.models)
    named = [s.model for s in sources]
    for name in named:
        if named.count(name) > 1:
            raise BadInput(
                f"The recipe names the model '{name}' twice; give it once with one weight."
            )
    method = methods.get(recipe.method)
    if _has_base(method, recipe) and recipe.base_model not in named:
        sources.insert(0, Source(recipe.base_model or ""))
    return Slice(tuple(sources))


def _has_base(method: Method, recipe: FusionRecipe) -> bool:
    """Tell whether the base is the models' common origin here, rather than one of them or none."""
    return method.base in ("required", "member") or (
        method.base == "optional" and recipe.base_model is not None
    )


def _check_count(slices: Sequence[Slice], recipe: FusionRecipe, method: Method) -> None:
    for part in slices:
        count = len(part.sources)
        if _has_base(method, recipe):
            members = sum(s.model == recipe.base_model for s in part.sources)
            if members == 0:
                raise BadInput(
                    f"Each slice must have the base model '{recipe.base_model}' among its sources "
                    f"for the method '{method.name}'."
                )
            count -= members
        low, high = method.models
        if count < low or (high is not None and count > high):
            wanted = f"exactly {low}" if low == high else f"at least {low}"
            besides = " besides the base" if _has_base(method, recipe) else ""
            raise BadInput(
                f"The method '{method.name}' needs {wanted} model(s){besides}; "
                f"the recipe gives {count}."
            )


_Output = tuple[str, list[_Input], Slice, float]


def _every_tensor(
    part: Slice, models: Mapping[str, Checkpoint]
) -> tuple[list[_Output], dict[str, int]]:
    """List each tensor that the models have, with its layer's position in [0, 1]."""
    names: dict[str, None] = {}
    for source in part.sources:
        names.update(dict.fromkeys(models[source.model].tensors))
    counts = naming.layer_counts(names)
    outputs = []
    for name in names:
        inputs = [(s, _find(models[s.model], name)) for s in part.sources]
        outputs.append((name, _complete(name, inputs, models), part, _position(name, counts)))
    return outputs, counts


def _position(name: str, counts: Mapping[str, int]) -> float:
    place = naming.layer_of(name)
    if place is None:
        return 0.0
    count = counts[place[0]]
    return place[1] / (count - 1) if count > 1 else 1.0


def _outputs(
    slices: Sequence[Slice], models: Mapping[str, Checkpoint]
) -> tuple[list[_Output], dict[str, int]]:
    """List the tensors of a model put together from slices, its layers numbered anew."""
    first = models[slices[0].sources[0].model]
    stacks = naming.layer_counts(first.tensors)
    if len(stacks) != 1:
        raise BadInput(
            f"'slices' needs models with one stack of layers; {first.folder} has {len(stacks)}."
        )
    (stack,) = stacks
    result: list[_Output] = []
    number = 0
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
                renamed = naming.renumber(name, number)
                result.append((renamed, _complete(name, inputs, models), part, t))
            number += 1
    for name in first.tensors:
        if naming.layer_of(name) is None:
            part = slices[0] if naming.comes_before_layers(name) else slices[-1]
            inputs = [(s, _find(models[s.model], name)) for s in part.sources]
            result.append((name, _complete(name, inputs, models), part, 0.0))
    return result, {stack: number}


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
) -> list[_Input]:
    """Return the inputs if each model has the tensor, in one shape."""
    have = [(s, e) for s, e in inputs if e is not None]
    source, entry = have[0]
    if len(have) < len(inputs) and entry.code in FLOATS:
        lacking = next(s for s, e in inputs if e is None)
        raise BadInput(
            _different(source.model, lacking.model, models, f"'{name}' is in the first only")
        )
    for other, found in have[1:]:
        if found.shape != entry.shape:
            raise BadInput(
                _different(
                    source.model,
                    other.model,
                    models,
                    f"'{name}' has the shape {list(entry.shape)} in the first "
                    f"and {list(found.shape)} in the second",
                )
            )
    return [_Input(s, e) for s, e in have]


def _different(first: str, second: str, models: Mapping[str, Checkpoint], why: str) -> str:
    return (
        f"'{first}' ({models[first].architecture}) and '{second}' ({models[second].architecture}) "
        f"do not have the same architecture: {why}. Weights can be fused only between fine-tunes "
        "of one base; combine the outputs of these models instead."
    )


def _check_alike(models: Mapping[str, Checkpoint]) -> None:
    """Refuse models whose configurations say that equal shapes do not mean equal roles."""
    references = list(models)
    first = references[0]
    for other in references[1:]:
        one, two = models[first].config, models[other].config
        for key in _SAME_CONFIG:
            if key in one and key in two and one[key] != two[key]:
                raise BadInput(
                    _different(
                        first, other, models, f"'{key}' is {one[key]!r:.60} and {two[key]!r:.60}"
                    )
                )
    labelled = [(r, m.config.get("label2id")) for r, m in models.items()]
    named = [(r, v) for r, v in labelled if isinstance(v, dict) and not any(map(_is_default, v))]
    for other, labels in named[1:]:
        if labels != named[0][1]:
            raise BadInput(
                f"'{named[0][0]}' and '{other}' number their labels differently "
                f"({named[0][1]!r:.100} and {labels!r:.100}); fine-tune them with the same labels."
            )


def _is_default(label: object) -> bool:
    return isinstance(label, str) and label.startswith("LABEL_")


def _check_parameters(recipe: FusionRecipe, method: Method) -> None:
    known = [p.name for p in method.parameters]
    everywhere: list[Mapping[str, Setting]] = [recipe.parameters]
    everywhere += [s.parameters for s in recipe.models]
    for part in recipe.slices:
        everywhere += [part.parameters, *(s.parameters for s in part.sources)]
    for parameters in everywhere:
        for name in parameters:
            if name not in known and name not in _NO_MATTER:
                raise BadInput(
                    f"The method '{method.name}' has no parameter '{name[:60]}'"
                    f"{hint(name, known)} "
                    f"It has: {', '.join(known)}."
                )


def _job(
    name: str,
    inputs: list[_Input],
    part: Slice,
    t: float,
    recipe: FusionRecipe,
    method: Method,
    models: Mapping[str, Checkpoint],
) -> Job:
    codes = {i.entry.code for i in inputs}
    first = inputs[0].entry
    if not codes <= set(FLOATS):
        if len(codes) > 1 or first.code.startswith("F8"):
            raise BadInput(
                f"Tensor '{name}' is of {', '.join(sorted(codes))}, which cannot be fused."
            )
        entries = tuple(i.entry for i in inputs)
        references = tuple(i.source.model for i in inputs)
        return Job(
            name, first.shape, first.size, first.code, "", None, entries, references, (), {}, True
        )
    given = CODES.get(recipe.dtype or "")
    natural = promote(codes)
    base = None
    if _has_base(method, recipe):
        base = next(i.entry for i in inputs if i.source.model == recipe.base_model)
        inputs = [i for i in inputs if i.source.model != recipe.base_model]

    def value(key: str, source: Source | None) -> Value:
        return _value(key, name, t, source, part, recipe, method)

    own = [p.name for p in method.parameters if p.per_model]
    shared = [p.name for p in method.parameters if not p.per_model]
    settings = tuple({k: value(k, i.source) for k in own} for i in inputs)
    options = {k: value(k, None) for k in shared} | {
        "dialect": recipe.dialect or method.dialects[0]
    }
    if method.check:
        method.check(settings, options)
    return Job(
        name=name,
        shape=first.shape,
        size=first.size,
        out=CODES.get(recipe.out_dtype or "") or given or natural,
        arithmetic=given or ("F64" if natural == "F64" else "F32"),
        base=base,
        inputs=tuple(i.entry for i in inputs),
        models=tuple(i.source.model for i in inputs),
        settings=settings,
        options=options,
    )


def _value(
    key: str,
    tensor: str,
    t: float,
    source: Source | None,
    part: Slice,
    recipe: FusionRecipe,
    method: Method,
) -> Value:
    """Look a parameter up: the source's, the slice's, the recipe's, or the default."""
    parameter = method.parameter(key)
    assert parameter is not None
    scopes = [source.parameters] if source else []
    for scope in (*scopes, part.parameters, recipe.parameters):
        if key in scope:
            found = evaluate(scope[key], tensor, t)
            if found is not None:
                return _checked(parameter.is_flag, parameter.low, parameter.high, key, found)
    if parameter.default is None:
        whose = f" for '{source.model}'" if source else ""
        raise BadInput(
            f"The method '{method.name}' needs '{key}'{whose} (tensor '{tensor}'): "
            f"{parameter.help}; give it under 'parameters'."
        )
    return parameter.default


def _checked(flag: bool, low: float | None, high: float | None, key: str, found: Scalar) -> Value:
    if flag:
        if isinstance(found, bool) or found in (0, 1):
            return bool(found)
        raise BadInput(f"'{key}' must be true or false, not {found!r:.60}.")
    if isinstance(found, bool | str):
        raise BadInput(f"'{key}' must be a number, not {found!r:.60}.")
    if (low is not None and found < low) or (high is not None and found > high):
        raise BadInput(f"'{key}' is {found} but must be from {low:g} to {high:g}.")
    return float(found)


def canonical(recipe: FusionRecipe, identities: Mapping[str, str]) -> FusionRecipe:
    """Return the recipe with its models sorted by what they hold."""
    from plait.recipes.fusion import dump_recipe

    def place(source: Source) -> Any:
        own = dump_recipe(FusionRecipe("linear", models=(replace(source, model=""),)))
        return (identities[source.model], repr(own))

    return replace(
        recipe,
        models=tuple(sorted(recipe.models, key=place)),
        slices=tuple(
            replace(s, sources=tuple(sorted(s.sources, key=place))) for s in recipe.slices
        ),
    )
