# SPDX-License-Identifier: Apache-2.0
"""Folders, files, commits: what lies in a repository and how it came to be so."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from fastapi import APIRouter, Response
from markupsafe import Markup

from plait.errors import BadInput, EntryNotFound
from plait.hub import Change, CommitInfo, OpenFile, TreeEntry
from plait.web import markdown
from plait.web.figures import quantity, size
from plait.web.here import At, Here
from plait.web.tensors import MOST_ROWS, read_header

MOST_ENTRIES = 1000
MOST_TEXT = 512 * 1024
MOST_LINES = 5000
MOST_DIFF_LINES = 1500
COMMITS = 30
_LFS_LINE = "version https://git-lfs.github.com/spec/v1"
_IMAGES = frozenset({".png", ".jpg", ".jpeg", ".gif", ".webp", ".avif", ".svg"})
_PICKLES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib"})


@dataclass(frozen=True)
class ShownEntry:
    """A line of a folder's table."""

    name: str
    folder: bool
    href: str
    download: str
    size: str
    lfs: bool
    commit: CommitInfo | None


def add(router: APIRouter, prefix: str) -> None:
    """Add the routes."""
    router.add_api_route(prefix + "/tree/{rest:path}", tree)
    router.add_api_route(prefix + "/blob/{rest:path}", blob)
    router.add_api_route(prefix + "/commits/{rest:path}", commits)
    router.add_api_route(prefix + "/commit/{oid}", commit)


def tree(at: At, rest: str) -> Response:
    """Show a folder."""
    git = at.visit.hub.git
    revision, path = at.split(rest)
    oid = at.resolve(revision)
    if path and git.entry(at.record, oid, path).type == "file":
        return at.visit.go(at.address("blob", revision, path))
    found = git.tree(at.record, oid, path)
    found.sort(key=lambda entry: (entry.type == "file", entry.path.lower()))
    shown = found[:MOST_ENTRIES]
    changed = git.last_commits(at.record, oid, [entry.path for entry in shown])
    latest = git.last_commits(at.record, oid, [path]).get(path) if path else None
    return at.visit.render(
        "tree.html",
        repo=at.view,
        revision=revision,
        path=path,
        crumbs=_crumbs(at, revision, path),
        latest=latest or git.commit_info(at.record, oid),
        entries=[_shown(at, revision, entry, changed.get(entry.path)) for entry in shown],
        more=len(found) > len(shown),
    )


def _crumbs(at: Here, revision: str, path: str) -> list[tuple[str, str]]:
    parts = PurePosixPath(path).parts if path else ()
    return [
        (part, at.address("tree", revision, "/".join(parts[: index + 1])))
        for index, part in enumerate(parts)
    ]


def _shown(at: Here, revision: str, entry: TreeEntry, last: CommitInfo | None) -> ShownEntry:
    folder = entry.type == "directory"
    return ShownEntry(
        PurePosixPath(entry.path).name,
        folder,
        at.address("tree" if folder else "blob", revision, entry.path),
        at.address("resolve", revision, entry.path),
        "" if folder else size(entry.size),
        entry.lfs is not None,
        last,
    )


def blob(at: At, rest: str, plain: str = "") -> Response:
    """Show a file, as its kind allows."""
    hub = at.visit.hub
    revision, path = at.split(rest)
    oid = at.resolve(revision)
    entry = hub.git.entry(at.record, oid, path)
    if entry.type == "directory":
        return at.visit.go(at.address("tree", revision, path))
    shown: dict[str, Any] = {"kind": "none", "problem": None, "lines": (), "cut": False}
    shown.update(_content(at, revision, oid, entry, plain=bool(plain)))
    return at.visit.render(
        "blob.html",
        repo=at.view,
        revision=revision,
        path=path,
        crumbs=_crumbs(at, revision, path),
        latest=hub.git.last_commits(at.record, oid, [path]).get(path),
        size=size(entry.size),
        download=at.address("resolve", revision, path),
        pointer=entry.lfs.sha256 if entry.lfs else None,
        **shown,
    )


def _content(at: Here, revision: str, oid: str, entry: TreeEntry, *, plain: bool) -> dict[str, Any]:
    t = at.visit.t
    suffix = PurePosixPath(entry.path).suffix.lower()
    if suffix in _IMAGES and not plain:
        return {"kind": "image"}
    if suffix in _PICKLES:
        return {"problem": t("files.pickle")}
    try:
        if suffix == ".safetensors":
            return {"kind": "safetensors", "tensors": _tensors(_open(at, oid, entry.path))}
        if entry.size > MOST_TEXT:
            return {"problem": t("files.too_large")}
        text = _text(_open(at, oid, entry.path))
    except (BadInput, EntryNotFound) as error:
        return {"problem": error.message}
    if text is None:
        return {"problem": t("files.binary")}
    if suffix == ".md" and not plain:
        links = markdown.repository_links(
            at.view.url, revision, str(PurePosixPath(entry.path).parent)
        )
        html = markdown.render(markdown.without_head(text), links)
        return {"kind": "markdown", "rendered": Markup(html)}  # noqa: S704 - sanitised
    lines = text.splitlines()
    return {"kind": "text", "lines": lines[:MOST_LINES], "cut": len(lines) > MOST_LINES}


def _open(at: Here, oid: str, path: str) -> OpenFile:
    return at.visit.hub.commits.open_file(at.record, oid, path)


def _text(found: OpenFile) -> str | None:
    data = found.data if found.data is not None else b""
    if found.file is not None:
        with found.file.open("rb") as stream:
            data = stream.read(MOST_TEXT)
    try:
        return None if b"\0" in data else data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None


def _tensors(found: OpenFile) -> dict[str, Any]:
    if found.file is not None:
        with found.file.open("rb") as stream:
            header = read_header(stream, found.size)
    else:
        header = read_header(io.BytesIO(found.data or b""), found.size)
    return {
        "parameters": quantity(sum(row.count for row in header.tensors)),
        "count": len(header.tensors),
        "types": ", ".join(sorted({row.dtype for row in header.tensors})),
        "metadata": header.metadata,
        "rows": [
            {
                "name": row.name,
                "dtype": row.dtype,
                "shape": " × ".join(map(str, row.shape)),
                "bytes": row.bytes,
                "size": size(row.bytes),
            }
            for row in header.tensors[:MOST_ROWS]
        ],
        "more": len(header.tensors) > MOST_ROWS,
    }


def commits(at: At, rest: str, page: int = 1) -> Response:
    """List the commits of a revision."""
    git = at.visit.hub.git
    revision, _ = at.split(rest)
    oid = at.resolve(revision)
    page = min(max(page, 1), 10_000)
    found = git.log(at.record, oid, COMMITS, (page - 1) * COMMITS)
    pages = -(-git.count_commits(at.record, oid) // COMMITS)
    return at.visit.render(
        "commits.html",
        repo=at.view,
        revision=revision,
        commits=found,
        page=page,
        pages=pages,
        page_link=lambda number: at.visit.link(page=number),
    )


def commit(at: At, oid: str) -> Response:
    """Show one commit and what it changed."""
    git = at.visit.hub.git
    found = git.commit_info(at.record, at.resolve(oid))
    changes: Sequence[Change] = ()
    patch = ""
    if found.parents:
        changes = git.changed_paths(at.record, found.parents[0], found.oid)
        patch = git.diff(at.record, found.parents[0], found.oid)
    return at.visit.render(
        "commit.html",
        repo=at.view,
        commit=found,
        message=found.message.strip(),
        diff_open=True,
        **changes_shown(at, changes, patch, found.oid),
    )


def changes_shown(at: Here, changes: Sequence[Change], patch: str, oid: str) -> dict[str, Any]:
    """Return what ``_changes.html`` shows: paths with links, and the patch line by line."""
    lines = _without_pointers(patch).splitlines()
    return {
        "changes": [
            {
                "path": change.path,
                "kind": change.kind,
                "href": "" if change.kind == "deleted" else at.address("blob", oid, change.path),
            }
            for change in changes
        ],
        "diff": [{"kind": _line_kind(line), "text": line} for line in lines[:MOST_DIFF_LINES]],
        "diff_cut": len(lines) > MOST_DIFF_LINES,
    }


def _without_pointers(patch: str) -> str:
    """Leave out the text of LFS pointers: what changed there is the file, not these lines."""
    parts = re.split(r"(?m)^(?=diff --git )", patch)
    return "".join(part for part in parts if _LFS_LINE not in part)


def _line_kind(line: str) -> str:
    if line.startswith(("@@", "diff ", "index ", "+++", "---")):
        return "hunk"
    return {"+": "add", "-": "del"}.get(line[:1], "same")
