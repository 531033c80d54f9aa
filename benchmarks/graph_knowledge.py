# SPDX-License-Identifier: Apache-2.0
"""Whether a graph's knowledge helps a text model: the same encoder with and without, equal steps.

The learning rate and each arm's own settings are chosen by the loss of the validation questions,
with a seed that no measured run has; then every arm is trained with each seed. All take the same
steps over questions about the same statements and keep their best look at validation; `text` spends
a share of its steps on masked words first. Gains are over `plain`, paired by question and seed,
with 95% intervals over held-out entities and seeds, both drawn anew.

Writes results/graph-knowledge.json after every training and goes on from there; with --minutes it
begins no training after so many.

    python benchmarks/graph_knowledge.py --graph countries --seeds 3
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from plait.demo.data import encoder_folder
from plait.demo.graphs import countries
from plait.evaluation.bootstrap import generator
from plait.graphs.exchange.bundled import import_bundled
from plait.graphs.graph import Graph
from plait.graphs.knowledge import judges, vectors
from plait.graphs.knowledge.masked import load_masked, masked_loss, train_masked
from plait.graphs.knowledge.questions import Material, material
from plait.graphs.knowledge.rules import rules_of
from plait.graphs.knowledge.teaching import sentences
from plait.graphs.learn import embeddings
from plait.graphs.learn.training import Options as EmbeddingOptions
from plait.pretrained import limited_threads

OUT = Path(__file__).parent / "results" / "graph-knowledge.json"
ARMS = ("plain", "text", "entities", "rules")
TUNING = 100
"""The seed of the trainings that settings are chosen by."""
RATE = 3e-4
"""Chosen on the countries' validation questions: at 600 to 1,000 steps `plain` had a loss of .592
to .608 there, .630 with 1e-4, .691 with 1e-3 and .693, a coin's, with 3e-3."""
SPEEDS = (1.0, 5.0)
SHARES = (0.25, 0.5)
WEIGHTS = (0.05, 0.2, 0.5)
MODELS = ("transe", "complex")
BATCH = 32
RESAMPLES = 10_000
ENCODERS = {"tiny": "BERT of 2 layers and 128 dimensions", "minilm": "MiniLM, 6 layers of 384"}


@dataclass(frozen=True)
class Setting:
    """What is chosen on validation questions."""

    rate: float
    speed: float = 1.0
    """Of `entities`: how much faster the attention learns."""
    share: float = 0.0
    """Of `text`: the steps spent on masked words."""
    weight: float = 0.0
    """Of `rules`: of their loss."""


def settings_of(arm: str) -> list[Setting]:
    """Return what an arm is tried with."""
    if arm == "plain":
        return [Setting(RATE)]
    if arm == "entities":
        return [Setting(RATE, speed=speed) for speed in SPEEDS]
    if arm == "text":
        return [Setting(RATE, share=share) for share in SHARES]
    return [Setting(RATE, weight=weight) for weight in WEIGHTS]


def graph_named(name: str) -> Graph:
    """Return a graph: countries with English names, or PyKEEN's UMLS."""
    return (
        countries(native=False).left if name == "countries" else import_bundled("pykeen:umls").graph
    )


class Bench:
    """One graph and one encoder."""

    def __init__(self, graph: Graph, name: str, encoder: str, steps: int, work: Path) -> None:
        self.graph, self.name, self.steps, self.work = graph, name, steps, work
        self.held: Material = material(graph)
        self.base = encoder_folder(encoder)

    def embedding(self, model: str, seed: int) -> embeddings.Embeddings:
        """Return embeddings of what is known, trained once and kept."""
        folder = self.work / f"{self.name}-{model}-{seed}"
        if folder.exists():
            return embeddings.load(folder)
        options = EmbeddingOptions(
            model, 200, 64, batch_size=256, every=10, patience=4, seed=seed, threads=1
        )
        made = vectors.vectors_of(self.held, self.graph.file, options)
        made.save(folder)
        return made

    def run(self, arm: str, chosen: Setting, model: str, seed: int) -> dict[str, Any]:
        """Train one arm; return what it was chosen by and each test question, right or wrong."""
        held, told = self.held, {}
        found = self.embedding(model, seed) if arm == "entities" else None
        started = time.process_time()
        first = round(chosen.share * self.steps)
        options = judges.Settings(
            self.steps - first, batch_size=BATCH, learning_rate=chosen.rate,
            rules_weight=chosen.weight, attention_speed=chosen.speed, seed=seed, threads=1,
        )  # fmt: skip
        rules = rules_of(self.graph.file, held.relations) if arm == "rules" else []
        with tempfile.TemporaryDirectory() as folder:
            base = self.base
            if first:
                told["masked_loss"] = self._masked(first, seed, Path(folder))
                base = Path(folder)
            if found is not None:
                told["embeddings"] = {
                    part: {name: found.report[part][name] for name in ("mrr", "hits_at_10")}
                    for part in ("validation", "test")
                }
                judge = judges.with_entities(base, held, vectors.by_name(found), seed)
            else:
                judge = judges.plain(base, seed)
            trained = judges.train(judge, held, options, rules=rules)
        told |= {
            "setting": asdict(chosen),
            "training_loss": trained["loss"],
            "best_step": first + trained["best"],
            "validation_loss": min(one for _, one in trained["looks"]),
            "validation_accuracy": float(judge.right(held.validation).mean()),
            "cpu_seconds": round(time.process_time() - started, 1),
        }
        if seed != TUNING:
            right = judge.right(held.testing)
            told["accuracy"] = float(right.mean())
            told["right"] = "".join(str(int(one)) for one in right)
        return told

    def _masked(self, steps: int, seed: int, folder: Path) -> list[float]:
        model, tokenizer = load_masked(self.base)
        asked = [one.text for one in self.held.testing if one.true]
        found = [masked_loss(model.eval(), tokenizer, asked)]
        with limited_threads(1):
            train_masked(model, tokenizer, sentences(self.held), steps=steps, seed=seed)
        found.append(masked_loss(model, tokenizer, asked))
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return found


def compare(arm: np.ndarray, plain: np.ndarray, groups: np.ndarray, key: str) -> dict[str, float]:
    """Return an arm's gain with a 95% interval over held-out entities and seeds.

    Args:
        arm: right or wrong [seeds, questions]; `plain` alike.
        groups: the entity that each question is about.
    """
    apart = arm - plain
    _, place = np.unique(groups, return_inverse=True)
    sums = np.stack([np.bincount(place, one) for one in apart])
    counts = np.bincount(place)
    random = generator(0, key)
    means = np.empty(RESAMPLES)
    for draw in range(RESAMPLES):
        entities = random.integers(0, len(counts), len(counts))
        seeds = random.integers(0, len(apart), len(apart))
        means[draw] = sums[seeds].mean(0)[entities].sum() / counts[entities].sum()
    low, high = np.quantile(means, [0.025, 0.975])
    return {"gain": float(apart.mean()), "low": float(low), "high": float(high)}


def summary(runs: dict[str, Any], held: Material) -> dict[str, Any]:
    """Return each arm's accuracy and its gain over the plain one, over the seeds that both have."""
    groups = np.array([one.group for one in held.testing])
    kinds = np.array([one.row[1] for one in held.testing])
    answers = {name: np.array([float(c) for c in one["right"]]) for name, one in runs.items()}
    made: dict[str, Any] = {}
    for arm in ARMS:
        seeds = [s for s in range(TUNING) if f"{arm}/{s}" in answers and f"plain/{s}" in answers]
        if not seeds:
            continue
        mine = np.stack([answers[f"{arm}/{s}"] for s in seeds])
        plain = np.stack([answers[f"plain/{s}"] for s in seeds])
        made[arm] = {
            "seeds": len(seeds),
            "accuracy": float(mine.mean()),
            "by_seed": [round(float(one), 4) for one in mine.mean(1)],
            "cpu_seconds": float(np.mean([runs[f"{arm}/{s}"]["cpu_seconds"] for s in seeds])),
        }
        if arm != "plain":
            made[arm] |= compare(mine, plain, groups, arm)
        often = [kind for kind in np.unique(kinds).tolist() if (kinds == kind).sum() >= 20]
        made[arm]["by_predicate"] = {
            held.relations[kind]: [float(mine[:, kinds == kind].mean()), int((kinds == kind).sum())]
            for kind in often
        }
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--graph", choices=("countries", "umls"), default="countries")
    parser.add_argument("--encoder", choices=tuple(ENCODERS), default="tiny")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument(
        "--work", type=Path, default=Path(tempfile.gettempdir()) / "plait-graph-knowledge"
    )
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    out: Path = given.out
    every = json.loads(out.read_text()) if out.is_file() else {}
    if every.get("schema") != 2:
        every = {"schema": 2, "sets": {}}
    every["python"] = platform.python_version()
    bench = Bench(graph_named(given.graph), given.graph, given.encoder, given.steps, given.work)
    held = bench.held
    name = f"{given.graph}, {given.encoder}"
    told = every["sets"].setdefault(name, {"steps": given.steps, "tried": {}, "runs": {}})
    if told["steps"] != given.steps:
        raise SystemExit(f"{out} has runs of {told['steps']} steps; remove them first.")
    told |= {
        "graph": given.graph,
        "encoder": ENCODERS[given.encoder],
        "statements": len(held.facts),
        "known": len(held.known),
        "training": len(held.training),
        "validation": len(held.validation),
        "test": len(held.testing),
        "held_out_entities": len({one.group for one in held.testing}),
        "batch_size": BATCH,
    }
    end = time.monotonic() + 60 * given.minutes

    def trained(where: str, key: str, arm: str, chosen: Setting, model: str, seed: int) -> Any:
        if key not in told[where]:
            if time.monotonic() > end:
                raise SystemExit("The time is over; call again to go on.")
            told[where][key] = bench.run(arm, chosen, model, seed)
            if told["runs"]:
                told["compared"] = summary(told["runs"], held)
            out.write_text(json.dumps(every, indent=1) + "\n")
            found = told[where][key]
            shown = {k: round(v, 3) for k, v in found.items() if isinstance(v, float)}
            print(name, key, shown, flush=True)
        return told[where][key]

    model = max(MODELS, key=lambda one: bench.embedding(one, TUNING).report["validation"]["mrr"])
    told["embeddings"] = model
    rules = any(one.symmetric or one.functional for one in bench.graph.file.predicates.values())
    chosen: dict[str, Setting] = {}
    for arm in ARMS if rules else ARMS[:-1]:
        options = settings_of(arm)
        losses = [
            trained("tried", f"{arm} {json.dumps(asdict(one))}", arm, one, model, TUNING)[
                "validation_loss"
            ]
            for one in options
            if len(options) > 1
        ]
        chosen[arm] = options[int(np.argmin(losses))] if losses else options[0]
    told["chosen"] = {arm: asdict(one) for arm, one in chosen.items()}
    for seed in range(given.seeds):
        for arm, one in chosen.items():
            trained("runs", f"{arm}/{seed}", arm, one, model, seed)


if __name__ == "__main__":
    main()
