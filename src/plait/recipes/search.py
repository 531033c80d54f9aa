# SPDX-License-Identifier: Apache-2.0
"""A recipe's `search`: which coefficients may vary, how far, and how much may be tried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from plait.errors import BadInput
from plait.recipes._reading import choice, keys, number, short, text, texts, whole

SAMPLERS = ("tpe", "random", "grid")
PER = ("model", "layers", "filters")
MAX_BUDGET = 10_000
MAX_CHOICES = 1_000
METHOD = "method"
"""The parameter that varies the method itself."""

_KEYS = (
    "budget",
    "folds",
    "sampler",
    "parameters",
    "per",
    "layers",
    "filters",
    "subset",
    "standard_errors",
)

Word = float | bool | str


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`: any of them, or in steps; `log`: even in their logarithm."""

    low: float
    high: float
    step: float | None = None
    log: bool = False
    per: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Choices:
    """A list of values to choose among."""

    values: tuple[Word, ...]
    per: tuple[str, ...] | None = None


@dataclass(frozen=True)
class SearchSpec:
    """What a search may vary and spend.

    Without `parameters`, the method's own coefficients vary over their usual ranges. `per` says
    whether a coefficient has one value, one for each `model`, one for each of `layers` points along
    the depth (a gradient), one for tensors whose name holds each of `filters`, or several of these
    at once. `subset` is how many items of each task a candidate is tried on first; None: an eighth.
    """

    budget: int = 40
    folds: int = 5
    sampler: str = "tpe"
    parameters: Mapping[str, Range | Choices] = field(default_factory=dict)
    per: tuple[str, ...] = ()
    layers: int = 3
    filters: tuple[str, ...] = ()
    subset: int | None = None
    standard_errors: float = 1.0
    """How many standard errors the gain over the default must be for it to be left."""


def parse_search(value: object, where: str = "search") -> SearchSpec | None:
    """Read a recipe's `search`; `search: {}` searches as usual, without the key there is none.

    Raises:
        BadInput: naming the key and what to write instead.
    """
    if value is None:
        return None
    data = keys({} if value is True else value, where, _KEYS)
    per = _per(data.get("per"), f"{where}.per") or ()
    filters = texts(data.get("filters") or [], f"{where}.filters", most=20)
    spec = SearchSpec(
        budget=whole(data.get("budget", 40), f"{where}.budget", 1, MAX_BUDGET),
        folds=whole(data.get("folds", 5), f"{where}.folds", 2, 100),
        sampler=choice(data.get("sampler", "tpe"), f"{where}.sampler", SAMPLERS),
        parameters=_space(data.get("parameters"), f"{where}.parameters"),
        per=per,
        layers=whole(data.get("layers", 3), f"{where}.layers", 2, 100),
        filters=filters,
        subset=None
        if data.get("subset") is None
        else whole(data["subset"], f"{where}.subset", 2, 1_000_000),
        standard_errors=number(
            data.get("standard_errors", 1.0), f"{where}.standard_errors", 0.0, 10.0
        ),
    )
    own = [per, *(p.per or () for p in spec.parameters.values())]
    if any("filters" in one for one in own) and not filters:
        raise BadInput(
            f"{where}.per names 'filters', but {where}.filters lists none; write for example "
            "'filters: [attention, embeddings]', parts of tensors' names."
        )
    if any("filters" in one and "layers" in one for one in own):
        raise BadInput(f"{where}.per can name 'layers' or 'filters', not both.")
    return spec


def dump_search(spec: SearchSpec) -> dict[str, Any]:
    """Return a search as plain values that `parse_search` reads back to an equal one."""
    usual = SearchSpec()
    data: dict[str, Any] = {"budget": spec.budget, "folds": spec.folds, "sampler": spec.sampler}
    if spec.parameters:
        data["parameters"] = {name: _dump(one) for name, one in spec.parameters.items()}
    if spec.per:
        data["per"] = list(spec.per)
    if spec.filters:
        data["filters"] = list(spec.filters)
    for name in ("layers", "subset", "standard_errors"):
        if getattr(spec, name) != getattr(usual, name):
            data[name] = getattr(spec, name)
    return data


def _space(value: object, where: str) -> dict[str, Range | Choices]:
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise BadInput(f"{where} must be a mapping, like {{weight: [0, 1.5]}}.")
    return {name: _varying(one, f"{where}.{short(name)}") for name, one in value.items()}


def _varying(value: object, where: str) -> Range | Choices:
    if isinstance(value, list) and len(value) == 2 and all(_is_number(v) for v in value):
        return _range(value[0], value[1], where)
    if isinstance(value, list):
        return Choices(_choices(value, where))
    if not isinstance(value, Mapping):
        raise BadInput(
            f"{where} must say how far it may vary: [low, high], a list of choices, or "
            f"{{low: 0, high: 1, step: 0.1}}; a fixed value belongs to the recipe's 'parameters'."
        )
    if "choices" in value:
        data = keys(value, where, ("choices", "per"))
        return Choices(_choices(data["choices"], where), _per(data.get("per"), f"{where}.per"))
    data = keys(value, where, ("low", "high", "step", "log", "per", "choices"))
    for name in ("low", "high"):
        if name not in data:
            raise BadInput(f"{where} needs '{name}', as in {{low: 0, high: 1}}, or 'choices'.")
    found = _range(data["low"], data["high"], where)
    log = data.get("log", False)
    if not isinstance(log, bool):
        raise BadInput(f"{where}.log must be true or false, not '{short(log)}'.")
    if log and found.low <= 0:
        raise BadInput(f"{where} is even in logarithms, so 'low' must be above 0.")
    step = data.get("step")
    if step is not None:
        step = number(step, f"{where}.step", 1e-9, max(found.high - found.low, 1e-9))
        if log:
            raise BadInput(f"{where} can have 'step' or 'log', not both.")
    return Range(found.low, found.high, step, log, _per(data.get("per"), f"{where}.per"))


def _range(low: object, high: object, where: str) -> Range:
    least, most = number(low, where, -1e6, 1e6), number(high, where, -1e6, 1e6)
    if least >= most:
        raise BadInput(f"{where} goes from {least:g} to {most:g}; the first must be the smaller.")
    return Range(least, most)


def _choices(value: object, where: str) -> tuple[Word, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_CHOICES:
        raise BadInput(f"{where} must be a list of 1 to {MAX_CHOICES:,} values to choose among.")
    found: list[Word] = []
    for place, one in enumerate(value):
        if isinstance(one, bool):
            found.append(one)
        elif isinstance(one, str):
            found.append(text(one, f"{where}[{place}]", most=100))
        else:
            found.append(number(one, f"{where}[{place}]", -1e6, 1e6))
    if len({(type(one), one) for one in found}) < len(found):
        raise BadInput(f"{where} lists a value twice.")
    return tuple(found)


def _per(value: object, where: str) -> tuple[str, ...] | None:
    if value is None:
        return None
    if value == "all":
        return ()
    listed = value if isinstance(value, list) else [value]
    if "all" in listed:
        raise BadInput(f"{where}: 'all' means one value for all; it cannot stand with others.")
    found = [choice(one, where, PER) for one in listed]
    return tuple(name for name in PER if name in found)


def _dump(one: Range | Choices) -> Any:
    per = {} if one.per is None else {"per": list(one.per) or "all"}
    if isinstance(one, Choices):
        return {"choices": list(one.values), **per}
    data: dict[str, Any] = {"low": one.low, "high": one.high}
    if one.step is not None:
        data["step"] = one.step
    if one.log:
        data["log"] = True
    return data | per


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
