# SPDX-License-Identifier: Apache-2.0
"""From a recipe and the headers of its models to a list of tensors to make. No weights are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from plait.errors import BadInput
from plait.fusion.weights import methods
from plait.fusion.weights.alike import check_alike
from plait.fusion.weights.arrange import Input, Made, arrange, has_base
from plait.fusion.weights.checkpoints import STATISTICS, Checkpoint
from plait.fusion.weights.methods.base import Method, Parameter, Value
from plait.fusion.weights.numbers import CODES, FLOATS, promote
from plait.fusion.weights.safetensors import Entry
from plait.fusion.weights.vocabulary import Unified
from plait.recipes.fusion import (
    FusionRecipe,
    Setting,
    Source,
    dump_recipe,
    evaluate,
    hint,
)

# parameters that mergekit's recipes give to methods that have no use for them
NO_MATTER = frozenset(
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
    statistics: tuple[Entry | None, ...] = ()


@dataclass(frozen=True)
class Plan:
    """All tensors to make, and where everything that is not weights comes from.

    `basis` names what the bytes depend on besides recipe and inputs: gates, learnt coefficients.
    """

    recipe: FusionRecipe
    method: Method
    jobs: tuple[Job, ...]
    donor: str
    layers: Mapping[str, int]
    seed: int
    vocabulary: Unified | None = None
    basis: str = ""

    @property
    def bytes(self) -> int:
        """Bytes to read: what progress is counted in."""
        return sum(e.nbytes for j in self.jobs for e in (*j.inputs, *([j.base] if j.base else [])))


def build_plan(
    recipe: FusionRecipe,
    models: Mapping[str, Checkpoint],
    vocabulary: Unified | None = None,
) -> Plan:
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
    if method.base == "required" and not _bases(recipe):
        raise BadInput(
            f"The method '{method.name}' fuses changes from a base: the recipe needs 'base_model'."
        )
    if method.base == "member" and not _bases(recipe):
        raise BadInput(
            f"The method '{method.name}' needs 'base_model', the model that t = 0 gives."
        )
    check_alike(models)
    made, layers = arrange(recipe, models)
    jobs = [_job(tensor, recipe, method, models) for tensor in made]
    if method.statistics and not method.learns and not any(any(j.statistics) for j in jobs):
        raise BadInput(
            f"The method '{method.name}' needs statistics of the models' data: no model has "
            f"{STATISTICS} with '{method.statistics}' in it."
        )
    if not any(not j.copies for j in jobs):
        raise BadInput("The models have no floating-point tensors to fuse.")
    jobs.sort(key=lambda j: j.name)
    return Plan(recipe, method, tuple(jobs), donor_of(recipe), layers, recipe.seed, vocabulary)


def donor_of(recipe: FusionRecipe) -> str:
    """Return the model that configuration and tokenizer come from: the base, else the first."""
    return recipe.base_model or recipe.references()[0]


def _bases(recipe: FusionRecipe) -> bool:
    slices = [p for m in (recipe, *recipe.modules.values()) for p in m.slices]  # type: ignore[attr-defined]
    return recipe.base_model is not None or (
        bool(slices) and all(p.base_model is not None for p in slices)
    )


def scopes(recipe: FusionRecipe) -> Iterator[Mapping[str, Setting]]:
    """Yield every mapping of parameters that a recipe has, from the whole's to each source's."""
    yield recipe.parameters
    for source in recipe.models:
        yield source.parameters
    for part in recipe.slices:
        yield part.parameters
        yield from (s.parameters for s in part.sources)
    for module in recipe.modules.values():
        inner = FusionRecipe(recipe.method, module.models, module.slices)
        yield from scopes(replace(inner, parameters=module.parameters))


def without_effect(recipe: FusionRecipe) -> list[str]:
    """Return the parameters of a recipe that are known but mean nothing to its method."""
    known = {p.name for p in methods.get(recipe.method).parameters}
    given = {name for scope in scopes(recipe) for name in scope}
    return sorted((given - known) & (NO_MATTER - {"int8_mask"}))


def _check_parameters(recipe: FusionRecipe, method: Method) -> None:
    known = [p.name for p in method.parameters]
    for parameters in scopes(recipe):
        for name in parameters:
            if name not in known and name not in NO_MATTER:
                raise BadInput(
                    f"The method '{method.name}' has no parameter '{name[:60]}'"
                    f"{hint(name, known)} "
                    f"It has: {', '.join(known)}."
                )


def _job(
    tensor: Made, recipe: FusionRecipe, method: Method, models: Mapping[str, Checkpoint]
) -> Job:
    inputs = list(tensor.inputs)
    codes = {i.entry.code for i in inputs}
    first = inputs[0].entry
    if not codes <= set(FLOATS):
        if len(codes) > 1 or first.code.startswith("F8"):
            raise BadInput(
                f"Tensor '{tensor.name}' is of {', '.join(sorted(codes))}, which cannot be fused."
            )
        entries = tuple(i.entry for i in inputs)
        return Job(
            tensor.name,
            first.shape,
            first.size,
            first.code,
            "",
            None,
            entries,
            tuple(i.source.model for i in inputs),
            (),
            {},
            copies=True,
        )
    given = CODES.get(recipe.dtype or "")
    natural = promote({i.entry.kind for i in inputs})
    base = None
    if has_base(method, tensor.base):
        base = next(i.entry for i in inputs if i.source.model == tensor.base)
        inputs = [i for i in inputs if i.source.model != tensor.base]
    own = [p for p in method.parameters if p.per_model]
    shared = [p for p in method.parameters if not p.per_model]
    settings = tuple({p.name: _value(p, tensor, i.source, method) for p in own} for i in inputs)
    options = {p.name: _value(p, tensor, None, method) for p in shared}
    options["dialect"] = recipe.dialect or method.dialects[0]
    if method.check:
        method.check(settings, options)
    return Job(
        name=tensor.name,
        shape=first.shape,
        size=first.size,
        out=CODES.get(recipe.out_dtype or "") or given or natural,
        arithmetic=given or ("F64" if natural == "F64" else "F32"),
        base=base,
        inputs=tuple(i.entry for i in inputs),
        models=tuple(i.source.model for i in inputs),
        settings=settings,
        options=options,
        statistics=_statistics(inputs, first, method, models),
    )


def _statistics(
    inputs: list[Input], first: Entry, method: Method, models: Mapping[str, Checkpoint]
) -> tuple[Entry | None, ...]:
    """Return what each model's owner published about a tensor, if the method uses it."""
    if method.statistics is None:
        return ()
    found = []
    for one in inputs:
        known = models[one.source.model].statistics
        entry = known.get(f"{method.statistics}.{one.entry.name}")
        wanted = first.shape
        if method.statistics == "gram" and len(wanted) == 2:
            wanted = (wanted[1], wanted[1])
        if entry is not None and (entry.shape != wanted or entry.code not in FLOATS):
            raise BadInput(
                f"{entry.path}: '{entry.name}' has the shape {list(entry.shape)} but must be of "
                f"floats in the shape {list(wanted)}."
            )
        found.append(entry)
    return tuple(found)


def _value(parameter: Parameter, tensor: Made, source: Source | None, method: Method) -> Value:
    """Look a parameter up: the source's, the slice's, the module's, the recipe's, the default."""
    scopes = [source.parameters] if source else []
    for scope in (*scopes, *tensor.scopes):
        if parameter.name in scope:
            found = evaluate(scope[parameter.name], tensor.name, tensor.position)
            if found is not None:
                return parameter.checked(found)
    if parameter.default is None:
        whose = f" for '{source.model}'" if source else ""
        raise BadInput(
            f"The method '{method.name}' needs '{parameter.name}'{whose} (tensor '{tensor.name}'): "
            f"{parameter.help}; give it under 'parameters'."
        )
    return parameter.default


def canonical(recipe: FusionRecipe, identities: Mapping[str, str]) -> FusionRecipe:
    """Return the recipe with its models sorted by what they hold."""

    def place(source: Source) -> Any:
        own = dump_recipe(FusionRecipe("linear", models=(replace(source, model=""),)))
        return (identities[source.model], repr(own))

    def ordered(part: Any) -> Any:
        return replace(
            part,
            models=tuple(sorted(part.models, key=place)),
            slices=tuple(
                replace(s, sources=tuple(sorted(s.sources, key=place))) for s in part.slices
            ),
        )

    modules = {name: ordered(module) for name, module in recipe.modules.items()}
    found: FusionRecipe = replace(ordered(recipe), modules=modules)
    return found
