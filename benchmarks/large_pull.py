# SPDX-License-Identifier: Apache-2.0
"""Pull requests of a large model, from the upload to the landed merge: memory and time by stage.

A server and its worker are started as ``plait serve`` starts them. The stock client uploads a
generated Llama classifier (the shapes of a 1.5 B model, bfloat16) and a fine-tune of it, or two, as
pull requests; each is merged: planned, fused, judged on a private data set's items, landed.
Meanwhile the processor time and the anonymous memory of server, worker and client are read from
``/proc`` twenty times a second, and are told apart by the stages that the job's own log names.

The weights are drawn, not trained, but for the head: the residual stream carries the last word's
embedding through all layers, a fine-tune's head tells words of its half of the vocabulary apart,
so that scores and the gate's verdict mean something. Every matrix takes part in every evaluation.

    python benchmarks/large_pull.py --millions 100          # a minute
    python benchmarks/large_pull.py                         # 1,500 million parameters
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np

import measure

PLAIT = [sys.executable, "-m", "plait.cli.main"]
REPOSITORY, TEXTS = "lab/large", "lab/texts"
CHUNK = 2**22
STEP = 0.05
"""Seconds between two readings of the processes."""
POLAR = 60
"""Words of either meaning; each fine-tune knows half of them."""
NAMES = ("base", "first", "second")
UPLOAD = """
import sys
from huggingface_hub import HfApi
api, (repo, folder, kind, title) = HfApi(), sys.argv[1:]
if kind != "pull":
    api.create_repo(repo, repo_type=kind, private=kind == "dataset", exist_ok=True)
found = api.upload_folder(repo_id=repo, folder_path=folder, commit_message=title,
    repo_type="model" if kind == "pull" else kind, create_pr=kind == "pull")
print(found.pr_num)
"""
MERGE = """
import sys
from huggingface_hub import HfApi
HfApi().merge_pull_request(sys.argv[1], int(sys.argv[2]))
"""
DOWNLOAD = """
import sys
from huggingface_hub import snapshot_download
snapshot_download(sys.argv[1], local_dir=sys.argv[2])
"""
STAGES = {
    "reading the models": "plan: read the models, check them",
    "fusing the chosen candidate": "fuse",
    "judging": "evaluate",
    "looking for": "evaluate",
    "crediting": "credit",
    "comparing layers": "compare layers",
    "landing": "land",
}
"""What lines of a merge's log begin with, and the stage that they begin."""


def sizes(millions: int) -> dict[str, int]:
    """Return the sizes of a Llama of about so many million parameters."""
    if millions >= 1000:
        hidden, inner, heads, pairs, vocab = 1536, 8960, 12, 2, 151_936
    else:
        hidden, inner, heads, pairs, vocab = 768, 2048, 12, 4, 32_000
    layer = 2 * hidden * hidden * (1 + pairs / heads) + 3 * hidden * inner
    layers = max(1, round((millions * 1e6 - vocab * hidden) / layer))
    return {
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_attention_heads": heads,
        "num_key_value_heads": pairs,
        "vocab_size": vocab,
        "num_hidden_layers": layers,
    }


def shapes(size: dict[str, int]) -> dict[str, tuple[tuple[int, ...], float]]:
    """Return the classifier's tensors: shape and standard deviation (0: a norm's ones)."""
    hidden, inner = size["hidden_size"], size["intermediate_size"]
    pairs = hidden // size["num_attention_heads"] * size["num_key_value_heads"]
    # As GPT-2 is begun: what a layer adds is small enough for the words to come through.
    out = 0.02 / (2 * size["num_hidden_layers"]) ** 0.5
    found: dict[str, tuple[tuple[int, ...], float]] = {
        "model.embed_tokens.weight": ((size["vocab_size"], hidden), 1.0)
    }
    for number in range(size["num_hidden_layers"]):
        start = f"model.layers.{number}."
        found |= {
            f"{start}self_attn.q_proj.weight": ((hidden, hidden), 0.02),
            f"{start}self_attn.k_proj.weight": ((pairs, hidden), 0.02),
            f"{start}self_attn.v_proj.weight": ((pairs, hidden), 0.02),
            f"{start}self_attn.o_proj.weight": ((hidden, hidden), out),
            f"{start}mlp.gate_proj.weight": ((inner, hidden), 0.02),
            f"{start}mlp.up_proj.weight": ((inner, hidden), 0.02),
            f"{start}mlp.down_proj.weight": ((hidden, inner), out),
            f"{start}input_layernorm.weight": ((hidden,), 0.0),
            f"{start}post_attention_layernorm.weight": ((hidden,), 0.0),
        }
    return found | {"model.norm.weight": ((hidden,), 0.0), "score.weight": ((2, hidden), 0.0)}


def drawn(place: int, shape: tuple[int, ...], deviation: float, tune: int) -> Iterator[np.ndarray]:
    """Yield a tensor's values in pieces, uniform; a fine-tune's are the base's and a little more.

    ``deviation`` is the standard deviation of the base's.
    """
    base, change = np.random.default_rng([place, 0]), np.random.default_rng([place, tune])
    left = int(np.prod(shape))
    while left:
        count = min(CHUNK, left)
        values = np.ones(count, np.float32)
        if deviation:
            values = (base.random(count, np.float32) - np.float32(0.5)) * wide(deviation)
        if tune:
            more = change.random(count, np.float32) - np.float32(0.5)
            values = values + more * wide(0.05 * (deviation or 0.02))
        yield values
        left -= count


def wide(deviation: float) -> np.float32:
    """Return the width of a uniform distribution of this standard deviation."""
    return np.float32(deviation * 12**0.5)


def head(rows: np.ndarray, tune: int) -> np.ndarray:
    """Return [2, hidden]: 0 for the base; else what tells a half of the polar words apart."""
    hidden = rows.shape[1]
    if not tune:
        return np.zeros((2, hidden), np.float32)
    half = slice(tune - 1, None, 2)
    good, bad = rows[:POLAR][half].mean(0), rows[POLAR:][half].mean(0)
    return np.stack([bad - good, good - bad]).astype(np.float32)


def write_model(folder: Path, size: dict[str, int], tune: int) -> int:
    """Write a model that transformers loads; return its parameters."""
    from merge import _header, bfloat16

    folder.mkdir(parents=True)
    tensors = shapes(size)
    words = ["[PAD]", "[UNK]"] + [f"{kind}{n}" for kind in ("good", "bad") for n in range(POLAR)]
    words += [f"word{n}" for n in range(size["vocab_size"] - len(words))]
    write_tokenizer(folder, words)
    config = {
        "model_type": "llama",
        "architectures": ["LlamaForSequenceClassification"],
        "id2label": {"0": "negative", "1": "positive"},
        "label2id": {"negative": 0, "positive": 1},
        "pad_token_id": 0,
        "max_position_embeddings": 512,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        **size,
    }
    (folder / "config.json").write_text(json.dumps(config))
    first = np.concatenate([next(drawn(0, tensors["model.embed_tokens.weight"][0], 1.0, 0))])
    rows = first[: (2 + 2 * POLAR) * size["hidden_size"]].reshape(-1, size["hidden_size"])[2:]
    with (folder / "model.safetensors").open("wb") as file:
        file.write(_header({name: shape for name, (shape, _) in tensors.items()}, "BF16", 2))
        for place, (name, (shape, deviation)) in enumerate(tensors.items()):
            if name == "score.weight":
                file.write(bfloat16(head(rows, tune).reshape(-1)).tobytes())
                continue
            for values in drawn(place, shape, deviation, tune):
                file.write(bfloat16(values).tobytes())
    return sum(int(np.prod(shape)) for shape, _ in tensors.values())


def write_tokenizer(folder: Path, words: list[str]) -> None:
    """Write a tokenizer of whole words, as large as the vocabulary."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    made = Tokenizer(WordLevel({word: n for n, word in enumerate(words)}, unk_token="[UNK]"))
    made.pre_tokenizer = Whitespace()
    made.save(str(folder / "tokenizer.json"))
    told = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(told))


def write_texts(folder: Path, items: int, words: int, vocabulary: int) -> None:
    """Write the gate's items: neutral words, and at the end one that decides."""
    draw = random.Random(0)
    folder.joinpath("data").mkdir(parents=True)
    lines = []
    for number in range(items):
        label = number % 2
        neutral = [f"word{draw.randrange(vocabulary - 200)}" for _ in range(words - 1)]
        last = f"{('bad', 'good')[label]}{draw.randrange(POLAR)}"
        text = " ".join([*neutral, last])
        lines.append(json.dumps({"text": text, "label": ("negative", "positive")[label]}))
    (folder / "data" / "gate.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "plait.yaml").write_text(f"evaluation: {{allow: [{REPOSITORY}]}}\n")


class Watch:
    """Reads processor time and anonymous memory of some processes, until it is stopped."""

    def __init__(self, **pids: int) -> None:
        self.pids = dict(pids)
        self.samples: list[tuple[float, int, float, int]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.wait(STEP):
            for pid in list(self.pids.values()):
                with suppress(OSError, ValueError, IndexError):
                    cpu, held = measure.process_cpu(pid), anonymous(pid)
                    self.samples.append((time.time(), pid, cpu, held))

    def stop(self) -> None:
        """Read no more."""
        self._over.set()
        self._thread.join()

    def of(self, start: float, end: float) -> dict[str, dict[str, float]]:
        """Return what each process took between two moments."""
        found = {}
        for who, pid in self.pids.items():
            inside = [one for one in self.samples if one[1] == pid and start <= one[0] <= end]
            before = [one for one in self.samples if one[1] == pid and one[0] < start]
            if not inside:
                continue
            first = before[-1][2] if before else inside[0][2]
            found[who] = {
                "cpu_seconds": round(inside[-1][2] - first, 2),
                "peak_anonymous_mb": round(max(one[3] for one in inside) / 1e6, 1),
            }
        return found


def anonymous(pid: int) -> int:
    """Return the anonymous resident bytes of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise ValueError("no RssAnon")


def children(pid: int) -> list[int]:
    """Return the processes that a process started."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):
            found += map(int, (task / "children").read_text().split())
    return found


class Bench:
    """A hub with its server and worker, and the rows measured so far."""

    def __init__(self, folder: Path) -> None:
        from plait.hub import Hub
        from plait.settings import load_settings

        self.folder, self.hub = folder, folder / "hub"
        with Hub.open(load_settings(self.hub, {})) as hub:
            ada = hub.accounts.create_user("ada")
            hub.accounts.create_organization("lab", ada)
            self.token = hub.tokens.create(ada, scope="write")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{port}"
        self.log = (folder / "server.log").open("wb")
        self.server = subprocess.Popen(
            [*PLAIT, "serve", "--dir", str(self.hub), "--port", str(port)],
            stdout=self.log, stderr=self.log,
        )  # fmt: skip
        for _ in range(600):
            with suppress(OSError):
                urlopen(f"{self.endpoint}/healthz", timeout=1).read()
                break
            time.sleep(0.1)
        self.rows: list[dict[str, Any]] = []
        worker = None
        while worker is None:
            worker = next((p for p in children(self.server.pid) if "worker" in told(p)), None)
            time.sleep(0.1)
        self.watch = Watch(server=self.server.pid, worker=worker)
        self.env = {
            **os.environ,
            "HF_ENDPOINT": self.endpoint,
            "HF_TOKEN": self.token,
            "HF_HOME": str(folder / "home"),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        }

    def close(self) -> None:
        """End the server and its worker."""
        self.watch.stop()
        self.server.terminate()
        self.server.wait(60)
        self.log.close()

    def ask(self, path: str) -> dict[str, Any]:
        """Ask the hub's own API."""
        headers = {"Authorization": f"Bearer {self.token}"}
        url = f"{self.endpoint}/api/plait/{path}"
        with urlopen(Request(url, headers=headers), timeout=60) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def client(self, stage: str | None, script: str, *arguments: object, **more: Any) -> str:
        """Run the stock client in a process of its own; keep a row if it is a stage."""
        start = time.time()
        command = [sys.executable, "-c", script, *map(str, arguments)]
        child = subprocess.Popen(command, env=self.env, stdout=subprocess.PIPE, text=True)
        self.watch.pids["client"] = child.pid
        told, _ = child.communicate()
        self.watch.pids.pop("client")
        if child.returncode:
            raise SystemExit(f"{stage or 'the client'} failed")
        if stage is not None:
            self.watch.pids["client"] = child.pid
            self.add(stage, start, time.time(), **more)
            self.watch.pids.pop("client")
        return told.strip()

    def add(self, stage: str, start: float, end: float, **more: Any) -> None:
        """Keep and print a row."""
        row = {"stage": stage, "seconds": round(end - start, 1), **more}
        row |= self.watch.of(start, end)
        self.rows.append(row)
        parts = [
            f"{who} {row[who]['cpu_seconds']:.1f} CPU s, {row[who]['peak_anonymous_mb']:.0f} MB"
            for who in ("client", "server", "worker")
            if who in row
        ]
        print(f"{stage:<34} {row['seconds']:8.1f} s   {'; '.join(parts)}", flush=True)

    def merge(self, number: int) -> dict[str, Any]:
        """Merge a pull request and wait; keep a row for each stage."""
        self.client(None, MERGE, REPOSITORY, number)
        shown = None
        while True:
            state = self.ask(f"models/{REPOSITORY}/pulls/{number}")
            job = state["job"]
            if job["stage"] != shown:
                shown = job["stage"]
                print(f"    {shown}", flush=True)
            if job["state"] in ("succeeded", "failed", "cancelled"):
                break
            time.sleep(0.5)
        ended = time.time()
        lines = self.ask(f"jobs/{job['id']}/log")["lines"]
        if state["status"] != "merged":
            raise SystemExit(f"Not merged: {[line['text'] for line in lines]}\n{job}")
        marks: list[tuple[float, str]] = []
        for line in lines:
            begun = next((v for k, v in STAGES.items() if line["text"].startswith(k)), None)
            if begun is not None and (not marks or marks[-1][1] != begun):
                marks.append((datetime.fromisoformat(line["at"]).timestamp(), begun))
        for (start, stage), (end, _) in zip(marks, [*marks[1:], (ended, "")], strict=True):
            self.add(f"merge {number}: {stage}", start, end, pull=number)
        return dict(state["report"])


def told(pid: int) -> str:
    """Return a process's command line."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


def digest(path: Path) -> str:
    """Return a file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def run(bench: Bench, folder: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """Do the whole and return what is told beside the rows."""
    size = sizes(asked.millions)
    write_texts(folder / "texts", asked.items, asked.words, size["vocab_size"])
    bench.client(None, UPLOAD, TEXTS, folder / "texts", "dataset", "texts")
    about: dict[str, Any] = {"sizes": size, "items": asked.items, "words": asked.words}
    numbers = []
    for tune, name in enumerate(NAMES[: 1 + asked.pulls]):
        parameters = write_model(folder / name, size, tune)
        weights = folder / name / "model.safetensors"
        about |= {"parameters": parameters, "bytes": weights.stat().st_size}
        print(f"{name}: {parameters / 1e6:,.0f} M parameters", flush=True)
        if not tune:
            (folder / name / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Large\n")
            (folder / name / "plait.yaml").write_text(
                "fusion: {method: task_arithmetic, parameters: {weight: 1.0}}\n"
                f"tasks:\n  - {{name: texts, dataset: {TEXTS}, margin: 0.3}}\n"
                "gate: {margin: 0.3}\n"
            )
        stage = f"upload {name}" if not tune else f"upload pull request {tune}"
        what = ("model", "base") if not tune else ("pull", f"Fine-tune {name}")
        told = bench.client(stage, UPLOAD, REPOSITORY, folder / name, *what, pull=tune or None)
        shutil.rmtree(folder / name)
        if tune:
            numbers.append(int(told))
    reports = [bench.merge(number) for number in numbers]
    for number, report in zip(numbers, reports, strict=True):
        row = report["tasks"][0]
        about[f"scores {number}"] = row["scores"]
        about[f"cost {number}"] = report["cost"]
    bench.client("download the merged model", DOWNLOAD, REPOSITORY, folder / "down")
    stated = reports[-1]["output"]["files"]["model.safetensors"]
    if digest(folder / "down" / "model.safetensors") != stated:
        raise SystemExit("The bytes that came back are not those that the lineage states.")
    disk = sum(f.stat().st_blocks * 512 for f in bench.hub.rglob("*") if f.is_file())
    return about | {"stored_mb": round(disk / 1e6, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--millions", type=int, default=1500)
    parser.add_argument("--pulls", type=int, choices=(1, 2), default=1)
    parser.add_argument("--items", type=int, default=24, help="of the gate")
    parser.add_argument("--words", type=int, default=8, help="of an item")
    parser.add_argument("--folder", type=Path, help="where to work; about ten models' bytes")
    parser.add_argument("--write", action="store_true", help="put the result into results/")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as name:
        bench = Bench(Path(name))
        idle = {"server": anonymous(bench.server.pid)}
        try:
            about = run(bench, Path(name), asked)
        finally:
            bench.close()
    about["server_idle_mb"] = round(idle["server"] / 1e6, 1)
    if asked.write:
        print("written to", measure.write("large-pull", bench.rows, **about))
    else:
        print(json.dumps(about, indent=1))


if __name__ == "__main__":
    main()
