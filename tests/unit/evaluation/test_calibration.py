# SPDX-License-Identifier: Apache-2.0
"""Calibration: zero for honest probabilities, and a temperature that makes others honest."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.errors import BadInput
from plait.evaluation import (
    Evaluation,
    Item,
    ItemScore,
    Task,
    calibrated,
    calibration,
    evaluate,
    temperature,
)
from plait.evaluation.calibration import calibration_of, tempered
from plait.evaluation.results import score_items


class Says:
    """A classifier with these probabilities."""

    labels = ("a", "b", "c")

    def __init__(self, rows: np.ndarray) -> None:
        self.rows = rows

    def predict(self, samples: Sequence[object], progress: object = None) -> np.ndarray:
        return self.rows


def honest(seed: int, n: int, sharpness: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities by which the labels are drawn, told sharper than they are."""
    random = np.random.default_rng(seed)
    true = random.dirichlet([0.7] * 3, size=n)
    labels = np.array([random.choice(3, p=row) for row in true])
    return tempered(true, 1 / sharpness), labels


def judged(rows: np.ndarray, labels: np.ndarray, split: str = "test") -> Evaluation:
    items = tuple(Item("t", int(label), str(k), str(k)) for k, label in enumerate(labels))
    return evaluate(Says(rows), [Task("t", "accuracy", items, (0, 1, 2))], split)


def test_honest_probabilities_are_calibrated_and_sharpened_ones_are_not() -> None:
    rows, labels = honest(0, 20_000)
    found = calibration_of(rows, labels)
    assert found.ece < 0.02
    assert found.adaptive_ece < 0.02
    over = calibration_of(tempered(rows, 1 / 3), labels)
    assert over.ece > 0.1
    assert over.nll > found.nll
    assert over.brier > found.brier


def test_the_temperature_of_validation_mends_the_test() -> None:
    validation, test = honest(1, 4_000, 3.0), honest(2, 4_000, 3.0)
    assert temperature(*validation) == pytest.approx(3.0, abs=0.25)
    before = judged(*test).tasks["t"]
    after = calibrated(before, judged(*validation).tasks["t"])
    assert after.temperature == pytest.approx(3.0, abs=0.25)
    assert after.ece < calibration(before).ece / 3
    assert after.nll < calibration(before).nll


def test_from_items_as_from_probabilities_and_after_a_file() -> None:
    rows, labels = honest(3, 500)
    found = judged(rows.astype(np.float32), labels)
    one = calibration(found.tasks["t"])
    two = calibration_of(rows.astype(np.float32), labels)
    for name in ("ece", "adaptive_ece", "brier", "nll"):
        assert getattr(one, name) == pytest.approx(getattr(two, name), abs=1e-5)
    again = Evaluation.from_json(json.loads(json.dumps(found.to_json())))
    assert again.to_json() == found.to_json()
    with pytest.raises(BadInput, match="evaluate both splits again"):
        calibrated(again.tasks["t"], again.tasks["t"])


def test_brier_and_log_loss_are_scikit_learns() -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    rows, labels = honest(4, 300)
    found = calibration_of(rows, labels)
    assert found.nll == pytest.approx(sklearn.log_loss(labels, rows, labels=[0, 1, 2]))
    hot = np.eye(3)[labels]
    assert found.brier == pytest.approx(((rows - hot) ** 2).sum(axis=1).mean())


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 20))
def test_bins_hold_every_item_once(seed: int, n: int, bins: int) -> None:
    rows, labels = honest(seed, n)
    found = calibration_of(rows, labels, bins=bins)
    assert sum(one.n for one in found.bins) == n
    assert 0 <= found.ece <= 1
    assert 0 <= found.adaptive_ece <= 1
    for one in found.bins:
        assert one.n == 0 or one.low - 1e-9 <= one.confidence <= one.high + 1e-9


def test_what_cannot_be_calibrated_is_named() -> None:
    bare = score_items("accuracy", (ItemScore("a", "a", 0, 0, 0.5),), {"classes": 2})
    with pytest.raises(BadInput, match="without their confidence"):
        calibration(bare)
    rows, labels = honest(5, 10)
    with pytest.raises(BadInput, match="do not belong to 9"):
        calibration_of(rows, labels[:9])
    rows[0, 0] = np.nan
    with pytest.raises(BadInput, match="NaN"):
        temperature(rows, labels)
