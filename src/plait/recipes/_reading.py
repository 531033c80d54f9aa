# SPDX-License-Identifier: Apache-2.0
"""Reading small YAML files that strangers wrote: bounded, without aliases or doubled keys."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from plait.errors import BadInput

MAX_DEPTH = 20


class _Loader(yaml.SafeLoader):
    """Safe YAML that refuses aliases (a few bytes can stand for gigabytes) and doubled keys."""

    _depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.constructor.ConstructorError(
                None, None, "aliases (*name) are not allowed; write the value out", mark
            )
        self._depth += 1
        if self._depth > MAX_DEPTH:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.constructor.ConstructorError(None, None, "it is nested too deeply", mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    None, None, "a key must be a word", key_node.start_mark
                )
            if key_node.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{short(key_node.value)}' is there twice", node.start_mark
                )
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


def read_mapping(text: str, origin: str, max_characters: int) -> dict[str, Any]:
    """Read YAML text whose top is a mapping; an empty text is an empty mapping.

    Raises:
        BadInput: naming ``origin`` and what is wrong in it.
    """
    if len(text) > max_characters:
        raise BadInput(f"{origin} is longer than {max_characters:,} characters.")
    try:
        data = yaml.load(text, Loader=_Loader)  # noqa: S506  (a safe loader)
    except (yaml.YAMLError, RecursionError, ValueError, TypeError, OverflowError) as error:
        told = " ".join(str(error).split())[:300]
        raise BadInput(f"{origin} is not valid YAML: {told}") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise BadInput(f"{origin} must be a mapping: lines of 'key: value'.")
    return data


def is_text(recipe: str) -> bool:
    """Tell whether a string is a recipe itself rather than the path of one."""
    return "\n" in recipe or ": " in recipe or recipe.lstrip().startswith("{")


def top_keys(text: str) -> tuple[str, ...]:
    """Return the keys at the top of YAML text's first mapping, in block or flow style (JSON too).

    Values are passed over and never built, so that this is safe with any text; of text that is
    broken, the keys before the break.
    """
    found: list[str] = []
    depth, key = 0, True  # at depth 1 keys and values take turns
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            opens = isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent)
            closes = isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent)
            if depth == 0 and isinstance(event, yaml.SequenceStartEvent | yaml.ScalarEvent):
                break
            if depth == 1 and (opens or isinstance(event, yaml.ScalarEvent | yaml.AliasEvent)):
                if key and isinstance(event, yaml.ScalarEvent):
                    found.append(event.value)
                key = not key
            depth += opens - closes
            if closes and depth == 0:
                break
    except (yaml.YAMLError, RecursionError, ValueError):
        pass  # whoever reads the whole says what is wrong with it
    return tuple(found)


def short(value: object) -> str:
    """Give a value as text fit for an error message."""
    text = type(value).__name__ if isinstance(value, dict | list) else " ".join(str(value).split())
    return text if len(text) <= 60 else text[:57] + "..."


def keys(value: object, where: str, known: Iterable[str]) -> Mapping[str, Any]:
    """Return a mapping whose keys are all known.

    Raises:
        BadInput: for anything else, naming the key and the known one nearest to it.
    """
    from plait.recipes.fusion import nearest

    names = list(known)
    if not isinstance(value, Mapping):
        raise BadInput(f"{where} must be a mapping with {', '.join(names)}.")
    for key in value:
        if key not in names:
            guess = nearest(str(key), names) or f"; known are {', '.join(names)}"
            raise BadInput(f"{where} has an unknown key '{short(key)}'{guess}")
    return value


def text(value: object, where: str, *, most: int = 300) -> str:
    """Return a non-empty text of at most ``most`` characters."""
    if not isinstance(value, str) or not value.strip() or len(value) > most or "\0" in value:
        raise BadInput(f"{where} must be a text of 1 to {most} characters, not '{short(value)}'.")
    return value


def number(value: object, where: str, low: float, high: float) -> float:
    """Return a finite number from ``low`` to ``high``; 1e-5, a text in YAML 1.1, is one too."""
    from plait.recipes.parameters import as_number

    value = as_number(value)
    good = isinstance(value, int | float) and not isinstance(value, bool)
    if not good or not math.isfinite(value) or not low <= value <= high:  # type: ignore[arg-type,operator]
        raise BadInput(f"{where} must be a number from {low:g} to {high:g}, not '{short(value)}'.")
    return float(value)  # type: ignore[arg-type]


def whole(value: object, where: str, low: int, high: int) -> int:
    """Return a whole number from ``low`` to ``high``."""
    if type(value) is not int or not low <= value <= high:
        raise BadInput(
            f"{where} must be a whole number from {low} to {high}, not '{short(value)}'."
        )
    return value


def choice(value: object, where: str, known: tuple[str, ...]) -> str:
    """Return one of the known words."""
    from plait.recipes.fusion import nearest

    if not isinstance(value, str) or value not in known:
        guess = nearest(str(value), known)
        raise BadInput(f"{where} is '{short(value)}' but must be one of {', '.join(known)}{guess}")
    return value


def texts(value: object, where: str, *, most: int) -> tuple[str, ...]:
    """Return a list of at most ``most`` texts."""
    if not isinstance(value, list) or len(value) > most:
        raise BadInput(f"{where} must be a list of at most {most} texts.")
    return tuple(text(item, f"{where}[{i}]") for i, item in enumerate(value))
