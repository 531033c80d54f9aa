# SPDX-License-Identifier: Apache-2.0
"""Training the student: targets of each text, the loss, and when to stop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.fusion.distillation.mixing import Floats, soften
from plait.fusion.distillation.options import Settings
from plait.fusion.distillation.student import Student
from plait.fusion.distillation.teachers import encode
from plait.fusion.distillation.transfer_set import Example
from plait.pretrained import limited_threads, pad
from plait.training.loop import optimise

NO_LABEL = -1


@dataclass(frozen=True)
class Targets:
    """What is learnt of one task's texts, one row each.

    `hidden` is None, or the states to match and their mean square.
    """

    texts: Sequence[str]
    soft: Floats
    labels: NDArray[np.int64]
    hidden: tuple[NDArray[np.float32], float] | None = None


@dataclass(frozen=True)
class History:
    """How training went: losses, and the student's score before it and after each epoch."""

    losses: tuple[float, ...]
    scores: tuple[float, ...]
    kept: int
    """The epoch whose weights were kept; 0 is the student as it started."""
    steps: int


def train(
    student: Student,
    targets: Mapping[str, Targets],
    settings: Settings,
    scorer: Callable[[], float],
    *,
    seed: int,
    threads: int | None = None,
    progress: Callable[[int, int, float], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> History:
    """Train a student on its targets, and leave it as it was when it scored best.

    The loss of a text is `alpha` times the divergence from what the teachers say, at the
    temperature and times its square (Hinton et al. 2015), plus `1 - alpha` times the cross-entropy
    of its label; without a label, the divergence alone. A batch is of one task.

    Args:
        student: changed in place.
        targets: by task.
        settings: of the recipe.
        scorer: scores the student as it is; higher is better.
        seed: of the order of texts and of dropout.
        threads: how many torch may use.
        progress: called with the steps done, the steps in all and the loss.
        cancelled: asked before each step.

    Raises:
        Cancelled: if `cancelled` says so.
        BadInput: if the loss is no longer a number.
    """
    import torch

    tasks = list(targets)
    places = [
        (number, row) for number, task in enumerate(tasks) for row in range(_size(targets, task))
    ]
    rows = [
        ids
        for task in tasks
        for ids in encode(student.tokenizer, targets[task].texts, student.max_length)
    ]
    starts = np.cumsum([0, *(_size(targets, task) for task in tasks)])
    loss_of = [_loss(student, task, targets[task], settings) for task in tasks]

    def loss(batch: list[int]) -> Any:
        number = places[batch[0]][0]
        inputs = pad(student.tokenizer, [rows[i] for i in batch])
        return loss_of[number](inputs, [i - int(starts[number]) for i in batch])

    with limited_threads(threads), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        student.freeze(embeddings=settings.freeze_embeddings, heads=not settings.tune_heads)
        scores = [scorer()]
        best = student.snapshot()
        student.train()

        def after_epoch(epoch: int) -> bool:
            nonlocal best
            scores.append(scorer())
            student.train()
            kept = _latest_best(scores)
            if kept == epoch:
                best = student.snapshot()
            return epoch - kept >= settings.patience

        losses, steps = optimise(
            student.parameters(),
            [len(row) for row in rows],
            loss,
            epochs=settings.epochs,
            learning_rate=settings.learning_rate,
            batch_size=settings.batch_size,
            random=np.random.default_rng(seed),
            kinds=[number for number, _ in places],
            progress=progress,
            cancelled=cancelled,
            after_epoch=after_epoch,
        )
        student.restore(best)
    return History(tuple(losses), tuple(scores), _latest_best(scores), steps)


def agreement(
    student: Student, held: Mapping[str, Targets], temperature: float, threads: int | None
) -> Callable[[], float]:
    """Return a scorer that needs no labels: how well texts held out are answered like the teachers.

    It gives minus the mean cross-entropy, each task weighing the same.
    """

    def scorer() -> float:
        found = []
        predictor = student.predictor(threads)
        for task, target in held.items():
            own = predictor if student.head(task) == "" else predictor.for_task(task)
            said = soften(own.log_probabilities(list(target.texts)), temperature)
            found.append(float((target.soft * np.log(np.maximum(said, 1e-12))).sum(axis=1).mean()))
        return float(np.mean(found))

    return scorer


def class_numbers(examples: Sequence[Example], classes: Mapping[Any, int]) -> NDArray[np.int64]:
    """Return the class of each example's label, `NO_LABEL` where it has none."""
    return np.array(
        [NO_LABEL if example.label is None else classes[example.label] for example in examples],
        dtype=np.int64,
    )


def _latest_best(scores: Sequence[float]) -> int:
    """Return the epoch with the best score; of equal ones the last, which has learnt most."""
    return len(scores) - 1 - int(np.argmax(scores[::-1]))


def _size(targets: Mapping[str, Targets], task: str) -> int:
    return len(targets[task].texts)


def _loss(
    student: Student, task: str, target: Targets, settings: Settings
) -> Callable[[dict[str, Any], list[int]], Any]:
    """Return the loss of some of a task's texts."""
    import torch
    from torch.nn import functional

    model = student.models[student.head(task)]
    soft = torch.from_numpy(target.soft.astype(np.float32))
    labels = torch.from_numpy(target.labels)
    states = None if target.hidden is None else torch.from_numpy(target.hidden[0])
    temperature, alpha = settings.temperature, settings.alpha

    def loss(inputs: dict[str, Any], chosen: list[int]) -> Any:
        output = model(**inputs, output_hidden_states=states is not None)
        logs = torch.log_softmax(output.logits / temperature, dim=-1)
        each = functional.kl_div(logs, soft[chosen], reduction="none").sum(-1) * temperature**2
        truth = labels[chosen]
        known = truth != NO_LABEL
        if bool(known.any()):
            right = functional.cross_entropy(output.logits, truth.clamp(min=0), reduction="none")
            each = torch.where(known, alpha * each + (1 - alpha) * right, each)
        total = each.mean()
        if states is not None and target.hidden is not None:
            mask = inputs["attention_mask"][..., None].to(logs.dtype)
            ours = (output.hidden_states[-1] * mask).sum(dim=1) / mask.sum(dim=1)
            apart = functional.mse_loss(ours, states[chosen]) / target.hidden[1]
            total = total + settings.hidden * apart
        return total

    return loss
