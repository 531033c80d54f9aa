# SPDX-License-Identifier: Apache-2.0
"""The card of a model whose coefficients were searched: what was chosen, and its scores."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plait.cards import dump_card
from plait.fusion.datasets import repositories
from plait.fusion.provenance import sources_head
from plait.fusion.results import REPORT
from plait.recipes.fusion import FusionRecipe

TITLE = "Merged model"


def write_card(
    folder: Path,
    recipe: FusionRecipe,
    report: Mapping[str, Any],
    sources: Mapping[str, Path],
    beside: Path,
) -> None:
    """Write README.md into a fused model's folder.

    Its scores are those out of fold, each validation item's by what was chosen without its fold; or
    the default's, if that was kept.

    Args:
        folder: of the model.
        recipe: with its search.
        report: what the search found.
        sources: the folders of the models, and of their adapters, by reference.
        beside: where the recipe's relative paths start.
    """
    from plait.fusion.search.run import PLOT

    work, point = report["work"], report["points"][report["chosen"]]
    values = ", ".join(f"{k} {_short(v)}" for k, v in point["parameters"].items())
    rows = [
        f"| {task['name']} | {task['metric']} | {task['items']} | {task['score']:.3f} | "
        f"{task['default']:.3f} |"
        for task in report["tasks"]
    ]
    lines = [
        "",
        f"# {TITLE}",
        "",
        (
            f"`{point['method']}`"
            + (f" with {values}" if values else " as the recipe has it")
            + ", "
            f"chosen among {work['candidates']} candidates on the split `{report['split']}`. "
            f"{report['reason']} `{REPORT}` has the recipe, the search and all hashes."
        ),
        "",
        "| task | metric | n | out of fold | the default |",
        "|---|---|---|---|---|",
        *rows,
        "",
        f"![Scores of what was tried]({PLOT})",
        "",
    ]
    head: dict[str, Any] = {
        "library_name": "transformers",
        "tags": ["plait", "merge"],
        "datasets": repositories((spec.dataset for spec in recipe.tasks), beside),
        "model-index": [{"name": TITLE, "results": _results(recipe, report)}],
    }
    head |= sources_head(sources, beside)
    kept = {key: value for key, value in head.items() if value}
    (folder / "README.md").write_text(dump_card(kept, "\n".join(lines)), "utf-8")


def _results(recipe: FusionRecipe, report: Mapping[str, Any]) -> list[dict[str, Any]]:
    from plait.evaluation.index import NAMES, PIPELINES, dataset_of

    found = {task["name"]: task for task in report["tasks"]}
    kept = report["chosen"] == report["default"]
    results = []
    for spec in recipe.tasks:
        kind, title = PIPELINES[spec.type]
        task = found[spec.name]
        metric = task["metric"]
        told = NAMES.get(metric, metric.replace("_", " "))
        results.append(
            {
                "task": {"type": kind, "name": title},
                "dataset": dataset_of(spec, report["split"]),
                "metrics": [
                    {
                        "type": metric,
                        "value": task["default" if kept else "score"],
                        "name": told if kept else f"{told}, out of fold",
                        "args": {"n": task["items"], "groups": task["groups"]},
                    }
                ],
            }
        )
    return results


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
