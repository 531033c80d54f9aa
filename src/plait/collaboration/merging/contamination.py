# SPDX-License-Identifier: Apache-2.0
"""Signs that a score is not what it seems: test items seen in training, and gains that look so.

None of them refuses a merge: each is a flag in the report, with what a person can do about it. Two
kinds are looked for:

* **Overlap**: items of the gate that also stand, word for word or nearly (MinHash), in the training
  or validation items of the same data set, or in a data set that the contribution's card names.
* **Patterns of scores**: a gain on the gate's items far above that on the validation items, which
  come from the same source; a score next to perfect where the base is far from it; being right on
  nearly all items that the base and main have wrong; being worse than guessing.

Where the items are private or hidden, a flag tells that there is overlap and not how much: the
count would answer the question whether a given text is among them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from plait.evaluation import Evaluation, TaskResult
from plait.tables import exact_duplicates, near_duplicates

Kind = Literal["overlap", "gap", "perfect", "hard", "flipped"]

LIKENESS = 0.8
"""Texts that share this much of their runs of three words count as the same."""
MAX_NEAR = 5_000
"""Texts on either side for which near duplicates are looked for; above, exact ones alone."""
COARSE = 0.01
"""Of private or hidden items, overlap below this share is not told."""
GAP = 0.05
"""How much more must be gained on the gate than on the validation items to be flagged …"""
SIGMAS = 3.0
"""… and by how many standard errors."""
PERFECT, ORDINARY = 0.99, 0.95
ENOUGH = 50
"""Items below which no pattern of scores is read."""
HARD, HARD_RIGHT = 20, 0.95


@dataclass(frozen=True)
class Flag:
    """A sign, about one task, in a sentence; and what to do about it."""

    kind: Kind
    task: str
    text: str
    advice: str

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {"kind": self.kind, "task": self.task, "text": self.text, "advice": self.advice}


def overlap(
    task: str, judged: Sequence[str], others: Sequence[str], where: str, *, coarse: bool
) -> Flag | None:
    """Flag items that judge a model and stand elsewhere too.

    Args:
        task: its name.
        judged: the texts of the gate's items.
        others: texts that a model may have been trained on.
        where: what the sentence calls them.
        coarse: tell only whether it is more than one in a hundred.
    """
    if not judged or not others:
        return None
    found = {pair.first for pair in exact_duplicates(judged, others)}
    same = len(found)
    if max(len(judged), len(others)) <= MAX_NEAR:
        found |= {p.first for p in near_duplicates(judged, others, threshold=LIKENESS)}
    if not found or (coarse and len(found) < COARSE * len(judged)):
        return None
    many = (
        "more than one in a hundred"
        if coarse
        else f"{len(found):,} of {len(judged):,} ({same:,} word for word)"
    )
    return Flag(
        "overlap",
        task,
        f"{task}: {many} of the items that judge also stand in {where}.",
        "Take them out of the training items and train again, or judge on other items: a score on "
        "items that were seen says how well they are remembered.",
    )


def patterns(
    gate: Mapping[str, Evaluation], validation: Mapping[str, Evaluation] | None
) -> list[Flag]:
    """Flag scores of the contribution that honest training hardly gives.

    Args:
        gate: of `base`, `main` and `contribution` on the gate's items.
        validation: of `base` and `contribution` on the validation items, where there are such.
    """
    flags: list[Flag] = []
    for name, mine in gate["contribution"].tasks.items():
        base, main = gate["base"].tasks[name], gate["main"].tasks[name]
        if mine.n < ENOUGH or not _classified(mine):
            continue
        before = None if validation is None else validation["base"].tasks.get(name)
        after = None if validation is None else validation["contribution"].tasks.get(name)
        flags += _gap(name, base, mine, before, after)
        flags += _perfect(name, base, mine, after)
        flags += _hard(name, base, main, mine, before, after)
        flags += _flipped(name, base, mine)
    return flags


def _classified(result: TaskResult) -> bool:
    return all(hasattr(item, "predicted") for item in result.items[:1])


def _right(result: TaskResult) -> list[bool]:
    return [item.label == item.predicted for item in result.items]


def _gap(
    name: str,
    base: TaskResult,
    mine: TaskResult,
    before: TaskResult | None,
    after: TaskResult | None,
) -> list[Flag]:
    if before is None or after is None or after.n < ENOUGH:
        return []
    here, spread = _gain(base, mine)
    there, other = _gain(before, after)
    error = math.hypot(spread, other)
    if here - there <= GAP or error == 0 or (here - there) / error <= SIGMAS:
        return []
    text = (
        f"{name}: the contribution gains {here * 100:+.1f} points of accuracy on the gate's items "
        f"and {there * 100:+.1f} on the validation items, {(here - there) / error:.1f} standard "
        "errors apart."
    )
    return [
        Flag(
            "gap",
            name,
            text,
            "Ask whether the gate's items were among those trained on; a hidden split that nobody "
            "can download settles it.",
        )
    ]


def _gain(base: TaskResult, mine: TaskResult) -> tuple[float, float]:
    """Return the gain in accuracy and its standard error, documents taken whole."""
    sums: dict[str, float] = {}
    for item, one, other in zip(mine.items, _right(mine), _right(base), strict=True):
        sums[item.group] = sums.get(item.group, 0.0) + (int(one) - int(other))
    count, groups = len(mine.items), len(sums)
    mean = math.fsum(sums.values()) / count
    sizes: dict[str, int] = {}
    for item in mine.items:
        sizes[item.group] = sizes.get(item.group, 0) + 1
    squares = math.fsum((total - mean * sizes[g]) ** 2 for g, total in sums.items())
    return mean, math.sqrt(squares * groups / max(1, groups - 1)) / count


def _perfect(name: str, base: TaskResult, mine: TaskResult, after: TaskResult | None) -> list[Flag]:
    if mine.score < PERFECT or base.score > ORDINARY:
        return []
    if after is not None and after.score >= PERFECT:
        return []
    text = (
        f"{name}: the contribution scores {mine.score * 100:.1f} on the gate's items, where the "
        f"base scores {base.score * 100:.1f}"
    )
    text += f" and the validation items give {after.score * 100:.1f}." if after else "."
    return [
        Flag(
            "perfect",
            name,
            text,
            "Next to perfect is rare on real data. Ask what it was trained on, and look for the "
            "gate's items in it.",
        )
    ]


def _hard(
    name: str,
    base: TaskResult,
    main: TaskResult,
    mine: TaskResult,
    before: TaskResult | None,
    after: TaskResult | None,
) -> list[Flag]:
    others = zip(_right(base), _right(main), strict=True)
    hard = [place for place, pair in enumerate(others) if not any(pair)]
    if len(hard) < HARD:
        return []
    right = _right(mine)
    share = sum(right[place] for place in hard) / len(hard)
    if share < HARD_RIGHT:
        return []
    if before is not None and after is not None:
        missed = [place for place, one in enumerate(_right(before)) if not one]
        usual = _right(after)
        if missed and sum(usual[place] for place in missed) / len(missed) > HARD_RIGHT - 0.1:
            return []
    return [
        Flag(
            "hard",
            name,
            f"{name}: the contribution is right on {share * 100:.0f}% of the {len(hard):,} items "
            "that the base and main both have wrong.",
            "Mislabelled and ambiguous items are among those; only who has seen the labels is "
            "right on nearly all. Ask what it was trained on.",
        )
    ]


def _flipped(name: str, base: TaskResult, mine: TaskResult) -> list[Flag]:
    chance = 1 / max(2, mine.classes)
    bound = chance - SIGMAS * math.sqrt(chance * (1 - chance) / mine.n)
    accuracy = sum(_right(mine)) / mine.n
    if accuracy >= bound or sum(_right(base)) / base.n < bound:
        return []
    return [
        Flag(
            "flipped",
            name,
            f"{name}: the contribution is right on {accuracy * 100:.1f}% of the items, less than "
            "guessing would be.",
            "Compare the order of its labels (id2label) and of its training data's with the "
            "base's: they may be exchanged.",
        )
    ]


def texts_of(items: Iterable[Any]) -> list[str]:
    """Return the texts of items that have some."""
    return [item.text for item in items if isinstance(getattr(item, "text", None), str)]
