# SPDX-License-Identifier: Apache-2.0
"""What happens on the hub, told once: the audit log and the webhooks listen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from sqlalchemy.orm import Session

from plait.hub.database import Account, Repository
from plait.hub.permissions import Actor


@dataclass(frozen=True)
class Event:
    """Something that somebody did."""

    action: str
    """Noun and verb, as ``repo.create``, ``discussion.comment`` or ``token.revoke``."""
    actor: Actor
    repo: Repository | None = None
    account: Account | None = None
    """The user or organisation that it concerns, where it is not about a repository."""
    target: str = ""
    """What it was done to, where neither a repository nor an account says it."""
    details: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """Plain JSON values; never a secret."""


Listener = Callable[[Session, Event], None]


class Events:
    """Passes every event on to those who listen, inside the transaction that made it."""

    def __init__(self) -> None:
        self.listeners: list[Listener] = []

    def record(
        self,
        session: Session,
        actor: Actor,
        action: str,
        *,
        repo: Repository | None = None,
        account: Account | None = None,
        target: str = "",
        **details: Any,
    ) -> None:
        """Tell the listeners; what they write is committed with ``session`` or not at all."""
        event = Event(action, actor, repo, account, target, details)
        for listener in self.listeners:
            listener(session, event)
