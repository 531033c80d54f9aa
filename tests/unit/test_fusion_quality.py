# SPDX-License-Identifier: Apache-2.0
"""The quality benchmark's splits: nothing that belongs together is torn apart."""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True, scope="module")
def path() -> Iterator[None]:
    sys.path.insert(0, str(BENCHMARKS))
    yield
    sys.path.remove(str(BENCHMARKS))


@given(st.integers(0, 10_000), st.integers(30, 200))
@settings(max_examples=30, deadline=None)
def test_no_group_is_in_two_splits_and_classes_are_alike(seed: int, count: int) -> None:
    from fusion_quality.corpora import Text
    from fusion_quality.splits import PER_GROUP, deal

    draw = random.Random(seed)
    drawn = [(draw.randrange(20), draw.choice("abc")) for _ in range(count)]
    texts = [Text(f"text {i}", label, str(group)) for i, (group, label) in enumerate(drawn)]
    found = deal("task", texts, {"test": 9, "validation": 6, "train": 30}, seed)
    groups = {split: {t.group for t in items} for split, items in found.items()}
    assert not groups["test"] & groups["validation"]
    assert not groups["test"] & groups["train"]
    assert not groups["validation"] & groups["train"]
    for split, most in (("test", 3), ("validation", 2), ("train", 10)):
        assert max(Counter(t.label for t in found[split]).values(), default=0) <= most
        assert max(Counter(t.group for t in found[split]).values(), default=0) <= PER_GROUP
    again = deal("task", list(reversed(texts)), {"test": 9, "validation": 6, "train": 30}, seed)
    assert again == found
