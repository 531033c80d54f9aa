# SPDX-License-Identifier: Apache-2.0
"""Running one encoder with a head for each of several tasks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from plait.errors import BadInput
from plait.evaluation.classifier import (
    MAX_LENGTH,
    Predictor,
    Probabilities,
    Progress,
    TextClassifier,
    replace_weights,
)
from plait.evaluation.tasks import Sample
from plait.pretrained import load_heads


@runtime_checkable
class ForTasks(Protocol):
    """Anything that predicts differently for each of several tasks."""

    def for_task(self, name: str) -> Predictor:
        """Return what predicts for a task."""


class HeadedClassifier:
    """The classifiers of a folder with heads (see `plait.heads`), which share one encoder.

    `for_task` gives each task's; with one head, it can be called as it is.
    """

    def __init__(self, encoder: Any, classifiers: Mapping[str, TextClassifier]) -> None:
        self._encoder = encoder
        self._classifiers = dict(classifiers)
        self.tasks: tuple[str, ...] = tuple(self._classifiers)

    @classmethod
    def load(
        cls, folder: Path, threads: int | None = None, *, max_length: int = MAX_LENGTH
    ) -> HeadedClassifier:
        """Load a folder with heads; nothing from it is executed.

        Raises:
            BadInput: if it is not such a folder.
            MissingExtra: if torch or transformers is not installed.
        """
        models, tokenizer = load_heads(folder)
        made = {
            name: TextClassifier(model, tokenizer, max_length=max_length, threads=threads)
            for name, model in models.items()
        }
        return cls(next(iter(models.values())).base_model, made)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes of the one head that there is."""
        return self._only().labels

    def predict(self, samples: Sequence[Sample], progress: Progress | None = None) -> Probabilities:
        """Return probabilities [samples, classes] of the one head that there is.

        Raises:
            BadInput: if there are several.
        """
        return self._only().predict(samples, progress)

    def for_task(self, name: str) -> TextClassifier:
        """Return the classifier of a task.

        Raises:
            BadInput: if there is no head for it.
        """
        found = self._classifiers.get(name)
        if found is None:
            raise BadInput(
                f"The model has no head for the task '{name}'; it has heads for "
                f"{', '.join(self.tasks)}."
            )
        return found

    def load_tensors(self, tensors: Iterable[tuple[str, NDArray[Any]]]) -> None:
        """Replace every weight of the encoder, for judging a candidate with the same heads.

        Raises:
            BadInput: if a name is missing, unknown or given twice, or a shape differs.
        """
        replace_weights(self._encoder, tensors)

    def _only(self) -> TextClassifier:
        if len(self._classifiers) != 1:
            raise BadInput(
                f"The model has heads for {', '.join(self.tasks)}: ask `for_task` for one of them."
            )
        return next(iter(self._classifiers.values()))
