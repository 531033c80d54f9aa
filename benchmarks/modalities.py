# SPDX-License-Identifier: Apache-2.0
"""Feature fusion on real pairs: each modality alone, averages of outputs, and every fused model.

Usage: ``python benchmarks/modalities.py [--sets emoji,speech] [--rows NAME,…] [--seeds 0,1,…]
[--minutes N] [--table]``. Two tasks of pairs that tell together what neither tells alone: pictures
and names of emoji (Unicode's group), and recorded prompts and their file names (what part of the
system speaks). Every seed deals whole families of captions to training (55%), validation (20%) and
test (25%) anew. What is measured is kept in Plait's cache, row by row; a run that was ended goes on
where it was, and with `--minutes` none begins a row after so long. Rows that the cache lacks stay
in the table as the results have them. Writes `benchmarks/results/modalities.json`, the table in
`docs/fusion/features.md` and its pictures.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

import modalities_report as report
from plait.demo.data import encoder_folder
from plait.demo.modalities import Pair, deal_families, image_encoder, voice_encoder
from plait.demo.modalities_emoji import SMALL, emoji_pairs
from plait.demo.modalities_speech import speech_pairs
from plait.demo.packages import cache_folder
from plait.evaluation.tasks import Item, Task
from plait.fusion.features.encoders import build, find_encoder, open_encoder
from plait.fusion.features.learning import Learner
from plait.fusion.features.options import MODALITIES, FeatureRecipe, parse
from plait.fusion.features.sources import Source
from plait.pretrained import limited_threads

SEEDS = (0, 1, 2, 3, 4)
SPLITS = ("validation", "test")
VERSION = 1
"""Counted up when what is kept must be measured anew."""


@dataclass(frozen=True)
class Row:
    """One model of a set: its encoders, what its recipe says, and the seeds that it is run with."""

    name: str
    title: str
    encoders: tuple[str, ...]
    parameters: Mapping[str, Any]
    tuned: str | None = None
    seeds: tuple[int, ...] = SEEDS


@dataclass(frozen=True)
class Set:
    """Pairs with a label, and the encoders that read them."""

    name: str
    title: str
    words: Mapping[str, str]
    """What its modalities are called."""
    pairs: Callable[[Path], list[Pair]]
    encoders: Mapping[str, tuple[str, Callable[[Path], Path | str]]]
    """By name: the modality, and how to get its folder (given one to make)."""
    rows: tuple[Row, ...]


def _minilm(out: Path) -> Path:
    return encoder_folder("minilm")


def _rows(frozen: tuple[str, str], tuned: tuple[Row, ...]) -> tuple[Row, ...]:
    def fused(name: str, title: str, **parameters: Any) -> Row:
        return Row(name, title, frozen, parameters)

    return (
        *(Row(f"{name}-alone", "", (name,), {"fusion": "concat"}) for name in frozen),
        fused("concat", "Concatenation", fusion="concat"),
        fused("gated", "Gated", fusion="gated"),
        fused("bilinear", "Bilinear", fusion="bilinear"),
        Row("attention", "Cross-attention", frozen, {"fusion": "attention"}, seeds=SEEDS[:3]),
        fused("gated-transfer", "Gated, transfer", fusion="gated", training="transfer"),
        fused("gated-combined", "Gated, combined", fusion="gated", training="combined"),
        fused("gated-whole", "Gated, no modality dropout", fusion="gated",
              modality_dropout=0.0),
        *tuned,
    )  # fmt: skip


TUNING = {"fusion": "gated", "encoder_learning_rate": 1e-4, "epochs": 15, "patience": 3}
SETS = (
    Set(
        "emoji",
        "Emoji: picture and name",
        {"text": "name", "image": "picture"},
        lambda work: emoji_pairs(work / "pictures"),
        {"minilm": ("text", _minilm), "efficientnet": ("image", image_encoder)},
        _rows(
            ("minilm", "efficientnet"),
            (
                Row("minilm-tuned-alone", "", ("minilm",), TUNING, "minilm", SEEDS[:3]),
                Row("gated-tuned", "Gated, MiniLM tuned", ("minilm", "efficientnet"), TUNING,
                    "minilm", SEEDS[:3]),
            ),
        ),
    ),
    Set(
        "speech",
        "Telephone prompts: sound and file name",
        {"text": "name", "audio": "sound"},
        lambda work: speech_pairs(work / "sounds"),
        {
            "minilm": ("text", _minilm),
            "resemblyzer": ("audio", voice_encoder),
            "log-mel": ("audio", lambda out: "log-mel"),
        },
        _rows(
            ("minilm", "resemblyzer"),
            (
                Row("log-mel-alone", "", ("log-mel",), {"fusion": "concat"}, "log-mel", SEEDS[:3]),
                Row("gated-log-mel", "Gated, log-mel for Resemblyzer",
                    ("minilm", "log-mel"), {"fusion": "gated"}, "log-mel", SEEDS[:3]),
            ),
        ),
    ),
)  # fmt: skip


class Bench:
    """A set, its encoders, and what the frozen ones find in every item, computed once."""

    def __init__(self, chosen: Set) -> None:
        self.set = chosen
        self.folder = cache_folder() / "modalities" / f"{chosen.name}-{VERSION}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.pairs = chosen.pairs(self.folder)
        self.labels = sorted({pair.label for pair in self.pairs})
        self.items = [
            Item(p.text or "", p.label, p.family, str(i), p.image, p.audio)
            for i, p in enumerate(self.pairs)
        ]
        self.splits = {seed: deal_families(self.pairs, seed) for seed in SEEDS}

    @cached_property
    def folders(self) -> dict[str, str]:
        """Where the encoders lie, by name."""
        found = {}
        for name, (_, make) in self.set.encoders.items():
            place = self.folder / "encoders" / name
            found[name] = str(place if place.is_dir() else make(place))
        return found

    def recipe(self, row: Row, seed: int) -> FeatureRecipe:
        """Return a row's recipe, as `plait fuse` would read it."""
        models = [
            {"name": name, "model": self.folders[name], "modality": self.set.encoders[name][0],
             "tune": "tuned" if name == row.tuned else "frozen"}
            for name in row.encoders
        ]  # fmt: skip
        columns = {name: name for name in MODALITIES}
        tasks = [{"name": self.set.name, "dataset": self.set.name, "columns": columns}]
        data = {"method": "feature_fusion", "models": models, "tasks": tasks, "seed": seed}
        return parse(data | {"parameters": dict(row.parameters)}, Path())

    def model(self, recipe: FeatureRecipe) -> tuple[Any, Any]:
        """Return a recipe's model, its head not learnt yet, and its processor."""
        import torch

        torch.manual_seed(recipe.level.seed)
        opened = {m.modality: open_encoder(m, find_encoder(m, Path(), None), recipe["max_length"])
                  for m in recipe.members}  # fmt: skip
        return build(recipe, opened, self.labels)

    def source(self, row: Row, model: Any, processor: Any) -> Source:
        """Return all items, with what the row's frozen encoders find in them."""
        import torch

        classes = [self.labels.index(pair.label) for pair in self.pairs]
        source = Source(model, processor, self.items, classes)
        for name in row.encoders:
            if name == row.tuned:
                continue
            modality, kept = self.set.encoders[name][0], self.folder / f"{name}.pt"
            if not kept.is_file():
                started = time.process_time()
                source.remember(modality, tokens=True)
                found = (*source.remembered[modality], time.process_time() - started)
                torch.save(found, kept.with_suffix(".part"))
                kept.with_suffix(".part").rename(kept)
            source.remembered[modality] = torch.load(kept, weights_only=True)[:3]
        return source

    def measure(self, row: Row, seed: int) -> None:
        """Train one row with one seed and keep its answers, unless they are there already."""
        import torch

        kept = self.kept(row, seed)
        if kept.is_file():
            return
        recipe = self.recipe(row, seed)
        model, processor = self.model(recipe)
        source = self.source(row, model, processor)
        parts = {split: source.take(places) for split, places in self.splits[seed].items()}
        started = time.process_time()
        learner = Learner(model, recipe, parts["train"], parts["validation"], seed=seed)
        stages = learner.run()
        cost = time.process_time() - started
        answers: dict[str, Any] = {}
        names = model.config.modalities
        with torch.inference_mode():
            for split in SPLITS:
                part = parts[split]
                encoded = part.batch(list(range(len(part))), names)
                masks = {"all": part.present}
                for place, name in enumerate(names if len(names) > 1 else ()):
                    only = torch.zeros_like(part.present)
                    only[:, place] = part.present[:, place]
                    masks[name] = only
                for given, mask in masks.items():
                    logits = model.fuse(encoded, mask).double()
                    answers[f"{split}/{given}"] = torch.log_softmax(logits, 1).numpy()
        epochs = [stage.best + 1 for stage in stages]
        np.savez(kept.with_suffix(".part.npz"), cpu_seconds=cost, epochs=epochs, **answers)
        kept.with_suffix(".part.npz").rename(kept)
        named = [self.labels[number] for number in answers["test/all"].argmax(1)]
        right = [name == i.label for name, i in zip(named, self.test(seed), strict=True)]
        print(f"{self.set.name} {row.name} seed {seed}: {np.mean(right):.3f} of the test items "
              f"right, {cost:.1f} CPU-s, epochs {epochs}", flush=True)  # fmt: skip

    def kept(self, row: Row, seed: int) -> Path:
        """Return where a row's answers are kept."""
        return self.folder / f"{row.name}-{seed}.npz"

    def answers(self, row: Row, seed: int) -> dict[str, Any] | None:
        """Return logarithms [n, classes] by `split/given`, None if they are not measured."""
        kept = self.kept(row, seed)
        if not kept.is_file():
            return None
        with np.load(kept) as found:
            return dict(found)

    def encoding_seconds(self) -> dict[str, float]:
        """Return what the frozen encoders' runs over all items cost, in CPU-seconds."""
        import torch

        files = {name: self.folder / f"{name}.pt" for name in self.set.encoders}
        return {name: round(torch.load(file, weights_only=True)[3], 1)
                for name, file in files.items() if file.is_file()}  # fmt: skip

    def items_of(self, seed: int, split: str) -> Task:
        """Return a split's items as a task."""
        items = tuple(self.items[place] for place in self.splits[seed][split])
        return Task(self.set.name, "balanced_accuracy", items, tuple(self.labels))

    def test(self, seed: int) -> tuple[Item, ...]:
        """Return the test items of a seed."""
        found: tuple[Item, ...] = self.items_of(seed, "test").items
        return found

    def strange(self, seed: int) -> Any:
        """Return which test items' texts have no word of a training text of the same label."""
        known: dict[Any, set[str]] = {}
        for item in self.items_of(seed, "train").items:
            known.setdefault(item.label, set()).update(words(item.text))
        return np.array([not words(i.text) & known[i.label] for i in self.test(seed)])


def words(text: str) -> set[str]:
    """Return a text's words, without those that mean nothing alone."""
    return set(re.findall(r"\w+", text.lower())) - SMALL


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", default=",".join(one.name for one in SETS))
    parser.add_argument("--rows", default="", help="only these, and no table")
    parser.add_argument("--seeds", default=",".join(map(str, SEEDS)))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin none later")
    parser.add_argument("--table", action="store_true", help="only write what is measured")
    given = parser.parse_args(arguments)
    end = time.monotonic() + 60 * given.minutes
    wanted = [name for name in given.rows.split(",") if name]
    known = {row.name for one in SETS for row in one.rows}
    if unknown := sorted(set(wanted) - known):
        parser.error(f"no row is called {', '.join(unknown)}; rows are {', '.join(sorted(known))}")
    benches = [Bench(one) for one in SETS if one.name in given.sets.split(",")]
    with limited_threads(given.threads):
        for bench in () if given.table else benches:
            for row in bench.set.rows:
                for seed in map(int, given.seeds.split(",")):
                    asked = seed in row.seeds and (not wanted or row.name in wanted)
                    if asked and time.monotonic() < end:
                        bench.measure(row, seed)
        if given.table or not wanted:
            report.write([bench for bench in benches if report.measured(bench)])


if __name__ == "__main__":
    main()
