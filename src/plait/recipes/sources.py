# SPDX-License-Identifier: Apache-2.0
"""The models of a recipe: whole, in slices of layers, or by module."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from plait.errors import BadInput
from plait.recipes.parameters import (
    MAX_LAYERS,
    Setting,
    dump_parameters,
    keys,
    parse_parameters,
    short,
)
from plait.recipes.references import reference

MAX_MODELS = 1_000


@dataclass(frozen=True)
class Source:
    """One model of a fusion (in a slice: some of its layers) and its own parameters."""

    model: str
    layer_range: tuple[int, int] | None = None
    parameters: Mapping[str, Setting] = field(default_factory=dict)
    task: str | None = None
    """The task that it was made for, by the name that the recipe's `tasks` have."""


@dataclass(frozen=True)
class Slice:
    """Consecutive layers of the result: the same number of layers of each source."""

    sources: tuple[Source, ...]
    parameters: Mapping[str, Setting] = field(default_factory=dict)
    base_model: str | None = None


@dataclass(frozen=True)
class Module:
    """A part of a model (an encoder, a vision tower) with models or slices of its own."""

    models: tuple[Source, ...] = ()
    slices: tuple[Slice, ...] = ()
    parameters: Mapping[str, Setting] = field(default_factory=dict)


def parse_parts(
    data: Mapping[str, Any], where: str
) -> tuple[tuple[Source, ...], tuple[Slice, ...]]:
    """Return the models or the slices of a recipe or a module: one of the two, not both.

    Raises:
        BadInput: naming what is wrong.
    """
    models, slices = data.get("models"), data.get("slices")
    if (models is None) == (slices is None):
        raise BadInput(f"{where} needs either 'models' or 'slices' (and not both).")
    return (
        () if models is None else _models(models),
        () if slices is None else _slices(slices),
    )


def parse_modules(value: object) -> dict[str, Module]:
    """Return the modules of a recipe by name."""
    if not isinstance(value, Mapping) or not value or len(value) > MAX_MODELS:
        raise BadInput("'modules' must be a mapping with at least one part of the model.")
    found = {}
    for name, inner in value.items():
        where = f"modules.{short(name)}"
        entry = keys(inner, where, ("models", "slices", "parameters"))
        models, slices = parse_parts(entry, f"'{where}'")
        parameters = parse_parameters(entry.get("parameters"), f"{where}.parameters")
        found[str(name)] = Module(models, slices, parameters)
    return found


def dump_parts(models: tuple[Source, ...], slices: tuple[Slice, ...]) -> dict[str, Any]:
    """Return `models` or `slices` as the plain values they were read from."""
    data: dict[str, Any] = {}
    if models:
        data["models"] = [_dump_source(s) for s in models]
    if slices:
        data["slices"] = [
            {"sources": [_dump_source(s) for s in part.sources]}
            | ({"base_model": part.base_model} if part.base_model else {})
            | dump_parameters(part.parameters)
            for part in slices
        ]
    return data


def dump_modules(modules: Mapping[str, Module]) -> dict[str, Any]:
    """Return `modules` as the plain values they were read from."""
    return {
        name: dump_parts(module.models, module.slices) | dump_parameters(module.parameters)
        for name, module in modules.items()
    }


def _list(value: object, where: str) -> list[Any]:
    if not isinstance(value, list | tuple) or not value:
        raise BadInput(f"'{where}' must be a list with at least one entry.")
    if len(value) > MAX_MODELS:
        raise BadInput(f"'{where}' has {len(value):,} entries; {MAX_MODELS:,} is the most.")
    return list(value)


def _models(value: object) -> tuple[Source, ...]:
    sources = []
    for index, item in enumerate(_list(value, "models")):
        where = f"models[{index}]"
        entry = keys(
            item,
            where,
            ("model", "parameters", "task"),
            "; a model's own values go under 'parameters'.",
        )
        task = entry.get("task")
        if task is not None and (not isinstance(task, str) or not task.strip()):
            raise BadInput(f"'{where}.task' must be the name of one of the recipe's tasks.")
        sources.append(
            Source(
                reference(entry.get("model"), f"{where}.model"),
                None,
                parse_parameters(entry.get("parameters"), f"{where}.parameters"),
                task,
            )
        )
    return tuple(sources)


def _slices(value: object) -> tuple[Slice, ...]:
    slices = []
    for index, item in enumerate(_list(value, "slices")):
        where = f"slices[{index}]"
        entry = keys(item, where, ("sources", "parameters", "base_model"))
        sources = []
        for number, source in enumerate(_list(entry.get("sources"), f"{where}.sources")):
            spot = f"{where}.sources[{number}]"
            values = keys(source, spot, ("model", "layer_range", "parameters"))
            sources.append(
                Source(
                    reference(values.get("model"), f"{spot}.model"),
                    _layer_range(values.get("layer_range"), f"{spot}.layer_range"),
                    parse_parameters(values.get("parameters"), f"{spot}.parameters"),
                )
            )
        lengths = {s.layer_range[1] - s.layer_range[0] for s in sources if s.layer_range}
        if len(lengths) > 1:
            raise BadInput(f"{where}: every source must have as many layers as the others.")
        base = entry.get("base_model")
        slices.append(
            Slice(
                tuple(sources),
                parse_parameters(entry.get("parameters"), f"{where}.parameters"),
                None if base is None else reference(base, f"{where}.base_model"),
            )
        )
    return tuple(slices)


def _layer_range(value: object, where: str) -> tuple[int, int]:
    whole = isinstance(value, list | tuple) and all(type(v) is int for v in value)
    if not whole or len(value) != 2 or not 0 <= value[0] < value[1] <= MAX_LAYERS:  # type: ignore[arg-type,index]
        raise BadInput(
            f"'{where}' must be two whole numbers [first, one past the last], like [0, 6]."
        )
    return (value[0], value[1])  # type: ignore[index]


def _dump_source(source: Source) -> dict[str, Any]:
    data: dict[str, Any] = {"model": source.model}
    if source.layer_range:
        data["layer_range"] = list(source.layer_range)
    if source.task is not None:
        data["task"] = source.task
    return data | dump_parameters(source.parameters)
