# SPDX-License-Identifier: Apache-2.0
"""The audit log: what was done, by whom, from where; each entry seals the one before.

An entry's hash is SHA-256 over the hash of the entry before, a line feed, and the entry's canonical
JSON. Changing, removing or inserting an entry breaks the chain at that place; the database refuses
to change or remove entries besides. What the chain alone cannot show is that its end was cut off:
note position and hash of the last entry elsewhere now and then, and give them to `Audit.verify`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, event, or_, select
from sqlalchemy.orm import Session

from plait.errors import BadInput, Forbidden
from plait.hub.database import Account, AuditEntry, now
from plait.hub.database.engine import lock_name
from plait.hub.events import Event
from plait.hub.permissions import Actor, can

if TYPE_CHECKING:
    from plait.hub.facade import Hub

BEGINNING = "0" * 64
"""What the first entry seals."""
MAX_PAGE = 200
_MAX_DETAILS = 32_000
_WAITING = "plait.audit"
_BATCH = 1000


@dataclass(frozen=True)
class AuditPage:
    """Entries, newest first; ``cursor`` asks for older ones, None at the end."""

    items: list[AuditEntry]
    cursor: str | None


@dataclass(frozen=True)
class Verdict:
    """What a check of the whole chain found."""

    entries: int
    position: int
    """The last entry's, 0 without any."""
    hash: str
    broken: int | None = None
    """The first position at which the chain does not hold."""
    reason: str = ""


class Audit:
    """The audit log of one hub."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        hub.events.listeners.append(self._note)

    def _note(self, session: Session, happened: Event) -> None:
        """Keep an event for the end of its transaction.

        Entries are written last, when nothing else is locked any more: two transactions that both
        wait for the end of the chain can then not wait for each other.
        """
        waiting = session.info.get(_WAITING)
        if waiting is None:
            waiting = session.info[_WAITING] = []
            event.listen(session, "before_commit", _write)
        waiting.append(_values(happened))

    def list(
        self,
        actor: Actor,
        *,
        account: Account | None = None,
        who: str = "",
        action: str = "",
        target: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> AuditPage:
        """List entries, newest first.

        Args:
            actor: an administrator of the hub; or of ``account``, who sees what concerns it.
            account: only what concerns this user or organisation.
            who: only what the account of this name did.
            action: only this action, or all that begin with it and a dot (``token``).
            target: only what was done to this.
            since: not before.
            until: before.
            limit: page size, at most 200.
            cursor: from the page before.

        Raises:
            Forbidden: the actor administers neither.
            BadInput: the cursor is not one.
        """
        self._may_read(actor, account)
        query = select(AuditEntry).order_by(AuditEntry.position.desc())
        query = query.where(*_filters(account, who, action, target, since, until))
        if cursor:
            if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
                raise BadInput("The cursor of this listing is not one that the hub gave.")
            query = query.where(AuditEntry.position < int(cursor))
        limit = max(1, min(limit, MAX_PAGE))
        with self._hub.session() as session:
            found = list(session.scalars(query.limit(limit + 1)))
        more = len(found) > limit
        found = found[:limit]
        return AuditPage(found, str(found[-1].position) if more else None)

    def _may_read(self, actor: Actor, account: Account | None) -> None:
        if can(actor, "hub.admin"):
            return
        if account is None:
            raise Forbidden("The whole audit log is for the hub's administrators.")
        if not can(actor, "namespace.admin", account):
            raise Forbidden(f"The audit log of '{account.name}' is for its administrators.")

    def entries(self) -> Iterator[AuditEntry]:
        """Give every entry in order, a batch at a time."""
        position = 0
        while True:
            with self._hub.session() as session:
                batch = list(
                    session.scalars(
                        select(AuditEntry)
                        .where(AuditEntry.position > position)
                        .order_by(AuditEntry.position)
                        .limit(_BATCH)
                    )
                )
            if not batch:
                return
            yield from batch
            position = batch[-1].position

    def verify(self, *, position: int | None = None, expected: str = "") -> Verdict:
        """Check the chain from its beginning, and that an entry noted elsewhere is still in it.

        Args:
            position: of the entry noted elsewhere.
            expected: its hash.
        """
        count, last, seal = 0, 0, BEGINNING
        noted = position is None
        for entry in self.entries():
            problem = _problem(entry, last, seal)
            if position == entry.position:
                noted = True
                if entry.hash != expected and not problem:
                    problem = "its hash is not the one that was noted"
            if problem:
                return Verdict(count, last, seal, min(entry.position, last + 1), problem)
            count, last, seal = count + 1, entry.position, entry.hash
        if not noted:
            return Verdict(count, last, seal, last + 1, "the end of the log is missing")
        return Verdict(count, last, seal)


def _problem(entry: AuditEntry, last: int, seal: str) -> str:
    if entry.position != last + 1:
        return f"entries {last + 1} to {entry.position - 1} are missing"
    if entry.previous != seal:
        return "it does not follow the entry before it"
    if entry.hash != entry_hash(entry):
        return "its content does not match its hash"
    return ""


def entry_hash(entry: AuditEntry) -> str:
    """Return the hash that an entry must have."""
    return hashlib.sha256(f"{entry.previous}\n{canonical(entry)}".encode()).hexdigest()


def canonical(entry: AuditEntry) -> str:
    """Write an entry as JSON in one way only: sorted keys, no spaces, ASCII, times in UTC."""
    return json.dumps(
        public(entry), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )


def public(entry: AuditEntry) -> dict[str, Any]:
    """Return what an entry says, as plain values, without its hashes."""
    return {
        "position": entry.position,
        "at": entry.at.astimezone(UTC).isoformat(timespec="microseconds"),
        "actor": entry.actor,
        "actor_id": entry.actor_id,
        "token_id": entry.token_id,
        "address": entry.address,
        "action": entry.action,
        "target": entry.target,
        "namespace_id": entry.namespace_id,
        "repository_id": entry.repository_id,
        "details": entry.details,
    }


def _values(happened: Event) -> dict[str, Any]:
    """Reduce an event to columns, as things are named at this moment."""
    actor, repo, account = happened.actor, happened.repo, happened.account
    namespace = repo.namespace_id if repo is not None else account.id if account else None
    target = happened.target
    if not target and repo is not None:
        target = f"{repo.type} {repo.full_name}"
    elif not target and account is not None:
        target = account.name
    details = dict(happened.details)
    if repo is not None and happened.target:
        details = {"repo": f"{repo.type} {repo.full_name}", **details}
    return {
        "actor": _plain(actor.name or "")[:96],
        "actor_id": actor.user_id,
        "token_id": actor.token_id,
        "address": _plain(actor.address)[:64],
        "action": happened.action[:48],
        "target": _plain(target)[:300],
        "namespace_id": namespace,
        "repository_id": repo.id if repo is not None else None,
        "details": _details(details),
    }


def _plain(text: str) -> str:
    """Make text that every database keeps and gives back as it was."""
    return text.encode("utf-8", "replace").decode().replace("\0", "?")


def _details(values: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = _clean(values)
    written = json.dumps(found)
    if len(written) > _MAX_DETAILS:
        return {"too_long": len(written), "sha256": hashlib.sha256(written.encode()).hexdigest()}
    return found


def _clean(value: Any) -> Any:
    """Make a value that JSON in every database keeps and gives back as it was."""
    if isinstance(value, Mapping):
        return {_plain(str(key)): _clean(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(inner) for inner in value]
    if value is None or isinstance(value, bool | int):
        return value
    return _plain(str(value))


def _write(session: Session) -> None:
    if session.in_nested_transaction() or not session.info.get(_WAITING):
        return
    waiting, session.info[_WAITING] = session.info[_WAITING], []
    session.flush()
    lock_name(session, "audit")
    tail = session.execute(
        select(AuditEntry.position, AuditEntry.hash).order_by(AuditEntry.position.desc()).limit(1)
    ).first()
    position, seal = (tail[0], tail[1]) if tail is not None else (0, BEGINNING)
    for values in waiting:
        position += 1
        entry = AuditEntry(**values, position=position, at=now(), previous=seal)
        entry.hash = seal = entry_hash(entry)
        session.add(entry)
    session.flush()


def _filters(
    account: Account | None,
    who: str,
    action: str,
    target: str,
    since: datetime | None,
    until: datetime | None,
) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if account is not None:
        found.append(AuditEntry.namespace_id == account.id)
    if who:
        found.append(AuditEntry.actor == _plain(who))
    if action:
        below = AuditEntry.action.startswith(f"{_plain(action)}.", autoescape=True)
        found.append(or_(AuditEntry.action == _plain(action), below))
    if target:
        found.append(AuditEntry.target == _plain(target))
    if since is not None:
        found.append(AuditEntry.at >= since)
    if until is not None:
        found.append(AuditEntry.at < until)
    return found
