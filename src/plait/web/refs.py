# SPDX-License-Identifier: Apache-2.0
"""The branches and tags of a repository: list, create, delete."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, Response

from plait.errors import PlaitError
from plait.web.here import At, Here
from plait.web.session import Form


def add(router: APIRouter, prefix: str) -> None:
    """Add the routes."""
    router.add_api_route(prefix + "/refs", show)
    router.add_api_route(prefix + "/refs/branch", create_branch, methods=["POST"])
    router.add_api_route(prefix + "/refs/branch/delete", delete_branch, methods=["POST"])
    router.add_api_route(prefix + "/refs/tag", create_tag, methods=["POST"])
    router.add_api_route(prefix + "/refs/tag/delete", delete_tag, methods=["POST"])


def show(at: At) -> Response:
    """List branches and tags."""
    return _page(at, "", {})


def _page(at: Here, problem: str, form: dict[str, str], code: int = 200) -> Response:
    git = at.visit.hub.git
    refs = git.refs(at.record)
    return at.visit.render(
        "refs.html",
        code=code,
        repo=at.view,
        branches=[(ref, git.commit_info(at.record, ref.oid)) for ref in refs.branches[:200]],
        tags=[(ref, git.commit_info(at.record, ref.oid)) for ref in refs.tags[:200]],
        problem=problem,
        form=form,
    )


def _do(at: Here, form: dict[str, str], done: str, act: Callable[[], object]) -> Response:
    at.visit.signed_in()
    try:
        act()
    except PlaitError as error:
        if error.status >= 500 or (error.status == 404 and error.code == "RepoNotFound"):
            raise
        return _page(at, error.message, form, error.status)
    return at.visit.go(f"{at.view.url}/refs", done)


def create_branch(at: At, form: Form) -> Response:
    """Make a branch."""
    references, name = at.visit.hub.references, form.get("branch", "").strip()
    start = form.get("from", "").strip() or None
    return _do(
        at,
        form,
        "created",
        lambda: references.create_branch(at.visit.actor, at.record, name, start),
    )


def delete_branch(at: At, form: Form) -> Response:
    """Remove a branch."""
    references, name = at.visit.hub.references, form.get("name", "")
    return _do(at, {}, "deleted", lambda: references.delete_branch(at.visit.actor, at.record, name))


def create_tag(at: At, form: Form) -> Response:
    """Make a tag."""
    references, name = at.visit.hub.references, form.get("tag", "").strip()
    revision = form.get("at", "").strip() or "main"
    message = form.get("message", "").strip() or None
    return _do(
        at,
        form,
        "created",
        lambda: references.create_tag(at.visit.actor, at.record, name, revision, message),
    )


def delete_tag(at: At, form: Form) -> Response:
    """Remove a tag."""
    references, name = at.visit.hub.references, form.get("name", "")
    return _do(at, {}, "deleted", lambda: references.delete_tag(at.visit.actor, at.record, name))
