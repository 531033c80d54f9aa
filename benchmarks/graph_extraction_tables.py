# SPDX-License-Identifier: Apache-2.0
"""The tables of graph-extraction.json: what readers find, and how far their confidence holds."""

from __future__ import annotations

from typing import Any

PARTS = {
    "templates": "held-out templates",
    "entities": "held-out entities",
    "written": "written by hand",
}
JOINED = 2
"""Bins of confidence in one column."""
Row = dict[str, Any]


def scores_table(rows: list[Row]) -> str:
    """Return F1 of each split, with its interval, by reader and seed."""
    heads = (
        "reader", "seed", *PARTS.values(), "the same, linked",
        "precision, recall (written)", "found where nothing is said", "CPU s",
    )  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", "|---" + "|---:" * (len(heads) - 1) + "|"]
    for row in rows:
        if row["reader"] == "marks":
            continue
        splits = row["splits"]
        written = splits["written"]
        silent = [written["by_kind"][kind] for kind in ("negated", "none")]
        count = sum(one["sentences"] for one in silent)
        wrong = count - sum(one["clean"] for one in silent)
        cells = [_f1(splits[part]["triples"]) for part in PARTS]
        cells += [
            _f1(row["linked"]),
            f"{written['triples']['precision']:.3f}, {written['triples']['recall']:.3f}",
            f"{wrong} of {count}",
            f"{row['cpu_seconds']:.0f}" if "cpu_seconds" in row else "",
        ]
        lines.append(f"| {row['reader']} | {row['seed']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def confidence_table(rows: list[Row]) -> str:
    """Return how far confidences hold, of all seeds' facts together, before and after."""
    columns = [f"{low / 10:g} to {(low + JOINED) / 10:g}" for low in range(0, 10, JOINED)]
    heads = (
        "reader", "sentences", "facts", "right", "ECE before", "after", "from 0.5 on before",
        "after", *columns,
    )  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", "|---|---" + "|---:" * (len(heads) - 2) + "|"]
    for reader in dict.fromkeys(row["reader"] for row in rows):
        for part, title in PARTS.items():
            held = [
                row["splits"][part]["confidence"] for row in rows
                if row["reader"] == reader and row["splits"][part].get("confidence")
            ]  # fmt: skip
            if not held:
                continue
            before, after = (
                _pooled([one[name] for one in held]) for name in ("plain", "calibrated")
            )
            count = sum(one["calibrated"]["facts"] for one in held)
            right = sum(n * share for n, _, share in after)
            cells = [
                reader, title, f"{count:,}", f"{right / count:.3f}", f"{_ece(before):.3f}",
                f"{_ece(after):.3f}",
                *(_proposed([one[name] for one in held]) for name in ("plain", "calibrated")),
            ]  # fmt: skip
            for low in range(0, len(after), JOINED):
                inside = after[low : low + JOINED]
                n = sum(one[0] for one in inside)
                good = sum(one[0] * one[2] for one in inside)
                cells.append(f"{good / n:.2f} ({n:,})" if n else "")
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _pooled(held: list[Row]) -> list[tuple[int, float, float]]:
    """Return each bin's facts, mean confidence and share that is right, of several taggers."""
    made = []
    for bins in zip(*(one["bins"] for one in held), strict=True):
        n = sum(one[2] for one in bins)
        sure = sum(one[2] * one[3] for one in bins) / max(1, n)
        right = sum(one[2] * one[4] for one in bins) / max(1, n)
        made.append((n, sure, right))
    return made


def _ece(bins: list[tuple[int, float, float]]) -> float:
    total = sum(n for n, _, _ in bins)
    return sum(n * abs(sure - right) for n, sure, right in bins) / max(1, total)


def _proposed(held: list[Row]) -> str:
    right, count = (sum(one[name] for one in held) for name in ("proposed_right", "proposed"))
    return f"{right:,} of {count:,}"


def _f1(one: Row) -> str:
    low, high = one["f1_interval"]
    return f"{one['f1']:.3f} [{low:.3f}, {high:.3f}]"
