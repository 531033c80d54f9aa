# SPDX-License-Identifier: Apache-2.0
"""Protected branches: who pushes, who merges, and what a pull request needs before it lands.

A rule holds for the branches that its pattern matches; where several match, all hold. The history
of a protected branch is never rewritten, and the branch never deleted. Rules are asked wherever a
branch moves: commits over the API and on pages, ``git push``, branches made or
squashed, merges at once, and jobs again at the moment of landing. Only the administrators of the
namespace change rules, or move, delete or rewrite a repository that has some: otherwise every
writer could step around them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import select

from plait.errors import BadInput, Conflict, Forbidden, NotFound
from plait.hub.database import Account, BranchRule, Discussion, Repository, Team, TeamMember
from plait.hub.names import is_ref_name
from plait.hub.permissions import ROLES, Actor, can, resource_of, role_for
from plait.hub.repositories.reviews import ReviewState
from plait.hub.repositories.statuses import check_context

if TYPE_CHECKING:
    from plait.hub.facade import Hub

MAX_RULES = 100
MAX_SUBJECTS = 100
MAX_CONTEXTS = 50
MAX_REVIEWS = 10
_HEADS = "refs/heads/"


@dataclass(frozen=True)
class Rule:
    """What holds for the branches that a pattern matches.

    ``push`` and ``merge`` say who may, as ``user:NAME``, ``team:NAME`` or ``role:ROLE`` (which
    includes the roles above it); None is everybody who may write, empty is nobody.
    """

    pattern: str
    push: tuple[str, ...] | None = None
    merge: tuple[str, ...] | None = None
    reviews: int = 0
    contexts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Requirements:
    """How a pull request stands against the rules of the branch that it is for."""

    protected: bool
    approvals: int
    needed: int
    reviews: tuple[ReviewState, ...]
    contexts: tuple[tuple[str, str], ...]
    """Each required check and its state; ``missing`` if it has said nothing."""
    missing: tuple[str, ...]
    """What is still to be done, in sentences; empty: nothing."""


class Protection:
    """The branch rules of one hub's repositories."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    # -- the rules ------------------------------------------------------------------------------

    def rules(self, repo: Repository) -> list[Rule]:
        """List a repository's rules by pattern; who is gone since is left out."""
        rows = self._rows(repo)
        with self._hub.session() as session:
            users = {
                row.id: row.name
                for row in session.scalars(
                    select(Account).where(Account.id.in_(_ids(rows, "user")))
                )
            }
            teams = {
                row.id: row.name
                for row in session.scalars(select(Team).where(Team.id.in_(_ids(rows, "team"))))
            }

        def names(stored: list[Any] | None) -> tuple[str, ...] | None:
            if stored is None:
                return None
            known: dict[str, dict[Any, str]] = {"user": users, "team": teams}
            return tuple(
                f"{kind}:{known[kind][value] if kind in known else value}"
                for kind, value in stored
                if kind == "role" or value in known[kind]
            )

        return [
            Rule(row.pattern, names(row.push), names(row.merge), row.reviews, tuple(row.contexts))
            for row in rows
        ]

    def put(self, actor: Actor, repo: Repository, rule: Rule) -> Rule:
        """Make a rule, or replace the one of its pattern.

        Raises:
            RepositoryNotFound, Forbidden: the actor does not administer the namespace.
            BadInput: the rule names what there is not, or asks for more than can be.
        """
        hub = self._hub
        self.require_admin(actor, repo)
        if not is_ref_name(rule.pattern.replace("*", "x").replace("?", "x")):
            raise BadInput(
                f"{rule.pattern[:80]!a} is no branch name or pattern. Write it as 'main' or "
                "'release/*'."
            )
        if not 0 <= rule.reviews <= MAX_REVIEWS:
            raise BadInput(f"A rule asks for 0 to {MAX_REVIEWS} reviews, not {rule.reviews}.")
        if len(rule.contexts) > MAX_CONTEXTS:
            raise BadInput(f"A rule asks for at most {MAX_CONTEXTS} checks.")
        contexts = sorted({check_context(one) for one in rule.contexts})
        push, merge = self._subjects(repo, rule.push), self._subjects(repo, rule.merge)
        with hub.session(write=True) as session:
            found = list(
                session.scalars(select(BranchRule).where(BranchRule.repository_id == repo.id))
            )
            row = next((one for one in found if one.pattern == rule.pattern), None)
            if row is None:
                if len(found) >= MAX_RULES:
                    raise Conflict(f"A repository has at most {MAX_RULES} rules.")
                row = BranchRule(repository_id=repo.id, pattern=rule.pattern)
                session.add(row)
            row.push, row.merge = push, merge
            row.reviews, row.contexts = rule.reviews, list(contexts)
            hub.events.record(
                session,
                actor,
                "protection.update",
                repo=repo,
                pattern=rule.pattern,
                push=_plain(rule.push),
                merge=_plain(rule.merge),
                reviews=rule.reviews,
                contexts=contexts,
            )
        return next(one for one in self.rules(repo) if one.pattern == rule.pattern)

    def remove(self, actor: Actor, repo: Repository, pattern: str) -> None:
        """Remove a rule.

        Raises:
            RepositoryNotFound, Forbidden: the actor does not administer the namespace.
            NotFound: there is none of that pattern.
        """
        self.require_admin(actor, repo)
        with self._hub.session(write=True) as session:
            row = session.scalar(
                select(BranchRule).where(
                    BranchRule.repository_id == repo.id, BranchRule.pattern == pattern
                )
            )
            if row is None:
                raise NotFound(f"No rule of '{repo.full_name}' has the pattern {pattern[:80]!a}.")
            session.delete(row)
            self._hub.events.record(session, actor, "protection.delete", repo=repo, pattern=pattern)

    def may_admin(self, actor: Actor, repo: Repository) -> bool:
        """Tell whether the actor may change the rules."""
        resource = resource_of(repo)
        return can(actor, "repo.admin", resource) and (
            actor.is_system or actor.is_admin or role_for(actor, resource) == "admin"
        )

    def require_admin(self, actor: Actor, repo: Repository) -> None:
        """Refuse those who may not change the rules.

        Raises:
            RepositoryNotFound, Forbidden: the actor is no administrator here.
        """
        self._hub.repositories.require(actor, repo, "repo.admin")
        if not self.may_admin(actor, repo):
            raise Forbidden(
                f"Only administrators of '{repo.namespace.name}' change what protects the branches "
                f"of '{repo.full_name}'."
            )

    def guard(self, actor: Actor, repo: Repository, what: str) -> None:
        """Refuse what would step around a repository's rules, if it has any.

        Raises:
            Forbidden: it has, and the actor may not change them. ``what`` says what was tried.
        """
        if self._rows(repo) and not self.may_admin(actor, repo):
            raise Forbidden(
                f"'{repo.full_name}' has protected branches: only administrators of "
                f"'{repo.namespace.name}' may {what} it."
            )

    # -- at the doors ---------------------------------------------------------------------------

    def require_push(self, actor: Actor, repo: Repository, ref: str) -> None:
        """Refuse to let the actor move a branch directly.

        Where reviews or checks are asked for, nobody pushes but those whom the rule names.

        Raises:
            Forbidden: a rule says so.
        """
        for row in self._matching(repo, ref):
            allowed = row.push
            if allowed is None and (row.reviews or row.contexts):
                allowed = []
            if not self._allows(actor, repo, allowed):
                raise Forbidden(
                    f"The branch '{ref.removeprefix(_HEADS)}' of '{repo.full_name}' is protected: "
                    "you may not push to it. Open a pull request."
                )

    def require_steady(self, repo: Repository, ref: str, what: str) -> None:
        """Refuse to rewrite or delete a protected branch, whoever asks.

        Raises:
            Forbidden: a rule matches it.
        """
        if self._matching(repo, ref):
            raise Forbidden(
                f"The branch '{ref.removeprefix(_HEADS)}' of '{repo.full_name}' is protected: it "
                f"cannot be {what}. Remove the rule first (`plait protect`, or the settings)."
            )

    def require_merge(self, actor: Actor, repo: Repository, discussion: Discussion) -> None:
        """Refuse to let the actor merge a pull request as it is now.

        Raises:
            Forbidden: a rule names who may merge, and not the actor.
            Conflict: reviews or checks are missing; the message says which.
        """
        self.require_merger(actor, repo, discussion.base_ref)
        missing = self.requirements(repo, discussion).missing
        if missing:
            raise Conflict(f"Pull request {discussion.number} cannot be merged yet. "
                           + " ".join(missing))  # fmt: skip

    def require_merger(self, actor: Actor, repo: Repository, ref: str) -> None:
        """Refuse those whom a branch's rules do not let merge.

        Raises:
            Forbidden: a rule names who may, and not the actor.
        """
        for row in self._matching(repo, ref):
            if not self._allows(actor, repo, row.merge):
                raise Forbidden(
                    f"The branch '{ref.removeprefix(_HEADS)}' of '{repo.full_name}' is protected: "
                    "you may not merge into it."
                )

    def requirements(self, repo: Repository, discussion: Discussion) -> Requirements:
        """Say what the rules of its branch ask of a pull request, and what it has."""
        rows = self._matching(repo, discussion.base_ref)
        reviews = tuple(self._hub.reviews.list(repo, discussion))
        counted = [one for one in reviews if one.counts]
        approvals = sum(one.verdict == "approve" for one in counted)
        needed = max((row.reviews for row in rows), default=0)
        wanted = sorted({name for row in rows for name in row.contexts})
        head = self._hub.git.head(repo, f"refs/pr/{discussion.number}")
        latest = self._hub.statuses.latest(repo, head) if head and wanted else []
        states = {one.context: one.state for one in latest}
        contexts = tuple((name, states.get(name, "missing")) for name in wanted)
        missing = []
        if approvals < needed:
            missing.append(
                f"It needs {needed} approving review{'s' if needed != 1 else ''} of maintainers "
                f"who have no part in it, of its newest commit; it has {approvals}."
            )
        if needed:
            missing += [
                f"{one.reviewer} asked for changes." for one in counted if one.verdict == "reject"
            ]
        missing += [
            f"The check '{name}' has "
            + ("not reported." if state == "missing" else f"the state {state}.")
            for name, state in contexts
            if state != "success"
        ]
        return Requirements(bool(rows), approvals, needed, reviews, contexts, tuple(missing))

    def protects(self, repo: Repository, ref: str) -> bool:
        """Tell whether a rule matches a branch."""
        return bool(self._matching(repo, ref))

    # -- inside ---------------------------------------------------------------------------------

    def _rows(self, repo: Repository) -> list[BranchRule]:
        with self._hub.session() as session:
            return list(
                session.scalars(
                    select(BranchRule)
                    .where(BranchRule.repository_id == repo.id)
                    .order_by(BranchRule.pattern)
                )
            )

    def _matching(self, repo: Repository, ref: str) -> list[BranchRule]:
        if not ref.startswith(_HEADS):
            return []
        name = ref.removeprefix(_HEADS)
        return [row for row in self._rows(repo) if fnmatchcase(name, row.pattern)]

    def _allows(self, actor: Actor, repo: Repository, subjects: list[Any] | None) -> bool:
        if subjects is None or actor.is_system:
            return True
        role = "admin" if actor.is_admin else role_for(actor, resource_of(repo))
        for kind, value in subjects:
            if kind == "user" and value == actor.user_id:
                return True
            if kind == "role" and role is not None and ROLES.index(role) >= ROLES.index(value):
                return True
            if kind == "team" and self._in_team(actor, value):
                return True
        return False

    def _in_team(self, actor: Actor, team: int) -> bool:
        with self._hub.session() as session:
            return session.get(TeamMember, (team, actor.user_id)) is not None

    def _subjects(self, repo: Repository, named: Sequence[str] | None) -> list[Any] | None:
        if named is None:
            return None
        if len(named) > MAX_SUBJECTS:
            raise BadInput(f"A rule names at most {MAX_SUBJECTS} people, teams and roles.")
        return [list(self._subject(repo, one)) for one in dict.fromkeys(named)]

    def _subject(
        self, repo: Repository, text: str
    ) -> tuple[Literal["user", "team", "role"], int | str]:
        kind, _, name = text.partition(":")
        if kind == "role" and name in ROLES:
            return "role", name
        if kind == "user":
            account = self._hub.accounts.find(name)
            if account is not None and account.kind == "user":
                return "user", account.id
            raise BadInput(f"There is no user {name[:80]!a}.")
        if kind == "team":
            with self._hub.session() as session:
                team = session.scalar(
                    select(Team).where(
                        Team.organization_id == repo.namespace_id, Team.name_key == name.lower()
                    )
                )
            if team is not None:
                return "team", team.id
            raise BadInput(f"'{repo.namespace.name}' has no team {name[:80]!a}.")
        raise BadInput(
            f"{text[:80]!a} names nobody. Write user:NAME, team:NAME or one of "
            f"{', '.join(f'role:{role}' for role in ROLES)}."
        )


def _ids(rows: Sequence[BranchRule], kind: str) -> set[int]:
    lists = [stored for row in rows for stored in (row.push, row.merge) if stored is not None]
    return {int(value) for stored in lists for found, value in stored if found == kind}


def _plain(named: Sequence[str] | None) -> list[str] | None:
    return None if named is None else list(named)


def requirements_json(found: Requirements) -> dict[str, Any]:
    """Return the state of a pull request against its branch's rules as plain values."""
    return {
        "protected": found.protected,
        "approvals": found.approvals,
        "needed": found.needed,
        "reviews": [
            {
                "reviewer": one.reviewer,
                "verdict": one.verdict,
                "head": one.head,
                "dismissed": one.dismissed,
                "counts": one.counts,
            }
            for one in found.reviews
        ],
        "contexts": [{"context": name, "state": state} for name, state in found.contexts],
        "missing": list(found.missing),
    }
