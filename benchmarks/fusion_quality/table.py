# SPDX-License-Identifier: Apache-2.0
"""The table of all measured rows: scores by seed and their means as JSON, as Markdown in the docs.

The JSON keeps all that the table and its comparisons are made of, so that rows need not be measured
again to be compared with new ones: the cache's rows come first, then those that it has of the same
suite. Rows that were written before it kept scores by seed stay as they are until they are
measured again with as many seeds.
"""

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
BOUNDS = ("pretrained", "single", "multitask", "multitask_longer")
RESAMPLES = 4_000
Found = dict[str, Any]


def write() -> None:
    """Write what is measured, and the documents' table of it."""
    suites = [build(seed) for seed in settings.SEEDS]
    path = measure.RESULTS / "fusion-quality.json"
    known = json.loads(path.read_text()) if path.is_file() else {"rows": [], "comparisons": []}
    earlier = {row["name"]: row for row in known["rows"]}
    named = [("single", "Fine-tuned alone (STL)", "bounds", "")]
    named += [(r.name, r.title, r.group, r.note) for r in ROWS]
    kept = {name: _read(suites, name, earlier.get(name)) for name, *_ in named}
    singles = kept["single"]
    rows = []
    for name, title, group, note in named:
        told = {"name": name, "title": title, "group": group, "note": note}
        measured = sum(found is not None for found in kept[name])
        old = earlier.get(name)
        if old is not None and "by_seed" not in old and measured < len(old["seeds"]):
            kept[name] = [None] * len(suites)
            rows.append(old | told)
        elif measured:
            by_seed = {
                str(suite.seed): _stored(found, suite)
                for suite, found in zip(suites, kept[name], strict=True)
                if found is not None
            }
            rows.append(told | _row(kept[name], singles) | {"by_seed": by_seed})
    order = {name: place for place, name in enumerate(BOUNDS)}
    rows.sort(key=lambda row: (order.get(row["name"], 9), -row["average"]))
    compared = _compared(rows, kept, suites, known["comparisons"])
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
        merged = [row for row in rows if row["group"] != "bounds" and _complete(row)]
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
            if task == "average" and len(row["seeds"]) > 1:
                text += f" ± {100 * row['spread']:.1f}"
            bold = row["group"] != "bounds" and _complete(row) and value == best[task]
            cells.append(f"**{text}**" if bold else text)
        cells.append(f"{100 * row['of_single']:.1f}%")
        cells.append("" if row["left_out"] is None else f"{100 * row['left_out']:.1f}")
        cells.append(f"{row['cpu_seconds']:.0f}")
        fewer = _fewer(row)
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
    return f"{one['one']} against {one['other']}{_fewer(one)}: {_points(one)}"


def _complete(row: Found) -> bool:
    return len(row["seeds"]) == len(settings.SEEDS)


def _fewer(row: Found) -> str:
    count = len(row["seeds"])
    return "" if _complete(row) else f" ({count} seed{'s' if count > 1 else ''})"


def _points(one: Found) -> str:
    low, high = (100 * bound for bound in one["interval"])
    return f"{100 * one['difference']:+.1f} points [{low:+.1f}, {high:+.1f}]"


def _shown(row: Found, task: str) -> float:
    return float(row["average"] if task == "average" else row["seen"][task])


def _read(suites: Sequence[Suite], name: str, earlier: Found | None) -> list[Found | None]:
    """Return what each suite's row gave, None where it is not measured."""
    found: list[Found | None] = []
    for suite in suites:
        file = suite.folder / "rows" / f"{name}.json"
        stored = ((earlier or {}).get("by_seed") or {}).get(str(suite.seed))
        if file.is_file():
            found.append(json.loads(file.read_text()))
        elif stored is not None and stored["suite"] == suite.key:
            found.append(_restored(stored, suite))
        else:
            found.append(None)
    return found


def _stored(found: Found, suite: Suite) -> Found:
    """Return a seed's row as the JSON keeps it: answers as hexadecimal numbers, an item a bit."""
    scores = {part: {task: round(score, 6) for task, score in found[part].items()}
              for part in ("seen", "left_out")}  # fmt: skip
    answers = {task: f"{int(marks, 2):x}" for task, marks in found["answers"].items()}
    return {"suite": suite.key, **scores, "cpu_seconds": found["cpu_seconds"],
            "told": found["told"], "answers": answers}  # fmt: skip


def _restored(stored: Found, suite: Suite) -> Found:
    """Return a seed's row as it was measured."""
    answers = {
        task: f"{int(number, 16):b}".zfill(len(suite.seen[task]["test"]))
        for task, number in stored["answers"].items()
    }
    seen = {task: marks.count("1") / len(marks) for task, marks in answers.items()}
    return stored | {"seen": seen, "answers": answers}


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
    }  # fmt: skip


def _compared(
    rows: Sequence[Found],
    kept: dict[str, list[Found | None]],
    suites: Sequence[Suite],
    earlier: Sequence[Found],
) -> list[Found]:
    """Compare rows by pairs: `_pairs` says which; earlier ones stay if answers are not kept."""
    found = []
    for row, other in _pairs(rows):
        both = [
            (seed, one, two, suite)
            for seed, one, two, suite in zip(
                settings.SEEDS, kept[row["name"]], kept[other["name"]], suites, strict=True
            )
            if one and two
        ]
        if not both:
            found += [one for one in earlier if one["name"] == row["name"]
                      and one["other"] == other["title"]]  # fmt: skip
            continue
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


def _pairs(rows: Sequence[Found]) -> list[tuple[Found, Found]]:
    """Return which rows are compared.

    Plait's rows with multitask training, the best published merge and what they name; that merge
    with multitask training; distillations with what they name; private statistics with exact ones.
    """
    by_name = {row["name"]: row for row in rows}
    against = {row.name: row.against for row in ROWS}
    published = [row for row in rows if row["group"] == "weights" and _complete(row)][:1]
    bound = [by_name[name] for name in ("multitask",) if name in by_name]
    pairs = [(row, other) for row in published for other in bound]
    for row in rows:
        others = bound + published if row["group"] == "Plait" else []
        others = others + [by_name[n] for n in against.get(row["name"], ()) if n in by_name]
        if row["group"] == "privacy" and "regmean" in by_name:
            others.append(by_name["regmean"])
        pairs += [(row, other) for other in {one["name"]: one for one in others}.values()]
    return pairs


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
