# SPDX-License-Identifier: Apache-2.0
"""Credit on the pages of models and of accounts, and hidden splits on those of data sets."""

from __future__ import annotations

from dataclasses import dataclass

from plait.collaboration.merging import standing
from plait.collaboration.merging.standing import Standing
from plait.hub.database import Account
from plait.web.figures import points
from plait.web.here import Here
from plait.web.language import Translator
from plait.web.visit import Visit


@dataclass(frozen=True)
class CreditLine:
    """Whose, or where, and what was gained."""

    name: str
    href: str
    value: str
    contributions: str
    positive: bool


@dataclass(frozen=True)
class HiddenLine:
    """A hidden split: its name, its files, the limit, and what was asked."""

    split: str
    files: str
    limit: str
    asked: str


def model_credit(at: Here) -> tuple[tuple[CreditLine, ...], str]:
    """Return what each organisation gained in a model's main, and the sum."""
    if at.view.type != "model":
        return (), ""
    rows = standing.of_model(at.visit.hub, at.record)
    lines = tuple(
        _line(one, one.holder, f"/{one.holder}", at.visit.t) for one in standing.by_holder(rows)
    )
    return lines, points(sum(one.value for one in rows)) if rows else ""


def account_credit(visit: Visit, account: Account) -> tuple[tuple[CreditLine, ...], str]:
    """Return what an account's contributions gained by model, and the sum."""
    rows = standing.of_account(visit.hub, visit.actor, account)
    lines = tuple(_line(one, one.repository, f"/{one.repository}", visit.t) for one in rows)
    return lines, points(sum(one.value for one in rows)) if rows else ""


def hidden_splits(at: Here) -> tuple[HiddenLine, ...]:
    """Return the hidden splits of a data set."""
    if at.view.type != "dataset" or not at.sees_files:
        return ()
    hub, t = at.visit.hub, at.visit.t
    rule = hub.hidden.settings(at.record).limit
    limit = t("hidden.limit", n=rule.count, period=t(f"hidden.{rule.period}"))
    lines = []
    for split in hub.hidden.splits(at.record):
        actor = at.visit.actor
        who = None if at.view.may_write else actor.user_id
        asked = ""
        if at.view.may_write or who is not None:
            count = hub.hidden.asked(at.record, split, user_id=who).count
            asked = t("hidden.asked_all" if at.view.may_write else "hidden.asked_you", n=count)
        files = hub.hidden.files(at.record, split)
        lines.append(HiddenLine(split, t.count("hidden.files", len(files)), limit, asked))
    return tuple(lines)


def _line(one: Standing, name: str, href: str, t: Translator) -> CreditLine:
    value = points(one.value) + (f" ± {100 * one.error:.1f}" if one.error else "")
    count = t.count("credit.contributions", len(one.contributions))
    return CreditLine(name, href, value, count, one.value >= 0)
