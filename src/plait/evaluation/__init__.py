# SPDX-License-Identifier: Apache-2.0
"""Judging models: tasks, metrics, paired comparison and the three verdicts.

Importing this needs numpy alone; torch and transformers are imported when a model runs.
"""

from __future__ import annotations

from plait.evaluation.calibration import Calibration, calibrated, calibration, temperature
from plait.evaluation.classifier import CachedPredictor, OutputEnsemble, Predictor, TextClassifier
from plait.evaluation.comparison import Comparison, Difference, compare
from plait.evaluation.folders import evaluate_folder
from plait.evaluation.index import model_index, write_card, write_eval_results
from plait.evaluation.predictors import ImageClassifier, OwnModel, load_predictor
from plait.evaluation.reports import classification_report, confusion_matrix, entity_report
from plait.evaluation.results import Average, Evaluation, ItemScore, TaskResult, evaluate
from plait.evaluation.significance import McNemar, exchange_p, mcnemar
from plait.evaluation.tasks import Item, Task, load_task
from plait.evaluation.verdicts import Judgement, TaskJudgement, Verdict, judge

__all__ = [
    "Average",
    "CachedPredictor",
    "Calibration",
    "Comparison",
    "Difference",
    "Evaluation",
    "ImageClassifier",
    "Item",
    "ItemScore",
    "Judgement",
    "McNemar",
    "OutputEnsemble",
    "OwnModel",
    "Predictor",
    "Task",
    "TaskJudgement",
    "TaskResult",
    "TextClassifier",
    "Verdict",
    "calibrated",
    "calibration",
    "classification_report",
    "compare",
    "confusion_matrix",
    "entity_report",
    "evaluate",
    "evaluate_folder",
    "exchange_p",
    "judge",
    "load_predictor",
    "load_task",
    "mcnemar",
    "model_index",
    "temperature",
    "write_card",
    "write_eval_results",
]
