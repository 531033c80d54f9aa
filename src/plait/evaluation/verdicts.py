# SPDX-License-Identifier: Apache-2.0
"""The gate: three verdicts on a candidate, each with its reason in a sentence.

The rule, on differences candidate minus main measured on the same items:

* A **protected** task *passes* when, with the gate's confidence, the candidate loses less than the
  task's margin (non-inferiority). It *regresses* when the candidate is significantly worse (Holm
  over the deciding tasks) and that cannot be shown. Anything else is *not enough data*. Margins
  are in the metric's unit, and losses in its direction: of an error, more is a loss.
* A **target** task must also gain, with the same confidence. A **watched** task decides nothing.
* The **average** over all tasks that decide must show at least ``minimum_gain``, and with the
  gate's confidence be no more than ``margin`` below that. It regresses when it is significantly
  worse than main and the latter cannot be shown.

All must pass for the merge to pass, so that the chance to let through a candidate whose true loss
on some task is the margin or more is at most 1 - confidence, however many tasks there are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from plait.evaluation.bootstrap import holm
from plait.evaluation.comparison import Comparison, Difference

if TYPE_CHECKING:
    from plait.recipes.project import GateSpec, TaskSpec

Verdict = Literal["passes", "regresses", "not enough data"]

PASSES: Verdict = "passes"
REGRESSES: Verdict = "regresses"
UNDECIDED: Verdict = "not enough data"

MINIMUM_GROUPS = 10
MINIMUM_PER_CLASS = 5
"""Fewer groups, or items of a class, and no interval means anything."""


@dataclass(frozen=True)
class TaskJudgement:
    """The verdict on one task (or on the average), with its reason."""

    name: str
    role: str
    margin: float
    verdict: Verdict
    note: str
    needed: int | None
    """Items that would be enough if the difference stayed as it is; None if none are needed, or
    no number would do."""


@dataclass(frozen=True)
class Judgement:
    """The verdict on a candidate, with its reason."""

    verdict: Verdict
    reason: str
    tasks: Mapping[str, TaskJudgement]
    average: TaskJudgement

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""

        def plain(one: TaskJudgement) -> dict[str, Any]:
            return {
                "role": one.role,
                "margin": one.margin,
                "verdict": one.verdict,
                "note": one.note,
                "needed": one.needed,
            }

        return {
            "verdict": self.verdict,
            "reason": self.reason,
            "tasks": {name: plain(task) for name, task in self.tasks.items()},
            "average": plain(self.average),
        }


def judge(comparison: Comparison, gate: GateSpec, tasks: Sequence[TaskSpec]) -> Judgement:
    """Apply the gate's rule to a comparison of a candidate with main.

    Tasks that were not measured are not enough data; confidence is the comparison's.
    """
    specs = {task.name: task for task in tasks}
    deciding = [n for n in comparison.tasks if n in specs and specs[n].role != "watched"]
    p_values = dict(
        zip(deciding, holm([comparison.tasks[name].p for name in deciding]), strict=True)
    )
    alpha = 1 - comparison.confidence
    judged = {}
    for name, spec in specs.items():
        difference = comparison.tasks.get(name)
        alone = 1.0 if difference is None else difference.p
        judged[name] = _judge_task(spec, difference, p_values.get(name, alone), alpha)
    average = _judge_average(comparison.average, gate, alpha)
    counted = [judged[name] for name, spec in specs.items() if spec.role != "watched"]
    verdict, reason = _overall(counted, average)
    return Judgement(verdict, reason, judged, average)


def _judge_task(
    spec: TaskSpec, difference: Difference | None, p_adjusted: float, alpha: float
) -> TaskJudgement:
    def told(verdict: Verdict, note: str, needed: int | None = None) -> TaskJudgement:
        return TaskJudgement(spec.name, spec.role, spec.margin, verdict, note, needed)

    if difference is None:
        return told(UNDECIDED, f"{spec.name} was not measured.")
    sure, told_as = _percent(1 - alpha), _Unit(difference)
    gain, least = difference.gain, difference.least_gain
    shown = f"{spec.name} changes by {told_as.signed(difference.effect)}"
    lack = _too_few(difference)
    if lack is not None:
        return told(UNDECIDED, f"{shown}, but {lack}.")
    allowed = told_as.limit(spec.margin)
    if least <= -spec.margin:
        if gain < 0 and p_adjusted < alpha:
            return told(REGRESSES, f"{shown}, a significant loss; {allowed}.")
        needed = _needed(difference, -spec.margin)
        return told(
            UNDECIDED,
            f"{shown}, but the true loss may be up to {told_as.size(-least)}; "
            f"{allowed}{_enough(needed)}.",
            needed,
        )
    if spec.role == "target" and least <= 0:
        if gain < 0 and p_adjusted < alpha:
            return told(REGRESSES, f"{shown}, a significant loss, and this task must gain.")
        needed = _needed(difference, 0.0)
        return told(
            UNDECIDED, f"{shown}; a gain is asked for and not shown{_enough(needed)}.", needed
        )
    if least >= 0:
        return told(PASSES, f"{shown}, a gain.")
    return told(
        PASSES,
        f"{shown}; at {sure} confidence it loses at most {told_as.size(-least)}, and {allowed}.",
    )


def _judge_average(difference: Difference, gate: GateSpec, alpha: float) -> TaskJudgement:
    def told(verdict: Verdict, note: str, needed: int | None = None) -> TaskJudgement:
        return TaskJudgement("average", "average", gate.margin, verdict, note, needed)

    sure, told_as = _percent(1 - alpha), _Unit(difference)
    gain, least = difference.gain, difference.least_gain
    shown = f"the average changes by {told_as.signed(difference.effect)}"
    lack = _too_few(difference)
    if lack is not None:
        return told(UNDECIDED, f"{shown}, but {lack}.")
    floor = gate.minimum_gain - gate.margin
    if least <= floor:
        if gain < 0 and difference.p < alpha:
            return told(REGRESSES, f"{shown}, a significant loss.")
        needed = _needed(difference, floor)
        return told(
            UNDECIDED,
            f"{shown}, but may truly be {told_as.gain(least)}; "
            f"{told_as.gain(floor)} is the least{_enough(needed)}.",
            needed,
        )
    if gain < gate.minimum_gain:
        wanted = f"at least {told_as.gain(gate.minimum_gain)}" if gate.minimum_gain else "no loss"
        return told(UNDECIDED, f"{shown}, and {wanted} is asked for.")
    return told(PASSES, f"{shown} (at {sure} confidence by {told_as.gain(least)} or better).")


def _overall(tasks: Sequence[TaskJudgement], average: TaskJudgement) -> tuple[Verdict, str]:
    if not tasks:
        return UNDECIDED, "No task decides: plait.yaml names none that is protected or a target."
    every = [*tasks, average]
    for verdict in (REGRESSES, UNDECIDED):
        reasons = [one.note for one in every if one.verdict == verdict]
        if reasons:
            return verdict, " ".join(_sentence(reason) for reason in reasons)
    kept = "Every task keeps within its margin" if len(tasks) > 1 else "The task keeps within it"
    return PASSES, f"{_sentence(average.note)} {kept}."


def _too_few(difference: Difference) -> str | None:
    if difference.groups < MINIMUM_GROUPS:
        return f"{difference.groups} documents are too few; {MINIMUM_GROUPS} are the least"
    if difference.smallest_class is not None and difference.smallest_class < MINIMUM_PER_CLASS:
        return (
            f"its rarest label has {difference.smallest_class} items; {MINIMUM_PER_CLASS} are "
            "the least"
        )
    return None


def _needed(difference: Difference, floor: float) -> int | None:
    """Return the number of items at which the lower bound of the gain would reach ``floor``.

    A bound's distance from the effect shrinks with the square root of the number of items.
    """
    room = difference.gain - floor
    if room <= 0:
        return None
    reach = difference.gain - difference.least_gain
    return math.ceil(difference.n * (reach / room) ** 2)


def _enough(needed: int | None) -> str:
    return "" if needed is None else f" (about {needed:,} items would tell)"


class _Unit:
    """How a difference is told: shares in points of a hundred, anything else as it is."""

    def __init__(self, difference: Difference) -> None:
        self._share, self._direction = difference.share, difference.direction

    def signed(self, value: float) -> str:
        """Tell a change with its sign."""
        shown = f"{value * 100:+.1f} points" if self._share else f"{value:+.4g}"
        return shown.replace("-", "−")

    def gain(self, value: float) -> str:
        """Tell a gain as the change that it is: of an error, a gain is a change downwards."""
        return self.signed(self._direction * value)

    def size(self, value: float) -> str:
        """Tell a loss's size."""
        return f"{value * 100:.1f} points" if self._share else f"{value:.4g}"

    def limit(self, margin: float) -> str:
        """Tell what may be lost."""
        return f"{self.size(margin)} are allowed" if margin else "no loss is allowed"


def _percent(value: float) -> str:
    return f"{value * 100:g}%"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
