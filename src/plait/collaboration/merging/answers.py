# SPDX-License-Identifier: Apache-2.0
"""Who answers how a model does on the tasks: the one interface through which merges measure.

Here the hub's own jobs answer (`Measurements`): they read the items and run the model. Items that
never leave their owner are answered elsewhere: such an answerer sends the model that `key` names to
where the items are, and gives back an `Evaluation`. Its records need the group and whether the
model was right, for a paired comparison; ids and labels may be pseudonyms, alike for every model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from plait.collaboration.merging.access import LoadedTask
from plait.collaboration.merging.gate import Measurements, Tick
from plait.evaluation import Evaluation
from plait.evaluation.classifier import Predictor
from plait.hub import Hub, Repository


class Answers(Protocol):
    """Results of models on one split of a repository's tasks."""

    split: str

    @property
    def tasks(self) -> Sequence[LoadedTask]:
        """The tasks; one that is answered elsewhere has no items here."""

    def measure(
        self, key: str, model: Callable[[], Predictor], title: str, tick: Tick | None = None
    ) -> Evaluation:
        """Return a model's results.

        Args:
            key: a hash of all that the model's predictions depend on.
            model: loads it here; who answers elsewhere need not.
            title: what a message calls it.
            tick: called as items are done.
        """

    def measure_scores(
        self, key: str, model: Callable[[], Predictor], title: str, tick: Tick | None = None
    ) -> dict[str, float]:
        """Return a model's score by task, keeping no items."""

    def remember(self, key: str, scores: Mapping[str, float]) -> None:
        """Keep a model's scores under a key of `measure_scores`."""

    def scores(self, evaluation: Evaluation) -> dict[str, float]:
        """Return the score by task."""


def open_answers(hub: Hub, repo: Repository, split: str, tasks: Sequence[LoadedTask]) -> Answers:
    """Return who answers for these tasks."""
    return Measurements(hub, repo, split, tasks)
