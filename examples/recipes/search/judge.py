# SPDX-License-Identifier: Apache-2.0
"""Judge what a search chose on the test items, which it has not seen, against its default.

python judge.py weight.yaml work/out-weight
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import yaml

from plait.evaluation import compare, evaluate
from plait.fusion import fuse
from plait.fusion.datasets import load_tasks
from plait.recipes.fusion import load_recipe


def judge(recipe: Path, chosen: Path, threads: int | None = None) -> None:
    """Print the default's and the chosen model's scores on the test items, and the difference."""
    parsed = load_recipe(recipe)
    tasks = load_tasks(parsed.tasks, recipe.parent, parsed.splits.test or "test")
    with tempfile.TemporaryDirectory(dir=recipe.parent / "work") as scratch:
        # beside the recipe, because its models' paths start there
        plain = recipe.with_name(f".{recipe.stem}-default.yaml")
        data = yaml.safe_load(recipe.read_text("utf-8"))
        data.pop("search")
        plain.write_text(yaml.safe_dump(data), "utf-8")
        try:
            fuse(plain, Path(scratch) / "default", threads=threads)
        finally:
            plain.unlink()
        default = evaluate(Path(scratch) / "default", tasks, "test")
    searched = evaluate(chosen, tasks, "test")
    found = compare(searched, default)
    print(f"{'task':<10} {'default':>8} {'chosen':>8} {'gain':>7}  95% interval")
    rows = [(n, default.tasks[n].score, searched.tasks[n].score, d) for n, d in found.tasks.items()]
    rows.append(("average", default.average, searched.average, found.average))
    for name, before, after, gain in rows:
        print(
            f"{name:<10} {100 * before:8.1f} {100 * after:8.1f} {100 * gain.effect:+7.1f}  "
            f"{100 * gain.low:+.1f} to {100 * gain.high:+.1f}"
        )


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("Say which recipe and which fused folder: python judge.py weight.yaml work/out")
    judge(Path(sys.argv[1]).resolve(), Path(sys.argv[2]))
