# SPDX-License-Identifier: Apache-2.0
"""How often the gate lets harm through, and how often it finds what is good: by simulation.

Worlds in which the truth is known: documents make their sentences easy or hard for both models, and
each model has its own luck with whole documents. A candidate's chance on an item is set so that
its expected accuracy differs from main's by exactly the effect named. The gate judges as in a merge
(`plait.evaluation.compare`, `judge`), with fewer resamples.

Run: python benchmarks/gate.py [--worlds 1000] [--out benchmarks/results/gate.json]
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from plait.evaluation import Evaluation, ItemScore, compare, judge
from plait.evaluation.results import score_items, summarise
from plait.recipes.project import GateSpec, TaskSpec

RESAMPLES = 500
SKILL = 1.4
MARGIN = 0.05
LUCK = 0.5
"""How much a model's own luck with documents strays, against how much documents do."""
GATE = GateSpec()


@dataclass(frozen=True)
class Scenario:
    """What is true in a kind of world, and how many items tell of it."""

    name: str
    effects: tuple[float, ...]
    """The candidate's true gain in accuracy on each task."""
    documents: int = 120
    sentences: int = 2
    spread: float = 1.0
    """How much documents differ, and models' luck with them; 0: items are independent."""
    role: str = "protected"
    ignore_documents: bool = False
    """Judge as if every item were a document of its own."""


def scenarios() -> list[Scenario]:
    """List what is simulated."""
    harm = -MARGIN
    found = [
        Scenario("no effect, one task", (0.0,)),
        Scenario("no effect, four tasks", (0.0,) * 4),
        Scenario("no effect, eight tasks", (0.0,) * 8),
        Scenario("harm at the margin, one task", (harm,)),
        Scenario("harm at the margin, one of four", (harm, 0.0, 0.0, 0.0)),
        Scenario("harm at the margin, one of four, others gain", (harm, 0.05, 0.05, 0.05)),
        Scenario("harm at the margin, all of four", (harm,) * 4),
        Scenario("twice the margin, one of four, others gain", (2 * harm, 0.05, 0.05, 0.05)),
        Scenario("harm at the margin, few documents", (harm,), documents=20, sentences=10),
        Scenario("harm at the margin, long documents", (harm,), documents=40, sentences=20),
        Scenario(
            "harm at the margin, long documents, documents ignored",
            (harm,), documents=40, sentences=20, ignore_documents=True,
        ),
        Scenario("harm at the margin, independent items", (harm,), 240, 1, 0.0),
        Scenario("no gain, target", (0.0,), role="target"),
        Scenario("no gain, target, long documents", (0.0,), 40, 20, role="target"),
        Scenario(
            "no gain, target, long documents, documents ignored",
            (0.0,), 40, 20, role="target", ignore_documents=True,
        ),
    ]  # fmt: skip
    for documents in (30, 60, 240, 480, 960):
        if documents in (30, 480):
            found.append(Scenario(f"no effect, {documents} documents", (0.0,), documents))
        found.append(
            Scenario(f"gain of 5 points, target, {documents} documents", (0.05,), documents,
                     role="target")
        )  # fmt: skip
    return found


def expected(skill: float, spread: float) -> float:
    """Return the expected accuracy of a model, over documents and its luck."""
    points, weights = np.polynomial.hermite_e.hermegauss(80)
    strayed = skill + points * spread * math.hypot(1, LUCK)
    return float(np.sum(weights / (1 + np.exp(-strayed))) / np.sum(weights))


@cache
def skill_for(effect: float, spread: float) -> float:
    """Return the skill whose expected accuracy differs by ``effect`` from the main model's."""
    wanted = expected(SKILL, spread) + effect
    low, high = -10.0, 20.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if expected(middle, spread) < wanted else (low, middle)
    return (low + high) / 2


def world(random: np.random.Generator, scene: Scenario) -> tuple[Evaluation, Evaluation]:
    """Judge main and a candidate on items drawn anew; the candidate comes first."""
    rows: list[dict[str, tuple[ItemScore, ...]]] = [{}, {}]
    shape = (scene.documents, scene.sentences)
    for place, effect in enumerate(scene.effects):
        label = random.integers(0, 2, size=shape)
        shared = random.normal(0, scene.spread, size=(scene.documents, 1))
        ease = random.random(shape)
        for model, skill in enumerate((skill_for(effect, scene.spread), SKILL)):
            own = random.normal(0, LUCK * scene.spread, size=(scene.documents, 1))
            right = ease < 1 / (1 + np.exp(-(skill + shared + own)))
            rows[model][f"t{place}"] = tuple(
                ItemScore(
                    f"{d}.{s}",
                    f"{d}.{s}" if scene.ignore_documents else str(d),
                    int(label[d, s]),
                    int(label[d, s] if right[d, s] else 1 - label[d, s]),
                    0.5,
                )
                for d in range(scene.documents)
                for s in range(scene.sentences)
            )
    made = [
        summarise("gate", {t: score_items("accuracy", i, {"classes": 2}) for t, i in row.items()})
        for row in rows
    ]
    return made[0], made[1]


def rates(scene: Scenario, worlds: int) -> dict[str, float]:
    """Return the share of worlds with each verdict, and what the gate asked for."""
    random = np.random.default_rng(7)
    specs = [
        TaskSpec(f"t{i}", "d", metric="accuracy", role=scene.role, margin=MARGIN)
        for i in range(len(scene.effects))
    ]
    counts = {"passes": 0, "regresses": 0, "not enough data": 0}
    tasks = dict.fromkeys(counts, 0)
    needed: list[int] = []
    for seed in range(worlds):
        candidate, main = world(random, scene)
        found = compare(candidate, main, resamples=RESAMPLES, seed=seed)
        judged = judge(found, replace(GATE, margin=0.02), specs)
        counts[judged.verdict] += 1
        tasks[judged.tasks["t0"].verdict] += 1
        if judged.tasks["t0"].needed is not None:
            needed.append(int(judged.tasks["t0"].needed))
    result = {f"merge {name}": count / worlds for name, count in counts.items()}
    result |= {f"first task {name}": count / worlds for name, count in tasks.items()}
    result["items"] = scene.documents * scene.sentences
    result["median items asked for"] = float(np.median(needed)) if needed else 0.0
    return result


def table(rows: Sequence[tuple[Scenario, dict[str, float]]]) -> str:
    """Write the results as a table in Markdown."""
    names = ("passes", "regresses", "not enough data")
    lines = [
        "| truth | documents × items | passes | regresses | not enough data | its task passes |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for scene, found in rows:
        cells = " | ".join(f"{found[f'merge {name}']:.1%}" for name in names)
        lines.append(
            f"| {scene.name} | {scene.documents} × {scene.sentences} | {cells} | "
            f"{found['first task passes']:.1%} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Simulate, print the table and keep the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=1_000)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/gate.json")
    given = parser.parse_args()
    started, rows = time.process_time(), []
    for scene in scenarios():
        found = rates(scene, given.worlds)
        rows.append((scene, found))
        print(f"{time.process_time() - started:7.0f} s  {scene.name}: {found}", flush=True)
        keep(given.out, given.worlds, rows)
    print(table(rows))


def keep(out: Path, worlds: int, rows: Sequence[tuple[Scenario, dict[str, float]]]) -> None:
    """Write the results so far."""
    result = {
        "worlds": worlds,
        "resamples": RESAMPLES,
        "confidence": GATE.confidence,
        "margin": MARGIN,
        "average_margin": 0.02,
        "accuracy_of_main": expected(SKILL, 1.0),
        "scenarios": [{**asdict(scene), "rates": found} for scene, found in rows],
    }
    out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
