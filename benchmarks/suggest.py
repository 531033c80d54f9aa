# SPDX-License-Identifier: Apache-2.0
"""Does a ranking by transferability find the encoder that fine-tunes best?

Candidates: MiniLM-L6 as published, eight fine-tunes of it (one a task) and one trained on all of
them, BERT-tiny, and MiniLM with weights drawn at random. For each target task, every candidate that
was not trained on it is measured frozen (LogME, k-NN, probe) on 200 labelled texts, and fine-tuned
on the same texts; the truth is the accuracy on 160 texts of other documents. Reported: Spearman's
and Kendall's weighted correlation over candidates, and the regret: how much accuracy the top pick
loses to the best candidate, beside picking at random and always taking the published model.

Usage: ``python benchmarks/suggest.py [--targets verbs,emoji,…] [--epochs 3]``. Finished pairs are
kept under the cache folder, so that a second run only does what is missing.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr, weightedtau

import measure

sys.path.insert(0, str(Path(__file__).parent))
from fusion_quality import models as suites
from fusion_quality import settings
from fusion_quality.corpora import Text
from plait.demo import data as demo
from plait.demo.packages import cache_folder
from plait.evaluation import TextClassifier
from plait.evaluation.transferability import embed
from plait.evaluation.transferability import measure as transferability
from plait.training import add_head, fine_tune

TARGETS = ("verbs", "emoji", "shop", "cinema", "topics", "nouns", "tenses", "intents")
TRAIN = 200
MEASURES = ("logme", "knn", "probe")


def candidates(suite: suites.Suite, target: str, random: Path) -> dict[str, Path]:
    """Return the encoders that were not trained on the target, by name."""
    found = {"minilm": demo.encoder_folder("minilm"), "bert-tiny": demo.encoder_folder("tiny")}
    found |= {f"tuned on {t}": suite.tuned(t) for t in settings.SEEN if t != target}
    if target not in settings.SEEN:
        found["tuned on all eight"] = suite.multitask
    return {**found, "minilm, random weights": random}


def random_encoder(out: Path) -> Path:
    """Write MiniLM's architecture with weights drawn at random."""
    import torch
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    source = demo.encoder_folder("minilm")
    torch.manual_seed(0)
    AutoModel.from_config(AutoConfig.from_pretrained(source)).save_pretrained(out)
    AutoTokenizer.from_pretrained(source).save_pretrained(out)
    return out


def one(encoder: Path, train: list[Text], test: list[Text], epochs: int) -> dict[str, Any]:
    """Measure one candidate frozen and fine-tuned on one target."""
    names = sorted({item.label for item in train})
    labels = [names.index(item.label) for item in train]
    began = time.process_time()
    frozen = transferability(embed(encoder, [item.text for item in train]), labels)
    cost = time.process_time() - began
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        start = add_head(encoder, Path(folder) / "start", names)
        tuned = fine_tune(
            start,
            [item.text for item in train],
            labels,
            Path(folder) / "tuned",
            epochs=epochs,
            learning_rate=settings.LEARNING_RATE,
            max_length=settings.MAX_LENGTH,
            threads=1,
        )
        told = TextClassifier.load(tuned.out, threads=1)
        chances = told.predict([item.text for item in test])
    guessed = [told.labels[place] for place in np.asarray(chances).argmax(axis=1)]
    right = [guess == item.label for guess, item in zip(guessed, test, strict=True)]
    return {
        **frozen.to_json(),
        "accuracy": float(np.mean(right)),
        "frozen_seconds": cost,
        "tuning_seconds": time.process_time() - began,
    }


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Correlations and regret of each measure over the targets; regret of two plain rules."""
    targets = sorted({row["target"] for row in rows})
    found: dict[str, Any] = {"targets": len(targets), "pairs": len(rows)}
    for name in MEASURES:
        rho, tau, regret = [], [], []
        for target in targets:
            mine = [row for row in rows if row["target"] == target]
            scores = [row[name]["value"] for row in mine]
            truth = [row["accuracy"] for row in mine]
            rho.append(spearmanr(scores, truth).statistic)
            tau.append(weightedtau(scores, truth).statistic)
            regret.append(max(truth) - truth[int(np.argmax(scores))])
        found[name] = {
            "spearman": float(np.mean(rho)),
            "weighted_tau": float(np.mean(tau)),
            "regret": float(np.mean(regret)),
            "worst_regret": float(np.max(regret)),
        }
    plain, chance = [], []
    for target in targets:
        truth = {row["candidate"]: row["accuracy"] for row in rows if row["target"] == target}
        plain.append(max(truth.values()) - truth["minilm"])
        chance.append(max(truth.values()) - float(np.mean(list(truth.values()))))
    found["always the published model"] = {"regret": float(np.mean(plain))}
    found["picked at random"] = {"regret": float(np.mean(chance))}
    found["cpu_seconds"] = {
        "frozen": sum(row["frozen_seconds"] for row in rows),
        "fine-tuning": sum(row["tuning_seconds"] for row in rows),
    }
    return found


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--targets", default=",".join(TARGETS))
    parser.add_argument("--epochs", type=int, default=3)
    chosen = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    suite = suites.build(0)
    cache = cache_folder() / "suggest"
    cache.mkdir(parents=True, exist_ok=True)
    random = cache / "random"
    if not random.exists():
        part = cache / "random.part"
        shutil.rmtree(part, ignore_errors=True)
        random_encoder(part).rename(random)
    rows = []
    for target in chosen.targets.split(","):
        splits = (suite.seen if target in settings.SEEN else suite.left_out)[target]
        train, test = splits["train"][:TRAIN], splits["test"]
        for name, encoder in candidates(suite, target, random).items():
            key = settings.digest("suggest-1", suite.key, target, name, TRAIN, chosen.epochs)
            kept = cache / f"{key}.json"
            if not kept.exists():
                found = one(encoder, train, test, chosen.epochs)
                kept.write_text(json.dumps({"target": target, "candidate": name, **found}))
            rows.append(json.loads(kept.read_text()))
            row = rows[-1]
            scores = " ".join(f"{m} {row[m]['value']:.3f}" for m in MEASURES)
            print(f"{target}\t{name}\t{scores}\taccuracy {row['accuracy']:.3f}", flush=True)
        print(json.dumps(summary(rows)), flush=True)
        path = measure.write(
            "suggest", rows, summary=summary(rows), train=TRAIN, epochs=chosen.epochs
        )
    print(path)


if __name__ == "__main__":
    main()
