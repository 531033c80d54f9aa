# SPDX-License-Identifier: Apache-2.0
"""What the measuring of all levels shares: the items, the rows, the budget, and how it is done."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plait.errors import Cancelled
from plait.evaluation.predictors import load_predictor
from plait.evaluation.results import evaluate
from plait.fusion.auto.budget import CpuBudget
from plait.fusion.auto.facts import Facts
from plait.fusion.auto.options import Settings
from plait.fusion.auto.rows import Row
from plait.fusion.datasets import load_tasks
from plait.fusion.forecast import model_size
from plait.fusion.results import FusionResult, Progress
from plait.fusion.search.folds import Floats, FoldedTask, direction, fold_tasks
from plait.recipes.levels import LevelRecipe

if TYPE_CHECKING:
    from plait.fusion.levels import Work


@dataclass(frozen=True)
class Skipped:
    """A candidate that was not measured to the end, and why."""

    name: str
    level: str
    reason: str


class Experiment:
    """One run of `auto`: rows that were measured, and what was left out."""

    def __init__(
        self,
        recipe: LevelRecipe,
        settings: Settings,
        facts: Facts,
        scratch: Path,
        work: Work,
        cpu: CpuBudget,
    ) -> None:
        self.recipe, self.settings, self.facts = recipe, settings, facts
        self.scratch, self.work, self.cpu = scratch, work, cpu
        tasks = load_tasks(recipe.tasks, recipe.folder, recipe.splits.validation)
        self.decks: list[FoldedTask] = fold_tasks(tasks, settings.folds, recipe.seed)
        self.sign = direction(self.decks)
        self.items = sum(len(task.items) for task in tasks)
        self.rows: list[Row] = []
        self.skipped: list[Skipped] = []
        self.levels: dict[str, str | None] = {}
        """By level, why it is not possible, or None."""
        self.answers: dict[str, tuple[tuple[str, ...], Floats]] = {}
        """By member, its labels and the logarithms of its answers, in the order of the decks."""
        self.seconds = 0.0
        """CPU-seconds in which a member answers one item."""

    def fuse(self, data: Mapping[str, Any], name: str) -> FusionResult:
        """Run a candidate's recipe into a folder of this name that does not outlive the run."""
        from plait.fusion.levels import fuse

        self.ask_cancelled()
        return fuse(
            data,
            self.scratch / name,
            resolve=self.work.resolve,
            threads=self.work.threads,
            progress=self.work.progress,
            cancelled=self.work.cancelled,
        )

    def row(
        self,
        name: str,
        data: Mapping[str, Any],
        result: FusionResult,
        needed: str,
        tables: list[Floats],
        seconds: float,
        level: str = "weights",
    ) -> Row:
        """Make a row of a fusion's result."""
        size = model_size(result.out)
        cost = size.work / self.facts.single
        return Row(name, level, data, needed, tables, size.bytes, cost, result.cpu_seconds, seconds)

    def load(self, folder: Path) -> Any:
        """Load what predicts with a folder."""
        return load_predictor(
            folder, threads=self.work.threads, max_length=self.settings.max_length
        )

    def run(
        self, predictor: Any, decks: Sequence[FoldedTask] | None = None
    ) -> tuple[list[Floats], float]:
        """Return a predictor's tables of whole tasks, and the CPU-seconds that took."""
        started = time.process_time()
        chosen = decks or self.decks
        found = self.tables(predictor, [deck.part(0, len(deck)) for deck in chosen])
        seconds = time.process_time() - started
        return [found[deck.task.name] for deck in chosen], seconds

    def tables(self, predictor: Any, tasks: Sequence[Any]) -> dict[str, Floats]:
        """Run a predictor on items; return the counts of each document, by task."""
        found = evaluate(predictor, tasks, self.recipe.splits.validation, self._tick)
        return {name: result.table() for name, result in found.tasks.items()}

    def skip(self, name: str, level: str, reason: str) -> None:
        """Note what was not tried, or not to the end."""
        self.skipped.append(Skipped(name, level, reason.rstrip(".")))

    def tell(self, stage: str, done: int, total: int) -> None:
        """Report progress; raise if the work was cancelled."""
        self.ask_cancelled()
        if self.work.progress is not None:
            self.work.progress(Progress(stage, done, total))

    def _tick(self, *_: int) -> None:
        self.ask_cancelled()

    def ask_cancelled(self) -> None:
        """Raise if the work was cancelled."""
        if self.work.cancelled is not None and self.work.cancelled():
            raise Cancelled("The choice of a fusion was cancelled; nothing was written.")
