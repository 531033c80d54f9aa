# SPDX-License-Identifier: Apache-2.0
"""Reading facts into the demo's graph of countries: how texts name its currencies, what sentences
that people marked say of its entities, and scores of what was linked.
"""

from __future__ import annotations

import csv
import json
import tarfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from plait.demo.graph_members import FILE
from plait.demo.graphs import WORLD, PairOfGraphs, countries
from plait.demo.npm import fetch_npm
from plait.recipes.graph import GraphFile

if TYPE_CHECKING:
    from plait.graphs.graph import Graph
    from plait.graphs.read.examples import Example
    from plait.graphs.read.extract import Statement
    from plait.graphs.read.triples import TripleScores


def currencies() -> dict[str, tuple[str, ...]]:
    """Return how English names the world's currencies, by code: in full, and by the last word
    where no other currency is called so.
    """
    with tarfile.open(fetch_npm(*WORLD)) as archive:
        file = archive.extractfile("package/countries.json")
        if file is None:
            raise KeyError("package/countries.json")
        rows = json.load(file)
    names = {code: one["name"] for row in rows for code, one in (row["currencies"] or {}).items()}
    last = Counter(name.split()[-1].casefold() for name in names.values())
    found = {}
    for code, name in sorted(names.items()):
        short = name.split()[-1]
        alone = last[short.casefold()] == 1
        said = [short.lower(), *([name] if " " in name else [])] if alone else [name]
        found[code] = (*dict.fromkeys(said), code)
    return found


def file_for_reading() -> GraphFile:
    """Return the demo's ``graph.yaml`` with what texts call its currencies."""
    known = dict(FILE.predicates)
    known["currency"] = replace(known["currency"], values=currencies())
    return replace(FILE, predicates=known)


def united_countries(pair: PairOfGraphs | None = None) -> Graph:
    """Return both graphs of countries as one, with the identity claims of alignment."""
    from plait.graphs.align import align
    from plait.graphs.graph import make
    from plait.graphs.merging import merge

    pair = pair or countries()
    file = file_for_reading()
    left, right = replace(pair.left, file=file), replace(pair.right, file=file)
    claims = make(file, identities=align(left, right).claims())
    return replace(merge(None, [left, right, claims]).graph, file=file)


@dataclass(frozen=True)
class Meanings:
    """What the words of marked sentences mean: entities of the graph by code, values."""

    entities: Mapping[str, str]
    values: Mapping[str, str]

    @classmethod
    def read(cls, path: Path, codes: Mapping[str, str]) -> Meanings:
        """Read words and meanings; a country's is its code of ISO 3166, `codes` its entity."""
        entities, values = {}, {}
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if row["meaning"] in codes:
                    entities[row["words"]] = codes[row["meaning"]]
                else:
                    values[row["words"]] = row["meaning"]
        return cls(entities, values)

    def triples(
        self, example: Example, symmetric: frozenset[str]
    ) -> frozenset[tuple[str, str, str]]:
        """Return a sentence's facts with entities and values in place of words."""
        from plait.graphs.read.examples import ordered

        made = set()
        for subject, predicate, said in example.triples:
            ends = [self.entities.get(one, self.values.get(one, one)) for one in (subject, said)]
            made.add(ordered((ends[0], predicate, ends[1]), symmetric))
        return frozenset(made)


def country_codes(pair: PairOfGraphs) -> dict[str, str]:
    """Return of each code of ISO 3166 the entity of GeoNames' graph."""
    from plait.demo.graphs import geonames_codes

    held = {row["id"] for row in pair.right.entities.select(["id"]).to_pylist()}
    return {code: one for one, code in geonames_codes().items() if one in held}


def score_linked(
    graph: Graph,
    examples: Sequence[Example],
    statements: Sequence[Statement],
    meanings: Meanings,
) -> TripleScores:
    """Return how many facts of sentences were read with the right entities and values."""
    from plait.graphs.identity import resolve
    from plait.graphs.read.examples import ordered
    from plait.graphs.read.facts import symmetric
    from plait.graphs.read.triples import score_triples

    same, stands = symmetric(graph.file), resolve(graph).representative
    found: dict[str, set[tuple[str, str, str]]] = {one.text: set() for one in examples}
    for one in statements:
        said = one.object.entity if one.object is not None else one.value
        if one.subject.entity and said and one.sentence in found:
            triple = (one.subject.entity, one.predicate, said)
            found[one.sentence].add(ordered(triple, same))
    true = []
    for each in examples:
        triples = meanings.triples(each, frozenset())
        true.append(
            frozenset(
                ordered((stands.get(a, a), name, stands.get(b, b)), same) for a, name, b in triples
            )
        )
    return score_triples(true, [found[one.text] for one in examples])
