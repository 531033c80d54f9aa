# SPDX-License-Identifier: Apache-2.0
"""Make what the recipes fuse: a base, four fine-tunes of it, their data sets and statistics.

Models and data are those of the example `search` (sentences of shop reviews, film reviews,
editorials and tweets, rated by people); beside each model lie the statistics that its owner would
publish. Everything is written into `work/` beside this file, once.
"""

from __future__ import annotations

import argparse
import json
import runpy
from pathlib import Path

from plait.demo.data import DOMAINS
from plait.training.statistics import collect_statistics

HERE = Path(__file__).parent
TEXTS = 512


def prepare(encoder: str, work: Path, threads: int | None) -> None:
    """Write data sets, models and statistics that are not there yet."""
    runpy.run_path(str(HERE.parent / "search" / "prepare.py"))["prepare"](
        encoder, work, threads=threads
    )
    for name in DOMAINS:
        file = work / name / "plait_statistics.safetensors"
        if file.exists():
            continue
        rows = (work / "data" / name / "data" / "train.jsonl").read_text("utf-8").splitlines()
        texts = [json.loads(rows[i * len(rows) // TEXTS])["text"] for i in range(TEXTS)]
        print(f"statistics of {name}: {len(texts)} texts", flush=True)
        collect_statistics(work / name, texts, file, kinds=("gram", "fisher"), threads=threads)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", choices=["minilm", "tiny"], default="minilm")
    parser.add_argument("--work", type=Path, default=HERE / "work")
    parser.add_argument("--threads", type=int, default=None)
    given = parser.parse_args()
    prepare(given.encoder, given.work, given.threads)
