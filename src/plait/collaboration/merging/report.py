# SPDX-License-Identifier: Apache-2.0
"""The merge report: values for pages and clients, and the same as text for people."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from plait.collaboration.merging.changes import Sides, driver_of
from plait.collaboration.merging.credit import Credit, Credits, gained
from plait.collaboration.merging.gate import Verdict
from plait.collaboration.merging.licensing import LicenceState
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
HIDDEN_DIGITS = 3
"""The same where the items are hidden."""


def task_rows(
    specs: Sequence[TaskSpec],
    evaluations: Mapping[str, Evaluation],
    verdict: Verdict,
    hidden: Collection[str] = (),
) -> list[dict[str, Any]]:
    """Return a row for each task: scores, intervals, the difference and the gate's word.

    Of ``hidden`` tasks numbers are rounded to a tenth of a point, so that a question tells of the
    model and hardly of an item.
    """
    rows = []
    for spec in specs:
        digits = HIDDEN_DIGITS if spec.name in hidden else DIGITS
        results = {name: evaluations[name].tasks[spec.name] for name in MODELS}
        judged = verdict.judgement.tasks[spec.name]
        rows.append(
            {
                "name": spec.name,
                "metric": spec.metric,
                "role": spec.role,
                "n": results["main"].n,
                "groups": results["main"].groups,
                "seen": spec.seen,
                "hidden": spec.name in hidden,
                "scores": {n: _round(one.score, digits) for n, one in results.items()},
                "intervals": {n: _pair(one.interval, digits) for n, one in results.items()},
                "difference": _difference(verdict.comparison.tasks[spec.name], judged, digits),
                "margin": judged.margin,
                "verdict": judged.verdict,
                "note": judged.note,
            }
        )
    return rows


def average_row(
    evaluations: Mapping[str, Evaluation], verdict: Verdict, *, coarse: bool = False
) -> dict[str, Any]:
    """Return the row of the average over tasks; ``coarse`` where a task's items are hidden."""
    judged = verdict.judgement.average
    digits = HIDDEN_DIGITS if coarse else DIGITS
    return {
        "scores": {name: _round(evaluations[name].average, digits) for name in MODELS},
        "intervals": {name: _pair(evaluations[name].average_interval, digits) for name in MODELS},
        "difference": _difference(verdict.comparison.average, judged, digits),
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


def credit_part(
    credits: Credits, material: Material, split: str, *, coarse: bool = False
) -> dict[str, Any]:
    """Return what each contribution is worth; ``base`` and ``total`` are scores.

    ``coarse`` rounds to a tenth of a point, where a task's items are hidden: the values then sum
    to the total but for the rounding.
    """
    digits = HIDDEN_DIGITS if coarse else DIGITS
    return {
        "split": split,
        "base": _round(credits.base, digits),
        "total": _round(credits.base + credits.total, digits),
        "exact": credits.exact,
        "evaluations": credits.evaluations,
        "organisations": [
            {"organisation": name, "value": _round(value, digits)}
            for name, value in sorted(
                gained(
                    {"organisation": one.organisation, "value": credits.shares[one.number].value}
                    for one in material.plan.contributions
                ).items(),
                key=lambda row: (-row[1], row[0]),
            )
        ],
        "contributions": [
            {
                "number": one.number,
                "author": one.author,
                "organisation": one.organisation,
                **_share(credits.shares[one.number], HIDDEN_DIGITS if coarse else None),
            }
            for one in sorted(material.plan.contributions, key=lambda one: one.number)
        ],
    }


def budget_part(search: Search | None, credits: Credits) -> dict[str, int]:
    """Return what was spent on choosing and on credit, in models measured."""
    return {
        "candidates": 1 if search is None else len(search.points),
        "subsets": credits.evaluations,
    }


def _share(share: Credit, digits: int | None) -> dict[str, Any]:
    def told(value: float) -> float:
        return value if digits is None else _round(value, digits)

    return {
        "value": told(share.value),
        "tasks": {name: told(value) for name, value in share.tasks.items()},
        "error": _round(share.error),
        "errors": {name: _round(value) for name, value in share.errors.items()},
    }


def inputs_part(material: Material) -> list[dict[str, Any]]:
    """Return every model that was fused, by hash."""
    rows = [_input(material.base, "base")]
    return rows + [_input(model, "contribution") for model in material.contributions]


def notes(sides: Sides, licence: LicenceState, made_from: Origin | None) -> list[str]:
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
    found += licence.verdict.sentences()
    if licence.decision is not None:
        found.append(
            f"{licence.decision.by} decided that the licences permit this: "
            f"{licence.decision.reason}"
        )
    dropped = [path for path in changed if driver_of(path) in ("pickle", "hub")]
    if dropped:
        listed = ", ".join(f"`{path}`" for path in dropped[:5])
        found.append(f"Not taken over from the pull request: {listed}.")
    return found


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
                + (f" ± {row['error'] * 100:.1f}" if row.get("error") else "")
                for row in shares
            )
            + ("." if report["credit"].get("exact", True) else "; orders sampled."),
        ]
    for flag in report.get("flags", []):
        lines += ["", f"⚠ {flag['text']} {flag['advice']}"]
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


def _difference(found: Difference, judged: TaskJudgement, digits: int) -> dict[str, Any]:
    shows = judged.detectable
    return {
        "effect": _round(found.effect, digits),
        "low": _round(found.low, digits),
        "high": _round(found.high, digits),
        "p": _round(found.p, digits),
        "p_adjusted": _round(found.p_adjusted, digits),
        "needed": judged.needed,
        "detectable": None if shows is None else _round(shows, digits),
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


def _pair(interval: tuple[float, float], digits: int = DIGITS) -> list[float]:
    return [_round(interval[0], digits), _round(interval[1], digits)]


def _round(value: float, digits: int = DIGITS) -> float:
    return round(float(value), digits)
