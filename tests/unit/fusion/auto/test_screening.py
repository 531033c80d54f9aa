# SPDX-License-Identifier: Apache-2.0
"""Screening: what the first documents speak clearly against is measured no further."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from plait.evaluation.tasks import Item, Task
from plait.fusion.auto.screening import FEWEST, dropped
from plait.fusion.search.folds import FoldedTask, Outcomes, fold_tasks

COUNT = 120


def tasks() -> list[FoldedTask]:
    items = tuple(Item(f"text {i}", i % 2, f"document {i}", f"v:{i}") for i in range(COUNT))
    return fold_tasks([Task("one", "accuracy", items, (0, 1))], 5, 0)


def outcomes(folded: list[FoldedTask], right: float, seed: int) -> Outcomes:
    """Return a candidate that answers this share of the documents rightly, which it draws."""
    table = np.zeros((COUNT, 3, 2))
    random = np.random.default_rng(seed)
    hits = random.permutation(COUNT) < right * COUNT
    for place, hit in enumerate(hits):
        label = place % 2
        said = label if hit else 1 - label
        table[place, 0, label] += 1
        table[place, 1, said] += 1
        table[place, 2, label] += said == label
    found = Outcomes(folded)
    found.tables = [table]
    return found


def screened(*right: float, short: bool = False, row: int = COUNT) -> dict[str, str]:
    folded = tasks()
    found = {f"m{i}": outcomes(folded, share, i) for i, share in enumerate(right)}
    return dropped(found, folded, [row], short=short, seed=0)


def test_differences_that_may_be_noise_drop_nobody() -> None:
    assert screened(0.80, 0.79, 0.78, 0.78, 0.77, 0.76, 0.75) == {}


def test_what_is_clearly_worse_is_dropped_and_told() -> None:
    found = screened(0.90, 0.89, 0.88, 0.87, 0.55, 0.50)
    assert sorted(found) == ["m4", "m5"]
    assert "it scored 0.500" in found["m5"]
    assert "clearly less than m0 (0.900)" in found["m5"]


def test_a_few_are_always_measured_on() -> None:
    assert len(screened(0.95, 0.3, 0.3, 0.3, 0.3)) == 5 - FEWEST
    assert screened(0.95, 0.3, 0.2) == {}


def test_a_short_budget_drops_half() -> None:
    found = screened(0.80, 0.80, 0.79, 0.79, 0.78, 0.78, 0.77, 0.77, short=True)
    assert len(found) == 4
    assert set(found) <= {"m4", "m5", "m6", "m7"}
    assert all("half of the methods more" in why for why in found.values())


def test_only_the_documents_of_the_round_are_looked_at() -> None:
    folded = tasks()
    good, late = outcomes(folded, 0.9, 0), outcomes(folded, 0.9, 0)
    assert late.tables[0] is not None
    table = late.tables[0]
    table[60:, 1] = table[60:, 0][:, ::-1]  # every later document is answered wrongly
    table[60:, 2] = 0
    found = {"a": good, "b": good, "c": good, "late": late}
    assert dropped(found, folded, [60], short=False, seed=0) == {}
    assert list(dropped(found, folded, [COUNT], short=False, seed=0)) == ["late"]
