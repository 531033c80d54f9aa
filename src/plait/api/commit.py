# SPDX-License-Identifier: Apache-2.0
"""Commits: a header and operations, one JSON object a line."""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, BinaryIO

from fastapi import APIRouter, Depends, Request

from plait.api.bodies import Body, consume, read_objects
from plait.api.context import HubOf, Readable, User
from plait.api.routing import Revision
from plait.api.wire import repository_url
from plait.errors import BadInput, TooLarge
from plait.hub import (
    Actor,
    AddBytes,
    AddPointer,
    AddSpooled,
    CommitOutcome,
    Delete,
    DeleteFolder,
    Hub,
    Operation,
)
from plait.hub.database import Repository
from plait.hub.storage.blobs import storage_errors

router = APIRouter(tags=["uploads"])

MAX_OPERATIONS = 25_000
IN_MEMORY = 4 * 2**20
"""Bytes of files that a commit holds in memory; the others wait on the disk."""
_LINE_OVERHEAD = 64 * 1024

Keep = Callable[[str, bytes], Operation]
"""Makes the operation that writes a file, given its path and bytes."""


def keep_all(path: str, data: bytes) -> Operation:
    """Keep a file in memory until it is committed."""
    return AddBytes(path, data)


class Spool:
    """Keeps the first files of a commit in memory, and the others in a file that ends with it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / f"commit-{secrets.token_hex(8)}"
        self._stream: BinaryIO | None = None
        self._held = 0

    def keep(self, path: str, data: bytes) -> Operation:
        """Return the operation that writes ``data`` to ``path``."""
        if self._held + len(data) <= IN_MEMORY:
            self._held += len(data)
            return AddBytes(path, data)
        with storage_errors("the commit"):
            if self._stream is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._stream = self._path.open("xb")
            start = self._stream.tell()
            self._stream.write(data)
            self._stream.flush()
        return AddSpooled(path, self._path, start, len(data))

    def close(self) -> None:
        """Remove the file."""
        if self._stream is not None:
            self._stream.close()
            self._path.unlink(missing_ok=True)


@contextmanager
def spooled(folder: Path) -> Iterator[Spool]:
    """Open a spool in a folder of temporary files."""
    spool = Spool(folder)
    try:
        yield spool
    finally:
        spool.close()


@dataclass
class CommitRequest:
    """What the lines of a commit's body ask for."""

    summary: str = ""
    description: str = ""
    parent: str | None = None
    operations: list[Operation] = field(default_factory=list)


@dataclass(frozen=True)
class _Target:
    user: Actor
    repo: Repository
    revision: str
    create_pr: bool


def _target(
    hub: HubOf, user: User, repo: Readable, revision: Revision, create_pr: bool = False
) -> _Target:
    """Refuse before the body is read."""
    hub.commits.may_commit(user, repo, revision, create_pr)
    return _Target(user, repo, revision, create_pr)


@router.post("/api/{kind:type}/{namespace}/{name}/commit/{revision}")
async def commit(
    request: Request, hub: HubOf, target: Annotated[_Target, Depends(_target)]
) -> dict[str, Any]:
    """Commit to a branch or pull request, or open a pull request with a commit."""
    settings = hub.settings

    def work(body: Body) -> CommitOutcome:
        limit = settings.max_regular_file * 4 // 3 + _LINE_OVERHEAD
        with spooled(settings.temporary_dir) as spool:
            lines = read_objects(body, limit)
            asked = read_commit(lines, settings.max_regular_file, spool.keep)
            return _apply(hub, target, asked)

    outcome = await consume(request, settings.max_commit_body, "A commit", work)
    address = repository_url(settings, target.repo)
    answer = {
        "success": True,
        "commitOid": outcome.oid,
        "commitUrl": f"{address}/commit/{outcome.oid}",
        "hookOutput": "",
    }
    if target.create_pr and outcome.discussion is not None:
        answer["pullRequestUrl"] = f"{address}/discussions/{outcome.discussion.number}"
    return answer


def _apply(hub: Hub, target: _Target, asked: CommitRequest) -> CommitOutcome:
    return hub.commits.apply(
        target.user,
        target.repo,
        target.revision,
        asked.operations,
        asked.summary,
        asked.description,
        parent=asked.parent,
        create_pr=target.create_pr,
    )


def read_commit(
    lines: Iterable[dict[str, Any]], max_regular_file: int, keep: Keep = keep_all
) -> CommitRequest:
    """Read a commit's lines.

    Raises:
        BadInput: a line is not one of the protocol's; the message says which.
        TooLarge: there are too many operations, or one file is too large for git.
    """
    asked: CommitRequest | None = None
    for line in lines:
        key, value = line.get("key"), line.get("value")
        if not isinstance(key, str) or not isinstance(value, dict):
            raise BadInput("Each line of a commit has a 'key' and a 'value'.")
        if asked is None:
            if key != "header":
                raise BadInput("The first line of a commit has the key 'header'.")
            asked = CommitRequest(
                _text(value, "summary", ""),
                _text(value, "description", ""),
                _text(value, "parentCommit", "") or None,
            )
            continue
        if len(asked.operations) >= MAX_OPERATIONS:
            raise TooLarge(f"A commit may have {MAX_OPERATIONS} operations. Make several.")
        asked.operations.append(_operation(key, value, max_regular_file, keep))
    if asked is None:
        raise BadInput("The body of the commit is empty.")
    return asked


def _operation(key: str, value: dict[str, Any], limit: int, keep: Keep) -> Operation:
    path = _text(value, "path")
    if key == "file":
        return keep(path, _content(value, path, limit))
    if key == "lfsFile":
        if value.get("algo", "sha256") != "sha256":
            raise BadInput(f"'{path}': large files are named by their sha256.")
        size = value.get("size")
        if size is not None and (type(size) is not int or size < 0):
            raise BadInput(f"'{path}': the size of a large file is a number of bytes.")
        return AddPointer(path, _text(value, "oid"), size)
    if key == "deletedFile":
        return Delete(path)
    if key == "deletedFolder":
        return DeleteFolder(path.rstrip("/"))
    raise BadInput(f"A commit has no operation {key[:40]!r}.")


def _content(value: dict[str, Any], path: str, limit: int) -> bytes:
    text = _text(value, "content")
    encoding = value.get("encoding", "utf-8")
    if encoding == "base64":
        try:
            data = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise BadInput(f"The content of '{path}' is not base64.") from None
    elif encoding == "utf-8":
        data = text.encode("utf-8", "surrogatepass")
    else:
        raise BadInput(f"The content of '{path}' has the unknown encoding {encoding!r}.")
    if len(data) > limit:
        raise TooLarge(
            f"'{path}' has {len(data)} bytes and may have {limit} in git itself. "
            "Upload it as a large file (LFS or Xet)."
        )
    return data


def _text(value: dict[str, Any], key: str, default: str | None = None) -> str:
    found = value.get(key, default)
    if not isinstance(found, str):
        raise BadInput(f"A line of the commit lacks the text {key!r}.")
    return found
