# SPDX-License-Identifier: Apache-2.0
"""Credit as it stands: of a model's main, and what an organisation gained in all models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, select

from plait.hub import Actor, Hub, Repository
from plait.hub.database import Account, ContributionCredit
from plait.hub.visibility import readable


@dataclass(frozen=True)
class Standing:
    """What one account's contributions gained in one model."""

    repository: str
    value: float
    error: float
    """The standard error of `value`; 0 where every subset was measured."""
    contributions: tuple[int, ...]
    metric: str
    holder: str


def record(hub: Hub, repo: Repository, report: Mapping[str, Any], oid: str) -> None:
    """Keep the credit of a landing; contributions that main no longer has lose theirs.

    A report without credit leaves what there is.
    """
    credit = report.get("credit")
    if not credit:
        return
    rows = credit.get("contributions") or []
    metrics = sorted({str(task.get("metric", "")) for task in report.get("tasks") or []})
    with hub.session(write=True) as session:
        session.execute(
            delete(ContributionCredit).where(ContributionCredit.repository_id == repo.id)
        )
        for row in rows:
            holder = str(row["organisation"])
            account = session.scalar(
                select(Account.id).where(func.lower(Account.name) == holder.lower())
            )
            session.add(
                ContributionCredit(
                    repository_id=repo.id,
                    number=int(row["number"]),
                    account_id=account,
                    holder=holder,
                    author=str(row.get("author", "")),
                    value=float(row["value"]),
                    error=float(row.get("error") or 0.0),
                    tasks=dict(row.get("tasks") or {}),
                    metric=", ".join(metrics)[:96],
                    revision=oid,
                )
            )


def of_model(hub: Hub, repo: Repository) -> list[ContributionCredit]:
    """Return the credit of a model's main, the largest first."""
    with hub.session() as session:
        return list(
            session.scalars(
                select(ContributionCredit)
                .where(ContributionCredit.repository_id == repo.id)
                .order_by(ContributionCredit.value.desc(), ContributionCredit.number)
            )
        )


def of_account(hub: Hub, actor: Actor, account: Account) -> list[Standing]:
    """Return what an account's contributions gained, by model, the largest first.

    Models that the actor may not read are left out.
    """
    with hub.session() as session:
        found = session.execute(
            select(ContributionCredit, Repository)
            .join(Repository, Repository.id == ContributionCredit.repository_id)
            .where(ContributionCredit.account_id == account.id, readable(actor))
            .order_by(ContributionCredit.repository_id, ContributionCredit.number)
        ).all()
        rows = [(credit, repo.full_name) for credit, repo in found]
    models: dict[str, list[ContributionCredit]] = {}
    for credit, name in rows:
        models.setdefault(name, []).append(credit)
    made = [_standing(name, credits) for name, credits in models.items()]
    return sorted(made, key=lambda one: (-one.value, one.repository))


def by_holder(credits: Sequence[ContributionCredit]) -> list[Standing]:
    """Sum a model's credit by whose it is, the largest first."""
    holders: dict[str, list[ContributionCredit]] = {}
    for one in credits:
        holders.setdefault(one.holder, []).append(one)
    made = [_standing("", rows) for rows in holders.values()]
    return sorted(made, key=lambda one: (-one.value, one.holder))


def _standing(name: str, credits: Sequence[ContributionCredit]) -> Standing:
    return Standing(
        name,
        sum(one.value for one in credits),
        sum(one.error**2 for one in credits) ** 0.5,
        tuple(one.number for one in credits),
        credits[0].metric,
        credits[0].holder,
    )
