# SPDX-License-Identifier: Apache-2.0
"""The table of all measured rows: means over seeds as JSON, and as Markdown in the docs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import measure
from fusion_quality import settings
from fusion_quality.models import Town, build
from fusion_quality.rows import ROWS

DOCUMENT = Path(__file__).parents[2] / "docs" / "fusion" / "quality.md"
BEGIN, END = "<!-- table: fusion-quality -->", "<!-- end -->"
BOUNDS = ("pretrained", "single", "multitask")
RESAMPLES = 4_000
Found = dict[str, Any]


def write() -> None:
    """Write the results that are in the cache, and the documents' table of them."""
    towns = [build(seed) for seed in settings.SEEDS]
    named = [("single", "Fine-tuned alone (STL)", "bounds", "")]
    named += [(r.name, r.title, r.group, r.note) for r in ROWS]
    kept = {name: _read(towns, name) for name, *_ in named}
    singles = kept["single"]
    rows = []
    for name, title, group, note in named:
        if any(found is not None for found in kept[name]):
            rows.append({"name": name, "title": title, "group": group, "note": note}
                        | _row(kept[name], singles))  # fmt: skip
    order = {name: place for place, name in enumerate(BOUNDS)}
    rows.sort(key=lambda row: (order.get(row["name"], 9), -row["average"]))
    compared = _compared(rows, kept, towns)
    measure.write(
        "fusion-quality",
        rows,
        tasks=list(settings.SEEN),
        left_out=list(settings.LEFT_OUT),
        seeds=list(settings.SEEDS),
        sizes=settings.SIZES,
        comparisons=compared,
    )
    if DOCUMENT.is_file():
        text = DOCUMENT.read_text("utf-8")
        before, rest = text.split(BEGIN, 1)
        after = rest.split(END, 1)[1]
        lines = "\n".join(markdown(rows, compared))
        DOCUMENT.write_text(f"{before}{BEGIN}\n{lines}\n{END}{after}", "utf-8")


def markdown(rows: Sequence[Found], compared: Sequence[Found]) -> list[str]:
    """Return the table's lines."""
    tasks = settings.SEEN
    best: dict[str, float] = {}
    for task in (*tasks, "average"):
        merged = [row for row in rows if row["group"] != "bounds"]
        best[task] = max((_shown(row, task) for row in merged), default=0.0)
    lines = [
        f"| model | {' | '.join(tasks)} | average | of STL | left out | CPU-s |",
        f"|---|{'---:|' * (len(tasks) + 4)}",
    ]
    for row in rows:
        cells = []
        for task in (*tasks, "average"):
            value = _shown(row, task)
            text = f"{100 * value:.1f}"
            if task == "average":
                text += f" ± {100 * row['spread']:.1f}"
            bold = row["group"] != "bounds" and value == best[task]
            cells.append(f"**{text}**" if bold else text)
        cells.append(f"{100 * row['of_single']:.1f}%")
        cells.append("" if row["left_out"] is None else f"{100 * row['left_out']:.1f}")
        cells.append(f"{row['cpu_seconds']:.0f}")
        fewer = "" if len(row["seeds"]) == len(settings.SEEDS) else f" ({len(row['seeds'])} seeds)"
        mark = "*" if row["group"] == "Plait" else ""
        lines.append(f"| {mark}{row['title']}{mark}{fewer} | {' | '.join(cells)} |")
    lines.append("")
    for one in compared:
        low, high = (100 * bound for bound in one["interval"])
        lines.append(
            f"- {one['one']} against {one['other']}: {100 * one['difference']:+.1f} points "
            f"[{low:+.1f}, {high:+.1f}]."
        )
    return lines


def _shown(row: Found, task: str) -> float:
    return float(row["average"] if task == "average" else row["seen"][task])


def _read(towns: Sequence[Town], name: str) -> list[Found | None]:
    files = [town.folder / "rows" / f"{name}.json" for town in towns]
    return [json.loads(f.read_text()) if f.is_file() else None for f in files]


def _row(kept: Sequence[Found | None], singles: Sequence[Found | None]) -> Found:
    """Return means over the seeds that were measured, and the spread of the average."""
    found = [(f, s) for f, s in zip(kept, singles, strict=True) if f and s]
    averages = [float(np.mean(list(f["seen"].values()))) for f, _ in found]
    ratios = [np.mean([f["seen"][t] / s["seen"][t] for t in settings.SEEN]) for f, s in found]
    elsewhere = [np.mean(list(f["left_out"].values())) for f, _ in found if f["left_out"]]
    return {
        "seen": {t: round(float(np.mean([f["seen"][t] for f, _ in found])), 4)
                 for t in settings.SEEN},
        "average": round(float(np.mean(averages)), 4),
        "spread": round(float(np.std(averages, ddof=1)), 4) if len(averages) > 1 else 0.0,
        "averages": [round(a, 4) for a in averages],
        "of_single": round(float(np.mean(ratios)), 4),
        "left_out": round(float(np.mean(elsewhere)), 4) if elsewhere else None,
        "cpu_seconds": round(float(np.mean([f["cpu_seconds"] for f, _ in found])), 1),
        "seeds": [seed for seed, f in zip(settings.SEEDS, kept, strict=True) if f],
        "told": [f["told"] for f, _ in found],
    }  # fmt: skip


def _compared(
    rows: Sequence[Found], kept: dict[str, list[Found | None]], towns: Sequence[Town]
) -> list[Found]:
    """Compare Plait's rows with multitask training and with the best method that was published."""
    published = [row for row in rows if row["group"] == "weights"]
    ours = [row for row in rows if row["group"] == "Plait"]
    others = [row for row in rows if row["name"] == "multitask"] + published[:1]
    found = []
    for row in ours:
        for other in others:
            pairs = [(a, b, t) for a, b, t in zip(kept[row["name"]], kept[other["name"]], towns,
                                                  strict=True) if a and b]  # fmt: skip
            if pairs:
                difference, interval = _difference(pairs)
                found.append({"one": row["title"], "other": other["title"],
                              "difference": round(difference, 4),
                              "interval": [round(bound, 4) for bound in interval]})  # fmt: skip
    return found


def _difference(pairs: Sequence[tuple[Found, Found, Town]]) -> tuple[float, tuple[float, float]]:
    """Return the difference of averages and its 95% interval: bootstrap over documents.

    Documents are drawn anew for each task and seed. Seeds share documents of a corpus, which the
    interval does not know of.
    """
    random = np.random.default_rng(0)
    total = np.zeros(RESAMPLES)
    difference = 0.0
    for one, other, town in pairs:
        for task in settings.SEEN:
            marks = np.array(
                [
                    int(a) - int(b)
                    for a, b in zip(one["answers"][task], other["answers"][task], strict=True)
                ]
            )
            names: dict[str, int] = {}
            group = np.array([names.setdefault(i.group, len(names))
                              for i in town.seen[task]["test"]])  # fmt: skip
            sums = np.bincount(group, marks, len(names))
            counts = np.bincount(group, minlength=len(names))
            drawn = random.integers(0, len(names), (RESAMPLES, len(names)))
            total += sums[drawn].sum(1) / counts[drawn].sum(1)
            difference += float(marks.mean())
    parts = len(pairs) * len(settings.SEEN)
    low, high = np.quantile(total / parts, [0.025, 0.975])
    return difference / parts, (float(low), float(high))
