# SPDX-License-Identifier: Apache-2.0
"""A large file up and down with the stock client, against ``cp`` of the same bytes.

Each row is a process of its own: the client (``hf``-library call in a fresh interpreter), the
server (its CPU-seconds meanwhile), and ``cp``. Up is measured by Xet (the client's default) and
by plain LFS; the second Xet upload of the same bytes shows deduplication.
Usage: ``python benchmarks/transfer.py [--size-mb 1024]``.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import measure

UPLOAD = """
import sys
from huggingface_hub import HfApi
api = HfApi()
api.create_repo(sys.argv[1], exist_ok=True)
api.upload_file(path_or_fileobj=sys.argv[2], path_in_repo=sys.argv[3], repo_id=sys.argv[1])
"""
DOWNLOAD = """
import sys
from huggingface_hub import hf_hub_download
hf_hub_download(sys.argv[1], sys.argv[3], local_dir=sys.argv[2])
"""


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def stored(folder: Path) -> int:
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size-mb", type=int, default=1024)
    size = parser.parse_args().size_mb * 2**20
    plait = [sys.executable, "-m", "plait.cli.main"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "model.safetensors"
        with source.open("wb") as file:
            for _ in range(size // 2**20):
                file.write(os.urandom(2**20))
        hub = folder / "hub"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        subprocess.run(
            [*plait, "user", "create", "bench", "--dir", hub], check=True, stdout=subprocess.DEVNULL
        )
        token = subprocess.run(
            [*plait, "token", "create", "bench", "--dir", hub],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        server = subprocess.Popen(
            [*plait, "serve", "--workers", "0", "--dir", hub, "--port", str(port)],
            stderr=subprocess.DEVNULL,
        )
        endpoint = f"http://127.0.0.1:{port}"
        for _ in range(3000):
            try:
                urlopen(f"{endpoint}/healthz", timeout=1).read()
                break
            except OSError:
                time.sleep(0.02)
        idle = measure.process_peak(server.pid)
        env = {
            "HF_ENDPOINT": endpoint,
            "HF_TOKEN": token,
            "HF_HOME": str(folder / "home"),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        }
        rows: list[dict[str, Any]] = []
        gigabytes = size / 1e9

        def step(title: str, script: str, *arguments: str, **more: str) -> None:
            before, kept = measure.process_cpu(server.pid), stored(hub)
            cost = measure.run([sys.executable, "-c", script, *arguments], env={**env, **more})
            if cost.returncode:
                raise SystemExit(f"{title} failed")
            used = measure.process_cpu(server.pid) - before
            rows.append(
                measure.row(
                    title,
                    cost,
                    server_cpu_seconds=round(used, 2),
                    server_peak_mb=round(measure.process_peak(server.pid) / 1e6, 1),
                    stored_mb=round((stored(hub) - kept) / 1e6, 1),
                )
            )

        try:
            copy = folder / "copy.safetensors"
            cost = measure.run(["cp", str(source), str(copy)])
            rows.append(measure.row("cp", cost))
            cost = measure.run(["sha256sum", str(source)])
            rows.append(measure.row("sha256sum", cost))
            name_up = source.name
            step("up, Xet", UPLOAD, "bench/xet", str(source), name_up)
            step("up again, Xet, same bytes", UPLOAD, "bench/again", str(source), name_up)
            down = folder / "down"
            step("down", DOWNLOAD, "bench/xet", str(down), name_up)
            if digest(down / name_up) != digest(source):
                raise SystemExit("The bytes that came back are not the bytes that went up.")
            with source.open("r+b") as file:
                file.write(os.urandom(64))  # other bytes: LFS would otherwise find them stored
            step("up, LFS", UPLOAD, "bench/lfs", str(source), name_up, HF_HUB_DISABLE_XET="1")
        finally:
            server.terminate()
            server.wait(timeout=30)
    base = rows[0]["cpu_seconds"]
    for row in rows:
        row["cpu_seconds_per_gb"] = round(row["cpu_seconds"] / gigabytes, 2)
        if "server_cpu_seconds" in row:
            row["server_cpu_ratio_to_cp"] = round(row["server_cpu_seconds"] / max(base, 1e-3), 2)
        print(
            f"{row['name']:<28} client {row['cpu_seconds']:6.2f} CPU s {row['peak_mb']:7.0f} MB   "
            f"server {row.get('server_cpu_seconds', 0):6.2f} CPU s "
            f"{row.get('server_peak_mb', 0):6.0f} MB   wall {row['wall_seconds']:6.1f} s   "
            f"stored {row.get('stored_mb', 0):7.1f} MB"
        )
    path = measure.write(
        "transfer", rows, size_mb=size // 2**20, server_idle_mb=round(idle / 1e6, 1)
    )
    print("written to", path)


if __name__ == "__main__":
    main()
