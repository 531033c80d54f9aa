# SPDX-License-Identifier: Apache-2.0
"""Changing files in the browser: write, edit, upload, delete; as a commit or a pull request."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from shlex import quote
from typing import Any

from fastapi import APIRouter, Response

from plait.cards import read_head
from plait.errors import BadInput, PlaitError, RevisionNotFound
from plait.hub import AddBytes, AddPointer, Delete, Operation
from plait.hub.names import check_path, pull_number
from plait.web.contents import open_bytes
from plait.web.files import crumbs, may_change
from plait.web.here import Here, InFiles
from plait.web.preview import MOST_TEXT, decode
from plait.web.session import EditForm, Form, UploadForm

README = "README.md"
_PASSED_ON = frozenset({401, 404, 500, 501, 507})
"""Errors that are pages of their own; the others are shown above the form, with what was sent."""


def add(router: APIRouter, prefix: str) -> None:
    """Add the routes."""
    router.add_api_route(prefix + "/new/{rest:path}", new)
    router.add_api_route(prefix + "/new/{rest:path}", create, methods=["POST"])
    router.add_api_route(prefix + "/edit/{rest:path}", edit)
    router.add_api_route(prefix + "/edit/{rest:path}", save, methods=["POST"])
    router.add_api_route(prefix + "/upload/{rest:path}", uploading)
    router.add_api_route(prefix + "/upload/{rest:path}", upload, methods=["POST"])
    router.add_api_route(prefix + "/delete/{rest:path}", deleting)
    router.add_api_route(prefix + "/delete/{rest:path}", delete, methods=["POST"])


def _changing(at: Here, rest: str) -> tuple[str, str, str]:
    """Return the branch or pull request to change, the path, and the commit it stands for.

    Raises:
        SignInFirst: nobody is signed in.
        BadInput: files can be changed on branches only.
    """
    at.visit.signed_in()
    revision, path = at.split(rest)
    oid = at.resolve(revision)
    if not may_change(at, revision):
        raise BadInput(
            f"{revision[:80]!a} is not a branch. Files are changed on branches: open it there."
        )
    return revision, path, oid


def _page(at: Here, template: str, revision: str, path: str, **values: Any) -> Response:
    number = pull_number(revision)
    direct = at.view.may_write if number is None else True
    shown: dict[str, Any] = {
        "repo": at.view,
        "revision": revision,
        "path": path,
        "crumbs": crumbs(at, revision, path),
        "may_commit": direct,
        "may_propose": number is None,
        "problem": "",
        "summary": "",
        "description": "",
        "where": "commit" if direct else "propose",
    }
    return at.visit.render(template, **{**shown, **values})


def _commit(
    at: Here, revision: str, operations: Sequence[Operation], form: Any, parent: str, default: str
) -> Response:
    """Commit what a form asks for and go to what it made.

    Raises:
        PlaitError: the hub refused; the message says why.
    """
    propose = form.get("where") == "propose" and pull_number(revision) is None
    outcome = at.visit.hub.commits.apply(
        at.visit.actor,
        at.record,
        revision,
        operations,
        form.get("summary", "").strip()[:400] or default,
        form.get("description", "").strip(),
        parent=parent or None,
        create_pr=propose,
    )
    if outcome.discussion is not None:
        return at.visit.go(f"{at.view.url}/discussions/{outcome.discussion.number}")
    return at.visit.go(f"{at.view.url}/commit/{outcome.oid}", "saved")


def _again(error: PlaitError) -> int:
    """Return the status under which the form is shown again, or raise the error on."""
    if error.status in _PASSED_ON and not isinstance(error, RevisionNotFound):
        raise error
    return error.status


def _kept(form: Any) -> dict[str, Any]:
    return {key: form.get(key, "")[:70_000] for key in ("summary", "description", "where")}


def new(at: InFiles, rest: str) -> Response:
    """Show the form for a new text file."""
    revision, path, oid = _changing(at, rest)
    return _page(
        at, "edit.html", revision, path, name="", content="", parent=oid, fresh=True, folder=path
    )


def create(at: InFiles, rest: str, form: EditForm) -> Response:
    """Write a new text file."""
    revision, folder, _ = _changing(at, rest)
    name, content = form.get("name", "").strip(), _text(form)
    try:
        path = check_path(posixpath.join(folder, name))
        if any(at.visit.hub.git.entries(at.record, at.resolve(revision), [path])):
            raise BadInput(f"There is a file '{path}' already. Open and edit it, or rename yours.")
        _check(path, content)
        return _commit(
            at,
            revision,
            [AddBytes(path, content.encode())],
            form,
            form.get("parent", ""),
            f"Create {path}",
        )
    except PlaitError as error:
        code = _again(error)
        return _page(
            at, "edit.html", revision, folder, code=code, problem=error.message, name=name,
            content=content, parent=at.resolve(revision), fresh=True, folder=folder, **_kept(form),
        )  # fmt: skip


def _text(form: Any) -> str:
    # Browsers send every line's end as two characters; files here end lines with one.
    return str(form.get("content", "").replace("\r\n", "\n"))


def _check(path: str, content: str) -> None:
    if len(content.encode()) > MOST_TEXT:
        raise BadInput(f"A browser can edit at most {MOST_TEXT // 1024} kB. Use the client.")
    if path == README:
        read_head(content)


def edit(at: InFiles, rest: str) -> Response:
    """Show a text file in an editor."""
    revision, path, oid = _changing(at, rest)
    found = open_bytes(at, oid, path)
    text = decode(found.at(0, MOST_TEXT)) if found.size <= MOST_TEXT else None
    if text is None:
        raise BadInput(f"'{path}' is not a small text file. Download it, change it, upload it.")
    return _page(
        at, "edit.html", revision, path, name=path, content=text, parent=oid, fresh=False,
        folder=posixpath.dirname(path),
    )  # fmt: skip


def save(at: InFiles, rest: str, form: EditForm) -> Response:
    """Save an edited file; under another name it moves there."""
    revision, path, _ = _changing(at, rest)
    name, content = form.get("name", "").strip() or path, _text(form)
    try:
        target = check_path(name)
        _check(target, content)
        operations: list[Operation] = [AddBytes(target, content.encode())]
        default = f"Update {path}"
        if target != path:
            if any(at.visit.hub.git.entries(at.record, at.resolve(revision), [target])):
                raise BadInput(f"There is a file '{target}' already. Choose another name.")
            operations.insert(0, Delete(path))
            default = f"Rename {path} to {target}"
        return _commit(at, revision, operations, form, form.get("parent", ""), default)
    except PlaitError as error:
        code = _again(error)
        return _page(
            at, "edit.html", revision, path, code=code, problem=error.message, name=name,
            content=content, parent=at.resolve(revision), fresh=False,
            folder=posixpath.dirname(path), **_kept(form),
        )  # fmt: skip


def uploading(at: InFiles, rest: str) -> Response:
    """Show the form for files from the visitor's machine."""
    revision, path, _ = _changing(at, rest)
    return _page(at, "upload.html", revision, path, command=_command(at, revision, path))


def _command(at: Here, revision: str, path: str) -> str:
    kind = "" if at.view.type == "model" else f" --repo-type {at.view.type}"
    where = "" if revision == "main" else f" --revision {quote(revision)}"
    return f"hf upload {at.view.full_name} FOLDER {quote(path or '.')}{kind}{where}"


def upload(at: InFiles, rest: str, form: UploadForm) -> Response:
    """Commit files from the visitor's machine."""
    revision, folder, _ = _changing(at, rest)
    try:
        if not form.files:
            raise BadInput("Choose at least one file.")
        # Asked before bytes are kept for somebody who may not commit them.
        at.visit.hub.commits.may_commit(
            at.visit.actor, at.record, revision, form.fields.get("where") == "propose"
        )
        operations = [_operation(at, folder, name, data) for name, data in form.files]
        first = operations[0].path
        more = len(operations) - 1
        default = f"Upload {first}" + (f" and {more} more" if more else "")
        return _commit(at, revision, operations, form.fields, "", default)
    except PlaitError as error:
        code = _again(error)
        return _page(
            at, "upload.html", revision, folder, code=code, problem=error.message,
            command=_command(at, revision, folder), **_kept(form.fields),
        )  # fmt: skip


def _operation(at: Here, folder: str, name: str, data: bytes) -> Operation:
    """Put text into git and everything else beside it, as the client would."""
    # Browsers send a file's name; some send a path of the visitor's machine.
    path = check_path(posixpath.join(folder, name.replace("\\", "/").rsplit("/", 1)[-1]))
    hub = at.visit.hub
    if decode(data) is not None and len(data) <= hub.settings.max_regular_file:
        return AddBytes(path, data)
    if not data:
        raise BadInput(f"'{path}' is empty.")
    sha256, size = hub.blobs.write([data])
    with hub.session(write=True) as session:
        hub.grant_blob(session, at.record, sha256)
    return AddPointer(path, sha256, size)


def deleting(at: InFiles, rest: str) -> Response:
    """Ask before a file is deleted."""
    revision, path, oid = _changing(at, rest)
    at.visit.hub.git.entry(at.record, oid, path)
    return _page(at, "delete.html", revision, path, parent=oid)


def delete(at: InFiles, rest: str, form: Form) -> Response:
    """Delete a file."""
    revision, path, _ = _changing(at, rest)
    try:
        return _commit(at, revision, [Delete(path)], form, form.get("parent", ""), f"Delete {path}")
    except PlaitError as error:
        code = _again(error)
        return _page(
            at, "delete.html", revision, path, code=code, problem=error.message,
            parent=at.resolve(revision), **_kept(form),
        )  # fmt: skip
