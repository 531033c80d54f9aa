# SPDX-License-Identifier: Apache-2.0
"""What it costs to start: ``plait --help``, a tiny fusion and its check, a server until it answers.

The fusion is of two models of some thousand parameters: all that it takes is the start.
Peer: the bare interpreter (``python -c pass``) and the stock client's own command
(``hf --help``), in the same run. Usage: ``python benchmarks/start.py [--runs 5]``.
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.request import urlopen

import numpy as np
from safetensors.numpy import save_file

import measure


def server_until_it_answers() -> measure.Cost:
    with tempfile.TemporaryDirectory() as folder:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [sys.executable, "-m", "plait.cli.main", "serve", "--workers", "0"]
        started = time.perf_counter()
        server = subprocess.Popen(
            [*command, "--dir", f"{folder}/hub", "--port", str(port)], stderr=subprocess.DEVNULL
        )
        try:
            for _ in range(3000):
                try:
                    urlopen(f"http://127.0.0.1:{port}/healthz", timeout=1).read()
                    break
                except OSError:
                    time.sleep(0.02)
            else:
                raise SystemExit("The server did not answer within a minute.")
            return measure.Cost(
                measure.process_cpu(server.pid),
                time.perf_counter() - started,
                measure.process_peak(server.pid),
                0,
            )
        finally:
            server.terminate()
            server.wait(timeout=30)


def median(costs: list[measure.Cost]) -> measure.Cost:
    return measure.Cost(
        statistics.median(c.cpu_seconds for c in costs),
        statistics.median(c.wall_seconds for c in costs),
        max(c.peak_bytes for c in costs),
        0,
    )


def tiny_recipe(folder: Path) -> Path:
    """Write two models of one layer, and the recipe that averages them."""
    models = []
    for seed, name in enumerate(("one", "two")):
        place = folder / name
        place.mkdir()
        drawn = np.random.default_rng(0).standard_normal((64, 64), np.float32)
        changed = drawn + np.float32(0.01 * seed) * np.random.default_rng(seed).standard_normal(
            (64, 64), np.float32
        )
        save_file({"layers.0.weight": changed}, place / "model.safetensors")
        (place / "config.json").write_text(json.dumps({"model_type": "bert"}))
        models.append({"model": str(place), "parameters": {"weight": 0.5}})
    recipe = folder / "recipe.yaml"
    recipe.write_text(json.dumps({"merge_method": "linear", "models": models}))
    return recipe


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        compare(Path(folder))


def compare(folder: Path) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    plait = [sys.executable, "-m", "plait.cli.main"]
    recipe, out = str(tiny_recipe(folder)), str(folder / "out")
    hf = str(Path(sys.executable).parent / "hf")
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "plait --help": [*plait, "--help"],
        "hf --help": [hf, "--help"],
        "import plait": [sys.executable, "-c", "import plait"],
        "plait fuse, a tiny recipe": [*plait, "fuse", recipe, "-o", out, "--overwrite"],
        "plait check, a tiny recipe": [*plait, "check", recipe],
    }
    costs: dict[str, list[measure.Cost]] = {name: [] for name in commands}
    costs["plait serve, answering"] = []
    for index in range(runs + 1):
        for name, command in commands.items():
            cost = measure.run(command)
            if cost.returncode:
                raise SystemExit(f"{name} failed")
            if index:  # the first round warms the file cache
                costs[name].append(cost)
        cost = server_until_it_answers()
        if index:
            costs["plait serve, answering"].append(cost)
    rows = [measure.row(name, median(values)) for name, values in costs.items()]
    for row in rows:
        print(f"{row['name']:<26} {row['cpu_seconds']:7.2f} CPU s  {row['peak_mb']:7.1f} MB")
    ratio = rows[1]["cpu_seconds"] / rows[2]["cpu_seconds"]
    print(f"plait --help / hf --help: {ratio:.2f} of the CPU-seconds")
    print("written to", measure.write("start", rows, runs=runs, ratio_to_hf_help=round(ratio, 3)))


if __name__ == "__main__":
    main()
