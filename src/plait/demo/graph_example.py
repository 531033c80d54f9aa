# SPDX-License-Identifier: Apache-2.0
"""What the examples of graphs share: commands run and shown, alignments scored by hidden codes."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from plait.demo.graphs import PairOfGraphs
from plait.errors import PlaitError
from plait.graphs.storage import read_graph, write_graph
from plait.recipes.graph import parse_graph_file


class Example:
    """Runs commands in a folder, and shows each with what it printed."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder

    def plait(self, *arguments: str, show: int = 20) -> str:
        """Run a command of ``plait``, print at most `show` lines of it and return all.

        Raises:
            PlaitError: it failed; with what it said.
        """
        said = shlex.join(Path(one).name if "/" in one else one for one in arguments)
        print(f"\n$ plait {said}", flush=True)
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "plait", *arguments],
            cwd=self.folder,
            env={**os.environ, "COLUMNS": "160"},
            text=True,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        if done.returncode:
            raise PlaitError(f"plait {said} failed: {done.stdout.strip()[-2000:]}")
        lines = done.stdout.splitlines()
        for line in lines if len(lines) <= show else [*lines[: show - 1], "…", lines[-1]]:
            print(f"  {line}")
        print(f"  ({time.perf_counter() - started:.1f} s)", flush=True)
        return done.stdout

    def score(self, pair: PairOfGraphs, united: str, *, without: Collection[str] = ()) -> None:
        """Print how many identity claims of a graph the hidden codes confirm."""
        gold = {one: other for one, other in pair.gold.items() if one not in without}
        claims = read_graph(self.folder / united).identities.to_pylist()
        left = {row["id"] for row in pair.left.entities.to_pylist()}
        found: dict[str, str] = {}
        for row in claims:
            a, b = (row["a"], row["b"]) if row["a"] in left else (row["b"], row["a"])
            found[a] = b
        told = {one: other for one, other in found.items() if one in gold}
        right = sum(gold[one] == other for one, other in told.items())
        precision, recall = right / max(1, len(told)), right / len(gold)
        f1 = 2 * precision * recall / max(1e-12, precision + recall)
        aside = f", {len(without)} wrong codes set aside" if without else ""
        print(
            f"\nBy the hidden codes of {len(gold):,} entities{aside}: precision {precision:.3f}, "
            f"recall {recall:.3f}, F1 {f1:.3f}, left alone {len(gold) - len(told):,}",
            flush=True,
        )


def write_pair(
    pair: PairOfGraphs, recipe: Path, folder: Path, left: str, right: str
) -> tuple[str, str]:
    """Write both graphs with what a ``graph.yaml`` knows of them; return the folders' names."""
    file = parse_graph_file(recipe.read_text("utf-8"), str(recipe))
    for name, graph in ((left, pair.left), (right, pair.right)):
        write_graph(replace(graph, file=file), folder / name)
    return left, right
