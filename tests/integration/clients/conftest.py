# SPDX-License-Identifier: Apache-2.0
"""Every version of the stock client, with Xet and without."""

from __future__ import annotations

import pytest

from integration.clients.environments import CLIENTS, Client


@pytest.fixture(params=CLIENTS, ids=[client.name for client in CLIENTS])
def client(request: pytest.FixtureRequest) -> Client:
    """A stock client; where it is not installed the test skips and says so."""
    found: Client = request.param
    if found.missing:
        pytest.skip(found.missing)
    return found
