# SPDX-License-Identifier: Apache-2.0
"""Users, organisations and who belongs to which."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, cast

from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from plait.errors import BadInput, Conflict, NotFound
from plait.hub.database import Account, Membership, TeamMember, TokenGrant
from plait.hub.names import check_namespace
from plait.hub.permissions import ROLES, Actor, Permission, Role, Scope

if TYPE_CHECKING:
    from plait.hub.facade import Hub


class Accounts:
    """The accounts of one hub."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def create_user(
        self, name: str, *, admin: bool = False, fullname: str = "", email: str = ""
    ) -> Account:
        """Make a user.

        Raises:
            BadInput: the name is not allowed.
            Conflict: an account has that name already.
        """
        return self._create(
            Account(name=name, kind="user", is_admin=admin, fullname=fullname, email=email)
        )

    def create_organization(
        self, name: str, owner: Account | str, *, fullname: str = ""
    ) -> Account:
        """Make an organisation with ``owner`` as its first admin.

        Raises:
            BadInput, Conflict: as for users.
            NotFound: there is no such owner.
        """
        user = self.get_user(owner) if isinstance(owner, str) else owner
        return self._create(Account(name=name, kind="organization", fullname=fullname), user)

    def _create(self, account: Account, owner: Account | None = None) -> Account:
        what = "user" if account.kind == "user" else "organisation"
        check_namespace(account.name, what)
        account.name_key = account.name.lower()
        account.fullname = (account.fullname or "")[:200]
        account.email = (account.email or "")[:320]
        try:
            with self._hub.session(write=True) as session:
                session.add(account)
                session.flush()
                if owner is not None:
                    session.add(
                        Membership(organization_id=account.id, user_id=owner.id, role="admin")
                    )
        except IntegrityError:
            raise Conflict(
                f"There is already an account named '{account.name}'. Choose another name."
            ) from None
        return account

    def find(self, name: str) -> Account | None:
        """Return the account of that name, in any case of letters, or None."""
        if not name.isascii():
            return None
        with self._hub.session() as session:
            return session.scalar(select(Account).where(Account.name_key == name.lower()))

    def get(self, name: str) -> Account:
        """Return the account of that name.

        Raises:
            NotFound: there is none.
        """
        account = self.find(name)
        if account is None:
            raise NotFound(f"There is no user or organisation named {name[:96]!a}.")
        return account

    def get_user(self, name: str) -> Account:
        """Return the user of that name.

        Raises:
            NotFound: there is none, or it is an organisation.
        """
        account = self.find(name)
        if account is None or account.kind != "user":
            raise NotFound(f"There is no user named {name[:96]!a}.")
        return account

    def by_id(self, account_id: int) -> Account | None:
        """Return the account with that id, or None."""
        with self._hub.session() as session:
            return session.get(Account, account_id)

    def add_member(self, organization: Account, user: Account, role: Role = "write") -> None:
        """Give a user a role in an organisation, instead of any they had.

        Raises:
            BadInput: no such role, or the accounts are not an organisation and a user.
        """
        if role not in ROLES:
            raise BadInput(f"There is no role {role!a}. Use one of: {', '.join(ROLES)}.")
        if organization.kind != "organization":
            raise BadInput(f"'{organization.name}' is not an organisation.")
        if user.kind != "user":
            raise BadInput(f"'{user.name}' is not a user.")
        with self._hub.session(write=True) as session:
            self._keep_an_admin(session, organization, user, role)
            session.merge(Membership(organization_id=organization.id, user_id=user.id, role=role))

    def remove_member(self, organization: Account, user: Account) -> None:
        """Take a user out of an organisation.

        Raises:
            Conflict: they are its last admin.
        """
        with self._hub.session(write=True) as session:
            self._keep_an_admin(session, organization, user, None)
            session.execute(
                delete(Membership).where(
                    Membership.organization_id == organization.id, Membership.user_id == user.id
                )
            )

    def _keep_an_admin(
        self, session: Session, organization: Account, user: Account, role: Role | None
    ) -> None:
        if role == "admin":
            return
        existing = session.get(Membership, (organization.id, user.id))
        if existing is None or existing.role != "admin":
            return
        admins = session.scalar(
            select(func.count())
            .select_from(Membership)
            .where(Membership.organization_id == organization.id, Membership.role == "admin")
        )
        if admins == 1:
            raise Conflict(
                f"'{user.name}' is the last admin of '{organization.name}'. "
                "Make somebody else admin first."
            )

    def members(self, organization: Account) -> list[tuple[Account, Role]]:
        """List an organisation's users and their roles, by name."""
        with self._hub.session() as session:
            rows = session.execute(
                select(Account, Membership.role)
                .join(Membership, Membership.user_id == Account.id)
                .where(Membership.organization_id == organization.id)
                .order_by(Account.name_key)
            )
            return [(account, cast(Role, role)) for account, role in rows]

    def list_organizations(self, user: Account | int) -> list[tuple[Account, Role]]:
        """List the organisations of a user and the role in each, by name."""
        user_id = user if isinstance(user, int) else user.id
        with self._hub.session() as session:
            rows = session.execute(
                select(Account, Membership.role)
                .join(Membership, Membership.organization_id == Account.id)
                .where(Membership.user_id == user_id)
                .order_by(Account.name_key)
            )
            return [(account, cast(Role, role)) for account, role in rows]

    def list_accounts(
        self, kind: str | None = None, *, limit: int = 100, after: str = ""
    ) -> list[Account]:
        """List accounts by name, ``limit`` at a time, those after the name ``after``."""
        query = select(Account).where(Account.name_key > after.lower())
        if kind is not None:
            query = query.where(Account.kind == kind)
        with self._hub.session() as session:
            return list(session.scalars(query.order_by(Account.name_key).limit(limit)))

    def actor_for(
        self, user: Account, scope: Scope = "write", token_id: int | None = None
    ) -> Actor:
        """Return the actor for a user, with the user's roles as they are now."""
        with self._hub.session() as session:
            return load_actor(session, user, scope, token_id)


def load_actor(session: Session, user: Account, scope: Scope, token_id: int | None = None) -> Actor:
    """Build an `Actor` inside an open session, with the rights that the user has now."""
    roles = session.execute(
        select(Membership.organization_id, Membership.role).where(Membership.user_id == user.id)
    )
    teams = session.execute(
        select(TeamMember.team_id, TeamMember.role).where(TeamMember.user_id == user.id)
    )
    repositories: dict[int, Permission] = {}
    namespaces: dict[int, Permission] = {}
    if scope == "fine-grained":
        for grant in session.scalars(select(TokenGrant).where(TokenGrant.token_id == token_id)):
            permission = cast(Permission, grant.permission)
            if grant.repository_id is not None:
                repositories[grant.repository_id] = permission
            elif grant.namespace_id is not None:
                namespaces[grant.namespace_id] = permission
    return Actor(
        user_id=user.id,
        name=user.name,
        is_admin=user.is_admin,
        scope=scope,
        roles=MappingProxyType({o: cast(Role, role) for o, role in roles}),
        token_id=token_id,
        teams=MappingProxyType({t: cast(Role, role) for t, role in teams}),
        repository_grants=MappingProxyType(repositories),
        namespace_grants=MappingProxyType(namespaces),
        disabled=user.disabled_at is not None,
    )
