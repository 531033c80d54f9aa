# SPDX-License-Identifier: Apache-2.0
"""How well a tagger reads: exact triples, and seqeval's report of the tags."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from plait.evaluation.reports import entity_report
from plait.evaluation.results import TaskResult, score_items
from plait.evaluation.types.tokens import Tagged
from plait.graphs.read import calibrating
from plait.graphs.read.calibrating import Calibrator, Sureness
from plait.graphs.read.examples import LABELS, Example
from plait.graphs.read.phrases import Phrases
from plait.graphs.read.triples import (
    Reading,
    TripleScores,
    facts_in,
    found_in,
    read_all,
    score_triples,
)
from plait.recipes.extension import LEAST


@dataclass(frozen=True)
class Scores:
    """What one split says of a tagger."""

    triples: TripleScores
    by_kind: Mapping[str, TripleScores]
    """Of plain, complex, negated sentences and those without a fact, each by themselves."""
    tags: TaskResult
    """Every sentence's tags: entities as seqeval counts them."""
    sureness: Mapping[str, Sureness] = field(default_factory=dict)
    """How far the confidence of what was found holds: ``calibrated``, and ``plain`` without."""

    def report(self, *, digits: int = 3) -> str:
        """Return seqeval's classification report of S, P and O."""
        return entity_report(self.tags, digits=digits)

    def to_json(self) -> dict[str, Any]:
        """Return plain values, without single sentences."""
        return {
            "triples": self.triples.to_json(),
            "by_kind": {kind: one.to_json() for kind, one in self.by_kind.items()},
            "tags": entity_report(self.tags, output_dict=True),
            "confidence": {name: one.to_json() for name, one in self.sureness.items()},
        }

    def lines(self) -> list[str]:
        """Return what a person reads: a line for all sentences, and one for each kind."""
        made = [f"{'':<10} precision            recall               F1                   triples"]
        for kind, one in {"all": self.triples, **self.by_kind}.items():
            shown = (
                f"{kind:<10} "
                + " ".join(
                    f"{value:.3f} [{low:.3f}, {high:.3f}]"
                    for value, (low, high) in (
                        (one.precision, one.precision_interval),
                        (one.recall, one.recall_interval),
                        (one.f1, one.f1_interval),
                    )
                )
                + f" {one.right:,} of {one.true:,}, {one.found - one.right:,} wrong"
                if one.true
                else f"{kind:<10} nothing to find in {one.sentences:,} sentences; in "
                f"{one.sentences - one.clean:,} of them something was found"
            )
            made.append(shown)
        sure = self.sureness.get("calibrated")
        if sure is not None:
            low, high = sure.right_interval
            made.append(
                f"confidence: {sure.confidence:.3f} in the mean, right {sure.right:.3f} "
                f"[{low:.3f}, {high:.3f}], ECE {sure.ece:.3f} (uncalibrated "
                f"{self.sureness['plain'].ece:.3f}); from {LEAST:g} on {sure.proposed_right:,} of "
                f"{sure.proposed:,} are right"
            )
        return made


def score(
    tagger: Any,
    examples: Sequence[Example],
    phrases: Phrases,
    symmetric: Collection[str] = (),
    is_entity: Callable[[str], bool | None] = lambda text: None,
    progress: Any = None,
) -> Scores:
    """Measure a tagger on sentences whose facts are known."""
    readings = read_all(tagger, [one.tokens for one in examples], progress)
    facts = facts_in(examples, readings, phrases, is_entity)
    found = [frozenset(each.triple(symmetric) for each in row) for row in facts]
    made = scores_of(examples, [one.tags for one in readings], found)
    calibrator: Calibrator | None = getattr(tagger, "calibrator", None)
    if calibrator is None:
        return made
    every = [one for row in facts for one in row]
    right = calibrating.rightness(examples, facts, symmetric)
    groups = [one.group or one.text for one, row in zip(examples, facts, strict=True) for _ in row]
    compared = {
        name: calibrating.measure(said(every), right, groups, threshold=LEAST)
        for name, said in (("plain", calibrating.plain), ("calibrated", calibrator))
    }
    return replace(made, sureness={name: one for name, one in compared.items() if one is not None})


def scores_of(
    examples: Sequence[Example], tags: Sequence[Sequence[str]], found: Sequence[Collection[Any]]
) -> Scores:
    """Count tags and triples of sentences against what is true."""
    true = [one.triples for one in examples]
    groups = [one.group or one.text for one in examples]
    kinds = dict.fromkeys(one.kind for one in examples)
    by_kind = {}
    for kind in kinds:
        places = [k for k, one in enumerate(examples) if one.kind == kind]
        by_kind[kind] = score_triples(
            [true[k] for k in places], [found[k] for k in places], [groups[k] for k in places]
        )
    number = {name: place for place, name in enumerate(LABELS)}
    records = tuple(
        Tagged(
            str(place), group,
            tuple(number[tag] for tag in one.tags), tuple(number[tag] for tag in given),
        )
        for place, (one, given, group) in enumerate(zip(examples, tags, groups, strict=True))
    )  # fmt: skip
    about = {"tags": list(LABELS)}
    return Scores(
        score_triples(true, found, groups),
        by_kind,
        score_items("f1", records, about, "token-classification"),
    )


def exact_f1(
    examples: Sequence[Example],
    readings: Sequence[Reading],
    phrases: Phrases,
    symmetric: Collection[str] = (),
    is_entity: Callable[[str], bool | None] = lambda text: None,
) -> float:
    """Return the exact-triple F1 alone: what the training stops by."""
    found = found_in(examples, readings, phrases, symmetric, is_entity)
    rows = np.array(
        [
            (len(one.triples), len(given), len(one.triples & given))
            for one, given in zip(examples, found, strict=True)
        ]
    ).sum(axis=0)
    return float(2 * rows[2] / max(1, rows[0] + rows[1]))
