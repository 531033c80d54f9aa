# SPDX-License-Identifier: Apache-2.0
"""How a repository came to be so: commits, one commit, two revisions side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Response

from plait.errors import PlaitError
from plait.hub import Change
from plait.web.diffs import changes_shown
from plait.web.here import At, InFiles

COMMITS = 30
MOST_COMPARED = 100


def add(router: APIRouter, prefix: str) -> None:
    """Add the routes."""
    router.add_api_route(prefix + "/commits/{rest:path}", commits)
    router.add_api_route(prefix + "/commit/{oid}", commit)
    router.add_api_route(prefix + "/compare", compare)


def commits(at: At, rest: str, page: int = 1) -> Response:
    """List the commits of a revision."""
    git = at.visit.hub.git
    revision, _ = at.split(rest)
    oid = at.resolve(revision)
    page = min(max(page, 1), 10_000)
    found = git.log(at.record, oid, COMMITS, (page - 1) * COMMITS)
    total = git.count_commits(at.record, oid)
    return at.visit.render(
        "commits.html",
        repo=at.view,
        revision=revision,
        commits=found,
        total=total,
        page=page,
        pages=-(-total // COMMITS),
        page_link=lambda number: at.visit.link(page=number),
    )


def commit(at: InFiles, oid: str) -> Response:
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
        **changes_shown(at, changes, patch, found.oid),
    )


def compare(at: InFiles, base: str = "", head: str = "") -> Response:
    """Show what differs between two revisions."""
    git = at.visit.hub.git
    base, head = base.strip()[:200] or "main", head.strip()[:200]
    values: dict[str, Any] = {
        "repo": at.view,
        "base": base,
        "head": head,
        "compared": False,
        "problem": "",
        "ahead": (),
    }
    if not head:
        return at.visit.render("compare.html", **values, **changes_shown(at, (), "", ""))
    try:
        old, new = at.resolve(base), at.resolve(head)
    except PlaitError as error:
        values["problem"] = error.message
        return at.visit.render(
            "compare.html", code=error.status, **values, **changes_shown(at, (), "", "")
        )
    fork = git.merge_base(at.record, old, new)
    ahead = []
    for found in git.log(at.record, new, MOST_COMPARED):
        if found.oid == fork:
            break
        ahead.append(found)
    values |= {"compared": True, "ahead": ahead if fork else ()}
    return at.visit.render(
        "compare.html",
        **values,
        **changes_shown(
            at, git.changed_paths(at.record, old, new), git.diff(at.record, old, new), new
        ),
    )
