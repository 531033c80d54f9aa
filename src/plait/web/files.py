# SPDX-License-Identifier: Apache-2.0
"""Folders and files of a repository at a revision."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from shlex import quote
from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Response

from plait.hub import CommitInfo, TreeEntry
from plait.hub.database import FileScan
from plait.hub.names import pull_number
from plait.hub.scanning import verdicts
from plait.web.figures import size
from plait.web.here import At, Here, InFiles
from plait.web.preview import MOST_TEXT, preview
from plait.web.session import HEADERS

PAGE = 500
"""Entries of a folder that are listed at once."""


@dataclass(frozen=True)
class ShownEntry:
    """A line of a folder's table."""

    name: str
    folder: bool
    href: str
    download: str
    size: str
    stored: str
    """``LFS`` or ``Xet`` where the bytes lie outside git."""
    scan: str
    """What the scanners said of a file that can carry code; empty if it cannot."""
    commit: CommitInfo | None


def add(router: APIRouter, prefix: str) -> None:
    """Add the routes."""
    router.add_api_route(prefix + "/tree/{rest:path}", tree)
    router.add_api_route(prefix + "/blob/{rest:path}", blob)


def tree(at: At, rest: str, start: int = 0) -> Response:
    """Show a folder."""
    git = at.visit.hub.git
    revision, path = at.split(rest)
    oid = at.resolve(revision)
    if path and git.entry(at.record, oid, path).type == "file":
        return at.visit.go(at.address("blob", revision, path))
    start = min(max(start, 0), 2**31)
    found = git.tree(at.record, oid, path, start=start, stop=start + PAGE + 1)
    more = len(found) > PAGE
    shown = found[:PAGE]
    shown.sort(key=lambda entry: (entry.type == "file", entry.path.lower()))
    changed = git.last_commits(at.record, oid, [entry.path for entry in shown])
    latest = git.last_commits(at.record, oid, [path]).get(path) if path else None
    labels = file_labels(at, shown)
    return at.visit.render(
        "tree.html",
        repo=at.view,
        revision=revision,
        path=path,
        crumbs=crumbs(at, revision, path),
        latest=latest or git.commit_info(at.record, oid),
        entries=[_shown(at, revision, entry, changed.get(entry.path), labels) for entry in shown],
        first=at.visit.link(start=None) if start else None,
        more=at.visit.link(start=start + PAGE) if more else None,
        may_change=may_change(at, revision),
    )


def may_change(at: Here, revision: str) -> bool:
    """Tell whether a signed-in visitor can change files here: on a branch, or by proposing."""
    if not at.visit.actor.signed_in or not at.sees_files or at.record.disabled:
        return False
    names = {ref.name for ref in at.view.refs if ref.kind == "branch"}
    return revision in names or pull_number(revision) is not None


def crumbs(at: Here, revision: str, path: str) -> list[tuple[str, str]]:
    """Return the folders above a path and their addresses."""
    parts = PurePosixPath(path).parts if path else ()
    return [
        (part, at.address("tree", revision, "/".join(parts[: index + 1])))
        for index, part in enumerate(parts)
    ]


@dataclass(frozen=True)
class Labels:
    """What the hub knows of some files."""

    xet: Collection[str]
    """SHA-256 of those that came over Xet."""
    scans: Mapping[str, FileScan]
    """By path."""

    def stored(self, entry: TreeEntry) -> str:
        """Say how a file is kept."""
        if entry.lfs is None:
            return ""
        return "Xet" if entry.lfs.sha256 in self.xet else "LFS"

    def scan(self, entry: TreeEntry) -> str:
        """Say what the scanners found."""
        found = self.scans.get(entry.path)
        return found.verdict if found is not None else ""

    def findings(self, entry: TreeEntry) -> Sequence[tuple[str, str]]:
        """List what a file would import, and how safe that is."""
        found = self.scans.get(entry.path)
        listed = (found.findings or {}).get("imports", ()) if found is not None else ()
        return [
            (f"{item.get('module')}.{item.get('name')}"[:200], str(item.get("safety", ""))[:40])
            for item in list(listed)[:50]
            if isinstance(item, Mapping)
        ]


def file_labels(at: Here, entries: Sequence[TreeEntry]) -> Labels:
    """Look up what is known of some files, in a bounded number of queries."""
    hub = at.visit.hub
    large = [entry.lfs.sha256 for entry in entries if entry.lfs]
    return Labels(hub.xet.hashes(at.record, large), verdicts.find(hub, entries))


def _shown(
    at: Here, revision: str, entry: TreeEntry, last: CommitInfo | None, labels: Labels
) -> ShownEntry:
    folder = entry.type == "directory"
    return ShownEntry(
        PurePosixPath(entry.path).name,
        folder,
        at.address("tree" if folder else "blob", revision, entry.path),
        at.address("resolve", revision, entry.path),
        "" if folder else size(entry.size),
        labels.stored(entry),
        labels.scan(entry),
        last,
    )


def blob(at: InFiles, rest: str, plain: str = "") -> Response:
    """Show a file, as its kind allows."""
    hub = at.visit.hub
    revision, path = at.split(rest)
    oid = at.resolve(revision)
    entry = hub.git.entry(at.record, oid, path)
    if entry.type == "directory":
        return at.visit.go(at.address("tree", revision, path))
    shown: dict[str, Any] = {
        "kind": "none", "problem": None, "problem_lang": None, "lines": (), "cut": False,
        "source": False,
    }  # fmt: skip
    shown.update(preview(at, revision, oid, entry, plain=bool(plain)))
    labels = file_labels(at, [entry])
    kind = "" if at.view.type == "model" else f" --repo-type {at.view.type}"
    at_revision = "" if revision == "main" else f" --revision {quote(revision)}"
    response = at.visit.render(
        "blob.html",
        repo=at.view,
        revision=revision,
        path=path,
        crumbs=crumbs(at, revision, path),
        latest=hub.git.last_commits(at.record, oid, [path]).get(path),
        size=size(entry.size),
        bytes=entry.size,
        download=at.address("resolve", revision, path),
        entry=entry,
        stored=labels.stored(entry),
        scan=labels.scan(entry),
        findings=labels.findings(entry),
        command=f"hf download {at.view.full_name} {quote(path)}{kind}{at_revision}",
        plain=bool(plain),
        may_change=may_change(at, revision),
        editable=entry.lfs is None and entry.size <= MOST_TEXT and shown["kind"] in _EDITABLE,
        **shown,
    )
    if shown["kind"] == "image" and entry.lfs is not None:
        _allow_store(at, entry.lfs.sha256, response)
    return response


def _allow_store(at: Here, sha256: str, response: Response) -> None:
    """Let the page show a picture to which downloads lead with a redirect: to the store itself."""
    address = urlsplit(at.visit.hub.blobs.signed_url(sha256, 60, {}) or "")
    if address.netloc:
        policy = HEADERS["Content-Security-Policy"]
        origin = f"{address.scheme}://{address.netloc}"
        response.headers["Content-Security-Policy"] = policy.replace(
            "img-src 'self'", f"img-src 'self' {origin}"
        )


_EDITABLE = ("text", "markdown", "table")
