# SPDX-License-Identifier: Apache-2.0
"""What an operator can set, read from ``PLAIT_*`` variables and the command line."""

from __future__ import annotations

import ast
import inspect
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeGuard

from plait.errors import BadInput

MARKER = "plait-hub.json"
"""The file that tells a folder made by Plait from any other."""


@dataclass(frozen=True)
class Settings:
    """Settings of one hub. Sizes are bytes, times are seconds."""

    dir: Path
    database_url: str = ""
    """SQLAlchemy URL; empty means SQLite in the hub's folder."""
    host: str = "127.0.0.1"
    """The address that the server listens on."""
    port: int = 7860
    """The port that the server listens on; 0 takes a free one."""
    public_url: str = ""
    """The address that clients use, when it is not http://host:port (behind a proxy)."""
    max_regular_file: int = 10 * 2**20
    """A file kept in git itself may be at most this large; larger ones are LFS or Xet."""
    max_commit_body: int = 256 * 2**20
    """The largest body of one commit request."""
    max_blob: int = 500 * 2**30
    """The largest single file."""
    max_xorb: int = 66 * 2**20
    """The largest serialised xorb: 64 MiB of chunks, as the Xet protocol has it, and room for the
    chunks' headers and the index that clients put behind them."""
    upload_token_ttl: int = 3600
    """How long an upload address or Xet token stays valid."""
    session_ttl: int = 14 * 24 * 3600
    """How long a browser stays signed in."""
    blob_grace: int = 24 * 3600
    """`plait gc` leaves unreferenced blobs younger than this: an upload may still be under way."""
    job_lease: int = 60
    """A worker that has not been heard of for this long has lost its job."""
    job_attempts: int = 3
    """How often a job is taken up before it is marked failed."""
    evaluation_batch: int = 64
    """How many texts a model is asked about at once."""
    workers: int = 1
    """Worker processes that `plait serve` starts; 0 means that another machine runs them."""

    @property
    def url(self) -> str:
        """The endpoint that clients put into ``HF_ENDPOINT``, without a trailing slash."""
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")

    @property
    def database(self) -> str:
        """The SQLAlchemy URL in force."""
        return self.database_url or f"sqlite:///{self.dir / 'plait.db'}"

    @property
    def git_dir(self) -> Path:
        """Bare git repositories."""
        return self.dir / "git"

    @property
    def blob_dir(self) -> Path:
        """Blobs by sha256."""
        return self.dir / "blobs"

    @property
    def xorb_dir(self) -> Path:
        """Xet xorbs by hash."""
        return self.dir / "xorbs"

    @property
    def temporary_dir(self) -> Path:
        """Uploads under way; on the same file system as the blobs, so that a rename lands them."""
        return self.dir / "tmp"

    @property
    def work_dir(self) -> Path:
        """Folders of running jobs."""
        return self.dir / "work"

    def with_address(self, host: str, port: int) -> Settings:
        """Return the same settings at another address."""
        return replace(self, host=host, port=port)


def load_settings(
    directory: Path | str, environ: Mapping[str, str] | None = None, **overrides: Any
) -> Settings:
    """Read settings for the hub in ``directory`` from ``PLAIT_*`` variables, then ``overrides``.

    Raises:
        BadInput: a variable that should hold a number does not.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    for field in fields(Settings):
        name = f"PLAIT_{field.name.upper()}"
        if field.name == "dir" or name not in environ:
            continue
        text = environ[name]
        if field.type == "int":
            try:
                values[field.name] = int(text)
            except ValueError:
                raise BadInput(f"{name} must be a whole number, not {text!r}.") from None
        else:
            values[field.name] = text
    values.update({key: value for key, value in overrides.items() if value is not None})
    return Settings(dir=Path(directory).expanduser().resolve(), **values)


@dataclass(frozen=True)
class Described:
    """A setting as people read it."""

    name: str
    variable: str
    """The environment variable that sets it."""
    default: Any
    meaning: str


def describe() -> list[Described]:
    """List every setting with its variable, default and meaning, in the order of `Settings`."""
    body = ast.parse(inspect.getsource(Settings)).body[0]
    assert isinstance(body, ast.ClassDef)
    meanings = {}
    for field, text in pairwise(body.body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            said = text.value.value if _is_text(text) else ""
            meanings[field.target.id] = " ".join(said.split())
    return [
        Described(field.name, f"PLAIT_{field.name.upper()}", field.default, meanings[field.name])
        for field in fields(Settings)
        if field.name != "dir"
    ]


def _is_text(node: ast.stmt) -> TypeGuard[Any]:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
