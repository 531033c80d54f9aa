# SPDX-License-Identifier: Apache-2.0
"""Who may do what: one pure function decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, get_args

from plait.hub.database import Account, Discussion, Repository

Scope = Literal["none", "read", "contributor", "write", "fine-grained"]
Permission = Literal["read", "contributor", "write"]
Role = Literal["read", "contributor", "write", "admin"]
Action = Literal[
    "repo.read",
    "repo.files",
    "repo.discuss",
    "repo.propose",
    "repo.write",
    "repo.merge",
    "repo.admin",
    "discussion.edit",
    "pull.write",
    "namespace.read",
    "namespace.create",
    "namespace.admin",
    "account.self",
    "hub.admin",
]

ROLES: tuple[Role, ...] = get_args(Role)
"""An organisation's roles, each including those before it.

``contributor`` may create repositories and write to those it created; ``write`` to all of the
organisation's; ``admin`` also decides on members and teams.
"""
PERMISSIONS: tuple[Permission, ...] = get_args(Permission)
"""What a token may be given, each including those before it.

``contributor`` reads, discusses, and opens and continues its user's own pull requests.
"""
ACTIONS: tuple[Action, ...] = get_args(Action)
GATED: frozenset[Action] = frozenset({"repo.files", "repo.propose", "pull.write"})
"""What a gated repository allows only to those who were let in."""

_READING: frozenset[Action] = frozenset({"repo.read", "repo.files", "namespace.read"})
_CONTRIBUTING: frozenset[Action] = _READING | {
    "repo.discuss",
    "repo.propose",
    "discussion.edit",
    "pull.write",
}


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
    teams: Mapping[int, Role] = field(default_factory=lambda: MappingProxyType({}))
    """Role by team id; it counts only for members of the team's organisation."""
    repository_grants: Mapping[int, Permission] = field(
        default_factory=lambda: MappingProxyType({})
    )
    """What a fine-grained token may do, by repository id."""
    namespace_grants: Mapping[int, Permission] = field(default_factory=lambda: MappingProxyType({}))
    """What a fine-grained token may do in all of a namespace, by its account's id."""
    disabled: bool = False
    """The account was closed: it may do nothing."""
    address: str = field(default="", compare=False)
    """Where the request came from, for the audit log."""

    @property
    def signed_in(self) -> bool:
        """Tell whether this is a known user."""
        return self.user_id is not None

    def role_in(self, namespace_id: int) -> Role | None:
        """Return the role in a namespace; everyone is admin of their own."""
        if self.user_id is not None and self.user_id == namespace_id:
            return "admin"
        return self.roles.get(namespace_id)


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
    repository_id: int | None = None
    team_id: int | None = None
    """The team that it belongs to: roles in it come from the team, not from the organisation."""
    gated: bool = False
    """Its files are for those who were let in."""
    accepted: bool = False
    """Whether the actor was let in."""
    disabled: bool = False
    """The hub's administrators have closed it."""


HUB = Resource(0)
"""The hub as a whole; for ``account.self`` it stands for the actor's own account."""


def resource_of(
    thing: Repository | Account, discussion: Discussion | None = None, *, accepted: bool = False
) -> Resource:
    """Reduce a record to a `Resource`; ``accepted``: the actor was let through its gate."""
    if isinstance(thing, Account):
        return Resource(thing.id)
    return Resource(
        thing.namespace_id,
        bool(thing.private),
        thing.created_by,
        discussion.author_id if discussion is not None else None,
        thing.id,
        thing.team_id,
        bool(thing.gated),
        accepted,
        bool(thing.disabled),
    )


def can(
    actor: Actor, action: Action, resource: Resource | Repository | Account | None = None
) -> bool:
    """Decide whether ``actor`` may do ``action`` with ``resource`` (the hub, if none is named).

    Two questions, and both must be answered with yes. May the *user* do it: by being an
    administrator of the hub, by their role, by being the author, or because anybody may? And does
    the *token* go that far: its scope, or for a fine-grained token what was granted here?
    """
    if actor.is_system:
        return True
    if actor.disabled:
        return False
    if resource is None:
        resource = HUB
    elif not isinstance(resource, Resource):
        resource = resource_of(resource)
    if resource.disabled and not _closed_allows(actor, action):
        return False
    if not resource.private and _open_to_all(action, resource):
        return True
    return _token_reaches(actor, action, resource) and _user_may(actor, action, resource)


def _open_to_all(action: Action, resource: Resource) -> bool:
    return action == "repo.read" or (action == "repo.files" and not resource.gated)


def _closed_allows(actor: Actor, action: Action) -> bool:
    """A closed repository can be seen to exist; only the hub's administrators can change that."""
    return action == "repo.read" or (action == "repo.admin" and actor.is_admin)


def _token_reaches(actor: Actor, action: Action, resource: Resource) -> bool:
    if not actor.signed_in:
        return False
    match granted(actor, resource):
        case "read":
            return action in _READING
        case "contributor":
            return action in _CONTRIBUTING
        case "write":
            # What concerns the account or the hub is never granted for one place alone.
            return actor.scope == "write" or action not in (
                "namespace.admin",
                "account.self",
                "hub.admin",
            )
    return False


def granted(actor: Actor, resource: Resource) -> Permission | None:
    """Return how far the actor's token goes at this place, whatever its user may do there."""
    if actor.scope == "none":
        return None
    if actor.scope != "fine-grained":
        return actor.scope
    here = actor.namespace_grants.get(resource.namespace_id)
    if resource.repository_id is None:
        return here
    there = actor.repository_grants.get(resource.repository_id)
    return max(here, there, key=_rank)


def _rank(permission: Permission | None) -> int:
    return -1 if permission is None else PERMISSIONS.index(permission)


def role_for(actor: Actor, resource: Resource) -> Role | None:
    """Return the role that the actor's user has with this repository or namespace."""
    role = actor.role_in(resource.namespace_id)
    if role in (None, "admin") or resource.team_id is None:
        return role
    return actor.teams.get(resource.team_id)


def _user_may(actor: Actor, action: Action, resource: Resource) -> bool:
    if action == "account.self":
        return resource == HUB or resource.namespace_id == actor.user_id
    if actor.is_admin:
        return not _needs_own_role(actor, action, resource)
    role = role_for(actor, resource)
    readable = not resource.private or role is not None
    files = readable and (not resource.gated or role is not None or resource.accepted)
    writes = role in ("write", "admin") or (
        role == "contributor" and resource.created_by == actor.user_id
    )
    owns = writes and granted(actor, resource) == "write"
    match action:
        case "repo.read" | "repo.discuss":
            return readable
        case "repo.files" | "repo.propose":
            return files
        case "repo.write" | "repo.merge" | "repo.admin":
            return writes
        case "discussion.edit":
            return readable and (owns or resource.author_id == actor.user_id)
        case "pull.write":
            return files and (owns or resource.author_id == actor.user_id)
        case "namespace.read":
            return role is not None
        case "namespace.create":
            return role in ("contributor", "write", "admin")
        case "namespace.admin":
            return role == "admin"
    return False


def _needs_own_role(actor: Actor, action: Action, resource: Resource) -> bool:
    """Through a contributor's token, even an administrator continues only what they began."""
    return (
        action in ("discussion.edit", "pull.write")
        and granted(actor, resource) != "write"
        and resource.author_id != actor.user_id
    )
