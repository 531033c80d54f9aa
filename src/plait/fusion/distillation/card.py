# SPDX-License-Identifier: Apache-2.0
"""The card of a distilled model: who taught it, on what, and how it does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plait.cards import dump_card
from plait.fusion.datasets import repositories
from plait.fusion.distillation.options import Settings
from plait.fusion.provenance import sources_head
from plait.fusion.results import REPORT
from plait.recipes.levels import LevelRecipe


def write_card(
    folder: Path,
    recipe: LevelRecipe,
    settings: Settings,
    sources: Mapping[str, Path],
    results: Mapping[str, Any],
) -> None:
    """Write README.md into a distilled model's folder.

    `sources` has by reference the folders of the teachers and of what the student started as.
    """
    start = settings.student if isinstance(settings.student, str) else "a merge of its teachers"
    count = sum(results["texts"].values())
    lines = [
        "",
        "# Distilled model",
        "",
        (
            f"Taught by {', '.join(f'`{m.name}`' for m in recipe.models)} on {count:,} texts, "
            f"{results['labelled']:,} of them with a label. The student started as {start}; "
            f"answers were weighed by the rule `{settings.teacher_weights}` at temperature "
            f"{settings.temperature:g}. `{REPORT}` has the recipe and the hashes of everything."
        ),
        "",
    ]
    lines += _table(results)
    head: dict[str, Any] = {
        "library_name": "transformers",
        "pipeline_tag": "text-classification",
        "tags": ["plait", "distillation"],
        "datasets": repositories((spec.dataset for spec in recipe.tasks), recipe.folder),
    }
    head |= sources_head(sources, recipe.folder)
    head = {name: value for name, value in head.items() if value}
    (folder / "README.md").write_text(dump_card(head, "\n".join(lines)), "utf-8")


def _table(results: Mapping[str, Any]) -> list[str]:
    test = results.get("test")
    if not test:
        return ["It was not scored on a test split."]
    teachers = results.get("teachers", {})
    head = ["| task | n | this model | 95% |", "|---|---|---|---|"]
    for name in teachers:
        head = [head[0] + f" {name} |", head[1] + "---|"]
    rows = []
    for task, found in test["tasks"].items():
        low, high = found["interval"]
        row = f"| {task} | {found['n']} | {found['score']:.3f} | {low:.3f} to {high:.3f} |"
        for scores in teachers.values():
            score = scores["tasks"].get(task)
            row += f" {score:.3f} |" if score is not None else " |"
        rows.append(row)
    metric = next(iter(test["tasks"].values()))["metric"]
    return [f"Scores on the split `{test['split']}` ({metric}):", "", *head, *rows, ""]
