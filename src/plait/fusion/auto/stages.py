# SPDX-License-Identifier: Apache-2.0
"""The levels in their order: the cheap ones first, which tell what the costly ones will take."""

from __future__ import annotations

from collections.abc import Callable

from plait.fusion.auto.experiment import Experiment
from plait.fusion.auto.members import average_outputs, measure_members
from plait.fusion.auto.merges import merge_weights
from plait.fusion.auto.rows import measure
from plait.fusion.auto.students import teach_students

STAGES: dict[str, Callable[[Experiment], str | None]] = {
    "members": measure_members,
    "outputs": average_outputs,
    "weights": merge_weights,
    "distillation": teach_students,
}
"""Each measures a level, or says why it is not possible."""


def measure_levels(experiment: Experiment) -> None:
    """Measure every level that is wanted and possible, and score the rows."""
    wanted = experiment.settings.levels
    for level, stage in STAGES.items():
        # members are measured in any case: ensembles, and the guesses of cost, need them
        if level in wanted or level == "members":
            experiment.levels[level] = stage(experiment)
        else:
            experiment.levels[level] = "the recipe leaves it out"
    most = experiment.recipe.budget.bytes
    for row in experiment.rows:
        if row.usable is None and row.level not in wanted:
            row.usable = "the recipe leaves members alone out"
        if row.usable is None and most is not None and row.bytes > most:
            row.usable = f"its {row.bytes:,} bytes are above the budget of {most:,}"
        measure(row, experiment.decks, experiment.recipe.seed)
