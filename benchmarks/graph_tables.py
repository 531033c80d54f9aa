# SPDX-License-Identifier: Apache-2.0
"""The tables of docs/graphs.md and docs/graphs/aligning.md that say what size costs."""

from __future__ import annotations

from typing import Any

TITLES = {
    "csv": "CSV", "tsv": "TSV", "ntriples": "N-Triples with quoted triples", "nquads": "N-Quads",
    "turtle": "Turtle", "trig": "TriG", "jsonld": "JSON-LD", "rdfxml": "RDF/XML",
    "graphml": "GraphML", "gexf": "GEXF", "cypher": "Cypher script", "obo": "OBO", "bolt": "Bolt",
}  # fmt: skip
Row = dict[str, Any]


def exchange_table(found: Row) -> str:
    """Each format's costs out and in, a peer's beside Plait's with the ratio."""
    lines = [
        "| format | | out: CPU s | memory | file | in: CPU s | memory | came back the same |",
        "|---|---|" + "---:|" * 5 + "---|",
    ]
    rows = {(row["format"], row["who"], row["step"]): row for row in found["rows"]}
    for name, who in dict.fromkeys((row["format"], row["who"]) for row in found["rows"]):
        steps = [rows.get((name, who, step)) for step in ("write", "read")]
        ours = [rows.get((name, "Plait", step)) for step in ("write", "read")]
        cells = [TITLES[name] if who == "Plait" else "", who]
        for place, row in enumerate(steps):
            cells += _costs(row, None if who == "Plait" else ours[place])
            if place == 0:
                size = row.get("bytes") if row else None
                cells.append(f"{size / 1e6:,.0f} MB" if size else "")
        kept = [row["kept"] for row in steps if row and "kept" in row]
        lines.append(f"| {' | '.join(cells)} | {kept[-1] if kept else ''} |")
    bolt = [row for row in found["rows"] if row["format"] == "bolt"]
    text = (
        f"{found['statements']:,} statements about {found['entities']:,} entities, a fifth of them "
        "literals; each step in a process of its own (a peer's two in one), whose whole peak is "
        "told: the graph to be written, or that was read, is in it. In brackets a peer's costs as "
        "parts of Plait's."
    )
    if bolt:
        server = ", ".join(f"{row['server_cpu_seconds']:.0f}" for row in bolt)
        peak = max(row["server_peak_mb"] for row in bolt)
        text += (
            f" Bolt carried {found['bolt']:,} statements, to ArcadeDB and back; the database "
            f"itself took {server} CPU-seconds and {peak:,} MB."
        )
    return "\n".join([*lines, "", text])


def _costs(row: Row | None, ours: Row | None) -> list[str]:
    if row is None:
        return ["", ""]
    cells = [f"{row['cpu_seconds']:.1f}", f"{row['peak_mb']:,} MB"]
    if ours is not None:
        for place, key in enumerate(("cpu_seconds", "peak_mb")):
            cells[place] += f" ({row[key] / max(ours[key], 0.01):.2f})"
    return cells


def cities_table(rows: list[Row]) -> str:
    """What aligning lists of cities costs, and how good it is."""
    lines = [
        "| method | Hits@1 | precision | recall | F1 | abstained | CPU s | memory |",
        "|---|" + "---:|" * 7,
    ]
    for row in rows:
        if row.get("pair") != "cities":
            continue
        hits, f1 = (
            f"{row[key]['value']:.3f} [{row[key]['low']:.3f}, {row[key]['high']:.3f}]"
            for key in ("hits_at_1", "f1")
        )
        lines.append(
            f"| {row['method']} | {hits} | {row['precision']['value']:.3f} "
            f"| {row['recall']['value']:.3f} | {f1} | {row['abstained']:.3f} "
            f"| {row['cpu_seconds']:.0f} | {row['peak_mb']:,} MB |"
        )
        sides = row["sides"]
    lines += ["", f"{sides[0]:,} × {sides[1]:,} entities, the countries among them."]
    return "\n".join(lines)
