# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from sqlalchemy import func, select

from plait.errors import TooManyRequests
from plait.hub import ANONYMOUS, SYSTEM, Actor, Hub
from plait.hub.database import RateCount
from plait.hub.people import limits as module
from plait.hub.people.limits import Limits

HERE = "203.0.113.7"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[float], None]]:
    moment = [500_000.0 * 3600]
    monkeypatch.setattr(module.time, "time", lambda: moment[0])

    def advance(seconds: float) -> None:
        moment[0] += seconds

    yield advance


def spend(limits: Limits, name: str, who: Actor | str, times: int) -> int:
    """Try so often and say how often it was allowed."""
    allowed = 0
    for _ in range(times):
        try:
            limits.spend(name, who)  # type: ignore[arg-type]
        except TooManyRequests:
            continue
        allowed += 1
    return allowed


def test_the_limit_holds_and_ends(hub: Hub, clock: Callable[[float], None]) -> None:
    limit = hub.settings.search_limit
    nobody = Actor(address=HERE)
    assert spend(hub.limits, "search", nobody, limit + 50) == limit
    with pytest.raises(TooManyRequests, match=r"Try again in 6\d seconds") as caught:
        hub.limits.spend("search", nobody)
    assert (caught.value.limit, caught.value.window) == (limit, 60)
    assert spend(hub.limits, "search", Actor(address="198.51.100.1"), 1) == 1
    clock(60)
    assert spend(hub.limits, "search", nobody, 1) == 1


def test_processes_share_a_limit(hub: Hub, clock: Callable[[float], None]) -> None:
    limit = hub.settings.search_limit
    processes = [Limits(hub) for _ in range(3)]
    nobody = Actor(address=HERE)
    allowed = sum(spend(processes[n % 3], "search", nobody, 1) for n in range(limit * 2))
    assert allowed == limit


def test_a_busy_limit_costs_few_writes(
    hub: Hub, clock: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = 0
    real = hub.limits._take

    def counting(*arguments: object) -> int:
        nonlocal taken
        taken += 1
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(hub.limits, "_take", counting)
    spend(hub.limits, "search", Actor(address=HERE), 2000)
    assert taken <= 22


def test_what_is_not_limited(hub: Hub, clock: Callable[[float], None]) -> None:
    signed_in = Actor(7, "ann", scope="read", address=HERE)
    for name, who in (("search", signed_in), ("search", ANONYMOUS), ("token", SYSTEM)):
        assert spend(hub.limits, name, who, 700) == 700
    free = Limits(hub)
    free._limits = {**free._limits, "login": replace(free._limits["login"], count=0)}
    assert spend(free, "login", HERE, 100) == 100
    with hub.session() as session:
        assert session.scalar(select(func.count()).select_from(RateCount)) == 0


def test_a_user_is_counted_wherever_they_are(hub: Hub, clock: Callable[[float], None]) -> None:
    limit = hub.settings.token_limit
    somewhere = Actor(7, "ann", scope="write", address=HERE)
    elsewhere = replace(somewhere, address="198.51.100.1")
    assert spend(hub.limits, "token", somewhere, limit) == limit
    assert spend(hub.limits, "token", elsewhere, 1) == 0


def test_a_customers_network_counts_as_one(hub: Hub, clock: Callable[[float], None]) -> None:
    limit = hub.settings.login_limit
    allowed = sum(spend(hub.limits, "login", f"2001:db8::{n:x}", 1) for n in range(limit + 20))
    assert allowed == limit


def test_old_counts_are_removed(hub: Hub, clock: Callable[[float], None]) -> None:
    hub.limits.spend("login", HERE)
    clock(4 * 3600)
    hub.limits.spend("login", HERE)
    with hub.session() as session:
        assert session.scalar(select(func.count()).select_from(RateCount)) == 1
