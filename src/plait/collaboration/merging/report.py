# SPDX-License-Identifier: Apache-2.0
"""The merge report: values for pages and clients, and the same as text for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from plait import licences
from plait.collaboration.merging.changes import Sides, driver_of
from plait.collaboration.merging.credit import Credits
from plait.collaboration.merging.gate import Verdict
from plait.collaboration.merging.material import Material, Model
from plait.collaboration.merging.search import Search
from plait.evaluation import Difference, Evaluation, TaskJudgement
from plait.lineage import Origin
from plait.recipes.project import FILE as PROJECT
from plait.recipes.project import TaskSpec

SCHEMA = 1
MODELS = ("base", "main", "contribution", "candidate")
DIGITS = 6
"""Digits of a score in the report: more would tell of single items, not of models."""


def task_rows(
    specs: Sequence[TaskSpec], evaluations: Mapping[str, Evaluation], verdict: Verdict
) -> list[dict[str, Any]]:
    """Return a row for each task: scores, intervals, the difference and the gate's word."""
    rows = []
    for spec in specs:
        results = {name: evaluations[name].tasks[spec.name] for name in MODELS}
        judged = verdict.judgement.tasks[spec.name]
        rows.append(
            {
                "name": spec.name,
                "metric": spec.metric,
                "role": spec.role,
                "n": results["main"].n,
                "groups": results["main"].groups,
                "scores": {name: _round(result.score) for name, result in results.items()},
                "intervals": {name: _pair(result.interval) for name, result in results.items()},
                "difference": _difference(verdict.comparison.tasks[spec.name], judged),
                "margin": judged.margin,
                "verdict": judged.verdict,
                "note": judged.note,
            }
        )
    return rows


def average_row(evaluations: Mapping[str, Evaluation], verdict: Verdict) -> dict[str, Any]:
    """Return the row of the average over tasks."""
    judged = verdict.judgement.average
    return {
        "scores": {name: _round(evaluations[name].average) for name in MODELS},
        "intervals": {name: _pair(evaluations[name].average_interval) for name in MODELS},
        "difference": _difference(verdict.comparison.average, judged),
        "margin": judged.margin,
        "verdict": judged.verdict,
        "note": judged.note,
    }


def search_part(search: Search, split: str, metric: str) -> dict[str, Any]:
    """Return every candidate that was measured."""
    return {
        "metric": metric,
        "split": split,
        "points": [
            {
                "method": point.candidate.method,
                "parameters": point.candidate.values,
                "score": _round(point.score),
                "tasks": {name: _round(score) for name, score in point.tasks.items()},
            }
            for point in search.points
        ],
        "chosen": search.chosen,
        "default": search.default,
    }


def credit_part(credits: Credits, material: Material, split: str) -> dict[str, Any]:
    """Return what each contribution is worth; ``base`` and ``total`` are scores."""
    return {
        "split": split,
        "base": _round(credits.base),
        "total": _round(credits.base + credits.total),
        "exact": credits.exact,
        "contributions": [
            {
                "number": one.number,
                "author": one.author,
                "organisation": one.organisation,
                "value": credits.shares[one.number].value,
                "tasks": dict(credits.shares[one.number].tasks),
            }
            for one in sorted(material.plan.contributions, key=lambda one: one.number)
        ],
    }


def inputs_part(material: Material) -> list[dict[str, Any]]:
    """Return every model that was fused, by hash."""
    rows = [_input(material.base, "base")]
    return rows + [_input(model, "contribution") for model in material.contributions]


def notes(sides: Sides, material: Material, made_from: Origin | None) -> list[str]:
    """Return what a person who merges should know besides the scores, in sentences."""
    found = []
    if made_from is not None:
        found.append(
            f"The weights were taken as made from main at `{made_from.revision[:10]}`, to which "
            "they are nearest, although the pull request was opened on a later main."
        )
    changed = sides.changed()
    if PROJECT in changed:
        found.append(
            f"This pull request also changes `{PROJECT}`; it was judged by main's, and the new "
            "rules hold from the next merge on."
        )
    found += licence_verdict(sides, material).sentences()
    dropped = [path for path in changed if driver_of(path) in ("pickle", "hub")]
    if dropped:
        listed = ", ".join(f"`{path}`" for path in dropped[:5])
        found.append(f"Not taken over from the pull request: {listed}.")
    return found


def licence_verdict(sides: Sides, material: Material) -> licences.Verdict:
    """Say whether the licences of main and of every contribution go together."""
    stated: dict[str, str | None] = {
        f"#{one.number}": one.licence for one in material.plan.contributions
    }
    return licences.judge({"main": sides.licence(sides.main), **stated})


def verdict_text(report: Mapping[str, Any]) -> str:
    """Say in Markdown how the merge was judged; any client shows it."""
    lines = [
        f"**{_heading(report)}**",
        "",
        str(report["reason"]),
        "",
        "| task | items | base | main | contribution | fused | change against main | verdict |",
        "|---|---:|---:|---:|---:|---:|---|---|",
    ]
    for row in (*report["tasks"], {"name": "**average**", "n": "", **report["average"]}):
        scores = " | ".join(_percent(row["scores"][name]) for name in MODELS)
        lines.append(
            f"| {_cell(row['name'])} | {row['n']} | {scores} | {_change(row['difference'])} | "
            f"{row['verdict']} |"
        )
    count = sum(1 for one in report["inputs"] if one["role"] == "contribution")
    lines += [
        "",
        f"Fused from the base and {count} contribution{'s' if count != 1 else ''} by "
        f"`{report['method']}` ({_parameters(report['parameters'])})"
        + (
            f", chosen among {len(report['search']['points'])} candidates on the "
            f"{report['search']['split']} items."
            if report.get("search")
            else "."
        ),
    ]
    if report.get("credit"):
        shares = sorted(report["credit"]["contributions"], key=lambda row: -row["value"])
        lines += [
            "",
            "Credit (Shapley value of the average): "
            + ", ".join(
                f"{_cell(row['organisation'])} #{row['number']} {_points(row['value'])}"
                for row in shares
            )
            + ".",
        ]
    for note in report.get("notes", []):
        lines += ["", note]
    lines += [
        "",
        f"It took {report['cost']['seconds']:.0f} s ({report['cost']['cpu_seconds']:.0f} CPU-s).",
    ]
    return "\n".join(lines)


def _heading(report: Mapping[str, Any]) -> str:
    change = _points(report["average"]["difference"]["effect"])
    if report["verdict"] == "passes":
        return f"The gate passes: {change} on average."
    if report["verdict"] == "regresses":
        return f"The gate refuses: the fused model regresses ({change} on average). Nothing landed."
    return f"Not enough data to tell ({change} on average). Nothing landed."


def _difference(found: Difference, judged: TaskJudgement) -> dict[str, Any]:
    return {
        "effect": _round(found.effect),
        "low": _round(found.low),
        "high": _round(found.high),
        "p": _round(found.p),
        "p_adjusted": _round(found.p_adjusted),
        "needed": judged.needed,
    }


def _input(model: Model, role: str) -> dict[str, Any]:
    return {
        "role": role,
        "number": model.number,
        "repository": model.origin.repository,
        "revision": model.origin.revision,
        "files": dict(model.origin.files),
    }


def _change(difference: Mapping[str, Any]) -> str:
    return (
        f"{_points(difference['effect'])} "
        f"[{_points(difference['low'])}, {_points(difference['high'])}]"
    )


def _parameters(parameters: Mapping[str, Any]) -> str:
    parts = []
    for name, value in parameters.items():
        if isinstance(value, Mapping):
            value = " ".join(f"{key} {number:g}" for key, number in value.items())
        elif isinstance(value, float):
            value = f"{value:g}"
        parts.append(f"{name} {value}")
    return ", ".join(parts) or "no parameters"


def _percent(value: float) -> str:
    return f"{value * 100:.1f}"


def _points(value: float) -> str:
    return f"{value * 100:+.1f}".replace("-", "−")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _pair(interval: tuple[float, float]) -> list[float]:
    return [_round(interval[0]), _round(interval[1])]


def _round(value: float) -> float:
    return round(float(value), DIGITS)
