# SPDX-License-Identifier: Apache-2.0
"""What a data set's ``plait.yaml`` says of being used to judge models; its hidden splits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from plait.errors import BadInput
from plait.recipes._reading import keys, short, texts

PERIODS: Mapping[str, timedelta] = {
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(weeks=1),
    "month": timedelta(days=30),
}
MAX_HIDDEN = 20
MAX_ASKED = 10_000

_SPLIT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_LIMIT = re.compile(r"([1-9][0-9]{0,4}) per (hour|day|week|month)")


@dataclass(frozen=True)
class Limit:
    """So many questions within a period, for each user and for each organisation."""

    count: int = 10
    period: str = "week"

    @property
    def span(self) -> timedelta:
        """The period's length."""
        return PERIODS[self.period]

    def __str__(self) -> str:
        return f"{self.count} per {self.period}"


@dataclass(frozen=True)
class EvaluationSpec:
    """A data set's word on being used to judge models."""

    allow: tuple[str, ...] = ()
    """The model repositories that the hub's jobs may judge with it, where it is not public."""
    hidden: tuple[str, ...] = ()
    """Splits that nobody may download; only the hub's jobs read them."""
    limit: Limit = Limit()
    """How often a user, and an organisation, may have models judged on a hidden split."""


def parse_evaluation(value: object, where: str) -> EvaluationSpec:
    """Read the key ``evaluation``.

    Raises:
        BadInput: naming the key and what to write instead.
    """
    if value is None:
        return EvaluationSpec()
    data = keys(value, where, ("allow", "hidden", "limit"))
    hidden = texts(data.get("hidden") or [], f"{where}.hidden", most=MAX_HIDDEN)
    for name in hidden:
        if not _SPLIT.fullmatch(name):
            raise BadInput(
                f"{where}.hidden lists '{short(name)}'; a split's name is one word of letters, "
                "digits, '-' or '_', like test."
            )
    return EvaluationSpec(
        allow=texts(data.get("allow") or [], f"{where}.allow", most=1_000),
        hidden=tuple(dict.fromkeys(hidden)),
        limit=_limit(data["limit"], f"{where}.limit") if "limit" in data else Limit(),
    )


def _limit(value: object, where: str) -> Limit:
    match = _LIMIT.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None or int(match[1]) > MAX_ASKED:
        raise BadInput(
            f"{where} must be a number up to {MAX_ASKED:,} and a period (hour, day, week, month), "
            f"like '10 per week', not '{short(value)}'."
        )
    return Limit(int(match[1]), match[2])
