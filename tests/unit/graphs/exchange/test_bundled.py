# SPDX-License-Identifier: Apache-2.0
"""PyKEEN's own sets as graphs, and their published splits."""

from __future__ import annotations

from collections import Counter

import pytest

from plait.errors import BadInput
from plait.graphs.exchange.bundled import import_bundled
from plait.graphs.learn.triples import split_by_sources, triples

pytest.importorskip("pykeen")


def test_the_published_split_is_kept() -> None:
    graph = import_bundled("pykeen:umls").graph
    assert graph.entities.num_rows == 135
    counts = Counter(graph.statements.column("source").to_pylist())
    assert counts == {"umls-train": 5216, "umls-valid": 652, "umls-test": 661}
    found = triples(graph)
    parts = split_by_sources(found, graph.file, validation=["umls-valid"], testing=["umls-test"])
    assert [len(one) for one in (parts.training, parts.validation, parts.testing)] == [
        5216, 652, 661,
    ]  # fmt: skip
    row = next(one for one in graph.entities.to_pylist() if one["id"] == "disease_or_syndrome")
    assert {label["text"] for label in row["labels"]} == {"disease or syndrome"}
    assert graph.file.predicates["location_of"].label == {"en": "location of"}


def test_an_unknown_set_is_named() -> None:
    with pytest.raises(BadInput, match="pykeen:umls"):
        import_bundled("pykeen:freebase")
