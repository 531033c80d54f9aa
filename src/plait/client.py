# SPDX-License-Identifier: Apache-2.0
"""What Plait's own commands ask of a hub over HTTP, beyond what the stock client asks."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

from plait.errors import BadInput, NotFound, PlaitError

FINISHED = {"succeeded", "failed", "cancelled"}


def pull_request_state(
    endpoint: str, token: str | None, repo_type: str, repo_id: str, number: int
) -> dict[str, Any]:
    """Ask the hub for a pull request's status, job and merge report.

    Raises:
        NotFound: the caller may not see it, or it does not exist.
        PlaitError: the hub does not answer.
    """
    url = f"{endpoint.rstrip('/')}/api/plait/{repo_type}s/{quote(repo_id)}/pulls/{number}"
    if not url.startswith(("http://", "https://")):
        raise BadInput(f"The hub's address must begin with http:// or https://, not {endpoint!r}.")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with urlopen(Request(url, headers=headers), timeout=30) as answer:  # noqa: S310
            state: dict[str, Any] = json.load(answer)
    except HTTPError as error:
        if error.code in (401, 404):
            raise NotFound(
                f"No pull request {number} of {repo_id} that this token may read at {endpoint}."
            ) from None
        raise PlaitError(f"The hub answered {error.code}: {error.reason}") from None
    except (URLError, OSError, ValueError) as error:
        raise PlaitError(f"The hub at {endpoint} does not answer: {error}") from None
    return state


def wait_for(
    ask: Callable[[], dict[str, Any]],
    *,
    timeout: float | None,
    show: Callable[[dict[str, Any]], None],
    interval: float = 0.5,
) -> dict[str, Any]:
    """Ask until the pull request's merge has ended, calling ``show`` with each answer.

    ``timeout`` is in seconds. The pull request that was never asked to merge ends the wait too.

    Raises:
        PlaitError: the time is over.
    """
    started = time.monotonic()
    while True:
        state = ask()
        show(state)
        job = state.get("job")
        if state["status"] in ("merged", "closed") or not job or job["state"] in FINISHED:
            return state
        if timeout is not None and time.monotonic() - started > timeout:
            raise PlaitError(
                f"Still {job['state']} after {timeout:.0f} s; job {job['id']} goes on."
            )
        time.sleep(interval)


def call(
    endpoint: str | None,
    token: str | None,
    method: str,
    path: str,
    body: bytes | None = None,
    kind: str = "application/json",
) -> Any:
    """Send one request to a hub's own API and return its JSON; None for an empty answer.

    Args:
        endpoint: the hub's address.
        token: of the caller.
        method: GET, PUT, POST or DELETE.
        path: below ``/api/plait``.
        body: what is sent.
        kind: the body's content type.

    Raises:
        BadInput: no hub is named.
        PlaitError: with the hub's own sentence, if it refuses or does not answer.
    """
    if not endpoint:
        raise BadInput("Say which hub: set HF_ENDPOINT or give --endpoint.")
    if not endpoint.startswith(("http://", "https://")):
        raise BadInput(f"The hub's address must begin with http:// or https://, not {endpoint!r}.")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if body is not None:
        headers["Content-Type"] = kind
    url = f"{endpoint.rstrip('/')}/api/plait/{path}"
    request = Request(url, data=body, headers=headers, method=method)  # noqa: S310
    try:
        with urlopen(request, timeout=120) as answer:  # noqa: S310
            content = answer.read()
            return json.loads(content) if content else None
    except HTTPError as error:
        try:
            told = str(json.loads(error.read())["error"])
        except (ValueError, KeyError, TypeError, OSError):
            told = f"The hub answered {error.code}: {error.reason}"
        made = NotFound if error.code in (401, 404) else PlaitError
        raise made(told) from None
    except (URLError, OSError, ValueError) as error:
        raise PlaitError(f"The hub at {endpoint} does not answer: {error}") from None
