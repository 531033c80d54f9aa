# SPDX-License-Identifier: Apache-2.0
"""Weight fusion against a plain copy and mergekit, on the same checkpoints, in one run.

Every candidate runs in a process of its own, so that start-up counts. CPU-seconds are user and
system time of the process; GB are those read and written (inputs once, output once). Peak memory is
the resident maximum, which counts mapped file pages too, and the anonymous maximum, which does not.
Plait computes checksums of all inputs, and remembers those of files that do not change: `plait` is
the first fusion of a checkpoint, `again` any later one.

    python benchmarks/merge.py                                           # beside cp and torch
    PLAIT_MERGEKIT_PYTHON=/path/bin/python python benchmarks/merge.py    # and mergekit
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
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

import measure as measuring

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
METHODS = (
    "linear",
    "task_arithmetic",
    "slerp",
    "nuslerp",
    "multislerp",
    "karcher",
    "passthrough",
    "ties",
    "dare_linear",
    "dare_ties",
    "della",
    "della_linear",
    "breadcrumbs",
    "breadcrumbs_ties",
    "sce",
    "ram",
    "ramplus_tl",
    "model_stock",
    "nearswap",
    "arcee_fusion",
)
MERGEKIT = "from mergekit.scripts.run_yaml import main; main()"
# the simplest thing that could be done by hand: everything in memory, one tensor after the other
ADDITION = """
import sys
from pathlib import Path
import torch
from safetensors.torch import load_file, save_file
*models, out = map(Path, sys.argv[1:])
weights = (0.5, 0.3, 0.4)
loaded = [{n: t for f in m.glob("*.safetensors") for n, t in load_file(f).items()} for m in models]
total = sum(weights)
made = {}
for name, first in loaded[0].items():
    parts = (m[name].float() * w for m, w in zip(loaded, weights))
    made[name] = (sum(parts) / total).to(first.dtype)
out.mkdir()
save_file(made, out / "model.safetensors", {"format": "pt"})
"""
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


def generate(folder: Path, millions: int, kind: str = "bfloat16", shards: int = 1) -> int:
    """Write a base and three fine-tunes of it, in several files each; return one model's bytes."""
    tensors, config = shapes(millions)
    config["torch_dtype"] = kind
    code, width = {"bfloat16": ("BF16", 2), "float32": ("F32", 4)}[kind]
    total = sum(width * int(np.prod(shape)) for shape in tensors.values())
    groups: list[dict[str, tuple[int, ...]]] = [{}]
    filled = 0
    for name, shape in tensors.items():
        if filled >= total / shards and len(groups) < shards:
            groups.append({})
            filled = 0
        groups[-1][name] = shape
        filled += width * int(np.prod(shape))
    names = [f"model-{n:05d}-of-{len(groups):05d}.safetensors" for n in range(1, len(groups) + 1)]
    if len(groups) == 1:
        names = ["model.safetensors"]
    where = {tensor: name for name, group in zip(names, groups, strict=True) for tensor in group}
    for model in NAMES:
        (folder / model).mkdir()
        (folder / model / "config.json").write_text(json.dumps(config))
        if len(groups) > 1:
            index = json.dumps({"metadata": {"total_size": total}, "weight_map": where})
            (folder / model / "model.safetensors.index.json").write_text(index)
    random = np.random.default_rng(0)
    for name, group in zip(names, groups, strict=True):
        files = [(folder / model / name).open("wb") for model in NAMES]
        header = _header(group, code, width)
        for file in files:
            file.write(header)
        for shape in group.values():
            base = random.standard_normal(shape, np.float32) * np.float32(0.02)
            for number, file in enumerate(files):
                values = base
                if number:
                    values = base + random.standard_normal(shape, np.float32) * np.float32(0.002)
                file.write((bfloat16(values) if kind == "bfloat16" else values).tobytes())
        for file in files:
            file.close()
    return total


def _header(group: dict[str, tuple[int, ...]], code: str, width: int) -> bytes:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    place = 0
    for name, shape in group.items():
        size = width * int(np.prod(shape))
        header[name] = {"dtype": code, "shape": shape, "data_offsets": [place, place + size]}
        place += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def recipe(method: str, folder: Path, kind: str = "bfloat16") -> tuple[dict[str, Any], int]:
    """Return a recipe in mergekit's language, and how many models it reads."""
    path = {name: str(folder / name) for name in NAMES}
    numbers = {"dtype": "float32", "out_dtype": kind}
    if method == "passthrough":
        return {"merge_method": method, "models": [{"model": path["one"]}], **numbers}, 1
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


def same_share(one: Path, other: Path) -> tuple[float, float]:
    """Return the share of elements that two outputs have in common, and how far others are apart.

    bfloat16 is compared bit by bit; of float32, sums in another order, up to a part in a million.
    The largest difference of two elements is given in root mean squares of their tensor.
    """
    sys.path.insert(0, str(SRC))
    from plait.fusion.weights.checkpoints import open_checkpoint

    first, second = open_checkpoint(one).tensors, open_checkpoint(other).tensors
    equal = total = 0
    largest = 0.0
    for name, entry in first.items():
        kind = np.uint16 if entry.code == "BF16" else np.float32
        a, b = (np.fromfile(e.path, kind, e.size, offset=e.offset) for e in (entry, second[name]))
        total += entry.size
        if kind is np.uint16:
            equal += int(np.count_nonzero(a == b))
            a, b = (v.astype(np.uint32) << 16 for v in (a, b))
            a, b = (v.view(np.float32) for v in (a, b))
        else:
            equal += int(np.count_nonzero(np.isclose(a, b, rtol=1e-6, atol=0)))
        size = float(np.sqrt(np.mean(np.square(a, dtype=np.float64))))
        largest = max(largest, float(np.abs(a - b).max()) / (size or 1.0))
    return equal / total, largest


def best(
    command: list[str], out: Path, repeat: int, gb: float, **variables: str
) -> dict[str, float]:
    """Run a command that makes `out`, some times; that with the least CPU-seconds counts."""
    runs = []
    for _ in range(repeat):
        shutil.rmtree(out, ignore_errors=True)
        environment = {**os.environ, "PYTHONPATH": str(SRC), **variables}
        runs.append(measure([*command, str(out)], environment))
    found = min(runs, key=lambda run: run["cpu_seconds"])
    found["gb_per_cpu_second"] = round(gb / found["cpu_seconds"], 3)
    found["load"] = round(os.getloadavg()[0], 1)
    return found


def compare(method: str, folder: Path, size: int, chosen: argparse.Namespace) -> dict[str, Any]:
    """Measure one method with Plait, and with mergekit where it was asked for."""
    data, models = recipe(method, folder, chosen.format)
    path = folder / f"{method}.yml"
    path.write_text(yaml.safe_dump(data))
    gb = round((models + 1) * size / 1e9, 3)
    outs = {who: folder / f"{who}-{method}" for who in ("plait", "mergekit")}
    plait = [sys.executable, "-c", PLAIT, str(path)]
    first = best(plait, outs["plait"], chosen.repeat, gb, PLAIT_CHECKSUM_CACHE="off")
    home = {"XDG_CACHE_HOME": str(folder / "cache"), "PLAIT_CHECKSUM_CACHE": "on"}
    best(plait, outs["plait"], 1, gb, **home)
    again = best(plait, outs["plait"], chosen.repeat, gb, **home)
    row: dict[str, Any] = {"gb": gb, "plait": first, "again": again}
    interpreter = os.environ.get("PLAIT_MERGEKIT_PYTHON")
    if interpreter and (chosen.peers is None or method in chosen.peers.split(",")):
        command = [interpreter, "-c", MERGEKIT, str(path)]
        row["mergekit"] = best(command, outs["mergekit"], chosen.repeat, gb)
        for who, ratio in (("plait", "cpu_ratio"), ("again", "cpu_ratio_again")):
            row[ratio] = round(row["mergekit"]["cpu_seconds"] / row[who]["cpu_seconds"], 1)
        same, largest = same_share(outs["plait"], outs["mergekit"])
        row["same_elements"], row["largest_difference"] = same, float(f"{largest:.2g}")
    for out in outs.values():
        shutil.rmtree(out, ignore_errors=True)
    return row


def plain(what: str, folder: Path, size: int, chosen: argparse.Namespace) -> dict[str, Any]:
    """Measure a plain copy of one model, or adding three models up in memory with torch."""
    if what == "copy":
        gb = round(2 * size / 1e9, 3)
        command = ["cp", "-r", str(folder / "base")]
    else:
        gb = round(4 * size / 1e9, 3)
        command = [sys.executable, "-c", ADDITION, *(str(folder / n) for n in NAMES[1:])]
    out = folder / what
    row = {"gb": gb, what: best(command, out, chosen.repeat, gb)}
    shutil.rmtree(out, ignore_errors=True)
    return row


def say(method: str, row: dict[str, Any]) -> None:
    for who in ("plait", "again", "mergekit", "copy", "addition"):
        if who in row:
            m = row[who]
            print(
                f"{method:16} {who:9} {m['cpu_seconds']:8.2f} CPU s {m['wall_seconds']:8.2f} s "
                f"{m['gb_per_cpu_second']:7.3f} GB/CPU-s  peak {m['peak_rss_mb']:7.0f} MB, "
                f"anonymous {m['peak_anonymous_mb']:7.0f} MB  load {m['load']}",
                flush=True,
            )
    if "cpu_ratio" in row:
        print(
            f"{method:16} mergekit / plait: {row['cpu_ratio']} x CPU, again "
            f"{row['cpu_ratio_again']} x; "
            f"{row['same_elements']:.4%} of the elements the same, the others at most "
            f"{row['largest_difference']:.1e} of the tensor's root mean square apart",
            flush=True,
        )


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """Put rows into a result, in place of those of the same size, format and method."""
    before = json.loads(path.read_text())["rows"] if path.exists() else []
    new = {(r["millions"], r["format"], r["method"]) for r in rows}
    kept = [r for r in before if (r["millions"], r["format"], r["method"]) not in new]
    order = [*METHODS, "copy", "addition"]
    found = sorted(
        [*kept, *rows], key=lambda r: (r["format"], r["millions"], order.index(r["method"]))
    )
    about = {
        "benchmark": "merge",
        "measured": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "machine": measuring.machine(),
        "numpy": np.__version__,
        "mergekit": "0.1.5",
        "rows": found,
    }
    path.write_text(json.dumps(about, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=127, help="million parameters of a model")
    parser.add_argument("--format", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--shards", type=int, default=4, help="files that a model is stored in")
    parser.add_argument("--repeat", type=int, default=1, help="runs of each; the best counts")
    parser.add_argument("--methods", default=",".join((*METHODS, "copy", "addition")))
    parser.add_argument("--peers", help="methods to run mergekit for too (default: all)")
    parser.add_argument("--dir", type=Path, help="where to work (default: a temporary folder)")
    parser.add_argument("--json", type=Path, help="put the rows into this file of results")
    chosen = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(dir=chosen.dir) as name:
        folder = Path(name)
        size = generate(folder, chosen.size, chosen.format, chosen.shards)
        width = 2 if chosen.format == "bfloat16" else 4
        for method in chosen.methods.split(","):
            run = plain if method in ("copy", "addition") else compare
            found = run(method, folder, size, chosen)
            say(method, found)
            about = {"millions": round(size / width / 1e6), "format": chosen.format}
            rows.append({"method": method, **about, "files": chosen.shards, **found})
            if chosen.json:
                write(chosen.json, rows)


if __name__ == "__main__":
    main()
