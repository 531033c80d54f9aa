# SPDX-License-Identifier: Apache-2.0
"""Write README's tables from the measured results, so that none of their figures is typed by hand.

Usage: ``python benchmarks/tables.py`` rewrites README.md; ``--check`` only says whether it would.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"


def load(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return document


def demo_table() -> str:
    report = load("demo")
    domains = report["domains"]
    lines = [
        "| model | " + " | ".join(domains) + " | average (95% interval) |",
        "|---|" + "---:|" * (len(domains) + 1),
    ]
    for name, model in report["models"].items():
        scores = " | ".join(f"{model['scores'][domain]:.3f}" for domain in domains)
        low, high = model["interval"]
        bold = "**" if name == report["final"] else ""
        lines.append(
            f"| {bold}{name}{bold} | {scores} | "
            f"{bold}{model['average']:.3f}{bold} [{low:.3f}, {high:.3f}] |"
        )
    lines.append("")
    said = []
    for name, difference in report["comparisons"].items():
        low, high = (100 * bound for bound in difference["interval"])
        said.append(f"{100 * difference['effect']:+.1f} [{low:+.1f}, {high:+.1f}] against {name}")
    lines.append(f"Paired difference of {report['final']}, in points: " + "; ".join(said) + ".")
    credit = ", ".join(
        f"{name} {100 * value:+.1f}"
        for name, value in sorted(report["credit"].items(), key=lambda pair: -pair[1])
    )
    lines.append(f"Shapley credit on the gate items, in points: {credit}.")
    lines.append(
        f"The run took {report['seconds']['total']:.0f} s, "
        f"{report['seconds']['fine-tune']:.0f} s of it fine-tuning."
    )
    return "\n".join(lines)


def cost_table() -> str:
    start, transfer = load("start"), load("transfer")
    rows = {row["name"]: row for row in start["rows"]}
    lines = [
        "| what | CPU-seconds | peak memory |",
        "|---|---:|---:|",
    ]
    for name in ("plait --help", "hf --help", "plait serve, answering"):
        row = rows[name]
        lines.append(f"| `{name}` | {row['cpu_seconds']:.2f} | {row['peak_mb']:.0f} MB |")
    lines += [
        "",
        f"A file of {transfer['size_mb']} MB, stock client:",
        "",
        "| transfer | client CPU-s | server CPU-s | server peak | stored |",
        "|---|---:|---:|---:|---:|",
    ]
    for row in transfer["rows"]:
        if "server_cpu_seconds" not in row:
            lines.append(f"| `{row['name']}` | {row['cpu_seconds']:.1f} | | | |")
            continue
        lines.append(
            f"| {row['name']} | {row['cpu_seconds']:.1f} | {row['server_cpu_seconds']:.1f} | "
            f"{row['server_peak_mb']:.0f} MB | {row['stored_mb']:.0f} MB |"
        )
    return "\n".join(lines)


TABLES = {"demo": demo_table, "cost": cost_table}


def filled(text: str) -> str:
    for name, table in TABLES.items():
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        head, _, rest = text.partition(begin)
        _, found, tail = rest.partition(end)
        if not found:
            raise SystemExit(f"README.md has no place for the table '{name}'.")
        text = f"{head}{begin}\n{table()}\n{end}{tail}"
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    readme = ROOT / "README.md"
    before = readme.read_text()
    after = filled(before)
    if check:
        sys.exit(before != after)
    readme.write_text(after)


if __name__ == "__main__":
    main()
