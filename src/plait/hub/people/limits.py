# SPDX-License-Identifier: Apache-2.0
"""How often strangers may try: counted over all processes, and only where it is limited."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sqlalchemy import delete
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from plait.callers import neighbourhood
from plait.errors import TooManyRequests
from plait.hub.database import RateCount
from plait.hub.permissions import Actor

if TYPE_CHECKING:
    from plait.hub.facade import Hub
    from plait.settings import Settings

Limited = Literal["login", "secret", "failed-token", "token", "search", "webhook-test"]
_REMEMBERED = 10_000
_KEPT = 2 * 3600
_BLOCKS = 20
_SPENT = -1


@dataclass(frozen=True)
class Limit:
    """So many in so many seconds; 0 means that nothing is limited."""

    count: int
    seconds: int
    what: str


def limits_of(settings: Settings) -> dict[Limited, Limit]:
    """Return every limit in force."""
    return {
        "login": Limit(settings.login_limit, 300, "signing in"),
        "secret": Limit(settings.secret_limit, 3600, "using one-time links"),
        "failed-token": Limit(settings.failed_token_limit, 60, "sending tokens that are not valid"),
        "token": Limit(settings.token_limit, 3600, "making tokens"),
        "search": Limit(settings.search_limit, 60, "searching without a token"),
        "webhook-test": Limit(settings.webhook_test_limit, 3600, "testing webhooks"),
    }


class Limits:
    """The counts of one hub.

    A process takes from the common count in blocks and hands out from its block, so that a busy
    limit costs the database one write for every few requests. The sum over all processes never
    exceeds the limit.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._limits = limits_of(hub.settings)
        self._lock = threading.Lock()
        self._left: dict[tuple[str, int], int] = {}
        self._pruned = 0.0

    def spend(self, name: Limited, who: Actor | str) -> None:
        """Count one attempt of ``who``: an actor, an address, or another name for somebody.

        Raises:
            TooManyRequests: there were too many in this window of time.
        """
        limit = self._limits[name]
        subject = _subject(name, who)
        if limit.count <= 0 or not subject:
            return
        moment = time.time()
        window = int(moment // limit.seconds) * limit.seconds
        # Names come from strangers: a key is printable whatever they wrote.
        key = f"{name}:{ascii(subject)[1:-1]}"[:160]
        with self._lock:
            if len(self._left) > _REMEMBERED:
                self._left.clear()
            left = self._left.get((key, window), 0)
            if left == 0:
                left = self._take(key, window, limit) or _SPENT
            self._left[key, window] = left if left == _SPENT else left - 1
        if left == _SPENT:
            wait = max(1, int(window + limit.seconds - moment) + 1)
            raise TooManyRequests(
                f"Too many attempts at {limit.what}. Try again in {wait} seconds.",
                retry_after=wait,
                limit=limit.count,
                window=limit.seconds,
            )

    def _take(self, key: str, window: int, limit: Limit) -> int:
        """Take a block from the common count; 0 when nothing is left."""
        for attempt in (1, 2):
            try:
                with self._hub.session(write=True) as session:
                    self._prune(session)
                    row = session.get(RateCount, (key, window), with_for_update={"of": RateCount})
                    if row is None:
                        row = RateCount(key=key, window=window, count=0)
                        session.add(row)
                        session.flush()
                    block = min(limit.count - row.count, max(1, limit.count // _BLOCKS))
                    if block <= 0:
                        return 0
                    row.count += block
                    return block
            except IntegrityError:
                # Another process began the same window at the same moment.
                if attempt == 2:
                    raise
        return 0

    def _prune(self, session: Session) -> None:
        moment = time.time()
        if moment - self._pruned > _KEPT / 4:
            self._pruned = moment
            session.execute(delete(RateCount).where(RateCount.window < moment - _KEPT))


def _subject(name: Limited, who: Actor | str) -> str:
    if isinstance(who, str):
        return neighbourhood(who)
    if who.is_system or (name == "search" and who.signed_in):
        return ""
    return f"user {who.user_id}" if who.signed_in else neighbourhood(who.address)
