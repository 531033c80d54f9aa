# SPDX-License-Identifier: Apache-2.0
"""Fuse the four fine-tunes by several methods, and judge each on all four domains' test items.

With `--privacy` regmean is fused from statistics with differential privacy instead, for several
epsilons, and numbers are means over some draws of the noise.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from plait.demo.data import DOMAINS
from plait.evaluation import evaluate_folder
from plait.fusion import fuse
from plait.recipes.project import TaskSpec
from plait.training.privacy import Privacy
from plait.training.statistics import collect_statistics

HERE = Path(__file__).parent
PLAIN: dict[str, Mapping[str, Any]] = {
    "linear": {"weight": 1},
    "task_arithmetic": {"weight": 0.3},
    "tsv_m": {},
    "iso_c": {},
    "wudi": {},
    "fisher": {},
    "regmean": {},
}
SETTINGS = (
    (None, False),
    (10, False),
    (3, False),
    (1, False),
    (None, True),
    (3, True),
    (1, True),
)
"""Epsilon (None: exact) and whether only diagonals are published."""


def recipe(work: Path, method: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe over the four fine-tunes."""
    return {
        "merge_method": method,
        "base_model": str(work / "base"),
        "models": [{"model": str(work / name)} for name in DOMAINS],
        "parameters": dict(parameters),
    }


def judge(model: Path, work: Path) -> list[float]:
    """Return the balanced accuracy on each domain's test items."""
    tasks = [TaskSpec(name, str(work / "data" / name)) for name in DOMAINS]
    found = evaluate_folder(model, tasks, "test")
    return [found.tasks[name].score for name in DOMAINS]


def row(name: str, scores: list[float], cost: float | None = None) -> None:
    """Print a row of the table."""
    cells = [f"{score:.3f}" for score in (*scores, float(np.mean(scores)))]
    spent = "" if cost is None else f"{cost:.0f}"
    print(f"| {name} | {' | '.join(cells)} | {spent} |", flush=True)


def fused(told: Mapping[str, Any], work: Path) -> tuple[list[float], float]:
    """Return a fusion's scores and CPU-seconds; nothing is kept."""
    with tempfile.TemporaryDirectory() as folder:
        result = fuse(dict(told), Path(folder) / "out")
        return judge(Path(folder) / "out", work), result.cpu_seconds


def methods(work: Path) -> None:
    """Print the table of methods."""
    print(f"| method | {' | '.join(DOMAINS)} | mean | CPU s |")
    print("|---|---|---|---|---|---|---|")
    row("base with its shared head", judge(work / "base", work))
    own = [judge(work / name, work)[place] for place, name in enumerate(DOMAINS)]
    row("each fine-tune on its own domain", own)
    for method, parameters in PLAIN.items():
        row(f"`{method}`", *fused(recipe(work, method, parameters), work))
    for file in ("ties.yaml", "recipe.yaml", "adamerging.yaml"):
        text = (HERE / file).read_text("utf-8").replace("work/", f"{work}/")
        told = yaml.safe_load(text)
        row(f"`{told['merge_method']}` ({file})", *fused(told, work))


def privacy(work: Path, draws: int, count: int) -> None:
    """Print what regmean loses by private statistics of so many texts of each domain."""
    print("| statistics | mean of domains | least | greatest |")
    print("|---|---|---|---|")
    row_of = {
        name: (work / "data" / name / "data" / "train.jsonl").read_text("utf-8").splitlines()
        for name in DOMAINS
    }
    texts = {n: [json.loads(r)["text"] for r in rows[:count]] for n, rows in row_of.items()}
    for epsilon, diagonal in SETTINGS:
        found = []
        for _ in range(1 if epsilon is None else draws):
            with tempfile.TemporaryDirectory() as folder:
                place = Path(folder)
                for name in DOMAINS:
                    (place / name).mkdir()
                    for file in (work / name).iterdir():
                        if "statistics" not in file.name:
                            shutil.copyfile(file, place / name / file.name)
                    collect_statistics(
                        work / name,
                        texts[name],
                        place / name / "plait_statistics.safetensors",
                        privacy=None if epsilon is None else Privacy(epsilon),
                        diagonal=diagonal,
                    )
                told = {
                    "merge_method": "regmean",
                    "models": [{"model": str(place / name)} for name in DOMAINS],
                    "parameters": {"shrink": 0 if diagonal else 0.9},
                }
                fuse(told, place / "out")
                found.append(float(np.mean(judge(place / "out", work))))
        told_as = "exact" if epsilon is None else f"epsilon {epsilon}"
        cells = [np.mean(found), np.min(found), np.max(found)]
        shape = "diagonal" if diagonal else "whole"
        print(f"| {told_as}, {shape} | {' | '.join(f'{c:.3f}' for c in cells)} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=HERE / "work")
    parser.add_argument("--privacy", action="store_true")
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument("--texts", type=int, default=1000)
    given = parser.parse_args()
    if given.privacy:
        privacy(given.work, given.draws, given.texts)
    else:
        methods(given.work)
