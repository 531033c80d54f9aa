# SPDX-License-Identifier: Apache-2.0
"""Successive halving on items: a candidate that is weak on a few is not tried on all.

The rule is that of asynchronous successive halving (Li et al., "A System for Massively Parallel
Hyperparameter Tuning", 1810.05934) with a factor of two: a candidate goes on to twice the items if
it is in the better half of those that were measured on as many.

Every choice of a search is made once for each *view*: all validation items, and for each fold all
but that fold's. A view sees nothing of the items it leaves out: not by a score, not by a candidate
that was proposed from scores on them, not by one that was dropped there. So the fold's items can
judge what the view chose.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from plait.fusion.search.candidates import Candidate
from plait.fusion.search.folds import FoldedTask, Mask, Measure, Outcomes, direction, score

WARM = 4
"""How many must have been measured on as many items before one is dropped."""


@dataclass
class Trial:
    """A candidate as far as it was measured; `kept` and `scores` are by view.

    A score here is the better the higher it is: an error's is negative.
    """

    candidate: Candidate
    outcomes: Outcomes
    kept: dict[int, bool] = field(default_factory=dict)
    scores: dict[int, list[float]] = field(default_factory=dict)

    def whole(self, rounds: int, view: int) -> bool:
        """Tell whether a view has seen the candidate on all its items."""
        return self.kept.get(view, False) and len(self.scores[view]) == rounds


class SuccessiveHalving:
    """The candidates of one search, each measured round by round as long as a view keeps it."""

    def __init__(
        self,
        folded_tasks: Sequence[FoldedTask],
        rows: Sequence[tuple[int, ...]],
        folds: int,
        load: Callable[[Candidate], Measure],
    ) -> None:
        self.folded_tasks = folded_tasks
        self.rows = rows
        self.folds = folds
        self.load = load
        self.trials: dict[Candidate, Trial] = {}
        self.items = 0
        """Items that were run through a model, in all."""
        self._direction = direction(folded_tasks)
        self._masks: list[list[Mask]] = [
            [folded.folds != view for folded in folded_tasks] for view in range(folds + 1)
        ]
        self._seen: dict[tuple[int, int], list[float]] = {}

    @property
    def all_items(self) -> int:
        """The view of all items."""
        return self.folds

    def masks(self, view: int) -> list[Mask]:
        """Return which groups of each task a view sees."""
        return self._masks[view]

    def held_out(self, fold: int) -> list[Mask]:
        """Return the groups of each task that a fold's view leaves out."""
        return [~mask for mask in self._masks[fold]]

    def evaluate(
        self,
        candidate: Candidate,
        views: Sequence[int] | None = None,
        *,
        never_dropped: bool = False,
    ) -> Trial:
        """Measure a candidate for some views (default: all of them) until all have dropped it.

        With `never_dropped` no view drops it: the default must be there to be compared with.
        """
        trial = self.trials.get(candidate)
        if trial is None:
            trial = self.trials[candidate] = Trial(candidate, Outcomes(self.folded_tasks))
        new = [
            v for v in (range(self.folds + 1) if views is None else views) if v not in trial.kept
        ]
        for view in new:
            trial.kept[view], trial.scores[view] = True, []
        measure: Measure | None = None
        for place, row in enumerate(self.rows):
            alive = [view for view in new if trial.kept[view]]
            if not alive:
                break
            if any(
                table is None or len(table) < stop
                for table, stop in zip(trial.outcomes.tables, row, strict=True)
            ):
                measure = measure or self.load(candidate)
                self.items += trial.outcomes.extend(row, measure)
            for view in alive:
                found = self._direction * score(trial.outcomes, self._masks[view], row)
                trial.scores[view].append(found)
                seen = self._seen.setdefault((view, place), [])
                seen.append(found)
                better = int(np.count_nonzero(np.array(seen) > found))
                weak = len(seen) >= WARM and better >= -(-len(seen) // 2)
                if weak and place < len(self.rows) - 1 and not never_dropped:
                    trial.kept[view] = False
        return trial

    def fully_measured(self, view: int) -> list[Trial]:
        """Return what a view has seen on all its items, in the order of measuring."""
        return [t for t in self.trials.values() if t.whole(len(self.rows), view)]
