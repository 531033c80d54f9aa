# SPDX-License-Identifier: Apache-2.0
"""The merge queue against exhaustive search: thirty contributions of a 22 M model, some bad.

Fine-tunes of one encoder (all-MiniLM, the cached ones of ``benchmarks/fusion_quality``, whose texts
need ``pip install hassil``) for eight tasks are contributions to it, and as many made from half of
the texts; beside them are label-flipped ones, noise, ones that undo others, a duplicate and free
riders. A set is fused by task arithmetic and scored by the mean accuracy over four of the tasks on
validation items; the queue's choice and the exhaustive optimum are then compared once on test
items, pair by pair. A small pool is enumerated wholly; over thirty, only counted.

    python benchmarks/merge_queue.py --out benchmarks/results/merge-queue.json
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

import measure as measuring
from plait.collaboration.merging.selection import Coalition, select
from plait.fusion.weights.checkpoints import open_checkpoint

TASKS = ("shop", "cinema", "press", "topics")
MORE = ("social", "intents", "nouns", "tenses")
BAD = (
    "flipped:shop", "noise", "undoing", "free rider",
    "flipped:cinema", "noise-2", "undoing-2", "noise-3", "undoing-3", "noise-4", "undoing-4",
    "undoing-5", "free rider-2", "duplicate",
)  # fmt: skip
"""The first four are in the pool that is enumerated."""
HARMLESS = ("free rider", "free rider-2", "duplicate")
"""What costs nothing to take in."""


class Pool:
    """Contributions as differences from the base, and what any set of them scores."""

    def __init__(self, names: Sequence[str], deltas: Mapping[str, dict[str, Any]], suite: Any,
                 items: dict[str, dict[str, list[Any]]]) -> None:  # fmt: skip
        import torch

        from fusion_quality import judging

        torch.set_num_threads(1)
        self.names = list(names)
        self.deltas = deltas
        self.items = items
        self.predictor = judging.load(suite.base)
        self.start = _weights(suite.base)
        self.evaluations = 0
        self.seconds = 0.0

    def __call__(self, sets: Sequence[Coalition]) -> list[dict[str, float]]:
        """Score sets on validation items."""
        return [self.score(one, "validation") for one in sets]

    def load(self, chosen: Coalition) -> None:
        """Put base + weight * sum of differences into the model; the same weights count once."""
        seen: dict[int, str] = {}
        for place in sorted(chosen):
            found = self.deltas[self.names[place]]
            seen.setdefault(id(found), self.names[place])
        weight = 1.0 if len(seen) < 2 else 1.2 / len(seen) ** 0.75
        fused = dict(self.start)
        for name in {key for one in seen.values() for key in self.deltas[one]}:
            total = sum(self.deltas[one][name] for one in seen.values() if name in self.deltas[one])
            fused[name] = self.start[name] + np.float32(weight) * total
        self.predictor.load_tensors(fused.items())

    def marks(self, chosen: Coalition, split: str) -> dict[str, str]:
        """Say of each task's items which are answered rightly."""
        from fusion_quality import judging

        self.load(chosen)
        return {task: judging.answers(self.predictor, task, self.items[task][split])
                for task in TASKS}  # fmt: skip

    def score(self, chosen: Coalition, split: str) -> dict[str, float]:
        """Return the accuracy by task, and count what it cost."""
        started = time.process_time()
        found = self.marks(chosen, split)
        self.evaluations += 1
        self.seconds += time.process_time() - started
        return {task: marks.count("1") / len(marks) for task, marks in found.items()}

    def spent(self, work: Callable[[], Any]) -> tuple[Any, int, float]:
        """Do some work and return its result, and what it cost."""
        before = self.evaluations, self.seconds
        found = work()
        return found, self.evaluations - before[0], self.seconds - before[1]


def main() -> None:
    """Measure and write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pool", type=int, default=10, help="contributions that are enumerated")
    parser.add_argument("--many", type=int, default=30)
    parser.add_argument("--items", type=int, default=24, help="validation items of a task")
    parser.add_argument("--test", type=int, default=160, help="test items of a task")
    parser.add_argument(
        "--strength", type=float, default=3.0, help="how strong noise and the undoing ones are"
    )
    parser.add_argument(
        "--part", choices=("thirty", "enumerated"), help="measure this alone; the other is kept"
    )
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    from fusion_quality import settings

    suite, items = _suite(options.items, options.test)
    deltas = _deltas(suite, options.many, options.strength)
    good = [name for name in deltas if name not in BAD]
    bad = [name for name in deltas if name in BAD]
    print(f"{len(good)} good, {len(bad)} bad: {', '.join(bad)}", flush=True)
    result: dict[str, Any] = {}
    if options.part and options.out is not None and options.out.is_file():
        result = json.loads(options.out.read_text())
    told = {
        "measured": time.strftime("%Y-%m-%d", time.gmtime()),
        "strength": options.strength,
        "items": {t: {s: len(v) for s, v in p.items()} for t, p in items.items()},
    }
    if options.part in (None, "thirty"):
        many = Pool([*good, *bad][: options.many], deltas, suite, items)
        result["thirty"] = {**told, **_chosen_of_many(many, bad), "machine": measuring.machine()}
        _write(options.out, result)
    if options.part in (None, "enumerated"):
        pool = Pool([*good[: options.pool - 4], *BAD[:4]], deltas, suite, items)
        key = settings.digest(pool.names, told["strength"], told["items"])
        known = suite.folder / "merge-queue" / f"{key}.json"
        found = _enumerated(pool, known)
        result["enumerated"] = {**told, **found, "machine": measuring.machine()}
        _write(options.out, result)


def _chosen_of_many(many: Pool, bad: Sequence[str]) -> dict[str, Any]:
    """Let the queue choose, and compare its choice with all, none and the good ones."""
    players = range(len(many.names))
    chosen, evaluations, seconds = many.spent(lambda: select(players, many))
    good = frozenset(p for p, name in enumerate(many.names) if name not in bad)
    sets = {"chosen": chosen.chosen, "all": frozenset(players), "base": frozenset(), "good": good}
    return {
        "contributions": many.names,
        "bad": [name for name in many.names if name in bad],
        "harmless": [name for name in many.names if name in HARMLESS],
        "left_out": [many.names[p] for p in sorted(frozenset(players) - chosen.chosen)],
        "costs": {many.names[p]: dict(c) for p, c in chosen.costs.items()},
        "validation": {"chosen": dict(chosen.scores), "base": dict(chosen.none)},
        "evaluations": evaluations,
        "cpu_seconds": round(seconds, 1),
        "subsets": 2 ** len(many.names),
        "test": _test(many, sets),
    }


def _enumerated(pool: Pool, known: Path) -> dict[str, Any]:
    """Let the queue choose, score every subset, and compare the two."""
    names, players = pool.names, range(len(pool.names))
    chosen, evaluations, seconds = pool.spent(lambda: select(players, pool))
    every = [frozenset(c) for k in range(len(names) + 1) for c in combinations(players, k)]
    table, cost = _every(pool, every, known)
    best = max(every, key=lambda one: (sum(table[one].values()), len(one)))

    def value(one: Coalition) -> float:
        return sum(table[one].values()) / len(TASKS)

    return {
        "contributions": names,
        "queue": {"set": [names[p] for p in sorted(chosen.chosen)], "evaluations": evaluations,
                  "cpu_seconds": round(seconds, 1), "validation": value(chosen.chosen)},
        "exhaustive": {"set": [names[p] for p in sorted(best)], "evaluations": len(every),
                       "cpu_seconds": round(cost, 1), "validation": value(best)},
        "costs": {names[p]: dict(c) for p, c in chosen.costs.items()},
        "rank": 1 + sum(value(one) > value(chosen.chosen) for one in every),
        "share": evaluations / len(every),
        "test": _test(pool, {"chosen": chosen.chosen, "best": best,
                             "all": frozenset(players), "base": frozenset()}),
    }  # fmt: skip


def _every(
    pool: Pool, every: Sequence[Coalition], known: Path
) -> tuple[dict[Coalition, dict[str, float]], float]:
    """Score every set; a run that was ended goes on where it was. Return also the CPU-seconds."""
    kept = json.loads(known.read_text()) if known.is_file() else {"seconds": 0.0, "scores": []}
    while len(kept["scores"]) < len(every):
        at = len(kept["scores"])
        found, _, seconds = pool.spent(lambda part=every[at : at + 16]: pool(part))
        kept["scores"] += found
        kept["seconds"] += seconds
        part = known.with_suffix(".part")
        part.write_text(json.dumps(kept))
        part.rename(known)
        print(f"{len(kept['scores'])} of {len(every)} subsets", flush=True)
    return dict(zip(every, kept["scores"], strict=True)), float(kept["seconds"])


def _suite(validation: int, test: int) -> tuple[Any, dict[str, dict[str, list[Any]]]]:
    """Return the cached suite, and items that no fine-tune was trained on."""
    from fusion_quality import models, settings

    suite = models.build(settings.SEEDS[0])
    items: dict[str, dict[str, list[Any]]] = {}
    for task in TASKS:
        trained = {i.text for i in suite.seen[task]["train"]}
        items[task] = {
            split: [i for i in suite.seen[task][split] if i.text not in trained][:count]
            for split, count in (("validation", validation), ("test", test))
        }
    return suite, items


def _deltas(suite: Any, many: int, strength: float) -> dict[str, dict[str, Any]]:
    """Return each contribution's difference from the base, by name."""
    base = _weights(suite.base)
    found: dict[str, dict[str, Any]] = {}
    for task in (*TASKS, *MORE):
        found[task] = _minus(_weights(suite.tuned(task)), base)
    for task in (*TASKS, *MORE):
        found[f"{task}, half"] = _minus(_weights(_half(suite, task)), base)
    found = dict(list(found.items())[: many - len(BAD)])
    good = list(found)
    random = np.random.default_rng(0)
    for name in BAD:
        kind, _, task = name.partition("-")[0].partition(":")
        of = good[1 + int(name.partition("-")[2] or 1)]
        if kind == "flipped":
            found[name] = _minus(_weights(_half(suite, task, flipped=True)), base)
        elif kind == "noise":
            found[name] = {
                k: (3 * strength * v.std() * random.standard_normal(v.shape)).astype(np.float32)
                for k, v in found[good[0]].items()
            }
        elif kind == "undoing":
            found[name] = {k: np.float32(-strength) * v for k, v in found[of].items()}
        elif kind == "free rider":
            found[name] = {k: np.zeros_like(v) for k, v in found[good[0]].items()}
        else:
            found[name] = found[good[0]]
    return found


def _half(suite: Any, task: str, *, flipped: bool = False) -> Path:
    """Fine-tune on half of a task's training texts; flipped: every label swapped for another."""
    import shutil

    from fusion_quality import settings
    from plait.heads import join_head, split_head
    from plait.training import fine_tune

    out = suite.folder / "merge-queue" / (f"{task}-flipped" if flipped else task)
    if not (out / "model.safetensors").is_file():
        items = suite.seen[task]["train"]
        items = items[: len(items) // 2]
        labels = sorted({i.label for i in items})
        said = [labels[(labels.index(i.label) + flipped) % len(labels)] for i in items]
        work = out.with_name("work")
        shutil.rmtree(work, ignore_errors=True)
        start = join_head(suite.base, task, work / "start")
        fine_tune(start, [i.text for i in items], said, work / "whole", epochs=1,
                  learning_rate=settings.LEARNING_RATE, batch_size=settings.BATCH,
                  max_length=settings.MAX_LENGTH, freeze_head=True, seed=1, threads=1)  # fmt: skip
        split_head(work / "whole", out, task)
        shutil.rmtree(work)
    return out


def _weights(folder: Path) -> dict[str, Any]:
    from safetensors.numpy import load_file

    assert open_checkpoint(folder)
    return load_file(folder / "model.safetensors")


def _minus(one: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    """Return what changed, under the names that the encoder itself has."""
    changed = {}
    for name, value in one.items():
        if name in base and value.dtype == np.float32 and not np.array_equal(value, base[name]):
            changed[name] = value - base[name]
    return changed


def _test(pool: Pool, sets: Mapping[str, Coalition]) -> dict[str, Any]:
    """Compare sets on test items, once: means, and the paired difference from the chosen one."""
    found = {name: pool.marks(chosen, "test") for name, chosen in sets.items()}
    random = np.random.default_rng(0)
    table: dict[str, Any] = {}
    for name, marks in found.items():
        score = float(np.mean([m.count("1") / len(m) for m in marks.values()]))
        draws = []
        for _ in range(2000):
            by_task = []
            for task in TASKS:
                mine = np.array([c == "1" for c in found["chosen"][task]], float)
                other = np.array([c == "1" for c in marks[task]], float)
                draw = random.integers(0, len(mine), len(mine))
                by_task.append((mine - other)[draw].mean())
            draws.append(np.mean(by_task))
        low, high = np.quantile(draws, [0.025, 0.975])
        table[name] = {"score": score, "chosen_minus": [float(low), float(high)]}
    return table


def _write(out: Path | None, result: dict[str, Any]) -> None:
    text = json.dumps(result, indent=1, sort_keys=True)
    print(text, flush=True)
    if out is not None:
        out.write_text(text + "\n")


if __name__ == "__main__":
    main()
