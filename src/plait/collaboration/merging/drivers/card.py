# SPDX-License-Identifier: Apache-2.0
"""The driver of cards: ``README.md`` by its YAML keys, with the results of both; text by lines.

Keys of the base keep its order. What both sides add comes sorted, so that the two can be exchanged.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from plait.cards import Card, dump_card, duplicate_keys, result_key, split_card
from plait.collaboration.merging.card import read_card
from plait.collaboration.merging.drivers.base import (
    SHOWN,
    FileConflict,
    Outcome,
    Place,
    Resolution,
    Work,
    one_sided,
    settle_whole,
)
from plait.collaboration.merging.drivers.text import MAX_TEXT, merge_text
from plait.collaboration.merging.text import merge_lines
from plait.hub.git.operations import AddBytes
from plait.tables import Value

CARD = "README.md"
RESULTS = "model-index"
_MISSING: Any = object()


class CardDriver:
    """Merges the card of a repository."""

    name = "card"
    whole = False

    def claims(self, work: Work, path: str) -> bool:
        """Take the repository's own card alone."""
        return path == CARD

    def large(self, work: Work, paths: Sequence[str]) -> bool:
        """Tell that cards are merged at once."""
        return False

    def merge(self, work: Work, paths: Sequence[str]) -> Outcome:
        """Merge the card."""
        found = Outcome()
        for path in paths:
            operations = one_sided(work, path)
            found += self._merge(work, path) if operations is None else Outcome(operations)
        return found

    def _merge(self, work: Work, path: str) -> Outcome:
        _, main, head = work.entries(path)
        if main is None or head is None:
            return settle_whole(work, path, self.name, "one side removed the card", text=False)
        if any(e is not None and (e.lfs or e.size > MAX_TEXT) for e in work.entries(path)):
            return settle_whole(work, path, self.name, "too large for a card", text=False)
        base, ours, theirs = ((d or b"").decode("utf-8", "replace") for d in work.bytes(path))
        decided = work.resolution(path)
        if decided.content is not None:
            return Outcome((AddBytes(path, decided.content.encode()),))
        merged, places = merge_card(base, ours, theirs, decided)
        if merged is not None:
            return Outcome((AddBytes(path, merged.encode()),))
        reason = "both changed the same of the card"
        return Outcome(
            conflicts=(
                FileConflict(path, self.name, reason, places[:SHOWN], len(places), text=True),
            )
        )


def merge_card(
    base: str, ours: str, theirs: str, decided: Resolution | None = None
) -> tuple[str | None, tuple[Place, ...]]:
    """Merge three cards; or return None and what is left to settle.

    Args:
        base: what both started from; empty if neither had a card.
        ours: main's.
        theirs: the pull request's.
        decided: what a person decided, by place.
    """
    decided = decided or Resolution()
    before, left, right = (read_card(text) for text in (base, ours, theirs))
    if before is None or left is None or right is None:
        # a head that cannot be read is text like any other
        return merge_text(base, ours, theirs, decided)
    merging = _Merging(decided)
    head = merging.mappings("", before.data, left.data, right.data)
    body, places = merge_text(before.text, left.text, right.text, decided, prefix="text-")
    if merging.places or body is None:
        return None, (*merging.places, *places)
    plain = merge_lines(base, ours, theirs) if base else None
    if (
        plain is not None
        and read_card(plain) == Card(head, body)
        and not duplicate_keys(split_card(plain)[0] or "")
    ):
        return plain, ()  # comments and spelling of both sides with it
    return dump_card(head, body), ()


class _Merging:
    """Merges values of a head, and gathers where they contradict each other."""

    def __init__(self, decided: Resolution) -> None:
        self.decided = decided
        self.places: list[Place] = []

    def values(self, where: str, base: Any, ours: Any, theirs: Any) -> Any:
        """Merge three values, each of which may be missing."""
        if _equal(ours, theirs) or _equal(theirs, base):
            return ours
        if _equal(ours, base):
            return theirs
        if where == RESULTS and all(_are_results(v) for v in (ours, theirs)):
            return self.results(base if _are_results(base) else [], ours, theirs)
        if isinstance(ours, dict) and isinstance(theirs, dict):
            return self.mappings(where, base if isinstance(base, dict) else {}, ours, theirs)
        if isinstance(ours, list) and isinstance(theirs, list):
            return _lists(base if isinstance(base, list) else [], ours, theirs)
        return self.settle(where, base, ours, theirs)

    def settle(self, where: str, base: Any, ours: Any, theirs: Any) -> Any:
        """Take what a person decided, or note the conflict."""
        choice = self.decided.of(where)
        if isinstance(choice, Value):
            return choice.value
        if choice is not None:
            return ours if choice == "main" else theirs
        before, left, right = (None if v is _MISSING else v for v in (base, ours, theirs))
        self.places.append(Place(where, where, before, left, right))
        return ours

    def mappings(
        self, where: str, base: dict[Any, Any], ours: dict[Any, Any], theirs: dict[Any, Any]
    ) -> dict[Any, Any]:
        """Merge three mappings key by key."""
        made = {}
        for key in _united(base, ours, theirs, key=str):
            name = f"{where}.{key}" if where else str(key)
            sides = (side.get(key, _MISSING) for side in (base, ours, theirs))
            value = self.values(name, *sides)
            if value is not _MISSING:
                made[key] = value
        return made

    def results(self, base: list[Any], ours: list[Any], theirs: list[Any]) -> list[Any]:
        """Keep the results of both sides: a model's by data set and task, its metrics by type."""
        tables = (_by_metric(base), _by_metric(ours), _by_metric(theirs))
        about = [_abouts(index) for index in (base, ours, theirs)]
        made: dict[str, dict[Any, Any]] = {}
        for key in _united(*tables, key=repr):
            model, result, metric = key
            where = f"{RESULTS}: {result[2] or result[1]}, {metric[0]}"
            found = self.values(where, *(table.get(key, _MISSING) for table in tables))
            if found is _MISSING:
                continue
            place = made.setdefault(model, {}).setdefault(result, [])
            place.append(found)
        listed = []
        for model, results in made.items():
            rows = []
            for result, metrics in results.items():
                sides = (one.get((model, result), _MISSING) for one in about)
                rest = self.values(f"{RESULTS}: {result[2] or result[1]}", *sides)
                rows.append({**(rest if isinstance(rest, dict) else {}), "metrics": metrics})
            listed.append({"name": model, "results": rows})
        return listed


def _are_results(index: Any) -> bool:
    """Tell whether a `model-index` has the Hub's form and no more than that."""
    return isinstance(index, list) and all(
        isinstance(model, dict)
        and set(model) == {"name", "results"}
        and isinstance(model["results"], list)
        and all(
            isinstance(result, dict)
            and isinstance(result.get("metrics"), list)
            and all(isinstance(m, dict) and "type" in m for m in result["metrics"])
            for result in model["results"]
        )
        for model in index
    )


def _by_metric(index: list[Any]) -> dict[tuple[Any, ...], Any]:
    return {
        (str(model["name"]), result_key(result), (str(metric["type"]), str(metric.get("name")))): (
            metric
        )
        for model in index
        for result in model["results"]
        for metric in result["metrics"]
    }


def _abouts(index: list[Any]) -> dict[tuple[Any, ...], Any]:
    return {
        (str(model["name"]), result_key(result)): {
            k: v for k, v in result.items() if k != "metrics"
        }
        for model in index
        for result in model["results"]
    }


def _lists(base: list[Any], ours: list[Any], theirs: list[Any]) -> list[Any]:
    """Unite two lists; what either removed is gone."""

    def name(item: Any) -> str:
        return json.dumps(item, sort_keys=True, ensure_ascii=False)

    def named(side: list[Any]) -> dict[str, Any]:
        return {name(item): item for item in side}

    sides = (named(base), named(ours), named(theirs))
    items = {**sides[0], **sides[1], **sides[2]}
    return [
        items[key]
        for key in _united(*sides, key=str)
        if key not in sides[0] or (key in sides[1] and key in sides[2])
    ]


def _united(
    base: Iterable[Any], ours: Iterable[Any], theirs: Iterable[Any], *, key: Callable[[Any], str]
) -> list[Any]:
    """Return what any side has: the base's first, then new ones, of both sides sorted."""
    first = list(base)
    mine = [item for item in ours if item not in first]
    others = [item for item in theirs if item not in first]
    if mine and others and mine != others:
        return first + sorted({*mine, *others}, key=key)
    return first + (mine or others)


def _equal(one: Any, other: Any) -> bool:
    if one is _MISSING or other is _MISSING:
        return one is other
    return type(one) is type(other) and bool(one == other)
