# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest

from plait.client import pull_request_state, wait_for
from plait.errors import BadInput, PlaitError


def state(status: str, job_state: str | None) -> dict[str, Any]:
    job = {"id": 1, "state": job_state, "fraction": 0.5, "stage": "x"} if job_state else None
    return {"status": status, "job": job, "report": None}


def test_waiting_ends_when_the_job_does() -> None:
    answers = iter(
        [state("open", "queued"), state("open", "running"), state("merged", "succeeded")]
    )
    seen: list[str] = []
    last = wait_for(
        lambda: next(answers), timeout=5, show=lambda s: seen.append(s["status"]), interval=0
    )
    assert last["status"] == "merged"
    assert seen == ["open", "open", "merged"]


@pytest.mark.parametrize(
    "end", [state("open", "failed"), state("open", None), state("closed", None)]
)
def test_waiting_ends_when_nothing_will_happen(end: dict[str, Any]) -> None:
    assert wait_for(lambda: end, timeout=5, show=lambda _: None, interval=0) is end


def test_waiting_has_an_end() -> None:
    with pytest.raises(PlaitError, match="Still running after 0 s; job 1 goes on"):
        wait_for(lambda: state("open", "running"), timeout=0, show=lambda _: None, interval=0.001)


def test_an_address_without_a_scheme_is_refused() -> None:
    with pytest.raises(BadInput, match="http://"):
        pull_request_state("file:///etc/passwd", None, "model", "a/b", 1)


def test_a_hub_that_does_not_answer_is_named() -> None:
    with pytest.raises(PlaitError, match=r"127\.0\.0\.1:9 does not answer"):
        pull_request_state("http://127.0.0.1:9", None, "model", "a/b", 1)
