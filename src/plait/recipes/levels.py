# SPDX-License-Identifier: Apache-2.0
"""Recipes above the weights: what is fused, on which data, how it is judged, as frozen values.

They are written with `method` (an ensemble, a feature fusion, a distillation, `auto`) where those
of weights, in mergekit's language, have `merge_method`. Every level shares the keys that are read
here; each declares its own `parameters`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plait.errors import BadInput
from plait.recipes._reading import (
    choice,
    is_text,
    keys,
    number,
    read_mapping,
    short,
    text,
    top_keys,
    whole,
)
from plait.recipes.project import TaskSpec, parse_tasks
from plait.recipes.references import reference

MAX_CHARACTERS = 1_000_000
MAX_MEMBERS = 100
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_METHOD = re.compile(r"(?<!\w)method[\"']?\s*:")

KEYS = (
    "method",
    "models",
    "base_model",
    "tasks",
    "splits",
    "parameters",
    "budget",
    "seed",
)


@dataclass(frozen=True)
class Option:
    """A parameter of a level's method: its default (None: not given), bounds or known words.

    `kind` is what a value must be: a number, a whole number, a flag, one of `words`, or anything
    (`any`), which the level then reads itself.
    """

    name: str
    default: Any
    help: str
    kind: str = "any"
    low: float = 0.0
    high: float = 1e9
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Member:
    """One model of a recipe: a name to show, a reference, and what else its entry says."""

    name: str
    model: str
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Splits:
    """Which split of the tasks' data sets serves for what; a choice never sees `test`.

    Without a `test` (null) the result is not scored in the end.
    """

    train: str = "train"
    validation: str = "validation"
    test: str | None = "test"


@dataclass(frozen=True)
class Budget:
    """What may be spent: CPU-seconds of work, and bytes of the result; None: no limit."""

    cpu_seconds: float | None = None
    bytes: int | None = None


@dataclass(frozen=True)
class LevelRecipe:
    """A whole recipe above the weights."""

    method: str
    models: tuple[Member, ...]
    tasks: tuple[TaskSpec, ...]
    base_model: str | None = None
    splits: Splits = field(default_factory=Splits)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    budget: Budget = field(default_factory=Budget)
    seed: int = 0
    folder: Path = Path()
    """Where relative paths of models and data sets start: the recipe's folder."""


def read_level(recipe: str | Path | Mapping[str, Any]) -> tuple[dict[str, Any], Path] | None:
    """Return the plain values and the folder of a recipe above the weights, None for another.

    Raises:
        BadInput: if the recipe cannot be read.
    """
    if isinstance(recipe, Mapping):
        data, folder = dict(recipe), Path()
        return (data, folder) if "method" in data and "merge_method" not in data else None
    origin, folder, content = "The recipe", Path(), str(recipe)
    if isinstance(recipe, Path) or not is_text(recipe):
        path = Path(recipe)
        origin, folder = f"The recipe {path}", path.parent
        try:
            content = path.read_text("utf-8") if path.stat().st_size <= MAX_CHARACTERS else ""
        except (OSError, UnicodeDecodeError):
            return None  # the reader of weight recipes says what is wrong with the file
    found = top_keys(content) if _METHOD.search(content) else ()
    if "method" not in found or "merge_method" in found:
        return None
    return read_mapping(content, origin, MAX_CHARACTERS), folder


def parse_level(
    data: Mapping[str, Any],
    options: Sequence[Option],
    *,
    folder: Path = Path(),
    member_keys: Sequence[str] = (),
    members: tuple[int, int] = (1, MAX_MEMBERS),
) -> LevelRecipe:
    """Turn a recipe's plain values into a `LevelRecipe`.

    Args:
        data: the recipe.
        options: the parameters that its method knows.
        folder: where relative paths start.
        member_keys: keys that an entry of `models` may have besides `name` and `model`; their
            values are in `Member.extra`, unchecked.
        members: the least and the most models.

    Raises:
        BadInput: naming the key and what to write instead.
    """
    keys(data, "The recipe", KEYS)
    method = data.get("method")
    if not isinstance(method, str):
        raise BadInput("The recipe needs 'method', for example 'method: ensemble'.")
    base = data.get("base_model")
    return LevelRecipe(
        method=method,
        models=_members(data.get("models"), member_keys, members),
        tasks=parse_tasks(data.get("tasks"), "tasks"),
        base_model=None if base is None else reference(base, "base_model"),
        splits=parse_splits(data.get("splits")),
        parameters=_parameters(data.get("parameters"), options, method),
        budget=_budget(data.get("budget")),
        seed=whole(data.get("seed", 0), "seed", 0, 2**31 - 1),
        folder=folder,
    )


def _members(
    value: object, member_keys: Sequence[str], bounds: tuple[int, int]
) -> tuple[Member, ...]:
    if value is None and bounds[0] == 0:
        return ()
    if not isinstance(value, list) or not bounds[0] <= len(value) <= bounds[1]:
        raise BadInput(
            f"'models' must be a list of {bounds[0]} to {bounds[1]} models, like "
            "'- {name: text, model: org/name}'."
        )
    made = []
    for place, item in enumerate(value):
        where = f"models[{place}]"
        entry = {"model": item} if isinstance(item, str) else item
        entry = keys(entry, where, ("name", "model", *member_keys))
        if entry.get("model") is None:
            raise BadInput(f"{where} needs 'model': a folder or a repository.")
        model = reference(entry["model"], f"{where}.model")
        name = entry.get("name") or f"model{place + 1}"
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise BadInput(f"{where}.name must be a word, not '{short(name)}'.")
        made.append(Member(name, model, {k: entry[k] for k in member_keys if k in entry}))
    names = [m.name for m in made]
    for name in names:
        if names.count(name) > 1:
            raise BadInput(f"Two models are named '{name}'; give each its own name.")
    return tuple(made)


def parse_splits(value: object) -> Splits:
    """Read which split serves for what, as in `splits: {validation: dev}`.

    Raises:
        BadInput: for an unknown key, or a test split that something is learnt or chosen on.
    """
    if value is None:
        return Splits()
    data = keys(value, "splits", ("train", "validation", "test"))

    def named(key: str) -> str:
        return text(data[key], f"splits.{key}", most=64) if data.get(key) is not None else key

    unscored = "test" in data and data["test"] is None
    made = Splits(named("train"), named("validation"), None if unscored else named("test"))
    if made.test in (made.train, made.validation):
        raise BadInput(
            f"splits.test is '{made.test}', which the recipe also learns or chooses on: the result "
            "would flatter itself. Keep a split that nothing sees before the end."
        )
    return made


def dump_splits(splits: Splits) -> dict[str, str | None]:
    """Return splits as plain values that `parse_splits` reads back."""
    return {name: getattr(splits, name) for name in ("train", "validation", "test")}


def _budget(value: object) -> Budget:
    if value is None:
        return Budget()
    data = keys(value, "budget", ("cpu_seconds", "bytes"))
    seconds, size = data.get("cpu_seconds"), data.get("bytes")
    return Budget(
        None if seconds is None else number(seconds, "budget.cpu_seconds", 1, 1e9),
        None if size is None else int(number(size, "budget.bytes", 1, 1e15)),
    )


def _parameters(value: object, options: Sequence[Option], method: str) -> dict[str, Any]:
    data = {} if value is None else keys(value, "parameters", [o.name for o in options])
    found = {}
    for option in options:
        given = data.get(option.name, option.default)
        found[option.name] = (
            given
            if given is None or option.name not in data
            else _value(given, option, f"parameters.{option.name}")
        )
    return found


def _value(value: Any, option: Option, where: str) -> Any:
    if option.kind == "number":
        return number(value, where, option.low, option.high)
    if option.kind == "whole":
        return whole(value, where, int(option.low), int(option.high))
    if option.kind == "flag":
        if not isinstance(value, bool):
            raise BadInput(f"{where} must be true or false, not '{short(value)}'.")
        return value
    if option.kind == "word":
        return choice(value, where, option.words)
    return value
