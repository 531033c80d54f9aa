# SPDX-License-Identifier: Apache-2.0
"""The card of a model of several modalities: its encoders, and how it does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plait.cards import dump_card
from plait.evaluation import Evaluation
from plait.evaluation.index import write_card as write_results
from plait.fusion.datasets import repositories
from plait.fusion.features.options import FeatureRecipe
from plait.fusion.provenance import sources_head
from plait.fusion.results import REPORT


def write_card(
    folder: Path,
    recipe: FeatureRecipe,
    sources: Mapping[str, Path],
    found: Mapping[str, Evaluation],
) -> None:
    """Write README.md into a fused model's folder, with its test results as `model-index`.

    `sources` has by reference the folders of the encoders.
    """
    title = "Model of several modalities" if len(recipe.members) > 1 else "Model"
    modalities = " and ".join(member.modality for member in recipe.members)
    lines = [
        "",
        f"# {title}",
        "",
        f"It reads {modalities}: "
        + ", ".join(
            f"`{m.name}` ({m.modality}, {'tuned' if m.tuned else 'frozen'})" for m in recipe.members
        )
        + f". `{REPORT}` has the recipe, the training and the hashes of everything.",
        "",
    ]
    if found:
        split = next(iter(found.values())).split
        metric = next(iter(found["all"].tasks.values())).metric
        lines += [f"| on the split `{split}` | n | {metric} | 95% |", "|---|---|---|---|"]
        for given, scores in found.items():
            for one in scores.tasks.values():
                low, high = one.interval
                told = "everything" if given == "all" else given
                lines.append(f"| {told} | {one.n} | {one.score:.3f} | {low:.3f} to {high:.3f} |")
        lines.append("")
    head: dict[str, Any] = {
        "library_name": "transformers",
        "tags": ["plait", "feature-fusion"],
        "datasets": repositories([recipe.task.dataset], recipe.level.folder),
    }
    head |= sources_head(sources, recipe.level.folder)
    kept = {key: value for key, value in head.items() if value}
    (folder / "README.md").write_text(dump_card(kept, "\n".join(lines)), "utf-8")
    if found:
        write_results(folder, found["all"], [recipe.task], name=title)
