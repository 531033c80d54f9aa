# SPDX-License-Identifier: Apache-2.0
"""Weight fusion against a plain copy and mergekit, on the same checkpoints, in one run.

Every candidate runs in a process of its own, so that start-up counts. CPU-seconds are user and
system time of the process; GB are those read and written (inputs once, output once). Peak memory is
the resident maximum, which counts mapped file pages too, and the anonymous maximum, which does not.

    python benchmarks/merge.py                                  # Plait against cp
    PLAIT_MERGEKIT_PYTHON=/path/bin/python python benchmarks/merge.py    # and mergekit
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml

SRC = Path(__file__).resolve().parent.parent / "src"
NAMES = ("base", "one", "two", "three")
WEIGHTS = (0.5, 0.3, 0.4)
# methods of two models, and what the models of others are given besides a weight
PAIRS: dict[str, dict[str, float]] = {
    "slerp": {"t": 0.3},
    "nearswap": {"t": 0.001},
    "arcee_fusion": {},
}
OWN = {
    "ties": {"density": 0.2},
    "dare_linear": {"density": 0.3},
    "dare_ties": {"density": 0.3},
    "della": {"density": 0.3},
    "della_linear": {"density": 0.3},
    "breadcrumbs": {"density": 0.5},
    "breadcrumbs_ties": {"density": 0.5},
}
ALONE = ("linear", "karcher")
PLAIT = "import sys; from plait.fusion.weights import fuse; fuse(sys.argv[1], sys.argv[2])"


def shapes(millions: int) -> tuple[dict[str, tuple[int, ...]], dict[str, Any]]:
    """Return the tensors and configuration of a Llama of about so many million parameters."""
    hidden, inner, vocab = 768, 2048, 32_000
    layer = 4 * hidden * hidden + 3 * hidden * inner + 2 * hidden
    layers = max(1, round((millions * 1_000_000 - 2 * vocab * hidden) / layer))
    found: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (vocab, hidden),
        "model.norm.weight": (hidden,),
        "lm_head.weight": (vocab, hidden),
    }
    for number in range(layers):
        start = f"model.layers.{number}."
        for part in "qkvo":
            found[f"{start}self_attn.{part}_proj.weight"] = (hidden, hidden)
        for part in ("gate", "up"):
            found[f"{start}mlp.{part}_proj.weight"] = (inner, hidden)
        found[f"{start}mlp.down_proj.weight"] = (hidden, inner)
        for part in ("input_layernorm", "post_attention_layernorm"):
            found[f"{start}{part}.weight"] = (hidden,)
    config = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "intermediate_size": inner,
        "vocab_size": vocab,
        "num_attention_heads": 12,
        "num_key_value_heads": 12,
        "max_position_embeddings": 512,
        "torch_dtype": "bfloat16",
    }
    return found, config


def bfloat16(values: np.ndarray) -> np.ndarray:
    """Round float32 to bfloat16, held as uint16."""
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def generate(folder: Path, millions: int) -> int:
    """Write a base and three fine-tunes of it; return the bytes of one model."""
    tensors, config = shapes(millions)
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    place = 0
    for name, shape in tensors.items():
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [place, place + size]}
        place += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    files = []
    for name in NAMES:
        (folder / name).mkdir()
        (folder / name / "config.json").write_text(json.dumps(config))
        files.append((folder / name / "model.safetensors").open("wb"))
        files[-1].write(struct.pack("<Q", len(text)) + text)
    random = np.random.default_rng(0)
    for shape in tensors.values():
        base = random.standard_normal(shape, np.float32) * np.float32(0.02)
        files[0].write(bfloat16(base).tobytes())
        for file in files[1:]:
            tuned = base + random.standard_normal(shape, np.float32) * np.float32(0.002)
            file.write(bfloat16(tuned).tobytes())
    for file in files:
        file.close()
    return place


def recipe(method: str, folder: Path) -> tuple[dict[str, Any], int]:
    """Return a recipe in mergekit's language, and how many models it reads."""
    path = {name: str(folder / name) for name in NAMES}
    numbers = {"dtype": "float32", "out_dtype": "bfloat16"}
    if method in PAIRS:
        models = [{"model": path["base"]}, {"model": path["one"]}]
        data = {"models": models, "base_model": path["base"], "parameters": PAIRS[method]}
        return {"merge_method": method, **data, **numbers}, 2
    names = NAMES[1:3] if method == "nuslerp" else NAMES[1:]
    data = {
        "models": [
            {"model": path[n], "parameters": {"weight": w, **OWN.get(method, {})}}
            for n, w in zip(names, WEIGHTS, strict=False)
        ]
    }
    if method in ALONE:
        return {"merge_method": method, **data, **numbers}, len(names)
    data["base_model"] = path["base"]
    return {"merge_method": method, **data, **numbers}, len(names) + 1


def measure(command: list[str], environment: dict[str, str]) -> dict[str, float]:
    """Run a command and return its CPU-seconds, wall seconds and peaks of memory in MB."""
    start = time.monotonic()
    with tempfile.TemporaryFile() as log:
        child = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        peak = {"RssAnon": 0, "VmHWM": 0}
        over = threading.Event()

        def watch() -> None:
            status = Path(f"/proc/{child.pid}/status")
            while not over.wait(0.01):
                try:
                    for line in status.read_text().splitlines():
                        key, _, value = line.partition(":")
                        if key in peak:
                            peak[key] = max(peak[key], int(value.split()[0]))
                except OSError:
                    return

        watcher = threading.Thread(target=watch)
        watcher.start()
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.monotonic() - start
        over.set()
        watcher.join()
        if status:
            log.seek(0)
            sys.exit(f"{' '.join(command)} failed:\n{log.read().decode(errors='replace')[-3000:]}")
    return {
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 3),
        "wall_seconds": round(wall, 3),
        "peak_rss_mb": round(peak["VmHWM"] / 1024, 1),
        "peak_anonymous_mb": round(peak["RssAnon"] / 1024, 1),
    }


def same_share(one: Path, other: Path) -> float:
    """Return the share of bfloat16 elements that two outputs have in common."""
    sys.path.insert(0, str(SRC))
    from plait.fusion.weights.checkpoints import open_checkpoint

    first, second = open_checkpoint(one).tensors, open_checkpoint(other).tensors
    equal = total = 0
    for name, entry in first.items():
        values = [
            np.fromfile(e.path, np.uint16, e.size, offset=e.offset) for e in (entry, second[name])
        ]
        equal += int(np.count_nonzero(values[0] == values[1]))
        total += entry.size
    return equal / total


def compare(
    method: str, folder: Path, size: int, repeat: int, mergekit: str | None
) -> dict[str, Any]:
    """Measure one method with every candidate; of several runs the one with least CPU counts."""
    data, models = recipe(method, folder)
    path = folder / f"{method}.yml"
    path.write_text(yaml.safe_dump(data))
    environment = {**os.environ, "PYTHONPATH": str(SRC)}
    commands = {"plait": [sys.executable, "-c", PLAIT, str(path)]}
    if mergekit:
        script = "from mergekit.scripts.run_yaml import main; main()"
        commands["mergekit"] = [mergekit, "-c", script, str(path)]
    row: dict[str, Any] = {"gb": round((models + 1) * size / 1e9, 3)}
    for who, command in commands.items():
        runs = []
        for _ in range(repeat):
            out = folder / f"{who}-{method}"
            shutil.rmtree(out, ignore_errors=True)
            runs.append(measure([*command, str(out)], environment))
        row[who] = min(runs, key=lambda r: r["cpu_seconds"])
        row[who]["gb_per_cpu_second"] = round(row["gb"] / row[who]["cpu_seconds"], 3)
    if mergekit:
        row["cpu_ratio"] = round(row["mergekit"]["cpu_seconds"] / row["plait"]["cpu_seconds"], 1)
        row["same_elements"] = same_share(folder / f"plait-{method}", folder / f"mergekit-{method}")
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=130, help="million parameters of a model")
    parser.add_argument("--repeat", type=int, default=1, help="runs of each; the best counts")
    parser.add_argument("--methods", default="linear,task_arithmetic,ties,dare_ties,slerp")
    parser.add_argument("--dir", type=Path, help="where to work (default: a temporary folder)")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    chosen = parser.parse_args()
    mergekit = os.environ.get("PLAIT_MERGEKIT_PYTHON")
    with tempfile.TemporaryDirectory(dir=chosen.dir) as name:
        folder = Path(name)
        size = generate(folder, chosen.size)
        source, target = folder / "base" / "model.safetensors", folder / "copy"
        copy = measure(["cp", str(source), str(target)], dict(os.environ))
        copy["gb"] = round(2 * size / 1e9, 3)
        print(f"copy: {copy['cpu_seconds']} CPU s for {copy['gb']} GB")
        results = {}
        for method in chosen.methods.split(","):
            row = results[method] = compare(method, folder, size, chosen.repeat, mergekit)
            for who in ("plait", "mergekit"):
                if who in row:
                    m = row[who]
                    print(
                        f"{method:16} {who:9} {m['cpu_seconds']:8.2f} CPU s "
                        f"{m['wall_seconds']:8.2f} s "
                        f"{m['gb_per_cpu_second']:7.3f} GB/CPU-s  peak {m['peak_rss_mb']:7.0f} MB, "
                        f"anonymous {m['peak_anonymous_mb']:7.0f} MB",
                        flush=True,
                    )
            if mergekit:
                print(
                    f"{method:16} mergekit / plait: {row['cpu_ratio']} x CPU; "
                    f"{row['same_elements']:.4%} of the elements the same",
                    flush=True,
                )
    report = {
        "benchmark": "merge",
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": {"cores": os.cpu_count(), "processor": platform.machine()},
        "software": {"python": platform.python_version(), "numpy": np.__version__},
        "model": {"million_parameters": size / 2e6, "bytes": size, "format": "bfloat16"},
        "copy": copy,
        "methods": results,
    }
    if chosen.json:
        chosen.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
