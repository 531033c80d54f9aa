# SPDX-License-Identifier: Apache-2.0
"""Quality of fusion: eight real tasks over one encoder, every method, three seeds.

Usage: ``python benchmarks/fusion_quality [--seeds 0,1,2] [--rows NAME,…] [--again NAME,…]
[--minutes N] [--table]``. It needs the package hassil. What is measured is kept in Plait's cache,
row by row: a run that was ended goes on where it was, and with `--minutes` none begins a row after
so long. Writes `benchmarks/results/fusion-quality.json`, which keeps each seed's scores and answers
(what the cache lacks is taken from there), and the table in `docs/fusion/quality.md`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from fusion_quality import judging, models, settings, table
from fusion_quality.models import Suite, build
from fusion_quality.rows import ROWS, Row


def measure(suite: Suite, row: Row, *, again: bool) -> dict[str, Any]:
    """Return a row's scores with one seed, from the cache if they are there."""
    kept = suite.folder / "rows" / f"{row.name}.json"
    if kept.is_file() and not again:
        found: dict[str, Any] = json.loads(kept.read_text())
        return found
    work = suite.folder / "work" / row.name
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    made = row.make(suite, work / "out")
    started = time.process_time()
    marks = judging.seen(made.folder, suite, "test")
    result = {
        "seen": judging.accuracies(marks),
        "left_out": judging.left_out(made.folder, suite),
        "cpu_seconds": round(made.cpu_seconds, 1),
        "judging_cpu_seconds": round(time.process_time() - started, 1),
        "told": made.told,
        "answers": marks,
    }
    shutil.rmtree(work)
    _write(kept, result)
    return result


def single(suite: Suite) -> dict[str, Any]:
    """Return each fine-tune's score on its own task."""
    kept = suite.folder / "rows" / "single.json"
    if kept.is_file():
        found: dict[str, Any] = json.loads(kept.read_text())
        return found
    marks = {t: judging.seen(suite.tuned(t), suite, "test", (t,))[t] for t in settings.SEEN}
    cost = sum(models.cost(suite.tuned(task)) for task in settings.SEEN)
    result = {
        "seen": judging.accuracies(marks),
        "left_out": {},
        "cpu_seconds": round(cost, 1),
        "told": {},
        "answers": marks,
    }
    _write(kept, result)
    return result


def _write(kept: Path, result: dict[str, Any]) -> None:
    kept.parent.mkdir(parents=True, exist_ok=True)
    part = kept.with_suffix(".part")
    part.write_text(json.dumps(result, indent=1))
    part.rename(kept)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default=",".join(map(str, settings.SEEDS)))
    parser.add_argument("--rows", default="", help="only these")
    parser.add_argument("--again", default="", help="measure these anew")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin none later")
    parser.add_argument("--table", action="store_true", help="only write the table")
    given = parser.parse_args()
    end = time.monotonic() + 60 * given.minutes
    names = [name for name in given.rows.split(",") if name]
    unknown = [n for n in names if n not in {row.name for row in ROWS}]
    if unknown:
        parser.error(f"no row is called {', '.join(unknown)}")
    chosen = [row for row in ROWS if not names or row.name in names]
    for seed in () if given.table else map(int, given.seeds.split(",")):
        suite = build(seed)
        found = single(suite)
        print(f"seed {seed} single: {judging.mean(found['seen']):.4f}", flush=True)
        for row in chosen:
            if time.monotonic() > end:
                break
            try:
                found = measure(suite, row, again=row.name in given.again.split(","))
            except Exception as error:  # a method that fails leaves the others their rows
                print(f"seed {seed} {row.name}: {type(error).__name__}: {error}", flush=True)
                continue
            print(
                f"seed {seed} {row.name}: {judging.mean(found['seen']):.4f} "
                f"left out {judging.mean(found['left_out']):.4f}, {found['cpu_seconds']:.0f} CPU-s",
                flush=True,
            )
    table.write()


if __name__ == "__main__":
    main()
