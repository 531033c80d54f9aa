# SPDX-License-Identifier: Apache-2.0
"""What several looks at the gate's items may err together."""

from __future__ import annotations

import pytest

from plait.collaboration import queue as asking
from plait.collaboration.merging.queue import MOST, levels


@pytest.mark.parametrize("most", range(1, MOST + 1))
def test_all_looks_together_err_as_often_as_one_merge(most: int) -> None:
    shares = levels(most, 0.05)
    assert len(shares) == most
    assert sum(shares) == pytest.approx(0.05)
    assert shares == sorted(shares, reverse=True), "most hangs on the first"


def test_the_limits_are_one() -> None:
    assert asking.JUDGED == MOST
