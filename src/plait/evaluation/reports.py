# SPDX-License-Identifier: Apache-2.0
"""Confusion matrices and reports by class, as scikit-learn and seqeval write them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from plait.errors import BadInput
from plait.evaluation.metrics import Floats
from plait.evaluation.metrics.counts import ratio
from plait.evaluation.results import TaskResult
from plait.evaluation.types import task_type
from plait.evaluation.types.classification import Classification

Report = dict[str, Any]


def confusion_matrix(result: TaskResult) -> NDArray[np.int_]:
    """Return how many items of each class (rows) were given each class (columns).

    As scikit-learn's `confusion_matrix` with all of the model's labels.

    Raises:
        BadInput: if the task is no classification.
    """
    _need_classes(result)
    out = np.zeros((result.classes, result.classes), dtype=int)
    for item in result.items:
        out[item.label, item.predicted] += 1
    return out


def class_names(result: TaskResult) -> list[str]:
    """Return the names of the classes; their numbers where the model's names are not kept."""
    names = result.about.get("labels")
    numbers = range(result.classes)
    return [str(names[k]) for k in numbers] if names else [str(k) for k in numbers]


@overload
def classification_report(
    result: TaskResult, *, digits: int = 2, output_dict: Literal[False] = False
) -> str: ...
@overload
def classification_report(
    result: TaskResult, *, digits: int = 2, output_dict: Literal[True]
) -> Report: ...
def classification_report(
    result: TaskResult, *, digits: int = 2, output_dict: bool = False
) -> str | Report:
    """Return precision, recall, F1 and support by class, as scikit-learn's function of that name.

    Raises:
        BadInput: if the task is no classification.
    """
    _need_classes(result)
    table = result_table(result, "accuracy")
    there = np.flatnonzero(table[0] + table[1])
    names = class_names(result)
    accuracy = float(table[2].sum() / table[0].sum())
    return _report([names[k] for k in there], table[:, there], digits, output_dict, accuracy)


@overload
def entity_report(
    result: TaskResult,
    *,
    strict: bool = False,
    digits: int = 2,
    output_dict: Literal[False] = False,
) -> str: ...
@overload
def entity_report(
    result: TaskResult, *, strict: bool = False, digits: int = 2, output_dict: Literal[True]
) -> Report: ...
def entity_report(
    result: TaskResult, *, strict: bool = False, digits: int = 2, output_dict: bool = False
) -> str | Report:
    """Return precision, recall, F1 and support by type of entity, as seqeval writes them.

    ``strict`` is seqeval's `mode="strict", scheme=IOB2`.

    Raises:
        BadInput: if the task is no token classification by BIO tags, or has no entity.
    """
    kind = task_type(result.type)
    if result.type != "token-classification" or "f1" not in kind.metrics(result.about):
        raise BadInput(f"A report of entities is of BIO tags; the task is of type {result.type}.")
    table = result_table(result, "strict_f1" if strict else "f1")
    there = np.flatnonzero(table[0] + table[1])
    if not len(there):
        raise BadInput("There is no entity to report on, neither true nor found.")
    names = sorted({tag[2:] for tag in result.about["tags"] if tag != "O"})
    return _report([names[k] for k in there], table[:, there], digits, output_dict, None)


def result_table(result: TaskResult, metric: str) -> Floats:
    """Return the counts of all items, [3, classes or types]: true, predicted, hits."""
    kind = task_type(result.type)
    found: Floats = kind.table(result.items, metric, result.about).sum(axis=0)
    return found


def _need_classes(result: TaskResult) -> None:
    if not isinstance(task_type(result.type), Classification):
        raise BadInput(f"A report of classes is of classification; this is {result.type}.")


def _report(
    names: Sequence[str], table: Floats, digits: int, output_dict: bool, accuracy: float | None
) -> str | Report:
    entities = accuracy is None
    columns = _columns(table, entities)
    true = table[0]
    total = int(true.sum())
    averages: dict[str, Floats] = {}
    if entities:
        averages["micro avg"] = _columns(table.sum(axis=1, keepdims=True), entities)[:, 0]
    averages["macro avg"] = columns.mean(axis=1)
    weights = true if total else None
    averages["weighted avg"] = np.array([np.average(one, weights=weights) for one in columns])
    if output_dict:
        rows = {name: _row(columns[:, k], int(true[k])) for k, name in enumerate(names)}
        middle = {} if accuracy is None else {"accuracy": accuracy}
        return rows | middle | {name: _row(values, total) for name, values in averages.items()}
    width = max(*(len(name) for name in names), len("weighted avg"), digits)
    headings = ("precision", "recall", "f1-score", "support")
    lines = [f"{'':>{width}} " + "".join(f" {one:>9}" for one in headings), ""]

    def line(name: str, values: Floats, support: int) -> str:
        shown = "".join(f" {value:>9.{digits}f}" for value in values)
        return f"{name:>{width}} {shown} {support:>9}"

    lines += [line(name, columns[:, k], int(true[k])) for k, name in enumerate(names)]
    lines.append("")
    if accuracy is not None:
        blank = f" {'':>9}" * 2
        lines.append(f"{'accuracy':>{width}} {blank} {accuracy:>9.{digits}f} {total:>9}")
    lines += [line(name, values, total) for name, values in averages.items()]
    return "\n".join(lines) + "\n"


def _columns(table: Floats, entities: bool) -> Floats:
    """Return precision, recall and F1 of each class, [3, classes], from counts [3, classes].

    Each by the formula of the library whose report this is: they differ in the last bit, and so
    in what is shown where a third digit is a five.
    """
    true, given, hits = table
    precision, recall = ratio(hits, given), ratio(hits, true)
    if entities:
        f1 = ratio(2 * precision * recall, precision + recall)
    else:
        f1 = ratio(2 * hits, true + given)
    return np.stack([precision, recall, f1])


def _row(values: Floats, support: int) -> dict[str, float | int]:
    names = ("precision", "recall", "f1-score")
    found = dict(zip(names, (float(value) for value in values), strict=True))
    return found | {"support": support}
