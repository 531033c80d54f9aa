# SPDX-License-Identifier: Apache-2.0
"""The table of docs/graphs/learning.md from results/graph-knowledge.json."""

from __future__ import annotations

from typing import Any

ARMS = ("plain", "text", "entities", "rules")


def knowledge_table(report: dict[str, Any]) -> str:
    """Each arm's accuracy and gain over the same encoder without, for each graph."""
    lines = [
        "| graph, encoder | | right | of each seed | gain | 95% | CPU s | chosen on validation |",
        "|---|---|---:|---|---:|---|---:|---|",
    ]
    for name, one in report["sets"].items():
        for arm in ARMS:
            if arm not in one.get("compared", {}):
                continue
            found = one["compared"][arm]
            seeds = ", ".join(f"{value:.3f}".lstrip("0") for value in found["by_seed"])
            gain = f"{found['gain']:+.3f}" if "gain" in found else ""
            span = f"{found['low']:+.3f} to {found['high']:+.3f}" if "gain" in found else ""
            lines.append(
                f"| {name if arm == 'plain' else ''} | {arm} | {found['accuracy']:.3f} | {seeds} "
                f"| {gain} | {span} | {found['cpu_seconds']:.0f} | {_setting(one['chosen'][arm])} |"
            )
    lines.append("")
    for name, one in report["sets"].items():
        lines.append(
            f"{name}: {one['statements']:,} statements, {one['known']:,} of them known; "
            f"{one['training']:,} questions for training, {one['validation']:,} for validation, "
            f"{one['test']:,} for the test about {one['held_out_entities']} held-out entities; "
            f"{one['steps']} steps of {one['batch_size']} sentences; {_vectors(one)}."
        )
    return "\n".join(lines)


def _setting(chosen: dict[str, float]) -> str:
    said = [f"rate {chosen['rate']:g}"]
    if chosen["speed"] != 1.0:
        said.append(f"attention {chosen['speed']:g} times as fast")
    if chosen["share"]:
        said.append(f"{chosen['share']:.0%} of the steps on masked words")
    if chosen["weight"]:
        said.append(f"rules' weight {chosen['weight']:g}")
    return ", ".join(said)


def _vectors(one: dict[str, Any]) -> str:
    ranks = [
        run["embeddings"]["test"]["mrr"] for run in one["runs"].values() if "embeddings" in run
    ]
    if not ranks:
        return f"vectors by {one['embeddings']}"
    return (
        f"vectors by {one['embeddings']}, MRR {min(ranks):.2f} to {max(ranks):.2f} on statements "
        "held out of what is known"
    )
