# SPDX-License-Identifier: Apache-2.0
"""Every group of calls, by every version of the stock client, with Xet and without.

What moves no large file is called once, with Xet, as clients come: Xet has no part in it.
"""

from __future__ import annotations

import json
import subprocess

import pytest

from integration.clients.environments import CALLS, CLIENTS, SCENARIOS, VERSIONS, Client
from integration.live import LiveHub, Person

GROUPS = sorted(path.stem for path in SCENARIOS.glob("*.py") if path.stem != "scene")
SMALL = {"access", "cards", "discussions", "listing", "social", "webhooks"}
_CASES = [(client, group) for group in GROUPS for client in CLIENTS
          if client.xet or group not in SMALL]  # fmt: skip

_ASK = """
import inspect, json, sys
from huggingface_hub import HfApi
found = []
for name in json.loads(sys.argv[1]):
    call, _, parameter = name.rstrip(")").partition("(")
    method = getattr(HfApi, call, None)
    if method and (not parameter or parameter in inspect.signature(method).parameters):
        found.append(name)
print(json.dumps(found))
"""


@pytest.mark.parametrize("version", VERSIONS)
def test_the_table_of_calls_is_what_the_clients_have(version: str) -> None:
    client = Client(version, xet=True)
    if client.missing:
        pytest.skip(client.missing)
    out = subprocess.run(
        [str(client.folder / "python"), "-c", _ASK, json.dumps(list(CALLS))],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert json.loads(out) == [name for name, versions in CALLS.items() if version in versions]


@pytest.mark.parametrize(
    ("client", "group"),
    _CASES,
    indirect=["client"],
    ids=[f"{client.name}-{group}" for client, group in _CASES],
)
def test_group(group: str, client: Client, live_hub: LiveHub, alice: Person, bob: Person) -> None:
    client.run(group, live_hub, alice, bob)
