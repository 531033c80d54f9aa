# SPDX-License-Identifier: Apache-2.0
"""Make what the recipe needs: a base, three fine-tunes of it, and the data sets of their domains.

The texts are those of the demo (human-rated sentences of shop reviews, film reviews and
editorials), the encoder is the BERT-tiny. Everything goes into `work/`, once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plait.demo.data import Text, load_domains, make_base
from plait.training import fine_tune

WORK = Path(__file__).parent / "work"
MEMBERS = ("shop", "cinema", "press")
TRAINING: dict[str, Any] = {"epochs": 4, "learning_rate": 1e-3}


@dataclass(frozen=True)
class Sizes:
    """Texts of each domain, by split; there is no gate here."""

    train: Mapping[str, int] = field(
        default_factory=lambda: {"shop": 1200, "cinema": 2400, "press": 1000, "social": 0}
    )
    validation: int = 300
    gate: int = 0
    test: int = 500


def prepare() -> None:
    """Write data sets and models that are not there yet."""
    domains = load_domains(Sizes())
    for name in MEMBERS:
        for split in ("train", "validation", "test"):
            write(WORK / "data" / name / "data" / f"{split}.jsonl", domains[name].splits[split])
    if not (WORK / "base").exists():
        make_base(WORK / "base", "tiny")
    for name in MEMBERS:
        if not (WORK / name).exists():
            texts = domains[name].splits["train"]
            print(f"fine-tuning on {len(texts)} texts of {name}", flush=True)
            rows, labels = [t.text for t in texts], [t.label for t in texts]
            fine_tune(WORK / "base", rows, labels, WORK / name, freeze_head=True, **TRAINING)


def write(file: Path, texts: Sequence[Text]) -> None:
    """Write one split of a data set."""
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"text": t.text, "label": t.label, "document": t.document} for t in texts]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


if __name__ == "__main__":
    prepare()
