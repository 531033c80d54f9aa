# SPDX-License-Identifier: Apache-2.0
"""Teams: some members of an organisation around some of its repositories."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from plait.errors import BadInput, Conflict, Forbidden, NotFound
from plait.hub.database import Account, Membership, Repository, Team, TeamMember
from plait.hub.names import check_namespace, check_text
from plait.hub.permissions import ROLES, Actor, Role, can
from plait.hub.visibility import readable

if TYPE_CHECKING:
    from plait.hub.facade import Hub

MAX_TEAMS = 500
"""Per organisation; lists of teams are short enough to be read whole."""


class Teams:
    """The teams of one hub's organisations. Their admins decide; members see who is in them."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def list(self, actor: Actor, organization: Account) -> Sequence[Team]:
        """List an organisation's teams by name.

        Raises:
            Forbidden: the actor does not belong to it.
        """
        self._see(actor, organization)
        with self._hub.session() as session:
            query = select(Team).where(Team.organization_id == organization.id)
            return list(session.scalars(query.order_by(Team.name_key)))

    def get(self, actor: Actor, organization: Account, name: str) -> Team:
        """Return a team by its name, in any case of letters.

        Raises:
            Forbidden: the actor does not belong to the organisation.
            NotFound: there is none.
        """
        self._see(actor, organization)
        with self._hub.session() as session:
            found = session.scalar(
                select(Team).where(
                    Team.organization_id == organization.id,
                    Team.name_key == check_text(name, "The name", 96).lower(),
                )
            )
        if found is None:
            raise NotFound(f"'{organization.name}' has no team {name[:96]!a}.")
        return found

    def create(self, actor: Actor, organization: Account, name: str, description: str = "") -> Team:
        """Make a team.

        Raises:
            Forbidden: the actor does not administer the organisation.
            BadInput: the name is not allowed, or it has too many teams.
            Conflict: there is one of that name.
        """
        if organization.kind != "organization":
            raise BadInput(f"'{organization.name}' is not an organisation.")
        self._administer(actor, organization)
        if len(self.list(actor, organization)) >= MAX_TEAMS:
            raise BadInput(f"An organisation may have {MAX_TEAMS} teams.")
        team = Team(
            organization_id=organization.id,
            name=check_namespace(name, "team"),
            name_key=name.lower(),
            description=check_text(description, "The description", 400),
        )
        try:
            with self._hub.session(write=True) as session:
                session.add(team)
                session.flush()
                self._tell(session, actor, "team.create", team)
        except IntegrityError:
            raise Conflict(f"'{organization.name}' already has a team '{name}'.") from None
        return team

    def update(
        self, actor: Actor, team: Team, *, name: str | None = None, description: str | None = None
    ) -> Team:
        """Change a team's name or description and return it as it is then.

        Raises:
            Forbidden: the actor does not administer the organisation.
            BadInput: the name is not allowed or the text too long.
            Conflict: there is one of that name.
        """
        self._administer(actor, self._organization(team))
        try:
            with self._hub.session(write=True) as session:
                fresh = self._fresh(session, team)
                if name is not None:
                    fresh.name, fresh.name_key = check_namespace(name, "team"), name.lower()
                if description is not None:
                    fresh.description = check_text(description, "The description", 400)
                session.flush()
                self._tell(session, actor, "team.update", fresh, was=team.name)
                return fresh
        except IntegrityError:
            raise Conflict(f"There is already a team '{name}'.") from None

    def delete(self, actor: Actor, team: Team) -> None:
        """Remove a team that has no repositories.

        Its private repositories would otherwise open to the whole organisation.

        Raises:
            Forbidden: the actor does not administer the organisation.
            Conflict: repositories belong to it.
        """
        self._administer(actor, self._organization(team))
        with self._hub.session(write=True) as session:
            fresh = self._fresh(session, team)
            if session.scalar(select(Repository.id).where(Repository.team_id == team.id).limit(1)):
                raise Conflict(
                    f"Repositories belong to team '{team.name}'. Take them out first: private "
                    "ones are then seen by the whole organisation."
                )
            self._tell(session, actor, "team.delete", fresh)
            session.delete(fresh)

    def members(self, actor: Actor, team: Team) -> Sequence[tuple[Account, Role]]:
        """List a team's members and their roles in it, by name.

        Raises:
            Forbidden: the actor does not belong to the organisation.
        """
        self._see(actor, self._organization(team))
        with self._hub.session() as session:
            rows = session.execute(
                select(Account, TeamMember.role)
                .join(TeamMember, TeamMember.user_id == Account.id)
                .where(TeamMember.team_id == team.id)
                .order_by(Account.name_key)
            )
            return [(account, cast(Role, role)) for account, role in rows]

    def add_member(self, actor: Actor, team: Team, user: Account, role: Role = "write") -> None:
        """Give a member of the organisation a role in a team, instead of any they had.

        Raises:
            Forbidden: the actor does not administer the organisation.
            BadInput: no such role, or the user does not belong to the organisation.
        """
        organization = self._organization(team)
        self._administer(actor, organization)
        if role not in ROLES:
            raise BadInput(f"There is no role {role!a}. Use one of: {', '.join(ROLES)}.")
        with self._hub.session(write=True) as session:
            fresh = self._fresh(session, team)
            if session.get(Membership, (team.organization_id, user.id)) is None:
                raise BadInput(
                    f"'{user.name}' does not belong to '{organization.name}'. "
                    "Add them to the organisation first."
                )
            session.merge(TeamMember(team_id=team.id, user_id=user.id, role=role))
            self._tell(session, actor, "team.add-member", fresh, user=user.name, role=role)

    def remove_member(self, actor: Actor, team: Team, user: Account) -> None:
        """Take somebody out of a team.

        Raises:
            Forbidden: the actor does not administer the organisation.
            NotFound: they are not in it.
        """
        self._administer(actor, self._organization(team))
        with self._hub.session(write=True) as session:
            membership = session.get(TeamMember, (team.id, user.id))
            if membership is None:
                raise NotFound(f"'{user.name}' is not in team '{team.name}'.")
            session.delete(membership)
            self._tell(session, actor, "team.remove-member", team, user=user.name)

    def repositories(
        self, actor: Actor, team: Team, *, limit: int = 100, after: int = 0
    ) -> Sequence[Repository]:
        """List those repositories of a team that the actor may read, by id after ``after``.

        Raises:
            Forbidden: the actor does not belong to the organisation.
        """
        self._see(actor, self._organization(team))
        query = select(Repository).where(Repository.team_id == team.id, readable(actor))
        query = query.where(Repository.id > after).order_by(Repository.id).limit(limit)
        with self._hub.session() as session:
            return list(session.scalars(query))

    def add_repository(self, actor: Actor, team: Team, repo: Repository) -> None:
        """Give a repository of the organisation to a team, taking it from any other.

        Raises:
            Forbidden: the actor does not administer the organisation.
            BadInput: it belongs to somebody else.
        """
        organization = self._organization(team)
        self._administer(actor, organization)
        if repo.namespace_id != organization.id:
            raise BadInput(f"'{repo.full_name}' does not belong to '{organization.name}'.")
        self._assign(actor, team, repo, team.id)

    def remove_repository(self, actor: Actor, team: Team, repo: Repository) -> None:
        """Take a repository out of a team; the organisation's roles then count in it.

        Raises:
            Forbidden: the actor does not administer the organisation.
            NotFound: it does not belong to the team.
        """
        self._administer(actor, self._organization(team))
        if repo.team_id != team.id:
            raise NotFound(f"'{repo.full_name}' does not belong to team '{team.name}'.")
        self._assign(actor, team, repo, None)

    def _assign(self, actor: Actor, team: Team, repo: Repository, team_id: int | None) -> None:
        with self._hub.session(write=True) as session:
            fresh = self._fresh(session, team)
            # Where it belongs is asked again: it may be on its way to another namespace.
            found = session.get(Repository, repo.id, with_for_update={"of": Repository})
            if found is None or found.namespace_id != fresh.organization_id:
                raise NotFound(f"'{repo.full_name}' has moved. Look where it is now.")
            session.execute(
                update(Repository).where(Repository.id == repo.id).values(team_id=team_id)
            )
            verb = "team.add-repository" if team_id else "team.remove-repository"
            self._tell(session, actor, verb, fresh, repository=f"{repo.type} {repo.full_name}")

    def _organization(self, team: Team) -> Account:
        found = self._hub.accounts.by_id(team.organization_id)
        if found is None:
            raise NotFound("The organisation is gone.")
        return found

    def _fresh(self, session: Session, team: Team) -> Team:
        fresh = session.get(Team, team.id, with_for_update={"of": Team})
        if fresh is None:
            raise NotFound(f"There is no team '{team.name}' any more.")
        return fresh

    def _tell(self, session: Session, actor: Actor, action: str, team: Team, **more: str) -> None:
        organization = session.get(Account, team.organization_id)
        details: dict[str, Any] = {"team": team.name, **more}
        self._hub.events.record(session, actor, action, account=organization, **details)

    @staticmethod
    def _see(actor: Actor, organization: Account) -> None:
        if not can(actor, "namespace.read", organization):
            raise Forbidden(f"Only members of '{organization.name}' see its teams.")

    @staticmethod
    def _administer(actor: Actor, organization: Account) -> None:
        if not can(actor, "namespace.admin", organization):
            raise Forbidden(f"Only administrators of '{organization.name}' decide on its teams.")
