# SPDX-License-Identifier: Apache-2.0
"""The training loop: what is told after a step, and parameters that learn faster."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from plait.training.loop import optimise  # noqa: E402


def test_some_parameters_learn_faster_and_every_step_is_told() -> None:
    slow, fast, fixed = (torch.nn.Parameter(torch.zeros(1)) for _ in range(3))
    fixed.requires_grad_(False)
    seen: list[int] = []
    losses, steps = optimise(
        [slow, fast, fixed],
        [1] * 10,
        lambda batch: -(slow + fast + fixed).sum(),
        epochs=1,
        learning_rate=0.01,
        batch_size=2,
        random=np.random.default_rng(0),
        after_step=seen.append,
        faster=[fast],
        times=3.0,
    )
    assert seen == [1, 2, 3, 4, 5] and steps == 5 and len(losses) == 1
    # Adam's steps are of the learning rate's size where the gradient stays the same
    assert float(fast.detach()) == pytest.approx(3 * float(slow.detach()), rel=0.05)
    assert float(slow.detach()) > 0 == float(fixed)
