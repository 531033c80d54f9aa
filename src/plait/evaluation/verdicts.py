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
(Passing asks for every test at once: an intersection-union test, which needs no correction; Berger,
"Multiparameter Hypothesis Testing and Acceptance Sampling", Technometrics 24, 1982. Refusing for
any one task does, hence Holm.)

*Not enough data* says how many items would be enough: so many that, were the candidate to lose
nothing (of a target or the average: to gain the smallest effect worth having), it would pass with
the chance ``power``, by the spread of the paired differences that was found. The observed effect
does not enter: a sample size made from it is the p-value again (Hoenig & Heisey, "The Abuse of
Power", The American Statistician 55, 2001).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from plait.evaluation.bootstrap import holm
from plait.evaluation.comparison import Comparison, Difference
from plait.evaluation.significance import detectable, needed_items

if TYPE_CHECKING:
    from plait.recipes.project import GateSpec, TaskSpec

Verdict = Literal["passes", "regresses", "not enough data"]

PASSES: Verdict = "passes"
REGRESSES: Verdict = "regresses"
UNDECIDED: Verdict = "not enough data"

MINIMUM_GROUPS = 20
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
    """Items that would be enough to tell; None if there are enough, or no number would do."""
    detectable: float | None = None
    """The smallest true difference that these items show with the gate's power."""


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
                "detectable": one.detectable,
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
    plan = _Plan(1 - comparison.confidence, gate)
    judged = {}
    for name, spec in specs.items():
        difference = comparison.tasks.get(name)
        alone = 1.0 if difference is None else difference.p
        judged[name] = _judge_task(spec, difference, p_values.get(name, alone), plan)
    average = _judge_average(comparison.average, plan)
    counted = [judged[name] for name, spec in specs.items() if spec.role != "watched"]
    verdict, reason = _overall(counted, average)
    return Judgement(verdict, reason, judged, average)


@dataclass(frozen=True)
class _Plan:
    """The gate's levels, and what its numbers of items are planned for."""

    alpha: float
    gate: GateSpec

    def reach(self, difference: Difference) -> float:
        return difference.gain - difference.least_gain

    def detectable(self, difference: Difference) -> float | None:
        if _too_few(difference) is not None:
            return None
        return detectable(self.reach(difference), confidence=1 - self.alpha, power=self.gate.power)

    def items(self, difference: Difference, truth: float, floor: float) -> int | None:
        """Return the items with which a candidate of this true gain would clear the floor."""
        room = truth - floor
        if room <= 0:
            return None
        return needed_items(
            difference.n,
            self.reach(difference),
            room,
            confidence=1 - self.alpha,
            power=self.gate.power,
        )

    def told(
        self, difference: Difference, needed: int | None, truth: str
    ) -> tuple[str, int | None]:
        """Say how many items would tell, or that there are enough and it is the candidate."""
        if needed is None:
            return "", None
        if needed <= difference.n:
            return f" (one that {truth} would pass on these {difference.n:,} items)", None
        return f" (about {needed:,} items would tell)", needed


def _judge_task(
    spec: TaskSpec, difference: Difference | None, p_adjusted: float, plan: _Plan
) -> TaskJudgement:
    shows = None if difference is None else plan.detectable(difference)

    def told(verdict: Verdict, note: str, needed: int | None = None) -> TaskJudgement:
        return TaskJudgement(spec.name, spec.role, spec.margin, verdict, note, needed, shows)

    if difference is None:
        return told(UNDECIDED, f"{spec.name} was not measured.")
    alpha = plan.alpha
    sure, told_as = _percent(1 - alpha), _Unit(difference)
    gain, least = difference.gain, difference.least_gain
    # A unit of its own (an error's) has no share of a hundred to be worth having.
    worth = plan.gate.smallest_effect if difference.share else max(gain, 0.0)
    shown = f"{spec.name} changes by {told_as.signed(difference.effect)}"
    lack = _too_few(difference)
    if lack is not None:
        return told(UNDECIDED, f"{shown}, but {lack}.")
    allowed = told_as.limit(spec.margin)
    if least <= -spec.margin:
        if gain < 0 and p_adjusted < alpha:
            return told(REGRESSES, f"{shown}, a significant loss; {allowed}.")
        truth = 0.0 if spec.margin else worth
        what = "loses nothing" if spec.margin else f"gains {told_as.size(worth)}"
        enough, needed = plan.told(difference, plan.items(difference, truth, -spec.margin), what)
        note = f"{shown}, but the true loss may be up to {told_as.size(-least)}; {allowed}{enough}."
        return told(UNDECIDED, note, needed)
    if spec.role == "target" and least <= 0:
        if gain < 0 and p_adjusted < alpha:
            return told(REGRESSES, f"{shown}, a significant loss, and this task must gain.")
        enough, needed = plan.told(
            difference, plan.items(difference, worth, 0.0), f"gains {told_as.size(worth)}"
        )
        return told(UNDECIDED, f"{shown}; a gain is asked for and not shown{enough}.", needed)
    if least >= 0:
        return told(PASSES, f"{shown}, a gain.")
    return told(
        PASSES,
        f"{shown}; at {sure} confidence it loses at most {told_as.size(-least)}, and {allowed}.",
    )


def _judge_average(difference: Difference, plan: _Plan) -> TaskJudgement:
    gate, alpha, shows = plan.gate, plan.alpha, plan.detectable(difference)

    def told(verdict: Verdict, note: str, needed: int | None = None) -> TaskJudgement:
        return TaskJudgement("average", "average", gate.margin, verdict, note, needed, shows)

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
        truth = max(gate.minimum_gain, gate.smallest_effect)
        enough, needed = plan.told(
            difference, plan.items(difference, truth, floor), f"gains {told_as.size(truth)}"
        )
        return told(
            UNDECIDED,
            f"{shown}, but may truly be {told_as.gain(least)}; "
            f"{told_as.gain(floor)} is the least{enough}.",
            needed,
        )
    if gain < gate.minimum_gain:
        wanted = f"at least {told_as.gain(gate.minimum_gain)}" if gate.minimum_gain else "no loss"
        return told(UNDECIDED, f"{shown}, and {wanted} is asked for.")
    small = gain < gate.smallest_effect and difference.share
    worth = f", less than the {told_as.size(gate.smallest_effect)} worth having" if small else ""
    return told(
        PASSES, f"{shown}{worth} (at {sure} confidence by {told_as.gain(least)} or better)."
    )


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
