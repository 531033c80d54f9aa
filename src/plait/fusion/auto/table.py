# SPDX-License-Identifier: Apache-2.0
"""The table of what was measured, as plain values, as text, and as the result's card."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from plait.cards import dump_card
from plait.fusion.auto.experiment import Experiment
from plait.fusion.auto.rows import Decision, Row, classes
from plait.fusion.results import REPORT
from plait.fusion.weights.check import human

DIGITS = 6


def describe(
    experiment: Experiment, decision: Decision, honest: tuple[float, list[str]]
) -> dict[str, Any]:
    """Return all that was found, as plain values."""
    cpu = experiment.cpu
    return {
        "chosen": decision.row.name,
        "why": reason(decision),
        "split": experiment.recipe.splits.validation,
        "items": experiment.items,
        "metrics": {deck.task.name: deck.task.metric for deck in experiment.decks},
        "table": [_entry(row, decision.row) for row in ranked(experiment.rows, experiment.sign)],
        "best_for": best_for(experiment.rows, experiment.sign),
        "levels": dict(experiment.levels),
        "not_tried": [
            {"name": s.name, "level": s.level, "reason": s.reason} for s in experiment.skipped
        ],
        "comparisons": [
            {
                "row": one.name,
                "with": other.name,
                "effect": _round(gain.effect),
                "low": _round(gain.low),
                "high": _round(gain.high),
                "clear": gain.clear,
            }
            for one, other, gain in decision.steps
        ],
        "out_of_fold": {"score": _round(honest[0]), "folds": honest[1]},
        "budget": {
            "cpu_seconds": cpu.budget,
            "bytes": experiment.recipe.budget.bytes,
            "spent_cpu_seconds": round(cpu.spent, 1),
        },
    }


def ranked(rows: Sequence[Row], sign: int = 1) -> list[Row]:
    """Return the rows from the best score to the worst; of equals the cheaper first."""
    return sorted(rows, key=lambda row: (-sign * row.score, row.cost, row.bytes))


def best_for(rows: Sequence[Row], sign: int = 1) -> list[dict[str, Any]]:
    """Return, from the smallest budget to the largest, what scores most within it."""
    found: list[dict[str, Any]] = []
    best: Row | None = None
    for group in classes([row for row in rows if row.usable is None or "budget" in row.usable]):
        top = max(group, key=lambda row: sign * row.score)
        if best is None or sign * top.score > sign * best.score:
            best = top
            found.append(
                {
                    "bytes": top.bytes,
                    "cost": round(top.cost, 4),
                    "name": top.name,
                    "score": _round(top.score),
                }
            )
    return found


def reason(decision: Decision) -> str:
    """Say in a few sentences why the row was taken."""
    row = decision.row
    told = [f"'{row.name}' scores {row.score:.3f}."]
    for one, other, gain in decision.steps:
        by = f"{points(gain.effect)} points, 95% interval {points(gain.low)} to {points(gain.high)}"
        if gain.clear:
            told.append(f"'{one.name}' costs more than '{other.name}' and is clearly better: {by}.")
        else:
            told.append(
                f"'{one.name}' costs more than '{other.name}' and is not clearly better: {by}."
            )
    if not decision.steps:
        told.append("Nothing that could be taken costs more or less: the best score decides.")
    return " ".join(told)


def points(value: float) -> str:
    """Write a difference of scores in percentage points."""
    return f"{100 * value:+.1f}".replace("-", "\N{MINUS SIGN}")


def lines(found: Mapping[str, Any]) -> list[str]:
    """Return the report as Markdown."""
    rows = [
        "| | candidate | score (95%) | size | cost | CPU s | needs |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in found["table"]:
        sign = "**taken**" if row["chosen"] else "front" if row["front"] else ""
        rows.append(
            f"| {sign} | {row['name']} | {row['score']:.3f} ({row['low']:.3f} to "
            f"{row['high']:.3f}) | {human(row['bytes'])} | {row['cost']:.2f} | "
            f"{row['make_seconds']:.1f} | {row['data']} |"
        )
    told = [
        *rows,
        "",
        (
            f"Measured on {found['items']:,} items of the split `{found['split']}`; what was "
            "chosen on them is scored outside the folds that it was chosen on. Cost: parameters "
            "that a prediction uses, in members. CPU s: to make it. Front: nothing scores more at "
            "this size and cost."
        ),
        "",
        found["why"],
        "",
        *(
            f"- From {human(one['bytes'])} and a cost of {one['cost']:.2f} on: {one['name']} "
            f"({one['score']:.3f})."
            for one in found["best_for"]
        ),
        "",
        (
            "Chosen in the same way without each fold of the documents in turn, and scored on "
            f"that, the choice gives {found['out_of_fold']['score']:.3f}."
        ),
    ]
    for level, why in found["levels"].items():
        if why:
            told += ["", f"Level `{level}`: {why.rstrip('.')}."]
    for row in found["table"]:
        if row["usable"] and not row["chosen"]:
            told += ["", f"`{row['name']}` could not be taken: {row['usable']}."]
    if found["not_tried"]:
        told += ["", "Not tried, or not to the end:", ""]
        told += [
            f"- {one['name']} ({one['level']}): {one['reason']}." for one in found["not_tried"]
        ]
    return told


def plain(found: Mapping[str, Any]) -> str:
    """Return the report for a terminal."""
    rows = [("", "candidate", "score", "95%", "size", "cost", "CPU s", "needs")]
    for row in found["table"]:
        rows.append(
            (
                "*" if row["chosen"] else "+" if row["front"] else "",
                row["name"],
                f"{row['score']:.3f}",
                f"{row['low']:.3f}-{row['high']:.3f}",
                human(row["bytes"]),
                f"{row['cost']:.2f}",
                f"{row['make_seconds']:.1f}",
                row["data"] + (" (cannot be taken)" if row["usable"] else ""),
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    text = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    text += ["* taken, + nothing scores more at this size and cost", found["why"]]
    text += [
        f"from {human(one['bytes'])} and a cost of {one['cost']:.2f} on: {one['name']} "
        f"({one['score']:.3f})"
        for one in found["best_for"]
    ]
    text += [f"{level}: {why}" for level, why in found["levels"].items() if why]
    text += [f"not tried: {one['name']}: {one['reason']}" for one in found["not_tried"]]
    return "\n".join(text)


def write_card(
    folder: Path,
    found: Mapping[str, Any],
    results: Mapping[str, Any],
    sources: Mapping[str, Any],
) -> None:
    """Write README.md into the chosen model's folder; `sources` go into its head."""
    head = {"library_name": "transformers", "tags": ["plait", "fusion"], **sources}
    test = results.get("test")
    scores = []
    if test:
        scores = [
            "| task | n | score | 95% |",
            "|---|---|---|---|",
            *(
                f"| {task} | {one['n']} | {one['score']:.3f} | {one['interval'][0]:.3f} to "
                f"{one['interval'][1]:.3f} |"
                for task, one in test["tasks"].items()
            ),
            "",
            f"On the split `{test['split']}`, which was read after everything was chosen.",
            "",
        ]
    text = [
        "",
        "# Chosen fusion",
        "",
        (
            "Plait measured every level of fusion that was possible and took "
            f"'{found['chosen']}'. `{REPORT}` has each candidate's recipe."
        ),
        "",
        *scores,
        *lines(found),
        "",
    ]
    (folder / "README.md").write_text(dump_card(head, "\n".join(text)), "utf-8")


def _entry(row: Row, chosen: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "level": row.level,
        "score": _round(row.score),
        "low": _round(row.low),
        "high": _round(row.high),
        "tasks": {name: _round(value) for name, value in row.tasks.items()},
        "bytes": row.bytes,
        "cost": round(row.cost, 4),
        "make_seconds": round(row.make_seconds, 2),
        "measure_seconds": round(row.measure_seconds, 2),
        "data": row.data,
        "front": row.front,
        "usable": row.usable,
        "chosen": row is chosen,
        "recipe": dict(row.recipe),
        "found": {k: v for k, v in row.found.items() if k != "folder"},
    }


def _round(value: float) -> float:
    return round(float(value), DIGITS) if math.isfinite(value) else 0.0
