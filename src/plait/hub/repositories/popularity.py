# SPDX-License-Identifier: Apache-2.0
"""How often repositories are downloaded, and which of them people turn to now.

A download is counted as the Hub documents it: for a model, a request for one of its query files;
for a data set or space, a request for any file. The same caller counts once in five minutes for a
repository, however many files and requests it takes. Counts are gathered in memory and written
every few seconds, so that no download waits for the database; a server that is killed loses what
it had not written.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, delete, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from plait.hub.database import DownloadCount, Like, Repository

if TYPE_CHECKING:
    from plait.hub.facade import Hub

log = logging.getLogger("plait.hub")

QUERY_FILES = frozenset(
    {"config.json", "config.yaml", "hyperparams.yaml", "params.json", "meta.yaml",
     "adapter_config.json", "model_index.json", "modules.json", "open_clip_config.json"}
)  # fmt: skip
"""A request for one of these at the root is a download of a model."""
QUERY_ENDINGS = (".gguf", ".nemo", ".mlmodel", ".joblib")
"""So is one for a file that is a model by itself."""
AGAIN = 300.0
"""Seconds in which the same caller counts once."""
REMEMBERED = 100_000
"""Callers and repositories remembered for that."""
FLUSH_SECONDS = 5.0
DAYS = 30
"""Days whose downloads a repository shows."""
TREND_DAYS = 7
_SLICE = 200


class Popularity:
    """The download counts and trends of one hub."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._lock = threading.Lock()
        self._pending: Counter[tuple[int, date]] = Counter()
        self._recent: OrderedDict[tuple[int, str], float] = OrderedDict()
        self._writer: threading.Thread | None = None
        self._closing = threading.Event()
        self._aged: date | None = None

    def note(self, repo: Repository, path: str, caller: str) -> None:
        """Count a request for a file if it is a download; never waits and never fails.

        ``caller`` is whatever tells callers apart: the user's id, or the address of a stranger.
        """
        if repo.type == "model" and not _is_query_file(path):
            return
        key, moment = (repo.id, caller), time.monotonic()
        with self._lock:
            before = self._recent.get(key)
            if before is not None and moment - before < AGAIN:
                return
            self._recent[key] = moment
            self._recent.move_to_end(key)
            while len(self._recent) > REMEMBERED:
                self._recent.popitem(last=False)
            self._pending[repo.id, datetime.now(UTC).date()] += 1
            if self._writer is None and not self._closing.is_set():
                self._writer = threading.Thread(
                    target=self._write_on, name="plait-downloads", daemon=True
                )
                self._writer.start()

    def flush(self) -> None:
        """Write what was counted since the last time."""
        with self._lock:
            pending, self._pending = self._pending, Counter()
        if not pending:
            return
        numbers = sorted({number for number, _ in pending})
        try:
            # Always in the same order, so that two servers never wait for each other.
            for number, day in sorted(pending):
                self._add(number, day, pending[number, day])
                del pending[number, day]
        finally:
            # What was not written is written the next time.
            with self._lock:
                self._pending.update(pending)
        self._recount(numbers)

    def refresh(self, today: date | None = None) -> int:
        """Recount every repository that was downloaded or liked lately; return how many.

        To be called once a day: counts of thirty days and trends fade by themselves.
        """
        today = today or datetime.now(UTC).date()
        fading = or_(Repository.downloads > 0, Repository.trending > 0)
        with self._hub.session() as session:
            numbers = list(session.scalars(select(Repository.id).where(fading)))
        self._recount(sorted(numbers), today)
        with self._hub.session(write=True) as session:
            # The whole past stays in `downloads_all_time`.
            old = today - timedelta(days=2 * DAYS)
            session.execute(delete(DownloadCount).where(DownloadCount.day < old))
        return len(numbers)

    def liked(self, session: Session, repo: Repository) -> None:
        """Bring the trend of a repository up to date after a like, in its transaction."""
        self._recount_in(session, [repo.id], datetime.now(UTC).date())

    def per_day(self, repo: Repository, days: int = DAYS) -> list[tuple[date, int]]:
        """List the downloads of each of the last days, the oldest first, zeros included."""
        today = datetime.now(UTC).date()
        first = today - timedelta(days=days - 1)
        with self._hub.session() as session:
            rows = session.execute(
                select(DownloadCount.day, DownloadCount.count).where(
                    DownloadCount.repository_id == repo.id, DownloadCount.day >= first
                )
            )
            counted: dict[date, int] = {row[0]: row[1] for row in rows}
        every = [first + timedelta(days=n) for n in range(days)]
        return [(day, counted.get(day, 0)) for day in every]

    def close(self) -> None:
        """Write what is left and count no more."""
        self._closing.set()
        if self._writer is not None:
            self._writer.join(timeout=10)
        self._try()

    def _write_on(self) -> None:
        while not self._closing.wait(FLUSH_SECONDS):
            self._try()
            today = datetime.now(UTC).date()
            if self._aged is not None and self._aged != today:
                self._try(self.refresh)
            self._aged = today

    def _try(self, work: Any = None) -> None:
        try:
            (work or self.flush)()
        except Exception:
            # Counts wait for the next time; downloads go on whatever the database does.
            log.warning("Downloads could not be counted.", exc_info=True)

    def _add(self, number: int, day: date, count: int) -> None:
        mine = (DownloadCount.repository_id == number, DownloadCount.day == day)
        add = update(DownloadCount).where(*mine).values(count=DownloadCount.count + count)
        for _ in range(2):
            try:
                with self._hub.session(write=True) as session:
                    if session.get(Repository, number) is None:
                        return
                    changed: Any = session.execute(add)
                    if changed.rowcount == 0:
                        session.add(DownloadCount(repository_id=number, day=day, count=count))
                    session.execute(
                        update(Repository)
                        .where(Repository.id == number)
                        .values(downloads_all_time=Repository.downloads_all_time + count)
                    )
                    return
            except IntegrityError:
                # Another server made the day's row at this moment; it can be added to now.
                continue

    def _recount(self, numbers: Sequence[int], today: date | None = None) -> None:
        today = today or datetime.now(UTC).date()
        for start in range(0, len(numbers), _SLICE):
            with self._hub.session(write=True) as session:
                self._recount_in(session, numbers[start : start + _SLICE], today)

    def _recount_in(self, session: Session, numbers: Sequence[int], today: date) -> None:
        month = _by_repository(session, numbers, today - timedelta(days=DAYS - 1))
        week = _by_repository(session, numbers, today - timedelta(days=TREND_DAYS - 1))
        since = datetime.combine(today, datetime.min.time(), UTC) - timedelta(days=TREND_DAYS - 1)
        likes = _counts(
            session.execute(
                select(Like.repository_id, func.count())
                .where(Like.repository_id.in_(numbers), Like.created_at >= since)
                .group_by(Like.repository_id)
            )
        )
        for number in numbers:
            score = trending_score(likes.get(number, 0), week.get(number, 0))
            session.execute(
                update(Repository)
                .where(Repository.id == number)
                .values(downloads=month.get(number, 0), trending=score)
            )


def trending_score(likes: int, downloads: int) -> float:
    """Return how much people turn to a repository: likes and downloads of the last seven days.

    A like counts as much as a doubling of the downloads: ``likes + log2(1 + downloads)``.
    """
    return likes + math.log2(1 + downloads)


def _is_query_file(path: str) -> bool:
    return path in QUERY_FILES or path.lower().endswith(QUERY_ENDINGS)


def _by_repository(session: Session, numbers: Sequence[int], first: date) -> dict[int, int]:
    return _counts(
        session.execute(
            select(DownloadCount.repository_id, func.sum(DownloadCount.count))
            .where(DownloadCount.repository_id.in_(numbers), DownloadCount.day >= first)
            .group_by(DownloadCount.repository_id)
        )
    )


def _counts(rows: Iterable[Row[int, Any]]) -> dict[int, int]:
    return {row[0]: int(row[1] or 0) for row in rows}
