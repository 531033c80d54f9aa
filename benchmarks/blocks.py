# SPDX-License-Identifier: Apache-2.0
"""How the size of the fusion engine's blocks decides what one and several threads cost.

No peer: it compares the engine with itself, on the checkpoints of ``merge.py``, each run in a
process of its own. Usage: ``python benchmarks/blocks.py [--size 130]``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

import measure
import merge

SIZES = (32_768, 65_536, 131_072, 262_144)
METHODS = ("linear", "ties")
THREADS = (1, 2)
SCRIPT = """
import sys
import plait.fusion.weights.engine as engine
engine.SEGMENT = 2_097_152
engine.BLOCK = int(sys.argv[3])
from plait.fusion.weights import fuse
fuse(sys.argv[1], sys.argv[2], threads=int(sys.argv[4]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=130, help="million parameters of a model")
    size = parser.parse_args().size
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        merge.generate(folder, size)
        for method in METHODS:
            document, _ = merge.recipe(method, folder)
            recipe = folder / f"{method}.yaml"
            recipe.write_text(yaml.safe_dump(document))
            for threads in THREADS:
                for block in SIZES:
                    out = folder / f"{method}-{threads}-{block}"
                    arguments = [str(recipe), str(out), str(block), str(threads)]
                    cost = measure.run([sys.executable, "-c", SCRIPT, *arguments])
                    if cost.returncode:
                        raise SystemExit(f"{method} with blocks of {block} failed")
                    row = measure.row(method, cost, threads=threads, block=block)
                    rows.append(row)
                    print(
                        f"{method:<8} {threads} threads, blocks of {block:>7,}: "
                        f"{row['cpu_seconds']:6.2f} CPU s {row['wall_seconds']:6.2f} s"
                    )
    print("written to", measure.write("blocks", rows, million_parameters=size))


if __name__ == "__main__":
    main()
