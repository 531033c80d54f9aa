# SPDX-License-Identifier: Apache-2.0
"""Make what the recipe fuses: classifiers of two organisations, and both their data sets.

A shop fine-tuned MiniLM on sentences of product reviews, a cinema BERT-tiny on sentences of film
reviews (the demo's human-rated texts). The encoders differ in depth and width: their weights cannot
be merged, their outputs can. Everything is written into `work/` beside this file, once.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from plait.demo.data import Text, load_domains, make_base
from plait.training import fine_tune

WORK = Path(__file__).parent / "work"
MEMBERS = {
    "shop": {"encoder": "minilm", "epochs": 2, "learning_rate": 1e-4},
    "cinema": {"encoder": "tiny", "epochs": 4, "learning_rate": 1e-3},
}


@dataclass(frozen=True)
class Sizes:
    """Texts of each domain, by split; there is no gate here."""

    train: dict[str, int] = field(
        default_factory=lambda: {"shop": 700, "cinema": 2400, "press": 1, "social": 1}
    )
    validation: int = 600
    gate: int = 0
    test: int = 600


def prepare(work: Path = WORK, seed: int = 0, threads: int | None = None) -> None:
    """Write data sets and models that are not there yet."""
    domains = load_domains(Sizes())
    for name, member in MEMBERS.items():
        for split in ("train", "validation", "test"):
            write(work / "data" / name / "data" / f"{split}.jsonl", domains[name].splits[split])
        if (work / name).exists():
            continue
        base = work / f"base-{member['encoder']}"
        if not base.exists():
            make_base(base, str(member["encoder"]))
        texts = domains[name].splits["train"]
        print(f"fine-tuning {member['encoder']} on {len(texts)} texts of {name}", flush=True)
        made = fine_tune(
            base,
            [text.text for text in texts],
            [text.label for text in texts],
            work / name,
            balance_classes=True,
            epochs=int(member["epochs"]),
            learning_rate=float(member["learning_rate"]),
            seed=seed,
            threads=threads,
        )
        print(f"  {made.cpu_seconds:.0f} CPU-seconds, loss {made.losses[-1]:.3f}", flush=True)


def write(file: Path, texts: Sequence[Text]) -> None:
    """Write one split of a data set."""
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"text": t.text, "label": t.label, "document": t.document} for t in texts]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=WORK)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=None)
    given = parser.parse_args()
    prepare(given.work, given.seed, given.threads)
