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
from fusion_quality.models import Suite, build
from fusion_quality.rows import ROWS

DOCUMENT = Path(__file__).parents[2] / "docs" / "fusion" / "quality.md"
END = "<!-- end -->"
BOUNDS = ("pretrained", "single", "multitask")
RESAMPLES = 4_000
Found = dict[str, Any]


def write() -> None:
    """Write the results that are in the cache, and the documents' table of them."""
    suites = [build(seed) for seed in settings.SEEDS]
    named = [("single", "Fine-tuned alone (STL)", "bounds", "")]
    named += [(r.name, r.title, r.group, r.note) for r in ROWS]
    kept = {name: _read(suites, name) for name, *_ in named}
    singles = kept["single"]
    rows = []
    for name, title, group, note in named:
        if any(found is not None for found in kept[name]):
            rows.append({"name": name, "title": title, "group": group, "note": note}
                        | _row(kept[name], singles))  # fmt: skip
    order = {name: place for place, name in enumerate(BOUNDS)}
    rows.sort(key=lambda row: (order.get(row["name"], 9), -row["average"]))
    compared = _compared(rows, kept, suites)
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
        for name, lines in (
            ("fusion-quality", markdown(rows, compared)),
            ("privacy", privacy(rows, compared)),
        ):
            begin = f"<!-- table: {name} -->"
            before, rest = text.split(begin, 1)
            after = rest.split(END, 1)[1]
            text = "\n".join([before + begin, *lines, END + after])
        DOCUMENT.write_text(text, "utf-8")


def markdown(rows: Sequence[Found], compared: Sequence[Found]) -> list[str]:
    """Return the lines of the table of all methods."""
    tasks = settings.SEEN
    rows = [row for row in rows if row["group"] != "privacy"]
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
    told = [c for c in compared if c["group"] != "privacy"]
    return [*lines, "", *(f"- {_told(one)}." for one in told)]


def privacy(rows: Sequence[Found], compared: Sequence[Found]) -> list[str]:
    """Return the lines of the table of what hiding single texts costs."""
    exact = next(row for row in rows if row["name"] == "regmean")
    against = {c["name"]: c for c in compared if c["group"] == "privacy"}
    lines = [
        "| statistics | texts of a task | seeds | average | against exact ones of 64 texts |",
        "|---|---:|---|---:|---|",
    ]
    for row in [exact, *(row for row in rows if row["group"] == "privacy")]:
        texts = 640 if "640" in row["name"] else settings.STATISTICS_TEXTS
        title = "RegMean, exact" if row is exact else row["title"]
        seeds = ", ".join(map(str, row["seeds"]))
        by = _points(against[row["name"]]) if row["name"] in against else ""
        lines.append(f"| {title} | {texts} | {seeds} | {100 * row['average']:.1f} | {by} |")
    return lines


def _told(one: Found) -> str:
    fewer = "" if len(one["seeds"]) == len(settings.SEEDS) else f" ({len(one['seeds'])} seeds)"
    return f"{one['one']} against {one['other']}{fewer}: {_points(one)}"


def _points(one: Found) -> str:
    low, high = (100 * bound for bound in one["interval"])
    return f"{100 * one['difference']:+.1f} points [{low:+.1f}, {high:+.1f}]"


def _shown(row: Found, task: str) -> float:
    return float(row["average"] if task == "average" else row["seen"][task])


def _read(suites: Sequence[Suite], name: str) -> list[Found | None]:
    files = [suite.folder / "rows" / f"{name}.json" for suite in suites]
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
    rows: Sequence[Found], kept: dict[str, list[Found | None]], suites: Sequence[Suite]
) -> list[Found]:
    """Compare Plait's rows with multitask training and with the best method that was published.

    That method is compared with multitask training too, and private statistics with exact ones.
    """
    by_name = {row["name"]: row for row in rows}
    published = [row for row in rows if row["group"] == "weights"][:1]
    bound = [by_name[name] for name in ("multitask",) if name in by_name]
    pairs = [(row, other) for row in published for other in bound]
    for row in rows:
        if row["group"] == "Plait":
            pairs += [(row, other) for other in bound + published]
        if row["group"] == "privacy" and "regmean" in by_name:
            pairs.append((row, by_name["regmean"]))
    found = []
    for row, other in pairs:
        both = [
            (seed, one, two, suite)
            for seed, one, two, suite in zip(
                settings.SEEDS, kept[row["name"]], kept[other["name"]], suites, strict=True
            )
            if one and two
        ]
        if both:
            difference, interval = _difference([(one, two, suite) for _, one, two, suite in both])
            found.append(
                {
                    "name": row["name"],
                    "group": row["group"],
                    "one": row["title"],
                    "other": other["title"],
                    "seeds": [seed for seed, *_ in both],
                    "difference": round(difference, 4),
                    "interval": [round(bound, 4) for bound in interval],
                }
            )
    return found


def _difference(pairs: Sequence[tuple[Found, Found, Suite]]) -> tuple[float, tuple[float, float]]:
    """Return the difference of averages and its 95% interval: bootstrap over documents.

    Documents are drawn anew for each task and seed. Seeds share documents of a corpus, which the
    interval does not know of.
    """
    random = np.random.default_rng(0)
    total = np.zeros(RESAMPLES)
    difference = 0.0
    for one, other, suite in pairs:
        for task in settings.SEEN:
            marks = np.array(
                [
                    int(a) - int(b)
                    for a, b in zip(one["answers"][task], other["answers"][task], strict=True)
                ]
            )
            names: dict[str, int] = {}
            group = np.array([names.setdefault(i.group, len(names))
                              for i in suite.seen[task]["test"]])  # fmt: skip
            sums = np.bincount(group, marks, len(names))
            counts = np.bincount(group, minlength=len(names))
            drawn = random.integers(0, len(names), (RESAMPLES, len(names)))
            total += sums[drawn].sum(1) / counts[drawn].sum(1)
            difference += float(marks.mean())
    parts = len(pairs) * len(settings.SEEN)
    low, high = np.quantile(total / parts, [0.025, 0.975])
    return difference / parts, (float(low), float(high))
