# SPDX-License-Identifier: Apache-2.0
"""Servers that speak Bolt: ArcadeDB from its wheel, and Neo4j itself where an address is given.

ArcadeDB answers as "Neo4j/5.26.0 compatible (ArcadeDB …)"; what passes here is not yet shown of
Neo4j. Set PLAIT_TEST_NEO4J_URI, …_USER and …_PASSWORD to run the same tests against one of yours:
they empty its database.
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from plait.errors import BadInput, StoreUnavailable
from plait.graphs.exchange.bolt import Server, session

ARCADE = """
    import sys, time
    from arcadedb_embedded.server import ArcadeDBServer
    root, password, port = sys.argv[1:]
    server = ArcadeDBServer(
        root,
        password,
        {
            "host": "127.0.0.1",
            "http_port": 0,
            "server_plugins": "Bolt:com.arcadedb.bolt.BoltProtocolPlugin",
            "bolt_port": int(port),
            "bolt_host": "127.0.0.1",
        },
    )
    server.start()
    server.create_database("graph")
    print("ready", flush=True)
    time.sleep(3600)
"""


@pytest.fixture(scope="session")
def arcade(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Start ArcadeDB with its Bolt plugin."""
    pytest.importorskip("arcadedb_embedded", reason="arcadedb-embedded is not installed")
    folder = tmp_path_factory.mktemp("arcade")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    password = secrets.token_hex(8)
    log = (folder / "log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(ARCADE), str(folder / "data"), password, str(port)],
        stdout=log,
        stderr=log,
        env={**os.environ, "ARCADEDB_JVM_MAX_HEAP": "512m"},
        cwd=folder,
    )
    server = Server(f"bolt://127.0.0.1:{port}", "root", password, "graph")
    try:
        deadline = time.monotonic() + 90
        while True:
            try:
                with session(server) as opened:
                    opened.run("RETURN 1").consume()
                break
            except (StoreUnavailable, BadInput):
                if process.poll() is not None or time.monotonic() > deadline:
                    told = Path(log.name).read_text(errors="replace")[-1500:]
                    pytest.skip(f"ArcadeDB did not start: {told}")
                time.sleep(0.5)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()


@pytest.fixture(params=["arcadedb", "neo4j"])
def bolt(request: pytest.FixtureRequest) -> Server:
    """Return an empty database behind Bolt."""
    if request.param == "neo4j":
        uri = os.environ.get("PLAIT_TEST_NEO4J_URI")
        if not uri:
            pytest.skip("PLAIT_TEST_NEO4J_URI names no Neo4j to test against")
        user = os.environ.get("PLAIT_TEST_NEO4J_USER", "neo4j")
        server = Server(uri, user, os.environ.get("PLAIT_TEST_NEO4J_PASSWORD", ""))
    else:
        server = request.getfixturevalue("arcade")
    with session(server) as opened:
        opened.run("MATCH (n) DETACH DELETE n").consume()
    return server
