# SPDX-License-Identifier: Apache-2.0
"""The one family of errors: an HTTP status, a code, and a sentence that says what to do."""

from __future__ import annotations


class PlaitError(Exception):
    """Base of every error that Plait raises on purpose.

    ``status`` is the HTTP status that the faces answer with, ``code`` the machine-readable name
    (the Hub's own ``X-Error-Code`` values where the Hub has one).
    """

    status: int = 500
    code: str = "InternalError"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message


class BadInput(PlaitError):
    """What was sent cannot be used; the message names it and says what to do."""

    status = 400
    code = "BadRequest"


class Unauthorized(PlaitError):
    """No token, or one that is unknown, expired or revoked."""

    status = 401
    code = "Unauthorized"


class Forbidden(PlaitError):
    """The caller may know that the thing exists but may not do this with it."""

    status = 403
    code = "Forbidden"


class GatedRepository(Forbidden):
    """The files of a gated repository are for those whom its owners let in."""

    code = "GatedRepo"


class DisabledRepository(Forbidden):
    """The hub's administrators have closed the repository; clients know it by these words."""

    code = "DisabledRepo"

    def __init__(self) -> None:
        super().__init__("Access to this resource is disabled.")


class NotFound(PlaitError):
    """The thing does not exist for this caller."""

    status = 404
    code = "NotFound"


class RepositoryNotFound(NotFound):
    """No such repository, or none that the caller may read: the two are never told apart."""

    code = "RepoNotFound"


class RevisionNotFound(NotFound):
    """No branch, tag, pull-request ref or commit of that name."""

    code = "RevisionNotFound"


class EntryNotFound(NotFound):
    """No file or folder at that path in that revision."""

    code = "EntryNotFound"

    def __init__(self, message: str, *, commit: str | None = None) -> None:
        super().__init__(message)
        self.commit = commit


class Moved(PlaitError):
    """The repository has another name now, which the caller may know."""

    status = 307
    code = "Moved"

    def __init__(self, repo_type: str, old_name: str, new_name: str) -> None:
        super().__init__(f"The {repo_type} '{old_name}' is now '{new_name}'.")
        self.repo_type = repo_type
        self.old_name = old_name
        self.new_name = new_name


class Conflict(PlaitError):
    """The thing exists already, or two changes contradict each other."""

    status = 409
    code = "Conflict"


class PreconditionFailed(PlaitError):
    """The branch moved since the caller looked at it."""

    status = 412
    code = "PreconditionFailed"


class TooLarge(PlaitError):
    """A body, header or number beyond its bound."""

    status = 413
    code = "PayloadTooLarge"


class RangeNotSatisfiable(PlaitError):
    """A byte range outside the file."""

    status = 416
    code = "RangeNotSatisfiable"


class TooManyRequests(PlaitError):
    """The caller did something that is limited too often; ``retry_after`` is in seconds."""

    status = 429
    code = "TooManyRequests"

    def __init__(self, message: str, *, retry_after: int, limit: int, window: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.limit = limit
        self.window = window


class Unsupported(PlaitError):
    """A part of the Hub's protocol that Plait does not have."""

    status = 501
    code = "NotImplemented"


class StoreUnavailable(PlaitError):
    """The object store does not answer, or refuses the hub."""

    status = 503
    code = "StoreUnavailable"


class DatabaseUnavailable(PlaitError):
    """The hub's database does not answer."""

    status = 503
    code = "DatabaseUnavailable"


class DatabaseBusy(PlaitError):
    """Too many wait for the hub's database; clients try again by themselves."""

    status = 503
    code = "DatabaseBusy"


class NotReady(PlaitError):
    """What was asked for is being made, or too many ask at once; soon it can be had."""

    status = 503
    code = "NotReady"
    retry_after = 5


class ClusterUnavailable(PlaitError):
    """The cluster that long work runs on cannot be reached, or one of its nodes cannot serve."""

    status = 503
    code = "ClusterUnavailable"


class StorageFull(PlaitError):
    """The disk or store has no room left."""

    status = 507
    code = "InsufficientStorage"


class MissingExtra(PlaitError):
    """An optional part is not installed."""

    code = "MissingExtra"

    def __init__(self, needed: str, extra: str) -> None:
        super().__init__(f"{needed} is not installed. Run: pip install 'plait[{extra}]'")
        self.extra = extra


class Cancelled(PlaitError):
    """Somebody asked for the work to stop; nothing of it is visible."""

    status = 409
    code = "Cancelled"
