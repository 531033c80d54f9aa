# SPDX-License-Identifier: Apache-2.0
"""The table's rows: what is made of the fine-tunes, at published defaults unless the name says so.

Where a paper tunes a factor on the summed change, a second row, `… λ`, tunes that factor on the
validation items of all seen tasks, over the same values for every method.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import plait.fusion
from fusion_quality import judging, models, settings
from fusion_quality.models import Statistics, Suite
from plait.fusion.search import search
from plait.fusion.weights import methods as weight_methods
from plait.recipes.fusion import dump_recipe, parse_recipe

FACTORS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0)
"""Values of λ, of the changes' sum or of what a method makes of it at its default."""


@dataclass(frozen=True)
class Made:
    """A model that a row made: its folder, CPU-seconds, and what is worth telling."""

    folder: Path
    cpu_seconds: float
    told: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """One row: how its model is made from a suite, in a folder that does not exist yet."""

    name: str
    title: str
    group: str
    make: Callable[[Suite, Path], Made]
    note: str = ""
    against: tuple[str, ...] = ()
    """Rows that it is compared with, besides those that all rows of its group are."""


def weights(
    name: str,
    title: str,
    method: str,
    *,
    weight: float | None = None,
    statistics: Statistics | None = None,
    tasks: bool = False,
    base: bool = True,
    group: str = "weights",
    note: str = "",
    dialect: str | None = None,
    **parameters: Any,
) -> Row:
    """Return a row that one recipe of weights makes."""

    def make(suite: Suite, out: Path) -> Made:
        made = recipe(
            suite,
            method,
            weight=weight,
            statistics=statistics,
            tasks=tasks,
            base=base,
            dialect=dialect,
            parameters=parameters,
        )
        before = (
            sum(models.cost(suite.with_statistics(t, statistics)) for t in settings.SEEN)
            if statistics
            else 0.0
        )
        started = time.process_time()
        plait.fusion.fuse(made, out, threads=1)
        return Made(out, before + time.process_time() - started)

    return Row(name, title, group, make, note)


def recipe(
    suite: Suite,
    method: str,
    *,
    weight: float | None = None,
    statistics: Statistics | None = None,
    tasks: bool = False,
    base: bool = True,
    dialect: str | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return a recipe of weights over the suite's fine-tunes."""
    own = {"parameters": {"weight": weight}} if weight is not None else {}
    entries = []
    for task in settings.SEEN:
        folder = suite.with_statistics(task, statistics) if statistics else suite.tuned(task)
        entries.append({"model": str(folder), **own, **({"task": task} if tasks else {})})
    made: dict[str, Any] = {"merge_method": method, "models": entries, "dtype": "float32"}
    if base:
        made["base_model"] = str(suite.base)
    if tasks:
        made["tasks"] = task_list(suite)
    if dialect:
        made["dialect"] = dialect
    return made | ({"parameters": dict(parameters)} if parameters else {})


def task_list(suite: Suite) -> list[dict[str, Any]]:
    """Return the seen tasks as recipes name them."""
    return [
        {
            "name": task,
            "dataset": str(suite.data(task)),
            "metric": "accuracy",
            "columns": {"group": "group"},
        }
        for task in settings.SEEN
    ]


def tuned_factor(row: Row) -> Row:
    """Return the row with a factor on its change from the base, the best on validation items."""

    def make(suite: Suite, out: Path) -> Made:
        import torch
        from safetensors.torch import load_file, save_file

        whole = row.make(suite, out)
        started = time.process_time()
        predictor = judging.load(out)
        base = load_file(suite.base / "model.safetensors")
        fused = load_file(out / "model.safetensors")

        def at(factor: float) -> dict[str, Any]:
            return {n: base[n] + factor * (t - base[n]) if t.is_floating_point() else t
                    for n, t in fused.items()}  # fmt: skip

        found = {}
        with torch.no_grad():
            for factor in FACTORS:
                predictor.load_tensors((n, t.numpy()) for n, t in at(factor).items())
                marks = judging.seen(predictor, suite, "validation")
                found[factor] = judging.mean(judging.accuracies(marks))
        best = max(found, key=lambda factor: (round(found[factor], 6), -abs(np.log(factor))))
        save_file(at(best), out / "model.safetensors", metadata={"format": "pt"})
        told = {"factor": best, "validation": {str(f): round(s, 4) for f, s in found.items()}}
        return Made(out, whole.cpu_seconds + time.process_time() - started, told)

    return Row(f"{row.name}-tuned", f"{row.title}, λ tuned", row.group, make, row.note)


def searched(
    name: str,
    title: str,
    method: str,
    stages: Sequence[Mapping[str, Any]],
    *,
    against: tuple[str, ...],
    **more: Any,
) -> Row:
    """Return a row whose coefficients Plait's search chooses on the validation items.

    Each stage starts with what the one before chose.
    """

    def make(suite: Suite, out: Path) -> Made:
        made = recipe(suite, method, **more)
        started = time.process_time()
        told = []
        for stage in stages:
            splits = {"train": "train", "validation": "validation", "test": None}
            made |= {"tasks": task_list(suite), "splits": splits, "seed": suite.seed}
            result = search(parse_recipe(made | {"search": dict(stage)}), threads=1)
            found = result.report
            told.append(
                {k: found[k] for k in ("gain", "gain_in_sample", "out_of_fold", "reason")}
                | {k: _plain(found["points"][found[k]]) for k in ("default", "chosen", "best")}
                | {"points": [_plain(point) for point in found["points"]]}
            )
            made = {k: v for k, v in dump_recipe(result.recipe).items() if k != "search"}
        plait.fusion.fuse(made, out, threads=1)
        return Made(out, time.process_time() - started, {"stages": told})

    return Row(name, title, "Plait", make, against=against)


def _plain(point: Mapping[str, Any]) -> dict[str, Any]:
    return {k: point[k] for k in ("parameters", "score", "items")}


def levels(
    name: str,
    title: str,
    method: str,
    *,
    group: str = "Plait",
    against: tuple[str, ...] = (),
    **keys: Any,
) -> Row:
    """Return a row that a recipe above the weights makes."""

    def make(suite: Suite, out: Path) -> Made:
        made = {
            "method": method,
            "base_model": str(suite.base),
            "models": [{"name": t, "model": str(suite.tuned(t)), **_owned(method, t)}
                       for t in settings.SEEN],
            "tasks": task_list(suite),
            "splits": {"train": "train", "validation": "validation", "test": None},
            "seed": suite.seed,
            **keys,
        }  # fmt: skip
        parameters = made.get("parameters", {})
        if parameters.get("student") in weight_methods.names():
            student = recipe(suite, parameters["student"])
            made["parameters"] = parameters | {"student": student}
        started = time.process_time()
        result = plait.fusion.fuse(made, out, threads=1)
        return Made(out, time.process_time() - started, {"report": _short(result.report)})

    return Row(name, title, group, make, against=against)


def _owned(method: str, task: str) -> dict[str, Any]:
    return {"tasks": [task]} if method == "distill" else {}


def _short(report: Mapping[str, Any]) -> Any:
    """Return what a report says of the choice, without recipes (they name this machine's files)."""
    auto = report.get("auto")
    if auto is None:
        return {k: report["results"][k] for k in ("epochs",) if k in report.get("results", {})}
    kept = ("name", "level", "score", "low", "high", "tasks", "make_seconds", "chosen", "usable")
    table = [{k: row[k] for k in kept} for row in auto["table"]]
    return {k: auto[k] for k in ("chosen", "why", "items")} | {"table": table}


def _pretrained(suite: Suite, out: Path) -> Made:
    return Made(suite.base, 0.0)


def _multitask(suite: Suite, out: Path) -> Made:
    return Made(suite.multitask, models.cost(suite.multitask))


def _multitask_longer(suite: Suite, out: Path) -> Made:
    return Made(suite.multitask_longer, models.cost(suite.multitask_longer))


_MERGED = (
    weights("task_arithmetic", "Task arithmetic, λ 0.3", "task_arithmetic", weight=0.3),
    weights("ties_paper", "TIES (paper), 20%, λ 1", "ties", weight=1.0, dialect="paper",
            density=0.2),
    weights("tsv_m", "TSV-M", "tsv_m"),
    weights("iso_c", "ISO-C", "iso_c"),
    weights("iso_cts", "ISO-CTS", "iso_cts"),
    weights("wudi", "WUDI", "wudi"),
    weights("knots_ties", "KnOTS-TIES, 20%", "knots_ties", density=0.2),
)  # fmt: skip

_DISTILLED = {
    "teacher_weights": "task",
    "tune_heads": False,
    "stop_by": "nothing",
    "max_length": settings.MAX_LENGTH,
}
"""As `auto` distils, but for where the student starts and what it reads."""
_EACH = {
    "budget": 20,
    "per": "model",
    "parameters": {"weight": {"low": 0.6, "high": 1.6, "log": True}},
}


def _shared(*values: float) -> dict[str, Any]:
    """Return a search over one λ for all models; the default is measured besides."""
    return {"budget": len(values) + 1, "sampler": "grid",
            "parameters": {"lambda": list(values)}}  # fmt: skip


_AUTO = {
    "max_length": settings.MAX_LENGTH,
    "methods": ["task_arithmetic", "tsv_m", "ties", "iso_c", "regmean_plusplus"],
    "search": 0,
}
_LONGER = weights("wudi_longer", "WUDI, steps of 1e-4", "wudi", rate=1e-4)

ROWS: tuple[Row, ...] = (
    Row("pretrained", "Pre-trained, probes as heads", "bounds", _pretrained),
    Row("multitask", "Multitask training (MTL)", "bounds", _multitask),
    Row("multitask_longer", "Multitask training, 5 epochs", "bounds", _multitask_longer),
    weights("average", "Simple average", "linear", weight=1.0, base=False),
    *_MERGED,
    _LONGER,
    weights("regmean", "RegMean", "regmean", statistics=Statistics("gram"), base=False),
    weights("fisher", "Fisher", "fisher", statistics=Statistics("fisher"), base=False),
    weights("ties_mergekit", "TIES (mergekit), 20%", "ties", weight=1.0, density=0.2),
    weights("dare_linear", "DARE, 90% dropped, λ 0.3", "dare_linear", weight=0.3, density=0.1),
    weights("dare_ties", "DARE-TIES, 90% dropped, λ 0.3", "dare_ties", weight=0.3, density=0.1),
    weights("della", "DELLA, 70% dropped", "della", weight=1.0, density=0.3),
    weights("breadcrumbs", "Breadcrumbs, 85% and 1% dropped, λ 0.3", "breadcrumbs", weight=0.3,
            density=0.14),
    weights("della_linear", "DELLA-linear, 70% dropped, λ 0.3", "della_linear", weight=0.3,
            density=0.3),
    weights("breadcrumbs_ties", "Breadcrumbs-TIES, 85% and 1% dropped, λ 0.3",
            "breadcrumbs_ties", weight=0.3, density=0.14),
    weights("sce", "SCE, 10%", "sce", select_topk=0.1),
    weights("model_stock", "Model Stock", "model_stock"),
    weights("karcher", "Karcher mean", "karcher", base=False),
    weights("multislerp", "Multi-SLERP", "multislerp", weight=1.0, base=False),
    weights("ram", "RAM", "ram"),
    weights("ramplus_tl", "RAM+", "ramplus_tl"),
    weights("regmean_plusplus", "RegMean++", "regmean_plusplus", tasks=True, base=False,
            texts=settings.STATISTICS_TEXTS),
    weights("adamerging_task", "AdaMerging, task-wise", "adamerging", tasks=True,
            variant="task-wise", steps=60, rate=1e-2, batch=8),
    weights("adamerging_layer", "AdaMerging, layer-wise", "adamerging", tasks=True,
            variant="layer-wise", steps=60, rate=1e-2, batch=8),
    *(tuned_factor(row) for row in _MERGED),
    levels("auto", "Plait's auto", "auto", parameters=_AUTO,
           against=("multitask_longer", "distill_base", "distill_labels")),
    searched("search_task_arithmetic", "Task arithmetic, λ and weights searched",
             "task_arithmetic", (_shared(0.1, 0.2, 0.25, 0.4, 0.5, 0.7), _EACH), weight=1.0,
             against=("task_arithmetic",), parameters={"lambda": 0.3}),
    searched("search_iso_c", "ISO-C, λ and weights searched", "iso_c",
             (_shared(0.7, 1.4, 2.0, 2.8, 4.0), _EACH | {"budget": 12}), weight=1.0,
             against=("iso_c", "iso_c-tuned"), parameters={"lambda": 1.0}),
    searched("search_tsv_m", "TSV-M, λ and weights searched", "tsv_m",
             (_shared(0.7, 1.4), _EACH | {"budget": 12}), weight=1.0, parameters={"lambda": 1.0},
             against=("tsv_m",)),
    levels("distill_base", "Distilled without labels, from the base", "distill",
           group="distillation", against=("multitask",),
           parameters=_DISTILLED | {"labels": False}),
    levels("distill_labels", "Distilled with labels, from TSV-M", "distill",
           group="distillation", against=("multitask",),
           parameters=_DISTILLED | {"student": "tsv_m"}),
    *(
        weights(f"regmean_{name}", title, "regmean", statistics=wanted, base=False,
                group="privacy")
        for name, title, wanted in (
            ("epsilon8", "RegMean, ε = 8", Statistics("gram", epsilon=8)),
            ("epsilon2", "RegMean, ε = 2", Statistics("gram", epsilon=2)),
            ("640", "RegMean, exact", Statistics("gram", 640)),
            ("640_epsilon8", "RegMean, ε = 8", Statistics("gram", 640, 8)),
            ("diagonal", "RegMean, diagonals alone, exact", Statistics("gram", diagonal=True)),
            ("diagonal_epsilon8", "RegMean, diagonals alone, ε = 8",
             Statistics("gram", epsilon=8, diagonal=True)),
            ("640_diagonal_epsilon8", "RegMean, diagonals alone, ε = 8",
             Statistics("gram", 640, 8, diagonal=True)),
        )
    ),
)  # fmt: skip
