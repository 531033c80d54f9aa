# SPDX-License-Identifier: Apache-2.0
"""Write the documents' tables from the measured results: none of their figures is typed by hand.

Usage: ``python benchmarks/tables.py`` rewrites the tables of README.md, benchmarks/README.md and
pages of docs/; ``--check`` only says whether it would.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from graph_extraction_tables import confidence_table, scores_table
from graph_knowledge_tables import knowledge_table
from graph_tables import cities_table, exchange_table

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
    start = load("start")
    rows = {row["name"]: row for row in start["rows"]}
    lines = [
        "| what | CPU-seconds | peak memory |",
        "|---|---:|---:|",
    ]
    for name in (
        "plait --help",
        "hf --help",
        "plait check, a tiny recipe",
        "plait fuse, a tiny recipe",
        "plait serve, answering",
    ):
        row = rows[name]
        lines.append(f"| `{name}` | {row['cpu_seconds']:.2f} | {row['peak_mb']:.0f} MB |")
    return "\n".join(lines)


def transfer_table() -> str:
    transfer = load("transfer")
    lines = [
        "| transfer | client CPU-s | server CPU-s | server memory over idle | stored |",
        "|---|---:|---:|---:|---:|",
    ]
    ratio = next(row["speed_to_nginx"] for row in transfer["rows"] if "speed_to_nginx" in row)
    # What was done several times in turns is shown once.
    for row in {row["name"]: row for row in transfer["rows"]}.values():
        client = f"{row['cpu_seconds']:.1f}"
        if "server_cpu_seconds" not in row or "nginx" in row["name"]:
            lines.append(f"| {row['name']} | {client} | | | |")
            continue
        share = f" ({row['stored_share']:.1%} of the file)" if "stored_share" in row else ""
        stored = f"{row['stored_mb']:.0f} MB{share}" if row["stored_mb"] else ""
        lines.append(
            f"| {row['name']} | {client} | {row['server_cpu_seconds']:.1f} "
            f"| {row['server_over_idle_mb']:.0f} MB | {stored} |"
        )
    lines += [
        "",
        (
            f"One file of {transfer['size_mb']} MB and {transfer['files']:,} files of 10 KB, newest"
            " stock client, one server process. The same client call takes the file from Plait at "
            f"{ratio:.2f} times the speed at which it takes it from nginx."
        ),
    ]
    return "\n".join(lines)


KNOWN = ("linear", "task_arithmetic", "slerp", "ties", "dare_ties", "della")
"""The methods of fusion that the README shows."""
RANDOM = ("dare_linear", "dare_ties", "della", "della_linear")


def _merge_rows() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = load("merge")["rows"]
    return rows


def merge_short_table() -> str:
    """The known methods on the smallest models."""
    rows = [r for r in _merge_rows() if r["format"] == "bfloat16"]
    size = min(r["millions"] for r in rows)
    found = {r["method"]: r for r in rows if r["millions"] == size}
    lines = [
        (
            "| method | Plait CPU s, first | again | mergekit CPU s | ratio, first | again "
            "| anonymous memory | same elements |"
        ),
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name in KNOWN:
        row = found[name]
        plait, peer = row["plait"], row["mergekit"]
        lines.append(
            f"| `{name}` | {plait['cpu_seconds']:.1f} | {row['again']['cpu_seconds']:.1f} "
            f"| {peer['cpu_seconds']:.1f} | {row['cpu_ratio']:.1f} | {row['cpu_ratio_again']:.1f} "
            f"| {plait['peak_anonymous_mb']:.0f} MB against {peer['peak_anonymous_mb']:.0f} MB "
            f"| {_same(row)} |"
        )
    copy = found["copy"]["copy"]["cpu_seconds"]
    load_then = _between([r["plait"]["load"] for r in rows if "plait" in r])
    text = (
        f"A base and three models of {size} million parameters in bfloat16, in several files. A "
        f"plain `cp` of one takes {copy:.2f} CPU s. The first fusion of a checkpoint computes its "
        "checksums; later ones remember them while the file stays what it is. Measured on 2 cores "
        f"at a load of {load_then}."
    )
    return "\n".join([*lines, "", text])


def merge_table() -> str:
    """Every method at every size, with what was not run left empty."""
    lines = [
        (
            "| parameters, format | method | Plait CPU s | again | s | GB per CPU-s | anonymous MB "
            "| mergekit CPU s | s | anonymous MB | ratio | again | same elements |"
        ),
        "|---|---|" + "---:|" * 11,
    ]
    for row in _merge_rows():
        what = f"{row['millions']} M, {row['format']}"
        who = next(w for w in ("plait", "copy", "addition") if w in row)
        own, peer = row[who], row.get("mergekit")
        name = {"copy": "`cp -r` of one model", "addition": "in memory, with torch"}
        cells = [
            what,
            name.get(row["method"], f"`{row['method']}`"),
            f"{own['cpu_seconds']:.2f}",
            f"{row['again']['cpu_seconds']:.2f}" if "again" in row else "",
            f"{own['wall_seconds']:.1f}",
            f"{own['gb_per_cpu_second']:.2f}",
            f"{own['peak_anonymous_mb']:.0f}",
        ]
        cells += (
            [
                f"{peer['cpu_seconds']:.1f}",
                f"{peer['wall_seconds']:.1f}",
                f"{peer['peak_anonymous_mb']:.0f}",
                f"{row['cpu_ratio']:.1f}",
                f"{row['cpu_ratio_again']:.1f}" if "again" in row else "",
                _same(row),
            ]
            if peer
            else [""] * 6
        )
        lines.append("| " + " | ".join(cells) + " |")
    told = [r[w]["load"] for r in _merge_rows() for w in ("plait", "mergekit") if w in r]
    text = (
        f"Measured on a machine of 2 cores at a load of {_between(told)}: seconds on the clock are "
        "those of a busy machine. Rows without mergekit's figures were run with Plait alone. Two "
        "bfloat16 elements are the same if their bits are, two of float32 up to a millionth; how "
        "far the others are apart at most is in root mean squares of their tensor."
    )
    return "\n".join([*lines, "", text])


def _same(row: dict[str, Any]) -> str:
    if row["method"] in RANDOM:
        return "random draws"
    same, apart = row["same_elements"], row.get("largest_difference", 0.0)
    return f"{100 * same:.1f}%" + (
        f", others within {apart:.0e}" if same < 0.9995 and apart else ""
    )


def _between(loads: list[float]) -> str:
    return f"{min(loads):.0f} to {max(loads):.0f}"


def blocks_table() -> str:
    rows = load("blocks")["rows"]
    sizes = sorted({row["block"] for row in rows})
    lines = [
        "| method, threads | " + " | ".join(f"{size:,}" for size in sizes) + " |",
        "|---|" + "---:|" * len(sizes),
    ]
    for name, threads in dict.fromkeys((row["name"], row["threads"]) for row in rows):
        found = {r["block"]: r for r in rows if (r["name"], r["threads"]) == (name, threads)}
        cells = (
            f"{found[size]['cpu_seconds']:.1f} / {found[size]['wall_seconds']:.1f}"
            for size in sizes
        )
        lines.append(f"| `{name}`, {threads} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _short(milliseconds: float) -> str:
    return f"{milliseconds:.0f}" if milliseconds >= 10 else f"{milliseconds:.1f}"


ASKED = {
    "listing, 100 newest": "listing",
    "search: a word, a tag, a license, by likes": "search with filters",
    "page: repository": "repository page",
    "tree of 10,000 files, first page": "tree of 10,000 files",
    "resolve: 100 KB": "resolve",
}
"""What the README shows of the large hub, and the name there."""


def hub_short_table() -> str:
    rows = {(r["name"], r["database"], r["clients"]): r for r in load("hub")["rows"]}
    lines = [
        "| asked | SQLite, 1 client | 64 clients | PostgreSQL, 1 client | 64 clients | CPU ms |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, short in ASKED.items():
        cells = []
        for database in ("SQLite", "PostgreSQL"):
            for clients in (1, 64):
                row = rows[name, database, clients]
                cells.append(f"{_short(row['median_ms'])} / {_short(row['p99_ms'])}")
        cpu = min(rows[name, "SQLite", clients]["cpu_ms"] for clients in (1, 16, 64))
        lines.append(f"| {short} | {' | '.join(cells)} | {cpu:.1f} |")
    return "\n".join([*lines, "", _about_hub()])


def _about_hub() -> str:
    hub = load("hub")
    return (
        f"A hub of {hub['repositories']:,} repositories and {hub['commits']:,} commits, one "
        "server process on a machine of "
        f"{hub['machine']['cores']} cores at a load of {hub['machine']['load']}; median / 99th "
        "percentile in milliseconds, whole answers on kept connections. CPU time and memory are "
        "the server's, without PostgreSQL's own."
    )


def hub_table() -> str:
    hub = load("hub")
    counts = (1, 16, 64)
    lines = [
        "| asked | on | "
        + " | ".join(f"{n} at once" for n in counts)
        + " | CPU ms | peak memory |",
        "|---|---|" + "---:|" * (len(counts) + 2),
    ]
    for name, database in dict.fromkeys((row["name"], row["database"]) for row in hub["rows"]):
        found = {
            row["clients"]: row
            for row in hub["rows"]
            if (row["name"], row["database"]) == (name, database)
        }
        times = " | ".join(
            f"{_short(found[n]['median_ms'])} / {_short(found[n]['p99_ms'])}" for n in counts
        )
        cpu = min(row["cpu_ms"] for row in found.values())
        peak = max(row["peak_mb"] for row in found.values())
        lines.append(f"| {name} | {database} | {times} | {cpu:.2f} | {peak} MB |")
    return "\n".join([*lines, "", _about_hub()])


def large_pull_table() -> str:
    found = load("large-pull")
    lines = [
        "| stage | s | client CPU s | MB | server CPU s | MB | worker CPU s | MB |",
        "|---|" + "---:|" * 7,
    ]
    for row in found["rows"]:
        cells = [row["stage"], f"{row['seconds']:.0f}"]
        for who in ("client", "server", "worker"):
            took = row.get(who, {})
            cpu = took.get("cpu_seconds")
            cells.append("" if cpu is None else f"{cpu:.1f}")
            cells.append(f"{took['peak_anonymous_mb']:.0f}" if took else "")
        lines.append("| " + " | ".join(cells) + " |")
    text = (
        f"{found['parameters'] / 1e6:,.0f} million parameters in bfloat16, "
        f"{found['bytes'] / 1e9:.1f} GB a model; {found['items']} items of {found['words']} words "
        "judge it. MB are anonymous memory at its peak; the idle server has "
        f"{found['server_idle_mb']:.0f} MB. Measured on {found['machine']['cores']} cores at a "
        f"load of {found['machine']['load']:.0f}: seconds on the clock are those of a busy machine."
    )
    return "\n".join([*lines, "", text])


TABLES = {
    "demo": demo_table,
    "cost": cost_table,
    "transfer": transfer_table,
    "merge": merge_short_table,
    "merge-full": merge_table,
    "blocks": blocks_table,
    "hub": hub_table,
    "hub-short": hub_short_table,
    "large-pull": large_pull_table,
    "graph-exchange": lambda: exchange_table(load("graph-exchange")),
    "graph-cities": lambda: cities_table(load("graph-alignment")["rows"]),
    "knowledge": lambda: knowledge_table(load("graph-knowledge")),
    "extraction": lambda: scores_table(load("graph-extraction")["rows"]),
    "extraction-confidence": lambda: confidence_table(load("graph-extraction")["rows"]),
}
DOCUMENTS = {
    "docs/graphs.md": ("graph-exchange",),
    "docs/graphs/aligning.md": ("graph-cities",),
    "docs/graphs/learning.md": ("knowledge",),
    "docs/graphs/reading.md": ("extraction", "extraction-confidence"),
    "README.md": ("demo", "merge", "transfer", "hub-short", "cost"),
    "benchmarks/README.md": ("merge-full", "blocks", "hub", "large-pull"),
}


def filled(document: str, text: str) -> str:
    for name in DOCUMENTS[document]:
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        head, _, rest = text.partition(begin)
        _, found, tail = rest.partition(end)
        if not found:
            raise SystemExit(f"{document} has no place for the table '{name}'.")
        text = f"{head}{begin}\n{TABLES[name]()}\n{end}{tail}"
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = False
    for document in DOCUMENTS:
        path = ROOT / document
        before = path.read_text()
        after = filled(document, before)
        stale |= before != after
        if not check:
            path.write_text(after)
    sys.exit(check and stale)


if __name__ == "__main__":
    main()
