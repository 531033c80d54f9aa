# SPDX-License-Identifier: Apache-2.0
"""A large hub: how long its answers take with one and with many clients, and what they cost.

Usage: ``python benchmarks/hub.py`` fills a hub with 20,000 repositories and 200,000 commits and
measures it on SQLite and on PostgreSQL; ``--repositories 500 --seconds 1`` is a quick look.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from furnish import BIG, BIG_FILES, COMMITS, FILE, FILE_BYTES, copy_records, fill
from load import measure
from measure import process_cpu, process_peak, write
from plait.hub import Hub
from plait.hub.migrations import upgrade
from plait.settings import load_settings

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from integration.live import Server
from integration.services import PostgreSQL, free_ports

CLIENTS = (1, 16, 64)
NGINX = """
worker_processes 1; daemon off; pid {folder}/pid; error_log stderr warn;
events {{ worker_connections 256; }}
http {{ access_log off; sendfile on; client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{ listen 127.0.0.1:{port}; root {folder}/www; }} }}
"""


def questions(hub: Hub) -> dict[str, list[str]]:
    """What is asked: a name and the addresses, taken in turn."""
    actor = hub.tokens.actor_of(hub.accounts.get("builder").id, None)
    assert actor is not None
    found = hub.repositories.list(actor, "model", limit=200).items
    names = [repo.full_name for repo in found if repo.full_name.startswith("team-")][:100]
    return {
        "listing, 100 newest": ["/api/models?limit=100"],
        "listing, 100 most downloaded": ["/api/models?sort=downloads&limit=100"],
        "search: a word": [f"/api/models?search={w}&limit=50" for w in ("bert", "legal", "vis")],
        "search: a word, a tag, a license, by likes": [
            f"/api/models?search={w}&filter=transformers&filter=license:mit&sort=likes&limit=50"
            for w in ("bert", "small")
        ],
        "search: nothing found": ["/api/models?search=nowhere-to-be-found"],
        "an organisation's models": [f"/api/models?author=team-{n:03}" for n in range(50)],
        "page: search": ["/models?search=bert"],
        "page: repository": [f"/{name}" for name in names],
        "repository": [f"/api/models/{name}" for name in names],
        "commits": [f"/api/models/{name}/commits/main" for name in names],
        f"tree of {BIG_FILES:,} files, first page": [f"/api/models/{BIG}/tree/main/data"],
        "resolve: 100 KB": [f"/{name}/resolve/main/{FILE}" for name in names],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repositories", type=int, default=20_000)
    parser.add_argument("--files", type=int, default=BIG_FILES, help="files of the large folder")
    parser.add_argument("--requests", type=int, default=400, help="at most, for each figure")
    parser.add_argument("--seconds", type=float, default=6.0, help="about, for each figure")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    if (reason := PostgreSQL.missing()) is not None:
        raise SystemExit(reason)
    folder = Path(tempfile.mkdtemp(prefix="plait-benchmark-"))
    try:
        rows, more = run(folder, chosen)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(more, indent=2))
    for row in rows:
        print(row)
    if chosen.json:
        path = write("hub", rows, **more)
        if path != chosen.json:
            shutil.move(path, chosen.json)
    elif chosen.repositories == 20_000:
        write("hub", rows, **more)


def run(folder: Path, chosen: argparse.Namespace) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    began = time.perf_counter()
    settings = load_settings(folder / "hub", {})
    with Hub.open(settings) as hub:
        fill(hub, chosen.repositories, chosen.files)
        asked = questions(hub)
        token = hub.tokens.create(hub.accounts.get("builder"))
        more = {
            "repositories": chosen.repositories,
            "commits": chosen.repositories * COMMITS,
            "files": chosen.files,
            "fill_seconds": round(time.perf_counter() - began, 1),
        }
        print(f"filled in {more['fill_seconds']} s", file=sys.stderr)
        rows = list(ask(folder, "SQLite", {}, asked, token, chosen))
        postgresql = PostgreSQL().start()
        try:
            places = {"PLAIT_DATABASE_URL": postgresql.url(postgresql.database())}
            other = Hub.open(load_settings(folder / "empty", places))
            upgrade(other.engine)
            copy_records(hub.engine, other.engine)
            other.close()
            rows += ask(folder, "PostgreSQL", places, asked, token, chosen)
        finally:
            postgresql.stop()
    rows += list(plain(folder, chosen))
    return rows, more


def ask(
    folder: Path,
    database: str,
    places: dict[str, str],
    asked: dict[str, list[str]],
    token: str,
    chosen: argparse.Namespace,
) -> Iterator[dict[str, Any]]:
    """Serve the hub and measure every question with 1, 16 and 64 clients."""
    server = Server(folder / "hub", PLAIT_SEARCH_LIMIT="0", PLAIT_BACKGROUND="0", **places).start()
    try:
        assert server.process is not None
        pid = server.process.pid
        for name, paths in asked.items():
            for clients in CLIENTS:
                yield figure(server.url, pid, database, name, paths, clients, token, chosen)
    finally:
        server.stop()


def figure(
    url: str,
    pid: int,
    database: str,
    name: str,
    paths: list[str],
    clients: int,
    token: str,
    chosen: argparse.Namespace,
) -> dict[str, Any]:
    first = measure(url, paths, clients=1, requests=min(len(paths), 5), token=token)
    budget = int(chosen.seconds * 1000 / max(first.median_ms, 0.1))
    requests = max(3 * clients, 20, min(chosen.requests, budget))
    before = process_cpu(pid)
    answers = measure(url, paths, clients=clients, requests=requests, token=token)
    cpu = (process_cpu(pid) - before) / answers.requests
    found = {
        "name": name,
        "database": database,
        "clients": clients,
        "requests": answers.requests,
        "median_ms": round(answers.median_ms, 2),
        "p99_ms": round(answers.p99_ms, 2),
        "per_second": round(answers.per_second, 1),
        "cpu_ms": round(1000 * cpu, 2),
        "peak_mb": round(process_peak(pid) / 2**20),
    }
    print(f"{database:10} {clients:3} {name}: {found}", file=sys.stderr)
    return found


def plain(folder: Path, chosen: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Let nginx serve a file of the same size: the least that a resolve can cost."""
    program = shutil.which("nginx")
    if program is None:
        print("There is no nginx here: nothing to compare resolve with.", file=sys.stderr)
        return
    base = folder / "nginx"
    (base / "www").mkdir(parents=True)
    base.chmod(0o755)
    folder.chmod(0o755)
    (base / "www" / "part.bin").write_bytes(os.urandom(FILE_BYTES))
    (port,) = free_ports(1)
    (base / "nginx.conf").write_text(NGINX.format(folder=base, port=port))
    with running([program, "-c", str(base / "nginx.conf"), "-p", str(base)]) as pid:
        url = f"http://127.0.0.1:{port}"
        for clients in CLIENTS:
            yield figure(url, pid, "nginx", "resolve: 100 KB", ["/part.bin"], clients, "", chosen)


@contextmanager
def running(command: list[str]) -> Iterator[int]:
    """Run nginx for a block; gives the id of the process that does the work."""
    process = subprocess.Popen(command)
    try:
        time.sleep(1)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        yield int(children[0])
    finally:
        process.terminate()
        process.wait(10)


if __name__ == "__main__":
    main()
