# SPDX-License-Identifier: Apache-2.0
"""Large and many files up and down with the stock client, beside nginx and ``cp``.

Three uploads: one large file, many files of 10 KB, and the large file with 1% of it replaced. Each
comes down again, by Xet (the client's default) and as plain HTTP. Beside them, in the same run:
``cp`` of the same bytes (what receiving them costs at the least), and the client's own plain
download from nginx, which sends the same file. Every row is a fresh client process; the server's
CPU-seconds, its largest memory since the start (against idle) and the bytes that it stored are
measured meanwhile. The files of the row before are in the page cache, as nginx's are.

Usage: ``python benchmarks/transfer.py [--size-mb 2048] [--files 2000] [--repeats 3]``.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
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
UPLOAD_FOLDER = """
import sys
from huggingface_hub import HfApi
api = HfApi()
api.create_repo(sys.argv[1], exist_ok=True)
api.upload_folder(folder_path=sys.argv[2], repo_id=sys.argv[1])
"""
DOWNLOAD = """
import sys
from huggingface_hub import hf_hub_download
hf_hub_download(sys.argv[1], sys.argv[3], local_dir=sys.argv[2])
"""
SNAPSHOT = """
import sys
from huggingface_hub import snapshot_download
snapshot_download(sys.argv[1], local_dir=sys.argv[2])
"""
HTTP_GET = """
import sys
from huggingface_hub.file_download import http_get
with open(sys.argv[2], "wb") as out:
    http_get(sys.argv[1], out)
"""
PLAIT = [sys.executable, "-m", "plait.cli.main"]
MB = 2**20
SMALL = 10_000


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def stored(folder: Path) -> int:
    return sum(
        f.stat().st_size
        for kind in ("blobs", "xorbs")
        for f in (folder / kind).rglob("*")
        if f.is_file()
    )


class Nginx:
    """nginx over a folder, with its own configuration, as whoever runs the benchmark."""

    def __init__(self, folder: Path, root: Path) -> None:
        self.port = free_port()
        temporary = "".join(
            f"{name}_temp_path {folder}/nginx-{name};\n"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        user = "user root;\n" if os.getuid() == 0 else ""
        config = folder / "nginx.conf"
        config.write_text(
            f"daemon off; worker_processes 1; pid {folder}/nginx.pid;\n"
            f"error_log {folder}/nginx.log;\n{user}events {{}}\nhttp {{ access_log off; "
            f"sendfile on; tcp_nopush on;\n{temporary}"
            f"server {{ listen 127.0.0.1:{self.port}; root {root}; }} }}\n"
        )
        self.process = subprocess.Popen(["nginx", "-c", str(config)])

    def cpu(self) -> float:
        """CPU-seconds of nginx and its worker."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return sum(measure.process_cpu(int(pid)) for pid in children.split())

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(30)


class Bench:
    """A hub, its server, nginx, and the rows measured so far."""

    def __init__(self, folder: Path) -> None:
        from plait.hub import Hub
        from plait.settings import load_settings

        self.folder, self.hub = folder, folder / "hub"
        with Hub.open(load_settings(self.hub, {})) as hub:
            token = hub.tokens.create(hub.accounts.create_user("bench"), scope="write")
        port = free_port()
        self.server = subprocess.Popen(
            [*PLAIT, "serve", "--workers", "0", "--dir", str(self.hub), "--port", str(port)],
            stderr=subprocess.DEVNULL,
        )
        self.endpoint = f"http://127.0.0.1:{port}"
        for _ in range(3000):
            with suppress(OSError):
                urlopen(f"{self.endpoint}/healthz", timeout=1).read()
                break
            time.sleep(0.02)
        self.env = {
            "HF_ENDPOINT": self.endpoint,
            "HF_TOKEN": token,
            "HF_HOME": str(folder / "home"),
            "HF_XET_CACHE": str(folder / "home" / "xet"),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        }
        self.idle = measure.process_peak(self.server.pid)
        self.rows: list[dict[str, Any]] = []

    def step(
        self,
        title: str,
        bytes_: int,
        script: str,
        *arguments: object,
        repeats: int = 1,
        after: Callable[[], None] = lambda: None,
        server: Callable[[], float] | None = None,
        **more: str,
    ) -> dict[str, Any]:
        """Run a client ``repeats`` times; keep the run whose time is the median."""
        cpu = server or (lambda: measure.process_cpu(self.server.pid))
        found = []
        for _ in range(repeats):
            before, kept = cpu(), stored(self.hub)
            command = [sys.executable, "-c", script, *map(str, arguments)]
            cost = measure.run(command, env={**self.env, **more})
            if cost.returncode:
                raise SystemExit(f"{title} failed")
            found.append((cost.wall_seconds, cost, cpu() - before, stored(self.hub) - kept))
            after()
        found.sort(key=lambda one: one[0])
        _, cost, used, grown = found[len(found) // 2]
        peak = measure.process_peak(self.server.pid)
        return self.add(
            title,
            cost,
            bytes_,
            server_cpu_seconds=round(used, 2),
            server_peak_mb=round(peak / 1e6, 1),
            server_over_idle_mb=round((peak - self.idle) / 1e6, 1),
            stored_mb=round(grown / 1e6, 2),
            wall_all=[round(one[0], 2) for one in found],
        )

    def add(self, title: str, cost: measure.Cost, bytes_: int, **more: Any) -> dict[str, Any]:
        """Keep and print a row."""
        row = measure.row(title, cost, mb=round(bytes_ / 1e6, 1), **more)
        row["mb_per_second"] = round(bytes_ / 1e6 / cost.wall_seconds, 1)
        self.rows.append(row)
        print(
            f"{title:<34} {row['wall_seconds']:8.2f} s {row['mb_per_second']:8.1f} MB/s  "
            f"client {row['cpu_seconds']:7.2f} CPU s  server "
            f"{row.get('server_cpu_seconds', 0):7.2f} CPU s  over idle "
            f"{row.get('server_over_idle_mb', 0):6.1f} MB  "
            f"stored {row.get('stored_mb', 0):9.2f} MB",
            flush=True,
        )
        return row


def edit(path: Path, share: float) -> None:
    """Replace a run of bytes in the middle of a file."""
    size = path.stat().st_size
    count = int(size * share)
    with path.open("r+b") as file:
        file.seek(size // 2)
        left = count
        while left > 0:
            piece = os.urandom(min(MB, left))
            file.write(piece)
            left -= len(piece)


def run(bench: Bench, folder: Path, size: int, files: int, repeats: int) -> None:
    root = folder / "root"
    root.mkdir()
    source = root / "model.safetensors"
    with source.open("wb") as file:
        for _ in range(size // MB):
            file.write(os.urandom(MB))
    many = folder / "many"
    rng = random.Random(1)
    for number in range(files):
        target = many / f"{number % 20:02d}" / f"{number:05d}.bin"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(rng.randbytes(SMALL))
    name, down = source.name, folder / "down"

    def clear() -> None:
        shutil.rmtree(down, ignore_errors=True)

    def checked(against: Path) -> None:
        if digest(down / name) != digest(against):
            raise SystemExit("The bytes that came back are not the bytes that went up.")
        clear()

    copy = folder / "copy.safetensors"
    bench.add("cp, large", measure.run(["cp", str(source), str(copy)]), size)
    copy.unlink()
    bench.add("cp, many", measure.run(["cp", "-r", str(many), str(folder / "c")]), files * SMALL)
    shutil.rmtree(folder / "c")
    bench.step("up, Xet, large", size, UPLOAD, "bench/xet", source, name)
    bench.step("up, Xet, same bytes again", size, UPLOAD, "bench/again", source, name)
    # Other bytes: what Xet brought would be found stored, and not be stored flat.
    other = root / "other.safetensors"
    shutil.copyfile(source, other)
    edit(other, 64 / size)
    bench.step("up, LFS, large", size, UPLOAD, "bench/lfs", other, name, HF_HUB_DISABLE_XET="1")
    plain = {"HF_HUB_DISABLE_XET": "1"}
    for title, repo, file, more in (
        ("down, Xet, large", "bench/xet", source, {}),
        ("down, HTTP, from xorbs, large", "bench/xet", source, plain),
        ("down, HTTP, from a blob, large", "bench/lfs", other, plain),
    ):
        after = partial(checked, file)
        bench.step(title, size, DOWNLOAD, repo, down, name, repeats=repeats, after=after, **more)
    nginx = Nginx(folder, root)
    try:
        time.sleep(0.5)
        down.mkdir()
        # In turns, so that whatever else the machine does falls on both.
        pairs: dict[str, list[float]] = {"nginx": [], "plait": []}
        for _ in range(repeats):
            for who, url, server in (
                ("nginx", f"http://127.0.0.1:{nginx.port}/{name}", nginx.cpu),
                ("plait", f"{bench.endpoint}/bench/lfs/resolve/main/{name}", None),
            ):
                row = bench.step(
                    f"same client call, from {who}",
                    size,
                    HTTP_GET,
                    url,
                    down / name,
                    server=server,
                    after=lambda: (down / name).unlink(),
                )
                pairs[who].append(row["wall_seconds"])
        ratio = statistics.median(pairs["nginx"]) / statistics.median(pairs["plait"])
        bench.rows[-1]["speed_to_nginx"] = round(ratio, 3)
        print(f"speed to nginx's: {ratio:.2f}")
        clear()
    finally:
        nginx.stop()
    bench.step("up, many", files * SMALL, UPLOAD_FOLDER, "bench/many", many)
    bench.step("down, many", files * SMALL, SNAPSHOT, "bench/many", down, after=clear)
    edit(source, 0.01)
    row = bench.step("up, Xet, 1% edited", size, UPLOAD, "bench/xet", source, name)
    row["stored_share"] = round(row["stored_mb"] * 1e6 / size, 4)
    print(f"the edit stored {row['stored_share']:.2%} of the file")
    bench.step(
        "down, Xet, 1% edited",
        size,
        DOWNLOAD,
        "bench/xet",
        down,
        name,
        after=partial(checked, source),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size-mb", type=int, default=2048)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name))
        try:
            run(bench, Path(name), asked.size_mb * MB, asked.files, asked.repeats)
        finally:
            bench.server.terminate()
            bench.server.wait(timeout=30)
    path = measure.write(
        "transfer",
        bench.rows,
        size_mb=asked.size_mb,
        files=asked.files,
        server_idle_mb=round(bench.idle / 1e6, 1),
    )
    print("written to", path)


if __name__ == "__main__":
    main()
