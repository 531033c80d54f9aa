# SPDX-License-Identifier: Apache-2.0
"""Combine the four adapters in several ways, put each result on the base, and judge it."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from plait.demo.data import DOMAINS
from plait.evaluation import evaluate_folder
from plait.fusion import fuse
from plait.recipes.project import TaskSpec

HERE = Path(__file__).parent
WAYS = (
    ("cat", 0.4, {}),
    ("svd", 0.4, {"svd_rank": 32}),
    ("linear", 0.4, {}),
    ("ties", 1.0, {"density": 0.3}),
    ("ties_svd", 1.0, {"density": 0.3, "svd_rank": 32}),
    ("dare_linear_svd", 0.4, {"density": 0.5, "svd_rank": 32}),
    ("knots_ties", 1.0, {"density": 0.3, "svd_rank": 32}),
)


def judge(model: Path, work: Path) -> list[float]:
    """Return the balanced accuracy on each domain's test items."""
    tasks = [TaskSpec(name, str(work / "data" / name)) for name in DOMAINS]
    found = evaluate_folder(model, tasks, "test")
    return [found.tasks[name].score for name in DOMAINS]


def on_base(work: Path, adapter: Path, out: Path) -> Path:
    """Write the base with an adapter on it."""
    model = {"model": f"{work / 'base'}+{adapter}", "parameters": {"weight": 1}}
    return fuse({"merge_method": "linear", "models": [model]}, out).out


def show(name: str, scores: list[float], seconds: float | None = None) -> None:
    """Print a row of the table."""
    cells = " | ".join(f"{score:.3f}" for score in (*scores, float(np.mean(scores))))
    print(f"| {name} | {cells} | {'' if seconds is None else f'{seconds:.1f}'} |", flush=True)


def main(work: Path) -> None:
    """Print the table."""
    print(f"| combination | {' | '.join(DOMAINS)} | mean | CPU s |")
    print("|---|---|---|---|---|---|---|")
    adapters = [work / f"{name}-lora" for name in DOMAINS]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        own = []
        for number, adapter in enumerate(adapters):
            made = on_base(work, adapter, place / f"own{number}")
            own.append(judge(made, work)[number])
        show("each adapter on its own domain", own)
        for method, weight, parameters in WAYS:
            told = {
                "merge_method": method,
                "models": [{"model": str(a), "parameters": {"weight": weight}} for a in adapters],
                "parameters": parameters,
            }
            result = fuse(told, place / method)
            made = on_base(work, place / method, place / f"{method}-on-base")
            show(f"`{method}`", judge(made, work), result.cpu_seconds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=HERE / "work")
    main(parser.parse_args().work)
