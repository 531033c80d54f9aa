# SPDX-License-Identifier: Apache-2.0
"""A fusion recipe's parameters: one value, a gradient over the layers, or rules by name."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from plait.errors import BadInput

MAX_LAYERS = 100_000
_EXPONENT = re.compile(r"[-+]?(\.\d{1,50}|\d{1,50}(\.\d{0,50})?)[eE][-+]?\d{1,4}")

Scalar = float | int | bool | str


@dataclass(frozen=True)
class Gradient:
    """Values spread evenly from the first layer to the last."""

    values: tuple[Scalar, ...]


@dataclass(frozen=True)
class Rule:
    """A value for the tensors whose name contains `filter` (None: for all)."""

    filter: str | None
    value: Scalar | Gradient


@dataclass(frozen=True)
class Rules:
    """Rules in order; the first that matches holds."""

    rules: tuple[Rule, ...]


Setting = Scalar | Gradient | Rules


def nearest(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the known name nearest to `word`, or nothing."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean '{found[0]}'?" if found else ""


def hint(word: str, known: Iterable[str]) -> str:
    """Return the end of a sentence about an unknown word: the nearest known one, or a full stop."""
    return nearest(word, known) or "."


def evaluate(setting: Setting, tensor: str, t: float) -> Scalar | None:
    """Return a setting's value for a tensor at layer position `t` in [0, 1]; None if no rule fits.

    Numbers of a gradient are interpolated linearly, flags and words taken from the nearest lower.
    """
    if isinstance(setting, Rules):
        for rule in setting.rules:
            if rule.filter is None or rule.filter in tensor:
                return evaluate(rule.value, tensor, t)
        return None
    if isinstance(setting, Gradient):
        values = setting.values
        position = t * (len(values) - 1)
        low = min(int(position), len(values) - 1)
        high = min(low + 1, len(values) - 1)
        first, second = values[low], values[high]
        if isinstance(first, bool | str) or isinstance(second, bool | str):
            return first
        share = position - low
        return (1 - share) * first + share * second
    return setting


def parse_parameters(value: object, where: str) -> dict[str, Setting]:
    """Return the settings of a `parameters` mapping; `where` names it in what is said of errors."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise BadInput(f"'{where}' must be a mapping such as {{weight: 0.5}}.")
    return {str(k): _setting(v, f"{where}.{short(k)}") for k, v in value.items()}


def _setting(value: object, where: str) -> Setting:
    if isinstance(value, Mapping) and "filter" in value:
        return Rules((_rule(value, where),))
    if not isinstance(value, list | tuple):
        return _scalar(value, where)
    if not value or len(value) > MAX_LAYERS:
        raise BadInput(f"'{where}' must have at least one value.")
    if all(isinstance(v, Mapping) for v in value):
        return Rules(tuple(_rule(v, f"{where}[{i}]") for i, v in enumerate(value)))
    return _gradient(value, where)


def _rule(value: Mapping[str, Any], where: str) -> Rule:
    entry = keys(value, where, ("filter", "value"))
    filter_ = entry.get("filter")
    if not (filter_ is None or isinstance(filter_, str)) or "value" not in entry:
        raise BadInput(f"'{where}' must be like {{filter: attention, value: 0.5}}.")
    inner = entry["value"]
    chosen = _gradient(inner, where) if isinstance(inner, list | tuple) else _scalar(inner, where)
    return Rule(None if filter_ == "*" else filter_, chosen)


def _gradient(value: list[Any] | tuple[Any, ...], where: str) -> Gradient:
    if not value or len(value) > MAX_LAYERS:
        raise BadInput(f"'{where}' must have at least one value.")
    return Gradient(tuple(_scalar(v, f"{where}[{i}]") for i, v in enumerate(value)))


def as_number(value: object) -> object:
    """Return a text such as 1e-5 as the number that it is in JSON and YAML 1.2; others as they are.

    YAML 1.1, which is read here, wants a dot and a sign in it (1.0e-5) and else takes it as text.
    """
    return float(value) if isinstance(value, str) and _EXPONENT.fullmatch(value) else value


def _scalar(value: object, where: str) -> Scalar:
    value = as_number(value)
    if isinstance(value, int | float) and not math.isfinite(value):
        raise BadInput(f"'{where}' must be a finite number.")
    if not isinstance(value, bool | int | float | str):
        raise BadInput(f"'{where}' must be a number, true/false, or a list of them.")
    return value


def short(value: object) -> str:
    """Return a value in at most sixty characters, for a sentence about it."""
    text = (
        " ".join(str(value).split()) if not isinstance(value, dict | list) else type(value).__name__
    )
    return text if len(text) <= 60 else text[:57] + "..."


def keys(value: object, where: str, known: tuple[str, ...], advice: str = "") -> Mapping[str, Any]:
    """Return a mapping if it has no other keys than the known; `advice` where none is near."""
    if not isinstance(value, Mapping):
        raise BadInput(f"{where} must be a mapping with {', '.join(known)}.")
    for key in value:
        if key not in known:
            guess = nearest(str(key), known) or advice or "."
            raise BadInput(f"{where} has an unknown key '{short(key)}'{guess}")
    return value


def _dump_setting(setting: Setting) -> Any:
    if isinstance(setting, Rules):
        return [{"filter": r.filter or "*", "value": _dump_setting(r.value)} for r in setting.rules]
    if isinstance(setting, Gradient):
        return list(setting.values)
    return setting


def dump_parameters(parameters: Mapping[str, Setting]) -> dict[str, Any]:
    """Return settings as the plain values they were read from."""
    if not parameters:
        return {}
    return {"parameters": {k: _dump_setting(v) for k, v in parameters.items()}}
