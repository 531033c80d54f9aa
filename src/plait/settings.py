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
from urllib.parse import urlsplit, urlunsplit

from plait.errors import BadInput

MARKER = "plait-hub.json"
"""The file that tells a folder made by Plait from any other."""


@dataclass(frozen=True)
class Settings:
    """Settings of one hub. Sizes are bytes, times are seconds."""

    dir: Path
    database_url: str = ""
    """`postgresql://user:password@host/name`, or another SQLAlchemy URL; empty means SQLite in the
    hub's folder."""
    database_connections: int = 30
    """How many connections each process keeps to PostgreSQL at most."""
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
    max_push: int = 2 * 2**30
    """The largest pack of objects that one `git push` may bring."""
    git_seconds: int = 3600
    """How long one `git clone` or `git fetch` may take before the hub ends it."""
    max_blob: int = 500 * 2**30
    """The largest single file."""
    max_xorb: int = 66 * 2**20
    """The largest serialised xorb: 64 MiB of chunks, as the Xet protocol has it, and room for the
    chunks' headers and the index that clients put behind them."""
    store: str = ""
    """Where large files lie: empty means the hub's folder, `s3://bucket/prefix` an S3-compatible
    store."""
    s3_endpoint: str = ""
    """The address of the S3-compatible store; empty means AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL or
    Amazon itself."""
    s3_public_endpoint: str = ""
    """The same store as clients reach it, for redirected downloads, when it differs."""
    s3_region: str = ""
    """The store's region; empty means AWS_REGION or us-east-1."""
    s3_access_key: str = ""
    """The key's id; empty means AWS_ACCESS_KEY_ID, or the machine's own role."""
    s3_secret_key: str = ""
    """The key's secret; empty means AWS_SECRET_ACCESS_KEY."""
    redirect_downloads: int = 2**20
    """Files of an S3 store that have at least so many bytes are downloaded from the store itself,
    by redirects to signed addresses; -1 sends everything through the hub."""
    accel_redirect: str = ""
    """The prefix of nginx's internal location over the hub's `blobs` folder, as `/_plait_blobs`:
    nginx then sends the files. Empty: the hub sends them."""
    lfs_part_size: int = 64 * 2**20
    """Clients that can send a file in parts (the LFS transfer `multipart`) do so in parts of this
    size."""
    download_ttl: int = 3600
    """How long a signed address of a download stays valid."""
    upload_token_ttl: int = 3600
    """How long an upload address or Xet token stays valid."""
    session_ttl: int = 14 * 24 * 3600
    """How long a browser stays signed in at most."""
    session_idle: int = 3 * 24 * 3600
    """A browser that does not come for this long is signed out."""
    invitation_ttl: int = 7 * 24 * 3600
    """How long a one-time link to set a password works."""
    trusted_proxies: str = ""
    """Addresses and networks of proxies whose X-Forwarded-For is believed, as `127.0.0.1,
    10.0.0.0/8`; empty believes none."""
    login_limit: int = 30
    """Attempts to sign in, per address and per account in five minutes; 0 does not limit."""
    secret_limit: int = 10
    """Attempts to use one-time links, per address and hour; 0 does not limit."""
    failed_token_limit: int = 300
    """Requests with a token that is not valid, per address and minute; 0 does not limit."""
    token_limit: int = 60
    """Tokens that a user may make in an hour; 0 does not limit."""
    search_limit: int = 300
    """Searches without a token, per address and minute; 0 does not limit."""
    webhook_test_limit: int = 30
    """Tests of webhooks that a user may start in an hour; 0 does not limit."""
    blob_grace: int = 24 * 3600
    """`plait gc` leaves unreferenced blobs younger than this: an upload may still be under way."""
    job_lease: int = 60
    """A worker that has not been heard of for this long has lost its job."""
    job_attempts: int = 3
    """How often a job is taken up before it is marked failed."""
    jobs_per_namespace: int = 0
    """Jobs on one user's or organisation's bill that may run at the same time, where
    `plait jobs limit` sets no other number; 0 means no limit."""
    evaluation_batch: int = 64
    """How many texts a model is asked about at once."""
    background: int = 1
    """Whether this server process also sends webhooks and scans files; 0 leaves it to others."""
    scan_seconds: int = 120
    """Computing time that looking into one file that can carry code may take."""
    scan_memory: int = 2 * 2**30
    """Memory that looking into one file may take."""
    scan_download: int = 8 * 2**30
    """The largest file that is fetched from another store to be looked into."""
    webhook_http: int = 0
    """1 lets webhooks go to addresses without TLS (http://), too."""
    webhook_hosts: str = ""
    """Hosts and networks inside yours that webhooks may go to, as `ci.example.org,10.1.0.0/16`."""
    webhook_ports: str = "80,443,1024-65535"
    """The ports that webhooks may go to."""
    webhook_timeout: int = 15
    """How long one attempt to deliver a webhook may take."""
    webhook_attempts: int = 6
    """How often a webhook's message is sent before it is given up; the first five retries are
    spread over ten hours."""
    webhook_patience: int = 3 * 24 * 3600
    """A webhook that has only failed for this long is disabled."""
    processes: int = 1
    """Server processes of `plait serve` that share its address, to use several cores."""
    workers: int = 1
    """Worker processes that `plait serve` starts, here or at most so many on a Ray cluster; 0 means
    that another machine runs them."""
    executor: str = "local"
    """Where long jobs run: `local`, in processes beside the server, or `ray`, on a Ray cluster."""
    ray_address: str = "auto"
    """The address of the Ray cluster, as `10.0.0.5:6379`; `auto` finds the one of this machine."""
    ray_cpus: int = 1
    """Cores that each worker on the Ray cluster asks for."""
    ray_gpus: int = 0
    """GPUs that each worker on the Ray cluster asks for."""

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


def masked(name: str, value: Any) -> Any:
    """Return a setting's value as it may be shown: no key and no password."""
    if name.endswith(("_secret", "_key", "_password")) and value:
        return "********"
    if name == "database_url" and value:
        parts = urlsplit(value)
        if parts.password:
            host = parts.netloc.rpartition("@")[2]
            return urlunsplit(parts._replace(netloc=f"{parts.username}:********@{host}"))
    return value


def _is_text(node: ast.stmt) -> TypeGuard[Any]:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def variables(settings: Settings) -> dict[str, str]:
    """Return the ``PLAIT_*`` variables that another process reads the same settings from."""
    return {f"PLAIT_{f.name.upper()}": str(getattr(settings, f.name)) for f in fields(settings)}
