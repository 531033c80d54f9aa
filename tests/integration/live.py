# SPDX-License-Identifier: Apache-2.0
"""A real server in a process of its own, and people who talk to it with the stock clients."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
import textwrap
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi

from plait.hub import Hub

START_SECONDS = 60
_ADDRESS = re.compile(r"at (http://127\.0\.0\.1:\d+)")


class Server:
    """``plait serve`` on a free port; it can be killed and started again on the same folder."""

    def __init__(self, folder: Path, *, workers: int = 0, **environment: str) -> None:
        self.folder = folder
        self.workers = workers
        self.environment = environment
        self.url = ""
        self.lines: list[str] = []
        self.process: subprocess.Popen[str] | None = None
        self.port = 0

    def command(self) -> list[str]:
        command = [sys.executable, "-m", "plait.cli.main", "serve", "--dir", str(self.folder)]
        return [*command, "--port", str(self.port), "--workers", str(self.workers)]

    def start(self) -> Server:
        self.process = subprocess.Popen(
            self.command(),
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **self.environment},
        )
        ready = threading.Event()
        threading.Thread(target=self._read, args=(self.process, ready), daemon=True).start()
        if not ready.wait(START_SECONDS):
            self.kill()
            raise RuntimeError("The server did not start:\n" + "".join(self.lines))
        return self

    def _read(self, process: subprocess.Popen[str], ready: threading.Event) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            self.lines.append(line)
            if (match := _ADDRESS.search(line)) is not None:
                self.url = match[1]
                # A public address may name another port than the one that it listens on.
                self.port = self.port or int(match[1].rsplit(":", 1)[1])
            if "HF_ENDPOINT" in line:
                ready.set()

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def _end(self, number: int) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(30)
            self.process = None


@dataclass
class Person:
    """A user of the hub with a token."""

    server: Server
    name: str
    token: str
    home: Path

    @property
    def api(self) -> HfApi:
        return HfApi(endpoint=self.server.url, token=self.token)

    def run(self, script: str, *arguments: str, **environment: str) -> str:
        """Run a script in a fresh process that knows HF_ENDPOINT and HF_TOKEN and nothing else."""
        kept = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script), *arguments],
            env={
                **kept,
                "HOME": str(self.home),
                "HF_HOME": str(self.home / "hf"),
                "HF_ENDPOINT": self.server.url,
                "HF_TOKEN": self.token,
                "OMP_NUM_THREADS": "1",
                **environment,
            },
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
        return done.stdout


@dataclass
class LiveHub:
    """A running server and the hub library on the same folder."""

    server: Server
    hub: Hub
    homes: Path
    people: list[Person] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.server.url

    def person(self, name: str = "user", *, scope: str = "write") -> Person:
        """Make a user with a name like the given one and a token."""
        name = f"{name}-{secrets.token_hex(4)}"
        account = self.hub.accounts.create_user(name)
        token = self.hub.tokens.create(account, scope=scope)  # type: ignore[arg-type]
        home = self.homes / name
        home.mkdir()
        found = Person(self.server, name, token, home)
        self.people.append(found)
        return found

    def token(self, person: Person, **options: Any) -> str:
        return self.hub.tokens.create(self.hub.accounts.get(person.name), **options)

    def organization(self, name: str, owner: Person) -> str:
        name = f"{name}-{secrets.token_hex(4)}"
        self.hub.accounts.create_organization(name, self.hub.accounts.get(owner.name))
        return name
