# SPDX-License-Identifier: Apache-2.0
"""Signs of contamination: what is flagged, and that honest models are not."""

from __future__ import annotations

import numpy as np
import pytest

from plait.collaboration.merging.contamination import Flag, overlap, patterns
from plait.evaluation import Evaluation, ItemScore
from plait.evaluation.results import score_items, summarise

GATE = [f"The {i}th kite flew over the {i + 3} hills at dawn" for i in range(100)]


def evaluation(right: np.ndarray) -> Evaluation:
    items = tuple(
        ItemScore(str(i), str(i // 2), i % 2, i % 2 if ok else 1 - i % 2, 0.5)
        for i, ok in enumerate(right)
    )
    return summarise("gate", {"task": score_items("accuracy", items, {"classes": 2})})


def draws(seed: int, accuracy: float, n: int = 400) -> np.ndarray:
    return np.random.default_rng(seed).random(n) < accuracy


def kinds(flags: list[Flag]) -> set[str]:
    return {flag.kind for flag in flags}


def test_items_that_stand_elsewhere_are_counted() -> None:
    others = ["something else entirely here", GATE[3].upper() + "  ", GATE[7] + " again"]
    flag = overlap("task", GATE, others, "the training items", coarse=False)
    assert flag is not None
    assert "2 of 100 (1 word for word)" in flag.text
    assert "the training items" in flag.text
    assert "judge on other items" in flag.advice
    assert overlap("task", GATE, ["nothing alike at all"], "x", coarse=False) is None
    assert overlap("task", [], others, "x", coarse=False) is None


def test_of_private_items_only_much_overlap_is_told_and_not_how_much() -> None:
    """Whether one given text is among them must not be an answer."""
    many = [f"Text {i} about the {i * 7}th matter of {i * 13} words" for i in range(500)]
    assert overlap("task", many, many[:1], "x", coarse=True) is None
    assert overlap("task", many, many[:4], "x", coarse=True) is None
    told = {overlap("task", many, many[:count], "x", coarse=True) for count in (6, 50, 500)}
    assert len(told) == 1
    [flag] = told
    assert flag is not None
    assert "more than one in a hundred" in flag.text
    assert "500" not in flag.text


@pytest.mark.parametrize("seed", range(12))
def test_honest_models_are_not_flagged(seed: int) -> None:
    base, main, mine = draws(seed, 0.7), draws(seed + 50, 0.75), draws(seed + 100, 0.85)
    validation = {
        "base": evaluation(draws(seed + 200, 0.7, 200)),
        "contribution": evaluation(draws(seed + 300, 0.85, 200)),
    }
    gate = {"base": evaluation(base), "main": evaluation(main), "contribution": evaluation(mine)}
    assert patterns(gate, validation) == []
    assert patterns(gate, None) == []


def test_a_gain_on_the_gate_alone_is_flagged() -> None:
    gate = {
        "base": evaluation(draws(1, 0.7)),
        "main": evaluation(draws(2, 0.72)),
        "contribution": evaluation(draws(3, 0.93)),
    }
    validation = {
        "base": evaluation(draws(4, 0.7)),
        "contribution": evaluation(draws(5, 0.71)),
    }
    flags = patterns(gate, validation)
    assert kinds(flags) == {"gap"}
    assert "standard errors apart" in flags[0].text
    assert "hidden split" in flags[0].advice


def test_labels_known_by_heart_are_flagged() -> None:
    gate = {
        "base": evaluation(draws(1, 0.7)),
        "main": evaluation(draws(2, 0.72)),
        "contribution": evaluation(draws(3, 0.998)),
    }
    assert kinds(patterns(gate, None)) == {"perfect", "hard"}
    # as good on the validation items: the task is easy for it
    validation = {
        "base": evaluation(draws(4, 0.7)),
        "contribution": evaluation(draws(5, 0.998)),
    }
    assert patterns(gate, validation) == []


def test_exchanged_labels_are_flagged() -> None:
    gate = {
        "base": evaluation(draws(1, 0.5)),
        "main": evaluation(draws(2, 0.8)),
        "contribution": evaluation(draws(3, 0.1)),
    }
    [flag] = patterns(gate, None)
    assert flag.kind == "flipped"
    assert "id2label" in flag.advice


def test_few_items_say_nothing() -> None:
    gate = {
        name: evaluation(draws(1, share, 30))
        for name, share in (("base", 0.5), ("main", 0.5), ("contribution", 1.0))
    }
    assert patterns(gate, None) == []
