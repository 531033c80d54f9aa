# SPDX-License-Identifier: Apache-2.0
"""Laws of combining outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from plait.fusion.outputs.calibration import log_loss, temperature  # noqa: E402
from plait.modeling.ensemble import combine, stack  # noqa: E402

KINDS = st.sampled_from(["probabilities", "logits"])


@st.composite
def rows(draw: Any, least: int = 2) -> Any:
    """Members' log-probabilities [members, n, classes]."""
    shape = (draw(st.integers(least, 4)), draw(st.integers(1, 5)), draw(st.integers(2, 4)))
    seed = draw(st.integers(0, 2**31))
    values = np.random.default_rng(seed).normal(scale=draw(st.sampled_from([0.5, 3.0])), size=shape)
    return torch.log_softmax(torch.from_numpy(values), dim=-1)


def weights(seed: int, count: int) -> Any:
    return torch.from_numpy(np.random.default_rng(seed).uniform(0.05, 1, count))


@given(rows(), KINDS)
def test_all_the_weight_on_one_member_gives_that_member(logs: Any, kind: str) -> None:
    for member in range(len(logs)):
        one = torch.zeros(len(logs), dtype=torch.float64)
        one[member] = 2.0
        assert torch.allclose(combine(logs, one, kind), logs[member], atol=1e-12)


@given(rows(), KINDS, st.integers(0, 1000))
def test_weights_go_with_their_members_whatever_the_order(logs: Any, kind: str, seed: int) -> None:
    given_weights = weights(seed, len(logs))
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(logs)))
    mixed = combine(logs[order], given_weights[order], kind)
    assert torch.allclose(mixed, combine(logs, given_weights, kind), atol=1e-12)


@given(rows(), KINDS, st.integers(0, 1000))
def test_probabilities_sum_to_one_and_only_shares_matter(logs: Any, kind: str, seed: int) -> None:
    given_weights = weights(seed, len(logs))
    made = combine(logs, given_weights, kind)
    assert torch.allclose(made.exp().sum(-1), torch.ones(logs.shape[1], dtype=torch.float64))
    assert torch.allclose(made, combine(logs, 7 * given_weights, kind), atol=1e-12)


@given(rows(), KINDS, st.integers(0, 1000))
def test_equal_members_are_unchanged(logs: Any, kind: str, seed: int) -> None:
    same = logs[:1].expand_as(logs)
    assert torch.allclose(combine(same, weights(seed, len(logs)), kind), logs[0], atol=1e-12)


@given(rows(), KINDS, st.integers(0, 1000))
def test_per_class_weights_that_are_all_equal_are_the_plain_ones(
    logs: Any, kind: str, seed: int
) -> None:
    plain = weights(seed, len(logs))
    by_class = plain[:, None].expand(-1, logs.shape[2])
    assert torch.allclose(combine(logs, by_class, kind), combine(logs, plain, kind), atol=1e-12)


@given(rows())
def test_averaged_probabilities_are_averages(logs: Any) -> None:
    share = torch.ones(len(logs), dtype=torch.float64)
    assert torch.allclose(combine(logs, share, "probabilities").exp(), logs.exp().mean(0))


@given(rows(), KINDS, st.integers(0, 1000))
def test_who_has_no_answer_counts_for_nothing(logs: Any, kind: str, seed: int) -> None:
    given_weights = weights(seed, len(logs))
    present = torch.ones(logs.shape[1], len(logs), dtype=torch.bool)
    present[:, 0] = False
    spoilt = logs.clone()
    spoilt[0] = float("nan")
    without = combine(logs[1:], given_weights[1:], kind)
    assert torch.allclose(combine(spoilt, given_weights, kind, present), without, atol=1e-12)


@given(rows(), KINDS)
def test_members_that_answer_alone_answer_whatever_their_weight(logs: Any, kind: str) -> None:
    none = torch.zeros(len(logs), dtype=torch.float64)
    none[0] = 1.0
    present = torch.zeros(logs.shape[1], len(logs), dtype=torch.bool)
    present[:, 1] = True
    assert torch.allclose(combine(logs, none, kind, present), logs[1], atol=1e-12)


@given(rows())
def test_stacking_with_ones_for_a_member_is_that_member(logs: Any) -> None:
    members, _, classes = logs.shape
    for member in range(members):
        coefficients = torch.zeros(classes, members * classes, dtype=torch.float64)
        coefficients[:, member * classes : (member + 1) * classes] = torch.eye(classes)
        made = stack(logs, coefficients, torch.zeros(classes, dtype=torch.float64))
        assert torch.allclose(torch.log_softmax(made, -1), logs[member], atol=1e-9)


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(2, 5), st.sampled_from([0.3, 1.0, 4.0]))
def test_calibration_never_raises_the_loss_of_its_items(
    seed: int, classes: int, scale: float
) -> None:
    random = np.random.default_rng(seed)
    logits = random.normal(scale=scale, size=(40, classes))
    labels = random.integers(0, classes, 40)
    logs = torch.log_softmax(torch.from_numpy(logits), -1).numpy()
    found = temperature(logs, labels)
    after = torch.log_softmax(torch.from_numpy(logs / found), -1).numpy()
    assert log_loss(after, labels) <= log_loss(logs, labels) + 1e-9
    for near in (0.9 * found, 1.1 * found):
        if 0.05 < near < 20:
            other = torch.log_softmax(torch.from_numpy(logs / near), -1).numpy()
            assert log_loss(after, labels) <= log_loss(other, labels) + 1e-9


def test_calibration_finds_the_temperature_that_outputs_were_multiplied_with() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(scale=2, size=(20_000, 3))
    chances = torch.softmax(torch.from_numpy(logits), -1).numpy()
    labels = (random.random((20_000, 1)) > chances.cumsum(1)).sum(1).clip(0, 2)
    logs = torch.log_softmax(torch.from_numpy(2.5 * logits), -1).numpy()
    assert temperature(logs, labels) == pytest.approx(2.5, rel=0.05)
