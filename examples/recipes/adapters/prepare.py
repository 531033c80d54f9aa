# SPDX-License-Identifier: Apache-2.0
"""Make what the recipes fuse: LoRA adapters extracted from the fine-tunes of the example `search`.

Each adapter is the one of rank 16 that is nearest to what a fine-tune changed of its base's linear
layers. Everything is written into `work/` beside this file, once.
"""

from __future__ import annotations

import argparse
import runpy
from pathlib import Path

from plait.demo.data import DOMAINS
from plait.fusion.weights.extract import extract_adapter

HERE = Path(__file__).parent


def prepare(encoder: str, work: Path, rank: int, threads: int | None) -> None:
    """Write models and adapters that are not there yet."""
    runpy.run_path(str(HERE.parent / "search" / "prepare.py"))["prepare"](
        encoder, work, threads=threads
    )
    for name in DOMAINS:
        out = work / f"{name}-lora"
        if not out.exists():
            found = extract_adapter(work / "base", work / name, out, rank=rank)
            print(
                f"{out.name}: {found.matrices} matrices of rank {rank} hold {found.kept:.0%} of "
                "the squared change",
                flush=True,
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", choices=["minilm", "tiny"], default="minilm")
    parser.add_argument("--work", type=Path, default=HERE / "work")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--threads", type=int, default=None)
    given = parser.parse_args()
    prepare(given.encoder, given.work, given.rank, given.threads)
