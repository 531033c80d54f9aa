# SPDX-License-Identifier: Apache-2.0
"""Judging models: tasks, metrics, paired comparison and the three verdicts.

Importing this needs numpy alone; torch and transformers are imported when a model runs.
"""

from __future__ import annotations

from plait.evaluation.classifier import OutputEnsemble, Predictor, Remembered, TextClassifier
from plait.evaluation.comparison import Comparison, Difference, compare
from plait.evaluation.folders import evaluate_folder
from plait.evaluation.predictors import ImageClassifier, OwnModel, load_predictor
from plait.evaluation.results import Evaluation, ItemScore, TaskResult, evaluate
from plait.evaluation.tasks import Item, Task, load_task
from plait.evaluation.verdicts import Judgement, TaskJudgement, Verdict, judge

__all__ = [
    "Comparison",
    "Difference",
    "Evaluation",
    "ImageClassifier",
    "Item",
    "ItemScore",
    "Judgement",
    "OutputEnsemble",
    "OwnModel",
    "Predictor",
    "Remembered",
    "Task",
    "TaskJudgement",
    "TaskResult",
    "TextClassifier",
    "Verdict",
    "compare",
    "evaluate",
    "evaluate_folder",
    "judge",
    "load_predictor",
    "load_task",
]
