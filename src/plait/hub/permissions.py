# SPDX-License-Identifier: Apache-2.0
"""Who may do what: one pure function decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from plait.hub.database import Account, Discussion, Repository

Scope = Literal["none", "read", "write"]
Role = Literal["read", "contributor", "write", "admin"]
Action = Literal[
    "repo.read",
    "repo.discuss",
    "repo.propose",
    "repo.write",
    "repo.merge",
    "repo.admin",
    "discussion.edit",
    "pull.write",
    "namespace.create",
    "namespace.admin",
]

ROLES: tuple[Role, ...] = ("read", "contributor", "write", "admin")
"""An organisation's roles, each including those before it.

``contributor`` may create repositories and write to those it created; ``write`` to all of the
organisation's; ``admin`` also decides on members.
"""
ACTIONS: tuple[Action, ...] = (
    "repo.read",
    "repo.discuss",
    "repo.propose",
    "repo.write",
    "repo.merge",
    "repo.admin",
    "discussion.edit",
    "pull.write",
    "namespace.create",
    "namespace.admin",
)


@dataclass(frozen=True)
class Actor:
    """Whoever asks: a user through a token or browser session, nobody, or the hub itself."""

    user_id: int | None = None
    name: str | None = None
    is_admin: bool = False
    scope: Scope = "none"
    """What the token allows; a user can never do more through it."""
    roles: Mapping[int, Role] = field(default_factory=lambda: MappingProxyType({}))
    """Role by organisation id."""
    token_id: int | None = None
    is_system: bool = False

    @property
    def signed_in(self) -> bool:
        """Tell whether this is a known user."""
        return self.user_id is not None

    def role_in(self, namespace_id: int) -> Role | None:
        """Return the role in a namespace; everyone is admin of their own."""
        if self.user_id is not None and self.user_id == namespace_id:
            return "admin"
        return self.roles.get(namespace_id)

    def namespaces(self) -> list[int]:
        """Return the ids of the namespaces whose private repositories are readable."""
        own = [self.user_id] if self.user_id is not None else []
        return [*own, *self.roles] if self.scope != "none" else []


ANONYMOUS = Actor()
SYSTEM = Actor(name="plait", is_system=True, scope="write")
"""The hub's own jobs. What a job may see is decided where the job is made, not by this actor."""


@dataclass(frozen=True)
class Resource:
    """What an action is about, reduced to what the decision needs."""

    namespace_id: int
    private: bool = False
    created_by: int | None = None
    """The repository's creator."""
    author_id: int | None = None
    """The author of the discussion or pull request, when it is about one."""


def resource_of(thing: Repository | Account, discussion: Discussion | None = None) -> Resource:
    """Reduce a record to a `Resource`."""
    if isinstance(thing, Account):
        return Resource(thing.id)
    return Resource(
        thing.namespace_id,
        thing.private,
        thing.created_by,
        discussion.author_id if discussion is not None else None,
    )


def can(actor: Actor, action: Action, resource: Resource | Repository | Account) -> bool:
    """Decide whether ``actor`` may do ``action`` with ``resource``.

    Everything that changes something needs a token of scope ``write``. Reading a public
    repository needs nothing. Whoever can read may discuss and propose; whoever proposed may
    go on writing to that pull request.
    """
    if actor.is_system:
        return True
    if not isinstance(resource, Resource):
        resource = resource_of(resource)
    in_scope = actor.signed_in and (
        actor.scope == "write" or (actor.scope == "read" and action == "repo.read")
    )
    if action == "repo.read" and not resource.private:
        return True
    if not in_scope:
        return False
    if actor.is_admin:
        return True
    role = actor.role_in(resource.namespace_id)
    readable = not resource.private or role is not None
    writes = role in ("write", "admin") or (
        role == "contributor" and resource.created_by == actor.user_id
    )
    match action:
        case "repo.read" | "repo.discuss" | "repo.propose":
            return readable
        case "repo.write" | "repo.merge" | "repo.admin":
            return writes
        case "discussion.edit" | "pull.write":
            return readable and (writes or resource.author_id == actor.user_id)
        case "namespace.create":
            return role in ("contributor", "write", "admin")
        case "namespace.admin":
            return role == "admin"
    return False
