# SPDX-License-Identifier: Apache-2.0
"""What a terminal is told of a fusion."""

from __future__ import annotations

from typing import Any

from plait.fusion.summary import summary

TEST = {
    "split": "test",
    "tasks": {"shop": {"score": 0.876, "interval": [0.848, 0.902], "metric": "accuracy", "n": 605}},
}
GAIN = {"over": "equal weights", "effect": -0.0258, "low": -0.04, "high": -0.01}


def ensemble(**more: Any) -> dict[str, Any]:
    search = {
        "members": ["a", "b"],
        "weights": [0.7, 0.3],
        "metrics": ["accuracy"],
        "rule": "metric",
        "combine": "logits",
        "items": 1213,
        "split": "validation",
        "out_of_fold": {"score": 0.816},
        "gain": GAIN,
        "gain_over_best_member": GAIN | {"over": "a", "effect": 0.036},
    }
    return {"search": search | more, "results": {"test": TEST}}


def test_an_ensemble_tells_weights_gains_and_scores() -> None:
    told = summary(ensemble())
    assert told[0] == "weights: a 0.700, b 0.300 (rule: metric), over logits"
    assert told[1].endswith("1,213 items of 'validation', out of fold: 81.6")
    assert told[2] == (
        "  gain over equal weights: \N{MINUS SIGN}2.6 points (95%: \N{MINUS SIGN}4.0 to "
        "\N{MINUS SIGN}1.0)"
    )
    assert "over a: +3.6 points" in told[3]
    assert told[4] == "on 'test': shop 87.6 (accuracy, 84.8 to 90.2, n=605)"
    assert summary(ensemble(weights=[[0.5, 0.4], [0.5, 0.6]]))[0].startswith("a weight for each")
    assert summary(ensemble(weights=None, rule="C = 0.1"))[0] == "stacking of a, b (C = 0.1)"


def test_a_search_tells_what_was_chosen_and_why() -> None:
    search = {
        "points": [{"method": "ties", "parameters": {"density": 0.5}}],
        "chosen": 0,
        "default": 0,
        "reason": "Nothing that was tried scores higher than the default.",
        "work": {"candidates": 24, "items": 100, "of": 200, "taken_up": 3},
    }
    assert summary({"search": search}) == [
        "chosen (the default): ties density 0.5",
        "Nothing that was tried scores higher than the default.",
        "24 candidates, 100 of 200 items run, 3 measurements taken up from before",
    ]


def test_a_student_tells_its_training_and_its_teachers() -> None:
    results = {
        "texts": {"shop": 1214},
        "labelled": 0,
        "steps": 904,
        "losses": [0.6, 0.4],
        "best_epoch": 2,
        "selected_by": "validation",
        "teachers": {"large": {"tasks": {"shop": 0.889}}},
        "test": TEST,
    }
    told = summary({"results": results})
    assert "kept epoch 2 of 2" in told[0]
    assert told[1] == "teacher large on the test split: shop 88.9"
    assert told[2].startswith("on 'test': shop 87.6")


def test_what_methods_of_weights_found_is_told_if_it_is_short() -> None:
    assert summary({"learned": {"steps": 100, "loss": 0.51234, "curve": list(range(99))}}) == [
        "learned: steps 100, loss 0.5123"
    ]
    assert summary({}) == []
