# SPDX-License-Identifier: Apache-2.0
"""Evaluations as text: tables of scores, differences, reports, confusion, calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from plait.cli.options import print_json

if TYPE_CHECKING:
    from plait.evaluation import Calibration, Comparison, Difference, Evaluation, TaskResult

MOST_CLASSES = 30
"""More make no table that fits a terminal."""


def print_scores(found: Mapping[str, Evaluation], split: str, *, every: bool = False) -> None:
    """Print one line a task, and the averages; of several models, a column each."""
    first = next(iter(found.values()))
    alone = len(found) == 1
    print(f"{next(iter(found))} on {split}" if alone else f"On {split}:")
    if not alone:
        for number, model in enumerate(found):
            print(f"  [{number + 1}] {model}")
    names = [""] if alone else [f"[{number + 1}]" for number in range(len(found))]
    rows = [["task", "metric", *(f"score {one}".strip() for one in names), "items", "documents"]]
    for name, task in first.tasks.items():
        results = [one.tasks[name] for one in found.values()]
        shown = [_with_interval(one.score, one.interval) for one in results]
        rows.append([name, _metric(task), *shown, str(task.n), str(task.groups)])
        if every:
            for metric in task.scores:
                if metric != task.metric:
                    others = [f"{one.scores[metric]:.3f}" for one in results]
                    rows.append(["", metric, *others, "", ""])
    if len(first.averaged) > 1:
        shown = [_with_interval(one.average, one.average_interval) for one in found.values()]
        left = len(first.tasks) - len(first.averaged)
        rows.append(["average", f"(without {left})" if left else "", *shown, "", ""])
    for title in ("seen", "unseen"):
        parts = [getattr(one, title) for one in found.values()]
        if all(part is not None for part in parts):
            shown = [_with_interval(part.score, part.interval) for part in parts]
            count = len(parts[0].tasks)
            rows.append([f"  {title}", f"{count} task{'s' * (count > 1)}", *shown, "", ""])
    _print_table(rows, left=2)


def print_comparisons(compared: Mapping[str, Comparison], first: str) -> None:
    """Print each model's differences from the first."""
    for model, comparison in compared.items():
        sure = f"{comparison.confidence * 100:g}% interval"
        print(f"\n{model} minus {first}")
        rows = [["task", "difference", sure, "p", "Holm", "McNemar"]]
        for name, one in comparison.tasks.items():
            test = "" if one.mcnemar is None else _p(one.mcnemar.p)
            rows.append([name, *_change(one), _p(one.p), _p(one.p_adjusted), test])
        if len(comparison.tasks) > 1:
            for title in ("average", "seen", "unseen"):
                part: Difference | None = getattr(comparison, title)
                if part is not None:
                    rows.append([title, *_change(part), _p(part.p), "", ""])
        _print_table(rows, left=1)
        if any(one.direction < 0 for one in comparison.tasks.values()):
            print("  Of errors, perplexity and bits per byte less is better.")


def print_reports(evaluation: Evaluation, title: str = "") -> None:
    """Print the reports by class or entity of the tasks that have one."""
    from plait.evaluation import classification_report, entity_report

    for name, task in evaluation.tasks.items():
        if task.classes:
            print(f"\n{title}{name}\n\n{classification_report(task, digits=3)}", end="")
        elif "f1" in task.scores:
            strict = task.metric == "strict_f1"
            print(f"\n{title}{name}, entities{' (strict)' if strict else ''}\n")
            print(entity_report(task, strict=strict, digits=3), end="")


def print_confusion(evaluation: Evaluation, title: str = "") -> None:
    """Print which class was taken for which."""
    from plait.evaluation.reports import class_names, confusion_matrix

    for name, task in evaluation.tasks.items():
        if not task.classes:
            continue
        print(f"\n{title}{name}: true classes in rows, predicted in columns")
        matrix, names = confusion_matrix(task), class_names(task)
        there = [k for k in range(task.classes) if matrix[k].sum() + matrix[:, k].sum() > 0]
        if len(there) > MOST_CLASSES:
            print(f"  {len(there)} classes; the most frequent confusions:")
            pairs = [(int(matrix[a, b]), a, b) for a in there for b in there if a != b]
            for count, a, b in sorted(pairs, key=lambda one: (-one[0], one[1:]))[:20]:
                print(f"  {count:>6}  {names[a]} taken for {names[b]}")
            continue
        rows = [["", *(names[k] for k in there)]]
        rows += [[names[a], *(str(matrix[a, b]) for b in there)] for a in there]
        _print_table(rows, left=1)


def print_calibration(
    evaluation: Evaluation, validation: Evaluation | None, title: str = ""
) -> None:
    """Print calibration and the reliability table of classification tasks."""
    from plait.evaluation import calibrated, calibration

    for name, task in evaluation.tasks.items():
        if not task.classes:
            continue
        found = calibration(task)
        after: Calibration | None = None
        if validation is not None and name in validation.tasks:
            after = calibrated(task, validation.tasks[name])
        print(f"\n{title}{name}: calibration")
        rows = [["", "ECE", "adaptive ECE", "Brier", "log loss"], _line("as it is", found)]
        if after is not None:
            rows.append(_line(f"temperature {after.temperature:.2f}", after))
        _print_table(rows, left=1)
        table = [["confidence", "items", "mean", "right"]]
        for one in found.bins:
            if one.n:
                span = f"{one.low:.2f} to {one.high:.2f}"
                table.append([span, str(one.n), f"{one.confidence:.3f}", f"{one.accuracy:.3f}"])
        _print_table(table, left=1)


def print_metrics(*, as_json: bool = False) -> None:
    """Print the table of metrics."""
    from plait.evaluation.metrics import table

    found = table()
    if as_json:
        print_json(found)
        return
    rows = [["metric", "better", "tasks", "as"]]
    for one in found:
        kinds = [kind for kind in one["tasks"] if not kind.endswith("-classification")]
        if len(kinds) < len(one["tasks"]):
            token = "token-classification" in one["tasks"]
            kinds.insert(0, "token-classification" if token else "classification")
        rows.append([one["metric"], one["better"], ", ".join(kinds), one["source"]])
    _print_table(rows, left=4)


def _line(title: str, found: Calibration) -> list[str]:
    values = (found.ece, found.adaptive_ece, found.brier, found.nll)
    return [title, *(f"{value:.3f}" for value in values)]


def _metric(task: TaskResult) -> str:
    return str(task.about.get("harness", task.metric))


def _with_interval(score: float, interval: tuple[float, float]) -> str:
    low, high = interval
    return f"{_number(score)} [{_number(low)}, {_number(high)}]"


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 1_000 else f"{value:.4g}"


def _change(one: Difference) -> tuple[str, str]:
    if one.share:
        effect, low, high = (f"{v * 100:+.1f}" for v in (one.effect, one.low, one.high))
        found = f"{effect} points", f"[{low}, {high}]"
    else:
        effect, low, high = (f"{v:+.4g}" for v in (one.effect, one.low, one.high))
        found = effect, f"[{low}, {high}]"
    return found[0].replace("-", "−"), found[1].replace("-", "−")


def _p(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def _print_table(rows: Sequence[Sequence[str]], *, left: int) -> None:
    """Print rows in columns; the first so many begin at the left, the others end at the right."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    for row in rows:
        cells = [
            cell.ljust(width) if k < left else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print(("  " + "  ".join(cells)).rstrip())
