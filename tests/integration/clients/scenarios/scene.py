# SPDX-License-Identifier: Apache-2.0
"""What every scenario knows: who it is, who else is there, what this client can do.

A scenario is a script that runs with a stock client's Python: it imports nothing of Plait.
"""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.utils import HfHubHTTPError, get_session

FACTS: dict[str, Any] = json.loads(sys.argv[1])
ME: str = FACTS["me"]
OTHER: str = FACTS["other"]["name"]
ORGANIZATION: str = FACTS["organization"]
VERSION: str = FACTS["version"]
XET: bool = FACTS["xet"]
ENDPOINT = os.environ["HF_ENDPOINT"]
HOME = Path(os.environ["HOME"])
MEGABYTE = 2**20
BODY = "data" if VERSION == "hf-0.36" else "content"
"""What the client's HTTP library calls a request's bytes."""

api = HfApi()
other = HfApi(token=FACTS["other"]["token"])
nobody = HfApi(token=False)


def has(call: str) -> bool:
    """Tell whether this version has a call, by the table that a test holds to the clients."""
    return call in FACTS["calls"]


def noise(size: int, seed: int = 1) -> bytes:
    """Return bytes that no compression makes smaller."""
    return random.Random(seed).randbytes(size)


def refused(status: int, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Assert that a call is refused with ``status``; return the error."""
    try:
        found = call(*arguments, **options)
        if hasattr(found, "__next__"):
            list(found)
    except HfHubHTTPError as error:
        assert error.response.status_code == status, f"{error.response.status_code}: {error}"
        return error
    raise AssertionError(f"{call.__name__}{arguments} was not refused")


def send(method: str, path: str, *, token: str | None = None, **options: Any) -> Any:
    """Send a request that a browser or another tool would send."""
    headers = {"authorization": f"Bearer {token or os.environ['HF_TOKEN']}"}
    headers.update(options.pop("headers", {}))
    return get_session().request(method, f"{ENDPOINT}{path}", headers=headers, **options)


def titles(repo: str, **options: Any) -> list[str]:
    """Return the titles of a repository's commits, newest first."""
    return [commit.title for commit in api.list_repo_commits(repo, **options)]


def done() -> None:
    """Say that the scenario came to its end."""
    print(f"{Path(sys.argv[0]).stem}: done")
