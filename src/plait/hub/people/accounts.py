# SPDX-License-Identifier: Apache-2.0
"""Users, organisations and who belongs to which."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from sqlalchemy import delete, exists, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from plait.errors import BadInput, Conflict, Forbidden, NotFound
from plait.hub.database import (
    Account,
    BrowserSession,
    Collection,
    Membership,
    OneTimeSecret,
    Repository,
    Team,
    TeamMember,
    now,
)
from plait.hub.names import check_namespace, check_text
from plait.hub.people.actors import load_actor
from plait.hub.people.credentials import Credentials
from plait.hub.permissions import ROLES, SYSTEM, Action, Actor, Role, Scope, can

if TYPE_CHECKING:
    from plait.hub.facade import Hub


class Accounts(Credentials):
    """The accounts of one hub.

    Where a method takes ``by``, that actor must be allowed to; left out, it is the operator at the
    hub's own machine.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def create_user(
        self,
        name: str,
        *,
        admin: bool = False,
        fullname: str = "",
        email: str = "",
        by: Actor = SYSTEM,
    ) -> Account:
        """Make a user, who has neither password nor token yet.

        Raises:
            BadInput: the name is not allowed.
            Conflict: an account has that name already.
            Forbidden: ``by`` does not administer the hub.
        """
        _demand(by, "hub.admin", None, "Only administrators of the hub may make users.")
        return self._create(
            Account(name=name, kind="user", is_admin=admin, fullname=fullname, email=email), by
        )

    def create_organization(
        self, name: str, owner: Account | str, *, fullname: str = "", by: Actor = SYSTEM
    ) -> Account:
        """Make an organisation with ``owner`` as its first admin.

        Raises:
            BadInput, Conflict: as for users.
            NotFound: there is no such owner.
            Forbidden: ``by`` is neither the owner nor an administrator of the hub.
        """
        user = self.get_user(owner) if isinstance(owner, str) else owner
        if not can(by, "account.self", user):
            _demand(by, "hub.admin", None, "You may make organisations for yourself only.")
        return self._create(Account(name=name, kind="organization", fullname=fullname), by, user)

    def _create(self, account: Account, by: Actor, owner: Account | None = None) -> Account:
        what = "user" if account.kind == "user" else "organisation"
        check_namespace(account.name, what)
        account.name_key = account.name.lower()
        account.fullname = check_text(account.fullname or "", "The full name", 200)
        account.email = check_text(account.email or "", "The address", 320)
        try:
            with self._hub.session(write=True) as session:
                session.add(account)
                session.flush()
                if owner is not None:
                    session.add(
                        Membership(organization_id=account.id, user_id=owner.id, role="admin")
                    )
                action = "user.create" if owner is None else "org.create"
                self._hub.events.record(
                    session, by, action, account=account, admin=bool(account.is_admin)
                )
        except IntegrityError:
            raise Conflict(
                f"There is already an account named '{account.name}'. Choose another name."
            ) from None
        return account

    def find(self, name: str) -> Account | None:
        """Return the account of that name, in any case of letters, or None."""
        if not name.isascii() or "\0" in name:
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

    def get_organization(self, name: str) -> Account:
        """Return the organisation of that name.

        Raises:
            NotFound: there is none, or it is a user.
        """
        account = self.find(name)
        if account is None or account.kind != "organization":
            raise NotFound(f"There is no organisation named {name[:96]!a}.")
        return account

    def by_id(self, account_id: int) -> Account | None:
        """Return the account with that id, or None."""
        with self._hub.session() as session:
            return session.get(Account, account_id)

    def update_profile(
        self,
        actor: Actor,
        account: Account,
        *,
        fullname: str | None = None,
        email: str | None = None,
        about: str | None = None,
    ) -> Account:
        """Change what an account says of itself, and return it as it is then.

        Raises:
            Forbidden: the actor is neither its administrator nor the hub's.
            BadInput: a text is too long.
        """
        _demand(actor, "namespace.admin", account, f"You may not change '{account.name}'.")
        texts = (
            ("fullname", fullname, "The full name", 200),
            ("email", email, "The address", 320),
            ("about", about, "The text", 2000),
        )
        with self._hub.session(write=True) as session:
            fresh = self._fresh(session, account)
            changed = []
            for field, text, what, longest in texts:
                if text is not None and text != getattr(fresh, field):
                    setattr(fresh, field, check_text(text, what, longest))
                    changed.append(field)
            if changed:
                self._hub.events.record(
                    session, actor, "account.profile", account=fresh, changed=changed
                )
            return fresh

    def disable(self, user: Account, *, by: Actor = SYSTEM) -> None:
        """Close a user's account: they may not sign in, and their tokens do nothing.

        Raises:
            Forbidden: ``by`` does not administer the hub.
            Conflict: it is the last administrator of the hub.
        """
        self._switch(user, by, "user.disable")

    def enable(self, user: Account, *, by: Actor = SYSTEM) -> None:
        """Open a user's account again.

        Raises:
            Forbidden: ``by`` does not administer the hub.
        """
        self._switch(user, by, "user.enable")

    def set_admin(self, user: Account, admin: bool, *, by: Actor = SYSTEM) -> None:
        """Make a user an administrator of the hub, or no longer.

        Raises:
            Forbidden: ``by`` does not administer the hub.
            Conflict: it is the last administrator of the hub.
        """
        self._switch(user, by, "user.promote" if admin else "user.demote")

    def _switch(self, user: Account, by: Actor, action: str) -> None:
        _demand(by, "hub.admin", None, "Only administrators of the hub may do this.")
        if user.kind != "user":
            raise BadInput(f"'{user.name}' is not a user.")
        with self._hub.session(write=True) as session:
            fresh = self._fresh(session, user)
            if action in ("user.disable", "user.demote"):
                self._keep_an_administrator(session, fresh)
            if action == "user.disable":
                fresh.disabled_at = fresh.disabled_at or now()
                for table in (BrowserSession, OneTimeSecret):
                    session.execute(delete(table).where(table.user_id == fresh.id))
            elif action == "user.enable":
                fresh.disabled_at = None
            else:
                fresh.is_admin = action == "user.promote"
            self._hub.events.record(session, by, action, account=fresh)

    def delete(self, account: Account, *, by: Actor = SYSTEM) -> None:
        """Remove a user or organisation that owns nothing, with its tokens and memberships.

        Raises:
            Forbidden: ``by`` neither administers the account nor the hub.
            Conflict: it owns repositories or collections, or is the last administrator of
                something.
        """
        _demand(by, "namespace.admin", account, f"You may not delete '{account.name}'.")
        with self._hub.session(write=True) as session:
            fresh = self._fresh(session, account)
            for table in (Repository, Collection):
                if session.scalar(select(exists().where(table.namespace_id == fresh.id))):
                    raise Conflict(
                        f"'{fresh.name}' still owns something. "
                        "Move or delete its repositories and collections first."
                    )
            if fresh.kind == "user":
                self._keep_an_administrator(session, fresh)
                for organization in self._administered(session, fresh):
                    self._keep_an_admin(session, organization, fresh, None)
            self._hub.events.record(session, by, f"{_noun(fresh)}.delete", account=fresh)
            session.delete(fresh)

    def _fresh(self, session: Session, account: Account) -> Account:
        fresh = session.get(Account, account.id, with_for_update={"of": Account})
        if fresh is None:
            raise NotFound(f"There is no account '{account.name}' any more.")
        return fresh

    def _keep_an_administrator(self, session: Session, user: Account) -> None:
        if not user.is_admin or user.disabled_at is not None:
            return
        others = select(func.count()).where(
            Account.is_admin, Account.disabled_at.is_(None), Account.id != user.id
        )
        if not session.scalar(others.select_from(Account)):
            raise Conflict(
                f"'{user.name}' is the last administrator of this hub. Make another one first."
            )

    def _administered(self, session: Session, user: Account) -> list[Account]:
        query = select(Account).join(Membership, Membership.organization_id == Account.id)
        query = query.where(Membership.user_id == user.id, Membership.role == "admin")
        return list(session.scalars(query))

    def add_member(
        self, organization: Account, user: Account, role: Role = "write", *, by: Actor = SYSTEM
    ) -> None:
        """Give a user a role in an organisation, instead of any they had.

        Raises:
            BadInput: no such role, or the accounts are not an organisation and a user.
            Conflict: they were its last admin.
            Forbidden: ``by`` does not administer the organisation.
        """
        if role not in ROLES:
            raise BadInput(f"There is no role {role!a}. Use one of: {', '.join(ROLES)}.")
        if organization.kind != "organization":
            raise BadInput(f"'{organization.name}' is not an organisation.")
        if user.kind != "user":
            raise BadInput(f"'{user.name}' is not a user.")
        _demand(by, "namespace.admin", organization, _NOT_ADMIN.format(organization.name))
        with self._hub.session(write=True) as session:
            self._keep_an_admin(session, organization, user, role)
            session.merge(Membership(organization_id=organization.id, user_id=user.id, role=role))
            self._hub.events.record(
                session, by, "member.add", account=organization, user=user.name, role=role
            )

    def remove_member(self, organization: Account, user: Account, *, by: Actor = SYSTEM) -> None:
        """Take a user out of an organisation and all its teams; everybody may leave.

        Raises:
            Conflict: they are its last admin.
            NotFound: they do not belong to it.
            Forbidden: ``by`` neither administers the organisation nor is that user.
        """
        if not can(by, "account.self", user):
            _demand(by, "namespace.admin", organization, _NOT_ADMIN.format(organization.name))
        with self._hub.session(write=True) as session:
            self._keep_an_admin(session, organization, user, None)
            membership = session.get(Membership, (organization.id, user.id))
            if membership is None:
                raise NotFound(f"'{user.name}' does not belong to '{organization.name}'.")
            session.delete(membership)
            teams = select(Team.id).where(Team.organization_id == organization.id)
            session.execute(
                delete(TeamMember).where(
                    TeamMember.user_id == user.id, TeamMember.team_id.in_(teams)
                )
            )
            self._hub.events.record(
                session, by, "member.remove", account=organization, user=user.name
            )

    def _keep_an_admin(
        self, session: Session, organization: Account, user: Account, role: Role | None
    ) -> None:
        if role == "admin":
            return
        # The organisation's row is what two admins who demote each other both wait for.
        session.get(Account, organization.id, with_for_update={"of": Account})
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

    def require_administrator(self, actor: Actor) -> None:
        """Refuse anybody but the hub's administrators.

        Raises:
            Forbidden: the actor is none, or their token does not reach so far.
        """
        _demand(actor, "hub.admin", None, "This is for the administrators of the hub.")

    def members_for(
        self, actor: Actor, organization: Account, *, limit: int = 100, after: str = ""
    ) -> list[tuple[Account, Role]]:
        """List an organisation's users and their roles, for somebody who belongs to it.

        Raises:
            Forbidden: the actor does not.
        """
        otherwise = f"Only members of '{organization.name}' see the roles in it."
        _demand(actor, "namespace.read", organization, otherwise)
        return self.members(organization, limit=limit, after=after)

    def members(
        self, organization: Account, *, limit: int = 1000, after: str = ""
    ) -> list[tuple[Account, Role]]:
        """List an organisation's users and their roles, by name."""
        with self._hub.session() as session:
            rows = session.execute(
                select(Account, Membership.role)
                .join(Membership, Membership.user_id == Account.id)
                .where(Membership.organization_id == organization.id)
                .where(Account.name_key > after.lower())
                .order_by(Account.name_key)
                .limit(limit)
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
        self, kind: str | None = None, *, search: str = "", limit: int = 100, after: str = ""
    ) -> list[Account]:
        """List accounts by name, ``limit`` at a time, those after the name ``after``."""
        query = select(Account).where(Account.name_key > after.lower())
        if kind is not None:
            query = query.where(Account.kind == kind)
        if search:
            query = query.where(Account.name_key.contains(search.lower(), autoescape=True))
        with self._hub.session() as session:
            return list(session.scalars(query.order_by(Account.name_key).limit(limit)))

    def actor_for(
        self, user: Account, scope: Scope = "write", token_id: int | None = None
    ) -> Actor:
        """Return the actor for a user, with the user's roles as they are now."""
        with self._hub.session() as session:
            return load_actor(session, user, scope, token_id)


_NOT_ADMIN = "Only administrators of '{}' decide who belongs to it."


def _demand(actor: Actor, action: Action, account: Account | None, otherwise: str) -> None:
    if not can(actor, action, account):
        raise Forbidden(otherwise)


def _noun(account: Account) -> str:
    return "user" if account.kind == "user" else "org"
