# SPDX-License-Identifier: Apache-2.0
r"""``plait_resolutions.yaml``: what a pull request itself decides of its conflicts with main.

The file goes with the pull request and never lands. For each path it names the side whose word
holds wherever the two contradict each other (`main` or `pull`), or decides place by place::

    data/train.csv: pull
    README.md: {places: {license: main}, rest: pull}
    notes.txt: {content: "the whole file\n"}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from plait.cards import load_yaml
from plait.collaboration.merging.drivers.base import Resolution
from plait.errors import BadInput
from plait.tables import Side, Value

FILE = "plait_resolutions.yaml"
MAX_FILES = 1_000
MAX_PLACES = 10_000
MAX_CHARACTERS = 4 * 2**20


def parse_resolutions(
    content: bytes | Mapping[str, Any], origin: str = FILE
) -> dict[str, Resolution]:
    """Read resolutions by path.

    Raises:
        BadInput: naming the path and what to write instead.
    """
    if isinstance(content, bytes):
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError:
            raise BadInput(f"{origin} is not UTF-8 text.") from None
        content = load_yaml(text, what=origin, limit=MAX_CHARACTERS) or {}
    if not isinstance(content, Mapping) or len(content) > MAX_FILES:
        raise BadInput(f"{origin} must be a mapping of at most {MAX_FILES:,} paths.")
    return {
        str(path): _resolution(value, f"{origin}: {str(path)[:200]}")
        for path, value in content.items()
    }


def plain_resolutions(resolutions: Mapping[str, Resolution]) -> dict[str, Any]:
    """Return resolutions as plain values, which `parse_resolutions` reads back."""
    plain: dict[str, Any] = {}
    for path, one in sorted(resolutions.items()):
        if one.content is not None:
            plain[path] = {"content": one.content}
        elif one.places:
            places = {
                name: {"value": choice.value} if isinstance(choice, Value) else choice
                for name, choice in one.places.items()
            }
            plain[path] = {"places": places} | ({"rest": one.rest} if one.rest else {})
        elif one.rest:
            plain[path] = one.rest
    return plain


def dump_resolutions(resolutions: Mapping[str, Resolution]) -> bytes:
    """Write the file."""
    plain = plain_resolutions(resolutions)
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True).encode()


def together(
    one: Mapping[str, Resolution], later: Mapping[str, Resolution]
) -> dict[str, Resolution]:
    """Add later decisions to earlier ones; of one place the later word holds.

    A side for the rest of a file leaves the places that were decided one by one.
    """
    made = dict(one)
    for path, new in later.items():
        old = made.get(path, Resolution())
        if new.content is not None or old.content is not None:
            made[path] = new
        else:
            made[path] = Resolution(new.rest or old.rest, {**old.places, **new.places})
    return made


def _resolution(value: object, where: str) -> Resolution:
    if value in ("main", "pull"):
        return Resolution(rest=_side(value, where))
    if not isinstance(value, Mapping):
        raise BadInput(f"{where} must be main, pull, or a mapping with places, rest or content.")
    for key in value:
        if key not in ("places", "rest", "content"):
            raise BadInput(
                f"{where} has an unknown key '{str(key)[:60]}'; known are places, rest, content."
            )
    content, places = value.get("content"), value.get("places") or {}
    if content is not None and not isinstance(content, str):
        raise BadInput(f"{where}: content must be text.")
    if not isinstance(places, Mapping) or len(places) > MAX_PLACES:
        raise BadInput(f"{where}: places must be a mapping of at most {MAX_PLACES:,} places.")
    rest = value.get("rest")
    return Resolution(
        rest=None if rest is None else _side(rest, f"{where}: rest"),
        places={str(name): _choice(choice, f"{where}: {name}") for name, choice in places.items()},
        content=content,
    )


def _choice(value: object, where: str) -> Side | Value:
    if isinstance(value, Mapping) and set(value) == {"value"}:
        return Value(value["value"])
    return _side(value, where)


def _side(value: object, where: str) -> Side:
    if value == "main":
        return "main"
    if value == "pull":
        return "pull"
    raise BadInput(f"{where} must be main, pull or {{value: …}}, not '{str(value)[:60]}'.")
