# SPDX-License-Identifier: Apache-2.0
"""Accuracy of a model folder on the seen tasks, with its heads, and of its features elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fusion_quality import settings
from fusion_quality.corpora import Text
from fusion_quality.models import Suite, features
from plait.evaluation.headed import ForTasks, HeadedClassifier

Scores = dict[str, float]
Answers = dict[str, str]
"""For each task a 1 for each item that was answered rightly, a 0 for another, in order."""


def seen(model: Path | ForTasks, suite: Suite, split: str, tasks: tuple[str, ...] = ()) -> Answers:
    """Return which items of each seen task's split are answered rightly, with its own head."""
    predictor = load(model) if isinstance(model, Path) else model
    return {
        task: answers(predictor, task, suite.seen[task][split]) for task in tasks or settings.SEEN
    }


def load(folder: Path) -> HeadedClassifier:
    """Load a folder with heads, for texts of the benchmark's length."""
    return HeadedClassifier.load(folder, 1, max_length=settings.MAX_LENGTH)


def answers(predictor: ForTasks, task: str, items: list[Text]) -> str:
    """Say of each item whether its most probable class is the true one."""
    own = predictor.for_task(task)
    said = own.predict([item.text for item in items]).argmax(1)
    right = [own.labels[s] == i.label for s, i in zip(said, items, strict=True)]
    return "".join("1" if one else "0" for one in right)


def accuracies(found: Answers) -> Scores:
    """Return the accuracy on each task."""
    return {task: marks.count("1") / len(marks) for task, marks in found.items()}


def left_out(folder: Path, suite: Suite) -> Scores:
    """Return the accuracy, on tasks that no model was tuned on, of probes of mean token vectors."""
    import transformers
    from sklearn.linear_model import LogisticRegression

    encoder: Any = transformers.AutoModel.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    found = {}
    for task, splits in suite.left_out.items():
        texts = {name: [i.text for i in items] for name, items in splits.items()}
        inputs = {n: features(encoder, tokenizer, t, pooled=False) for n, t in texts.items()}
        truth = {name: [i.label for i in items] for name, items in splits.items()}
        probe = LogisticRegression(max_iter=2000).fit(inputs["train"], truth["train"])
        found[task] = float(probe.score(inputs["test"], truth["test"]))
    return found


def mean(scores: Mapping[str, float]) -> float:
    """Return the mean over tasks, each weighing the same."""
    return float(np.mean(list(scores.values())))
