# SPDX-License-Identifier: Apache-2.0
"""The one training loop: AdamW over batches of like lengths, whatever the loss is.

Warm-up is linear over a tenth of the steps, decay linear to zero, gradients are clipped to norm 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from plait.errors import BadInput, Cancelled

Progress = Callable[[int, int, float], None]
"""Called with the steps done, the steps in all and the loss."""

WARM_UP = 0.1
WEIGHT_DECAY = 0.01
CLIP = 1.0
POOL = 8
"""Batches are cut from so many batches' worth of shuffled items, sorted by length."""


def optimise(
    parameters: Sequence[Any],
    lengths: Sequence[int],
    loss: Callable[[list[int]], Any],
    *,
    epochs: int,
    learning_rate: float,
    batch_size: int,
    random: np.random.Generator,
    kinds: Sequence[int] | None = None,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
    after_epoch: Callable[[int], bool] | None = None,
    after_step: Callable[[int], None] | None = None,
    faster: Sequence[Any] = (),
    times: float = 1.0,
) -> tuple[list[float], int]:
    """Train parameters in place.

    Args:
        parameters: torch parameters; those without `requires_grad` stay as they are.
        lengths: how long each item is; items of like length share a batch.
        loss: gives the mean loss (a scalar tensor) of the items with these numbers.
        epochs: how often every item is seen, at most.
        learning_rate: the highest that the schedule reaches.
        batch_size: items in one step.
        random: draws the order of items.
        kinds: a number for each item; a batch holds items of one kind alone.
        progress: called after each step.
        cancelled: asked before each step.
        after_epoch: called with the number of epochs done; the training ends if it returns true.
        after_step: called with the number of steps done.
        faster: those of the parameters whose learning rate is so many `times` the others'.

    Returns:
        The mean loss of each epoch, and how many steps were taken.

    Raises:
        BadInput: if the loss is no longer a number.
        Cancelled: if `cancelled` says so.
    """
    import torch

    trained = [parameter for parameter in parameters if parameter.requires_grad]
    apart = {id(parameter) for parameter in faster}
    groups = [
        {"params": [one for one in trained if (id(one) in apart) == fast], "lr": rate_}
        for fast, rate_ in ((False, learning_rate), (True, learning_rate * times))
    ]
    optimiser = torch.optim.AdamW(
        [one for one in groups if one["params"]], weight_decay=WEIGHT_DECAY, fused=True
    )
    numbers = kinds if kinds is not None else [0] * len(lengths)
    per_epoch = sum(-(-numbers.count(kind) // batch_size) for kind in set(numbers))
    steps = epochs * per_epoch
    warm = max(1, round(WARM_UP * steps))

    def rate(step: int) -> float:
        return min((step + 1) / warm, max(0.0, (steps - step) / max(1, steps - warm)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, rate)
    losses: list[float] = []
    done = 0
    for epoch in range(epochs):
        total = 0.0
        for batch in batches(lengths, batch_size, random, numbers):
            if cancelled is not None and cancelled():
                raise Cancelled("The training was cancelled; nothing was written.")
            found = loss(batch)
            optimiser.zero_grad(set_to_none=True)
            found.backward()
            torch.nn.utils.clip_grad_norm_(trained, CLIP)
            optimiser.step()
            schedule.step()
            value = float(found.detach())
            if not np.isfinite(value):
                raise BadInput(
                    f"The loss is not a number after {done} steps; use a lower learning rate than "
                    f"{learning_rate:g}."
                )
            total += value * len(batch)
            done += 1
            if progress is not None:
                progress(done, steps, value)
            if after_step is not None:
                after_step(done)
        losses.append(total / len(lengths))
        if after_epoch is not None and after_epoch(epoch + 1):
            break
    return losses, done


def batches(
    lengths: Sequence[int],
    batch_size: int,
    random: np.random.Generator,
    kinds: Sequence[int] | None = None,
) -> Iterator[list[int]]:
    """Yield every item once, in random batches of like lengths and of one kind each."""
    order = [int(i) for i in random.permutation(len(lengths))]
    made: list[list[int]] = []
    for kind in sorted(set(kinds)) if kinds is not None else [0]:
        same = order if kinds is None else [i for i in order if kinds[i] == kind]
        for start in range(0, len(same), POOL * batch_size):
            pool = sorted(same[start : start + POOL * batch_size], key=lambda i: lengths[i])
            made += [pool[i : i + batch_size] for i in range(0, len(pool), batch_size)]
    for index in random.permutation(len(made)):
        yield made[index]
