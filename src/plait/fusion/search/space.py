# SPDX-License-Identifier: Apache-2.0
"""What a search may vary of a recipe, and how a point of that space becomes a recipe again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from plait.errors import BadInput
from plait.fusion.search.candidates import Candidate
from plait.fusion.search.defaults import default_ranges, default_values, fits
from plait.fusion.weights import methods
from plait.fusion.weights.methods.base import Method, Parameter
from plait.fusion.weights.plan import NO_MATTER
from plait.recipes.fusion import FusionRecipe, Gradient, Rule, Rules, Scalar, Setting, hint
from plait.recipes.search import METHOD, Choices, Range, SearchSpec
from plait.recipes.sources import Module, Slice, Source


@dataclass(frozen=True)
class Dimension:
    """One number (or word) that varies: a parameter's, perhaps of one model, at one place.

    `model` is the place of the model in the recipe, `part` that of the gradient's point or of the
    filter; None: the same for all of them.
    """

    parameter: str
    varies: Range | Choices
    model: int | None = None
    part: int | None = None
    key: str = ""


@dataclass(frozen=True)
class Space:
    """A recipe and all that may vary of it, by method."""

    recipe: FusionRecipe
    spec: SearchSpec
    dimensions: Mapping[str, tuple[Dimension, ...]]

    @property
    def default(self) -> Candidate:
        """The recipe as it is written: where it starts, and what another must clearly beat."""
        return Candidate(self.recipe.method, ())

    def size(self) -> int:
        """Return how many numbers vary, of the method that has the most."""
        return max(len(one) for one in self.dimensions.values())

    def apply(self, candidate: Candidate) -> FusionRecipe:
        """Return the recipe of a candidate, without its search."""
        plain = replace(self.recipe, search=None)
        if candidate == self.default:
            return _completed(plain, methods.get(plain.method))
        method = methods.get(candidate.method)
        made = _for_method(plain, method)
        values = candidate.values
        grouped: dict[tuple[str, int | None], list[tuple[Dimension, Scalar]]] = {}
        for one in self.dimensions[candidate.method]:
            grouped.setdefault((one.parameter, one.model), []).append((one, values[one.key]))
        for name in {parameter for parameter, _ in grouped}:
            made = _without(made, name)
        for (name, model), entries in grouped.items():
            made = _with(made, name, model, self._setting(entries))
        return _completed(made, method)

    def _setting(self, entries: Sequence[tuple[Dimension, Scalar]]) -> Setting:
        if entries[0][0].part is None:
            return entries[0][1]
        values = tuple(value for _, value in entries)
        if "filters" not in self._per(entries[0][0]):
            return Gradient(values)
        rules = zip((*self.spec.filters, None), values, strict=True)
        return Rules(tuple(Rule(filter_, value) for filter_, value in rules))

    def _per(self, one: Dimension) -> tuple[str, ...]:
        return one.varies.per if one.varies.per is not None else self.spec.per

    def describe(self, candidate: Candidate) -> dict[str, Any]:
        """Return a candidate's values by name, those of the recipe where it is the default."""
        if candidate == self.default:
            found = self.written()
            return found if found is not None else {}
        return candidate.values

    def written(self) -> dict[str, Any] | None:
        """Return the default as values of the dimensions; None if one has no single value there."""
        found: dict[str, Any] = {}
        complete = _completed(self.recipe, methods.get(self.recipe.method))
        for one in self.dimensions.get(self.recipe.method, ()):
            value = _written(complete, one)
            if value is None:
                return None
            found[one.key] = value
        return found


def build_space(recipe: FusionRecipe, spec: SearchSpec) -> Space:
    """Work out what varies.

    Raises:
        BadInput: naming a parameter that no method has, or values that it cannot take.
    """
    names = [recipe.method]
    given = spec.parameters.get(METHOD)
    if given is not None:
        if not isinstance(given, Choices) or not all(isinstance(v, str) for v in given.values):
            raise BadInput(
                "search.parameters.method must be a list of methods, like [ties, della]."
            )
        names = [str(value) for value in given.values]
    found = {name: methods.get(name) for name in names}
    count = len(_members(recipe, found[names[0]]))
    for method in found.values():
        if recipe.models and not fits(method, count):
            raise BadInput(
                f"search.parameters.method lists '{method.name}', which cannot fuse {count} models."
            )
    asked = {name: one for name, one in spec.parameters.items() if name != METHOD}
    known = sorted({p.name for method in found.values() for p in method.parameters})
    for name in asked:
        if name not in known:
            raise BadInput(
                f"search.parameters names '{name[:60]}', which {_listed(names)} does not have"
                f"{hint(name, known)}"
            )
    dimensions = {}
    for name, method in found.items():
        mine = {p: one for p, one in asked.items() if method.parameter(p) is not None}
        if not asked:
            mine = default_ranges(method, "model" in spec.per)
        dimensions[name] = tuple(
            dimension
            for parameter, one in mine.items()
            for dimension in _dimensions(recipe, spec, method, parameter, one)
        )
    space = Space(recipe, spec, dimensions)
    if len(names) == 1 and not space.size():
        raise BadInput(
            f"Nothing varies: the method '{names[0]}' has no coefficient that is usually searched. "
            "Name some under search.parameters, or several methods, as in "
            "{method: [ties, task_arithmetic]}."
        )
    return space


def _dimensions(
    recipe: FusionRecipe, spec: SearchSpec, method: Method, name: str, varies: Range | Choices
) -> list[Dimension]:
    parameter = method.parameter(name)
    assert parameter is not None, "the caller asked"
    _check_values(method, parameter, varies)
    per = varies.per if varies.per is not None else spec.per
    if varies.per and "model" in varies.per and not parameter.per_model:
        raise BadInput(
            f"search.parameters.{name}: the method '{method.name}' has one {name} for all models, "
            "so it cannot vary per model."
        )
    models: list[int | None] = [None]
    if "model" in per and parameter.per_model:
        if not recipe.models:
            raise BadInput(
                "A recipe with slices or modules can be searched per layers or filters, not per "
                "model: its models differ from slice to slice."
            )
        models = list(_members(recipe, method))
    parts: list[int | None] = [None]
    if "layers" in per:
        parts = list(range(spec.layers))
    if "filters" in per:
        parts = list(range(len(spec.filters) + 1))
    labels = _labels(recipe)
    found = []
    for model, part in product(models, parts):
        key = name
        if model is not None:
            key += f"[{labels[model]}]"
        if part is not None:
            places = [*spec.filters, "rest"] if "filters" in per else range(1, spec.layers + 1)
            key += f"@{places[part]}"
        found.append(Dimension(name, varies, model, part, key))
    return found


def _check_values(method: Method, parameter: Parameter, varies: Range | Choices) -> None:
    where = f"search.parameters.{parameter.name}"
    if isinstance(varies, Choices):
        values: tuple[Any, ...] = varies.values
        kinds = bool if parameter.is_flag else float
        for value in values:
            if not isinstance(value, kinds) or (kinds is float and isinstance(value, bool)):
                wanted = "true or false" if parameter.is_flag else "numbers"
                raise BadInput(
                    f"{where} of the method '{method.name}' takes {wanted}, not {value!r}."
                )
    else:
        values = (varies.low, varies.high)
        if parameter.is_flag:
            raise BadInput(f"{where} is true or false; write {{choices: [true, false]}}.")
    if parameter.is_flag:
        return
    for value in values:
        low, high = parameter.low, parameter.high
        if (low is not None and value < low) or (high is not None and value > high):
            raise BadInput(
                f"{where} goes to {value:g}, but the method '{method.name}' takes {low:g} to "
                f"{high:g}."
            )


def _members(recipe: FusionRecipe, method: Method) -> list[int]:
    """Return the places of the models that have coefficients: not a base that is listed too."""
    return [
        place
        for place, source in enumerate(recipe.models)
        if method.base == "unused" or source.model != recipe.base_model
    ]


def _labels(recipe: FusionRecipe) -> list[str]:
    """Return short names of a recipe's models, the last parts of their paths, all different."""
    paths = [source.model.rstrip("/").split("/") for source in recipe.models]
    for length in range(1, max(map(len, paths), default=1) + 1):
        short = ["/".join(path[-length:]) for path in paths]
        if len(set(short)) == len(short):
            return short
    return [str(place + 1) for place in range(len(paths))]


def _for_method(recipe: FusionRecipe, method: Method) -> FusionRecipe:
    """Return the recipe with another method, without the parameters that it does not have."""
    if recipe.method == method.name:
        return recipe
    known = {p.name for p in method.parameters} | NO_MATTER
    dialect = recipe.dialect if recipe.dialect in method.dialects else None
    made = replace(recipe, method=method.name, dialect=dialect)
    names = {
        name for scope in (made.parameters, *(s.parameters for s in made.models)) for name in scope
    }
    for name in names - known:
        made = _without(made, name)
    return made


def _completed(recipe: FusionRecipe, method: Method) -> FusionRecipe:
    """Give the coefficients that a method needs and the recipe lacks their usual values."""
    needed = [p for p in method.parameters if p.default is None]
    members = _members(recipe, method)
    lacking = [
        p.name
        for p in needed
        if p.name not in recipe.parameters
        and not (
            p.per_model and members and all(p.name in recipe.models[i].parameters for i in members)
        )
    ]
    if not lacking or not recipe.models:
        return recipe
    values = default_values(method.name, len(members))
    added = {name: values[name] for name in lacking if name in values}
    return replace(recipe, parameters={**added, **recipe.parameters})


def _written(recipe: FusionRecipe, one: Dimension) -> Scalar | None:
    method = methods.get(recipe.method)
    parameter = method.parameter(one.parameter)
    places = [one.model] if one.model is not None else _members(recipe, method)
    shared: Setting | None = recipe.parameters.get(one.parameter)
    if shared is None and parameter is not None:
        shared = parameter.default
    found = {
        _single(recipe.models[place].parameters.get(one.parameter, shared)) for place in places
    } or {_single(shared)}
    return found.pop() if len(found) == 1 else None


def _single(setting: Setting | None) -> Scalar | None:
    return None if isinstance(setting, Gradient | Rules) else setting


def _with(recipe: FusionRecipe, name: str, model: int | None, value: Setting) -> FusionRecipe:
    if model is None:
        return replace(recipe, parameters={**recipe.parameters, name: value})
    models = list(recipe.models)
    models[model] = replace(models[model], parameters={**models[model].parameters, name: value})
    return replace(recipe, models=tuple(models))


def _without(recipe: FusionRecipe, name: str) -> FusionRecipe:
    """Return the recipe without a parameter, wherever it is given."""

    def bare(parameters: Mapping[str, Setting]) -> dict[str, Setting]:
        return {key: value for key, value in parameters.items() if key != name}

    def sources(listed: Sequence[Source]) -> tuple[Source, ...]:
        return tuple(replace(one, parameters=bare(one.parameters)) for one in listed)

    def slices(listed: Sequence[Slice]) -> tuple[Slice, ...]:
        return tuple(
            replace(one, parameters=bare(one.parameters), sources=sources(one.sources))
            for one in listed
        )

    def module(one: Module) -> Module:
        return replace(
            one,
            parameters=bare(one.parameters),
            models=sources(one.models),
            slices=slices(one.slices),
        )

    return replace(
        recipe,
        parameters=bare(recipe.parameters),
        models=sources(recipe.models),
        slices=slices(recipe.slices),
        modules={key: module(one) for key, one in recipe.modules.items()},
    )


def _listed(names: Sequence[str]) -> str:
    return f"the method '{names[0]}'" if len(names) == 1 else "none of the methods"
