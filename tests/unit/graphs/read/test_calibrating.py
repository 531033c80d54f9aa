# SPDX-License-Identifier: Apache-2.0
"""What a tagger says of a fact's parts becomes the probability that the fact is right."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tests.unit.graphs.read.atlas import atlas
from tests.unit.graphs.read.test_extract import Told

from plait.cli.graph import reading
from plait.graphs.read.calibrating import (
    FEWEST,
    Calibrator,
    fit,
    from_json,
    given,
    measure,
    plain,
    rightness,
)
from plait.graphs.read.examples import Example, parse_marked
from plait.graphs.read.extract import Reader, Text
from plait.graphs.read.triples import Found, Mention
from plait.recipes.extension import LEAST

TRUE = parse_marked("The [capital of|P1=capital] [Peru|S1] is [Lima|O1].")
FALSE = parse_marked("[Peru|S1] [borders|P1=borders] [Chile|O1].")


def found(*sure: float) -> Found:
    """Return the fact of `TRUE`, said so surely."""
    ends = (Mention("S", 3, 4, "Peru"), Mention("O", 5, 6, "Lima"))
    held = (*sure, 1.0, 1.0, 1.0, 1.0)[:4]
    return Found(ends[0], "capital", "capital of", ends[1], (held[0], held[1], held[2], held[3]))


def said(count: int, seed: int) -> tuple[list[Example], list[list[Found]]]:
    """Return sentences with a fact each: right less often than the product of its parts says."""
    random = np.random.default_rng(seed)
    sure = random.uniform(0.7, 1.0, (count, 4))
    right = random.random(count) < 0.9 * sure[:, 0] * sure[:, 3] ** 3
    return [TRUE if one else FALSE for one in right], [[found(*row)] for row in sure.tolist()]


def test_a_confidence_is_how_often_it_is_right() -> None:
    calibrator = fit(*said(3_000, 0))
    assert calibrator is not None
    examples, facts = said(3_000, 1)
    every = [one for row in facts for one in row]
    right = rightness(examples, facts)
    groups = [str(place % 50) for place in range(len(every))]
    before, after = (measure(one(every), right, groups) for one in (plain, calibrator))
    assert before is not None
    assert after is not None
    assert before.ece > 0.08
    assert after.ece < 0.05
    assert after.brier < before.brier
    over = after.proposed_right / after.proposed
    assert 0.5 < over < 0.9
    assert abs(after.confidence - after.right) < 0.05


def test_who_is_surer_of_a_part_is_never_less_sure_of_the_fact() -> None:
    random = np.random.default_rng(0)
    # what it says of the object misleads: the surer, the oftener wrong
    sure = random.uniform(0.1, 1.0, (300, 4))
    examples = [TRUE if one[2] < 0.5 else FALSE for one in sure]
    calibrator = fit(examples, [[found(*row)] for row in sure.tolist()])
    assert calibrator is not None
    assert min(calibrator.weights) >= 0
    for part in range(4):
        parts = [[0.5 if k != part else value for k in range(4)] for value in (0.2, 0.5, 0.9)]
        values = calibrator([found(*row) for row in parts])
        assert list(values) == sorted(values)


def test_few_facts_calibrate_nothing_and_no_fact_is_certain() -> None:
    assert fit([TRUE] * (FEWEST - 1), [[found(0.9)]] * (FEWEST - 1)) is None
    always = fit([TRUE] * 100, [[found(0.9)]] * 100)
    assert always is not None
    assert 0.9 < always([found(0.9)])[0] < 1.0
    assert measure(np.empty(0), np.empty(0, dtype=bool), []) is None


def test_what_is_stored_is_read_again_and_nonsense_is_refused() -> None:
    made = Calibrator((0.5, 1.0, 0.0, 2.0), -0.25)
    assert from_json(json.loads(json.dumps(made.to_json()))) == made
    assert from_json(None) is None
    good = made.to_json()
    for wrong in (
        {}, [], "x", {"weights": good["weights"]}, good | {"offset": "x"},
        good | {"offset": float("nan")}, good | {"weights": good["weights"] | {"subject": -1.0}},
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"could not convert|no calibration"):
            from_json(wrong)


def test_statements_carry_the_calibrated_confidence() -> None:
    tagger = Told()
    text = [Text("a", "Peru borders Ghana.")]
    (before,) = Reader(atlas(), tagger).read(text).statements
    assert before.confidence == 1.0
    tagger.calibrator = Calibrator((1.0, 1.0, 1.0, 0.0), float(np.log(3)))  # type: ignore[attr-defined]
    (after,) = Reader(atlas(), tagger).read(text).statements
    assert after.reading == pytest.approx(0.75)
    assert after.confidence < 0.5  # the graph does not say it, and few texts tell what is new


def test_what_the_graph_says_already_was_hardly_misread() -> None:
    random = np.random.default_rng(0)
    for new in (0.1, 0.8):  # of what is said, so much is not in the graph
        sure = random.uniform(0.3, 0.95, 4_000)
        right = random.random(4_000) < sure
        known = np.where(right, random.random(4_000) >= new, random.random(4_000) < 0.02)
        made = given(sure, known)
        for part in (known, ~known):
            assert abs(made[part].mean() - right[part].mean()) < 0.04
        rows = measure(made[~known], right[~known], ["a"] * int((~known).sum()))
        assert rows is not None
        assert rows.ece < 0.06
    assert len(given(np.empty(0), np.empty(0, dtype=bool))) == 0
    # where everything is new, what is read is believed
    assert given(np.full(60, 0.8), np.zeros(60, dtype=bool)).min() > 0.7


def test_the_command_line_proposes_from_the_same_confidence() -> None:
    assert reading.LEAST == LEAST
