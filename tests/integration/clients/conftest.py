# SPDX-License-Identifier: Apache-2.0
"""Every version of the stock client, with Xet and without."""

from __future__ import annotations

import pytest

from integration.clients.environments import VERSIONS, Client

_ALL = [Client(version, xet) for version in VERSIONS for xet in (True, False)]


@pytest.fixture(params=_ALL, ids=[f"{c.version}-{'xet' if c.xet else 'lfs'}" for c in _ALL])
def client(request: pytest.FixtureRequest) -> Client:
    """A stock client; where it is not installed the test skips and says so."""
    found: Client = request.param
    if found.missing:
        pytest.skip(found.missing)
    return found
