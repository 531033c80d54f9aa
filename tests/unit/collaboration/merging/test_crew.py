# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from plait.collaboration.merging import crew as crews
from plait.collaboration.merging.crew import Crew
from plait.errors import BadInput, Cancelled

Tick = Callable[[int, int], None]


class Context:
    """Stands for a job: remembers its progress, and can be cancelled."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, str]] = []
        self.stop = False

    def progress(self, fraction: float, stage: str) -> None:
        if self.stop:
            raise Cancelled("It was cancelled.")
        self.seen.append((fraction, stage))


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crews, "_cores", lambda: 2)
    monkeypatch.setattr(crews, "LOOK", 0.01)


def test_results_come_in_the_order_asked_and_progress_grows() -> None:
    context = Context()

    def work(place: int) -> Callable[[Tick], int]:
        def run(tick: Tick) -> int:
            for done in range(5):
                tick(done, 5)
                time.sleep(0.01 * (3 - place))
            return place

        return run

    with Crew(context, 100) as crew:  # type: ignore[arg-type]
        found = crew.run([work(i) for i in range(3)], (0.2, 0.6), lambda done: f"{done} done")
        assert crew.run([], (0.6, 0.7), str) == []
    assert found == [0, 1, 2]
    fractions = [fraction for fraction, _ in context.seen]
    assert fractions == sorted(fractions)
    assert 0.2 <= fractions[0] <= fractions[-1] <= 0.6
    assert context.seen[0][1] == "0 done"


def test_the_works_run_at_the_same_time() -> None:
    both = threading.Barrier(2, timeout=10)

    def work(tick: Tick) -> None:
        both.wait()

    with Crew(Context(), 100) as crew:  # type: ignore[arg-type]
        crew.run([work, work], (0, 1), str)


def test_a_failure_stops_the_others_and_is_what_is_raised() -> None:
    stopped = threading.Event()

    def endless(tick: Tick) -> None:
        try:
            while True:
                tick(0, 1)
                time.sleep(0.005)
        finally:
            stopped.set()

    def fails(tick: Tick) -> None:
        time.sleep(0.05)
        raise BadInput("pull request 3 holds NaN")

    with (
        pytest.raises(BadInput, match="NaN"),
        Crew(Context(), 100) as crew,  # type: ignore[arg-type]
    ):
        crew.run([endless, fails, endless], (0, 1), str)
    assert stopped.is_set()


def test_cancelling_stops_all() -> None:
    context = Context()
    running = []

    def endless(tick: Tick) -> None:
        running.append(1)
        context.stop = len(running) == 2
        while True:
            tick(0, 1)
            time.sleep(0.005)

    with pytest.raises(Cancelled), Crew(context, 100) as crew:  # type: ignore[arg-type]
        crew.run([endless, endless], (0, 1), str)


def test_large_models_are_measured_one_at_a_time() -> None:
    assert Crew(Context(), 100).size == 2  # type: ignore[arg-type]
    assert Crew(Context(), 10 * 2**30).size == 1  # type: ignore[arg-type]
