# SPDX-License-Identifier: Apache-2.0
"""A merge report as the pull request page shows it: rows, pictures and sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from markupsafe import Markup

from plait.charts import Bar, Mark, Row, Trial, bar_chart, interval_plot, search_curve
from plait.web.figures import (
    axis,
    interval,
    parameter_text,
    percent,
    points,
    points_interval,
    probability,
    seconds,
)
from plait.web.language import Translator
from plait.web.sentences import Said

MODELS = ("base", "main", "contribution", "candidate")
"""The four models of a report, in the order in which they are drawn."""

VERDICTS = {"passes": "passes", "regresses": "regresses", "not enough data": "unsure"}
"""CSS class and phrase key of each verdict."""


@dataclass(frozen=True)
class TaskRow:
    """One line of the table of tasks; texts are ready to print."""

    name: str
    role: str
    metric: str
    items: str
    scores: tuple[str, ...]
    intervals: tuple[str, ...]
    effect: str
    effect_interval: str
    p: str
    margin: str
    verdict: str
    verdict_word: str
    notes: tuple[Said, ...]
    tags: str = ""
    """What is special about its items: hidden, nobody's task."""


@dataclass(frozen=True)
class TrialRow:
    """One candidate that the search measured."""

    place: int
    method: str
    parameters: str
    score: str
    tasks: tuple[str, ...]
    mark: str


@dataclass(frozen=True)
class CreditRow:
    """One contribution and what it gained."""

    label: str
    href: str
    value: str
    tasks: tuple[str, ...]


@dataclass(frozen=True)
class MergeView:
    """Everything that the pull request page draws of one report."""

    verdict: str
    verdict_word: str
    reason: str
    landed: str | None
    before: str
    after: str
    gain: str
    gain_interval: str
    method: str
    parameters: tuple[tuple[str, str], ...]
    average: TaskRow
    tasks: tuple[TaskRow, ...]
    plot: Markup
    trials: tuple[TrialRow, ...]
    trial_tasks: tuple[str, ...]
    curve: Markup | None
    search_split: str
    search_metric: str
    credit: tuple[CreditRow, ...]
    credit_tasks: tuple[str, ...]
    credit_chart: Markup | None
    credit_total: str
    credit_split: str
    layers: tuple[tuple[str, str, str, str], ...]
    inputs: tuple[Mapping[str, Any], ...]
    outputs: tuple[tuple[str, str], ...]
    recipe: str
    elapsed: str
    cpu: str
    contributions: int
    level: str
    """The intervals' confidence level."""
    notes: tuple[str, ...]
    credit_exact: bool
    job: int | None
    """The job that measured it."""
    head: str | None
    """The commit of this pull request that the report is about."""
    flags: tuple[Mapping[str, str], ...] = ()
    """Signs of contamination."""
    gained: tuple[tuple[str, str], ...] = ()
    """Credit by organisation."""


def merge_view(report: Mapping[str, Any], t: Translator, repository_url: str) -> MergeView:
    """Turn a merge report into what the page shows. ``repository_url`` is ``/ns/name``."""
    tasks = [_task_row(task, t) for task in report["tasks"]]
    average = _average_row(report, t)
    search = report.get("search") or {}
    difference = report["average"].get("difference") or {}
    credit = report.get("credit") or {}
    number = report.get("number")
    return MergeView(
        verdict=VERDICTS.get(report["verdict"], "unsure"),
        verdict_word=t(f"verdict.{VERDICTS.get(report['verdict'], 'unsure')}"),
        reason=str(report.get("reason", "")),
        landed=report.get("landed"),
        before=percent(report["average"]["scores"].get("main")),
        after=percent(report["average"]["scores"].get("candidate")),
        gain=points(difference.get("effect")),
        gain_interval=points_interval(difference.get("low"), difference.get("high")),
        method=str(report.get("method", "")),
        parameters=_parameters(report.get("parameters")),
        average=average,
        tasks=tuple(tasks),
        plot=_plot(report, tasks, average, t),
        trials=_trial_rows(search, [task["name"] for task in report["tasks"]], t),
        trial_tasks=tuple(task["name"] for task in report["tasks"]) if search else (),
        curve=_curve(search, t),
        search_split=str(search.get("split", "")),
        search_metric=str(search.get("metric", "")),
        credit=_credit_rows(credit, report["tasks"], t, repository_url),
        credit_tasks=tuple(task["name"] for task in report["tasks"]),
        credit_chart=_credit_chart(credit, t),
        credit_total=points(credit["total"] - credit["base"])
        if credit.get("total") is not None and credit.get("base") is not None
        else "",
        credit_split=str(credit.get("split", "")),
        layers=tuple(_layer_row(layer) for layer in report.get("layers") or ()),
        inputs=tuple(report.get("inputs") or ()),
        outputs=tuple((report.get("output") or {}).get("files", {}).items()),
        recipe=yaml.safe_dump(
            report.get("recipe") or {}, sort_keys=False, allow_unicode=True, width=96
        ),
        elapsed=seconds((report.get("cost") or {}).get("seconds")),
        cpu=seconds((report.get("cost") or {}).get("cpu_seconds")),
        contributions=sum(
            1 for item in report.get("inputs") or () if item.get("role") == "contribution"
        ),
        level=f"{100 * (report.get('gate') or {}).get('confidence', 0.95):.4g}%",
        notes=tuple(str(note) for note in report.get("notes") or ()),
        credit_exact=credit.get("exact", True),
        job=report.get("job"),
        head=next(
            (
                item.get("revision")
                for item in report.get("inputs") or ()
                if number is not None and item.get("number") == number
            ),
            (report.get("models") or {}).get("contribution", {}).get("revision"),
        ),
        flags=tuple(report.get("flags") or ()),
        gained=tuple(
            (str(row["organisation"]), points(row["value"]))
            for row in credit.get("organisations") or ()
        ),
    )


def _parameters(parameters: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(parameters, Mapping):
        return ()
    return tuple((str(name), parameter_text(value)) for name, value in parameters.items())


def _task_row(task: Mapping[str, Any], t: Translator) -> TaskRow:
    difference = task.get("difference") or {}
    verdict = VERDICTS.get(task.get("verdict", ""), "unsure")
    count = t.count("report.items", int(task["n"])) if task.get("n") else ""
    # Where every item is a group of its own, saying so again tells nothing.
    if task.get("groups") and task["groups"] != task["n"]:
        count = t("report.items_in_groups", n=task["n"], groups=task["groups"])
    notes = []
    if difference.get("needed"):
        notes.append(Said(t("report.needed", n=difference["needed"]), True))
    if task.get("note"):
        notes.append(t.sentence(str(task["note"])))
    if difference.get("detectable") and verdict == "unsure":
        shows = t("report.detects", size=points(difference["detectable"]).lstrip("+"))
        notes.append(Said(shows, True))
    tags = [t("report.hidden")] if task.get("hidden") else []
    if task.get("seen") is False:
        tags.append(t("report.unseen"))
    return TaskRow(
        name=str(task["name"]),
        role=t.known("role", str(task.get("role", ""))),
        metric=t.known("metric", str(task.get("metric", ""))),
        items=count,
        scores=tuple(percent(task["scores"].get(model)) for model in MODELS),
        intervals=tuple(interval(*_ends(task, model)) for model in MODELS),
        effect=points(difference.get("effect")),
        effect_interval=points_interval(difference.get("low"), difference.get("high")),
        p=probability(difference.get("p_adjusted", difference.get("p"))),
        margin=percent(task.get("margin")),
        verdict=verdict,
        verdict_word=t(f"verdict.{verdict}"),
        notes=tuple(notes),
        tags=" · ".join(tags),
    )


def _average_row(report: Mapping[str, Any], t: Translator) -> TaskRow:
    total = sum(int(task.get("n") or 0) for task in report["tasks"])
    whole = {"name": t("report.average"), "n": total, "verdict": report["verdict"]}
    return _task_row({**whole, **report["average"]}, t)


def _ends(measured: Mapping[str, Any], model: str) -> tuple[float | None, float | None]:
    ends = (measured.get("intervals") or {}).get(model)
    return (ends[0], ends[1]) if ends else (None, None)


def _plot(
    report: Mapping[str, Any], tasks: Sequence[TaskRow], average: TaskRow, t: Translator
) -> Markup:
    rows = []
    for shown, measured in zip(
        (average, *tasks), (report["average"], *report["tasks"]), strict=True
    ):
        marks = tuple(
            Mark(
                t(f"model.{model}"),
                measured["scores"][model],
                *_ends(measured, model),
                series=index,
            )
            for index, model in enumerate(MODELS)
            if measured["scores"].get(model) is not None
        )
        rows.append(Row(shown.name, marks, t("report.points", n=shown.effect)))
    sentence = "; ".join(
        f"{row.name}: {row.scores[1]} → {row.scores[3]} ({row.effect})" for row in (average, *tasks)
    )
    return Markup(  # noqa: S704 - charts escape what they are given
        interval_plot(
            rows,
            ident="scores",
            title=t("plot.scores.title"),
            description=t("plot.scores.desc", rows=sentence),
            show=percent,
            tick=axis,
        )
    )


def _trial_rows(
    search: Mapping[str, Any], names: Sequence[str], t: Translator
) -> tuple[TrialRow, ...]:
    rows = []
    for index, point in enumerate(search.get("points") or ()):
        rows.append(
            TrialRow(
                place=index + 1,
                method=str(point["method"]),
                parameters=_parameter_line(point.get("parameters")),
                score=percent(point["score"]),
                tasks=tuple(percent((point.get("tasks") or {}).get(name)) for name in names),
                mark=_trial_mark(index, search, t),
            )
        )
    return tuple(rows)


def _parameter_line(parameters: Any) -> str:
    return " · ".join(f"{name} {value}" for name, value in _parameters(parameters))


def _trial_mark(index: int, search: Mapping[str, Any], t: Translator) -> str:
    words = []
    if index == search.get("chosen"):
        words.append(t("search.chosen"))
    if index == search.get("default"):
        words.append(t("search.default"))
    return ", ".join(words)


def _curve(search: Mapping[str, Any], t: Translator) -> Markup | None:
    found = search.get("points") or ()
    if not found:
        return None
    trials = [
        Trial(
            str(point["method"]),
            _parameter_line(point.get("parameters")),
            point["score"],
            _trial_mark(index, search, t),
            index == search.get("chosen"),
        )
        for index, point in enumerate(found)
    ]
    best = max(trials, key=lambda trial: trial.score)
    return Markup(  # noqa: S704 - charts escape what they are given
        search_curve(
            trials,
            ident="search",
            title=t("plot.search.title"),
            description=t(
                "plot.search.desc",
                n=len(trials),
                best=percent(best.score),
                label=f"{best.group} {best.label}",
            ),
            axis=t("plot.search.axis"),
            show=percent,
            tick=axis,
        )
    )


def _by_value(credit: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return sorted(credit.get("contributions") or (), key=lambda one: -float(one["value"]))


def _credit_name(contribution: Mapping[str, Any]) -> str:
    who = contribution.get("organisation") or contribution.get("author") or ""
    return f"{who} #{contribution['number']}" if contribution.get("number") else str(who)


def _credit_rows(
    credit: Mapping[str, Any],
    tasks: Sequence[Mapping[str, Any]],
    t: Translator,
    repository_url: str,
) -> tuple[CreditRow, ...]:
    rows = []
    for contribution in _by_value(credit):
        gained = contribution.get("tasks") or {}
        number = contribution.get("number")
        rows.append(
            CreditRow(
                label=_credit_name(contribution),
                href=f"{repository_url}/discussions/{number}" if number else "",
                value=points(contribution["value"]) + _plus_minus(contribution.get("error")),
                tasks=tuple(points(gained.get(task["name"])) for task in tasks),
            )
        )
    return tuple(rows)


def _plus_minus(error: Any) -> str:
    """Write a standard error beside a value, where there is one."""
    return f" ± {100 * float(error):.1f}" if error else ""


def _credit_chart(credit: Mapping[str, Any], t: Translator) -> Markup | None:
    found = _by_value(credit)
    if not found:
        return None
    bars = [
        Bar(
            _credit_name(contribution),
            contribution["value"],
            3 if contribution["value"] >= 0 else 2,
        )
        for contribution in found
    ]
    sentence = "; ".join(f"{bar.label}: {points(bar.value)}" for bar in bars)
    return Markup(  # noqa: S704 - charts escape what they are given
        bar_chart(
            bars,
            ident="credit",
            title=t("plot.credit.title"),
            description=t("plot.credit.desc", rows=sentence),
            show=points,
        )
    )


def _layer_row(layer: Mapping[str, Any]) -> tuple[str, str, str, str]:
    return (
        str(layer["name"]),
        str(layer.get("tensors", "")),
        percent(layer.get("relative_change")),
        percent(layer.get("sign_agreement")),
    )
