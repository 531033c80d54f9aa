# SPDX-License-Identifier: Apache-2.0
"""How often the gate lets harm through, and how often it finds what is good: by simulation.

Worlds in which the truth is known: documents make their sentences easy or hard for both models, and
each model has its own luck with whole documents. A candidate's chance on an item is set so that
its expected accuracy differs from main's by exactly the effect named. The gate judges as in a merge
(`plait.evaluation.compare`, `judge`), with fewer resamples; one row has as many as a merge.

Run: python benchmarks/gate.py [--worlds 1000] [--harm 2000] [--out benchmarks/results/gate.json]
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

import measure as measuring
from plait.evaluation import (
    Evaluation,
    ItemScore,
    compare,
    comparison,
    judge,
    measures,
    results,
)
from plait.evaluation.results import score_items, summarise
from plait.recipes.project import GateSpec, TaskSpec

RESAMPLES = 2_000
SKILL = 1.4
MARGIN = 0.05
LUCK = 0.5
"""How much a model's own luck with documents strays, against how much documents do."""
LONGEST = 60
"""Items of the longest document."""
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
    uneven: float = 0.0
    """How much documents' lengths stray, of their logarithm."""
    margin: float = MARGIN
    metric: str = "accuracy"
    resamples: int = RESAMPLES

    @property
    def nominal(self) -> bool:
        """Whether its task passing is the false pass that the gate's confidence bounds."""
        limit = 0.0 if self.role == "target" else -self.margin
        return self.effects[0] == limit and not self.ignore_documents


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
        Scenario("harm at the margin, one task, as many resamples as a merge", (harm,),
                 resamples=10_000),
        Scenario("harm at the margin, balanced accuracy", (harm,), metric="balanced_accuracy"),
        Scenario("harm at the margin, 10 documents", (harm,), documents=10, sentences=20),
        Scenario("harm at the margin, 20 documents", (harm,), documents=20, sentences=10),
        Scenario("harm at the margin, 20 uneven documents", (harm,), 20, 10, uneven=0.8),
        Scenario("harm at the margin, 40 uneven documents", (harm,), 40, 10, uneven=0.8),
        Scenario("harm at the margin, 120 uneven documents", (harm,), 120, 4, uneven=0.8),
        Scenario("harm at the margin, long documents", (harm,), documents=40, sentences=20),
        Scenario(
            "harm at the margin, long documents, documents ignored",
            (harm,), documents=40, sentences=20, ignore_documents=True,
        ),
        Scenario("harm at the margin, independent items", (harm,), 240, 1, 0.0),
        Scenario("harm at a margin of 2 points, independent items", (-0.02,), 500, 1, 0.0,
                 margin=0.02),
        Scenario("harm at a margin of 2 points", (-0.02,), 480, margin=0.02),
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
    shape = (scene.documents, LONGEST if scene.uneven else scene.sentences)
    for place, effect in enumerate(scene.effects):
        label = random.integers(0, 2, size=shape)
        shared = random.normal(0, scene.spread, size=(scene.documents, 1))
        ease = random.random(shape)
        length = _lengths(random, scene)
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
                for s in range(length[d])
            )
    made = [
        summarise("gate", {t: score_items(scene.metric, i, {"classes": 2}) for t, i in row.items()})
        for row in rows
    ]
    return made[0], made[1]


def _lengths(random: np.random.Generator, scene: Scenario) -> list[int]:
    """Return how many items each document has; uneven ones stray log-normally."""
    if not scene.uneven:
        return [scene.sentences] * scene.documents
    drawn = scene.sentences * np.exp(random.normal(0, scene.uneven, size=scene.documents))
    return [int(n) for n in np.clip(np.round(drawn), 1, LONGEST)]


def rates(scene: Scenario, worlds: int) -> dict[str, float]:
    """Return the share of worlds with each verdict, and what the gate asked for."""
    random = np.random.default_rng(7)
    specs = [
        TaskSpec(f"t{i}", "d", metric=scene.metric, role=scene.role, margin=scene.margin)
        for i in range(len(scene.effects))
    ]
    counts = {"passes": 0, "regresses": 0, "not enough data": 0}
    tasks = dict.fromkeys(counts, 0)
    needed: list[int] = []
    for seed in range(worlds):
        candidate, main = world(random, scene)
        found = compare(candidate, main, resamples=scene.resamples, seed=seed)
        judged = judge(found, replace(GATE, margin=0.02), specs)
        counts[judged.verdict] += 1
        tasks[judged.tasks["t0"].verdict] += 1
        if judged.tasks["t0"].needed is not None:
            needed.append(int(judged.tasks["t0"].needed))
    result = {f"merge {name}": count / worlds for name, count in counts.items()}
    result |= {f"first task {name}": count / worlds for name, count in tasks.items()}
    passed = result["first task passes"]
    result["error"] = math.sqrt(passed * (1 - passed) / worlds)
    result["worlds"] = worlds
    result["median items asked for"] = float(np.median(needed)) if needed else 0.0
    return result


def table(rows: Sequence[tuple[Scenario, dict[str, float]]]) -> str:
    """Write the results as a table in Markdown."""
    names = ("passes", "regresses", "not enough data")
    lines = [
        "| truth | documents × items | "
        + " | ".join(["merge passes", *names[1:]])
        + " | its task passes |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for scene, found in rows:
        cells = " | ".join(f"{found[f'merge {name}']:.1%}" for name in names)
        lines.append(
            f"| {scene.name} | {scene.documents} × {scene.sentences} | {cells} | "
            f"{found['first task passes']:.1%}"
            + (f" ± {found['error']:.1%} |" if scene.nominal else " |")
        )
    return "\n".join(lines)


def main() -> None:
    """Simulate, print the table and keep the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=1_000)
    parser.add_argument(
        "--harm",
        type=int,
        default=2_000,
        help="worlds of the rows that measure one task's false passes",
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/gate.json")
    parser.add_argument(
        "--more", action="store_true", help="keep the rows that are measured in the file already"
    )
    given = parser.parse_args()
    known = json.loads(given.out.read_text()) if given.more and given.out.is_file() else {}
    # Neither decides anything here: intervals of single models, and the test by exchanging.
    results.RESAMPLES = measures.LEAST = 2
    comparison.exchange_p = lambda *_, **__: 1.0
    started, rows = time.process_time() - known.get("cpu_seconds", 0), []
    before = {row["name"]: row for row in known.get("scenarios", ())}
    for scene in scenarios():
        alone = scene.nominal and len(scene.effects) == 1
        worlds = given.harm if alone else given.worlds
        row = dict(before.get(scene.name, {}))
        found = row.pop("rates", {})
        if found.get("worlds", 0) < worlds or row != json.loads(json.dumps(asdict(scene))):
            found = rates(scene, worlds)
        rows.append((scene, found))
        print(f"{time.process_time() - started:7.0f} s  {scene.name}: {found}", flush=True)
        keep(given.out, time.process_time() - started, rows)
    print(table(rows))


def keep(out: Path, seconds: float, rows: Sequence[tuple[Scenario, dict[str, float]]]) -> None:
    """Write the results so far."""
    result = {
        "measured": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": measuring.machine(),
        "cpu_seconds": round(seconds),
        "confidence": GATE.confidence,
        "margin": MARGIN,
        "average_margin": 0.02,
        "accuracy_of_main": expected(SKILL, 1.0),
        "scenarios": [{**asdict(scene), "rates": found} for scene, found in rows],
    }
    out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
