# SPDX-License-Identifier: Apache-2.0
"""Reading facts into the demo's graph of countries: a tagger, sentences, a pull request.

The sentences, in `reading/sentences.txt`, are ours, written before any tagger was trained and never
trained on; `reading/meanings.csv` says which countries and values their words mean.
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

from plait.demo.data import encoder_folder
from plait.demo.graph_members import FILE, GRAPH, merged, propose
from plait.demo.graphs import WORLD, PairOfGraphs, countries
from plait.demo.npm import fetch_npm
from plait.errors import PlaitError
from plait.recipes.graph import GraphFile

if TYPE_CHECKING:
    from plait.demo.graph_run import GraphDemo
    from plait.graphs.graph import Graph
    from plait.graphs.read.examples import Example
    from plait.graphs.read.extract import Statement
    from plait.graphs.read.triples import TripleScores


SENTENCES = Path(__file__).parent / "reading" / "sentences.txt"
MEANINGS = Path(__file__).parent / "reading" / "meanings.csv"
SOURCE = "encyclopaedia"


@dataclass(frozen=True)
class ReadingSize:
    """How a tagger is taught for the demo: settings that validation sentences chose."""

    encoder: str
    """Its name in plait.demo.data.ENCODERS."""
    sentences: int
    epochs: int
    learning_rate: float
    freeze_embeddings: bool
    least: float
    """The confidence from which a statement is proposed: a person looks at each, and one that is
    right is worth a look at five, of a tagger that is sure of little at ten."""


READING = {
    "full": ReadingSize("minilm", 1_600, 3, 2e-4, True, 0.2),
    "small": ReadingSize("tiny", 1_200, 3, 1e-3, False, 0.1),
}


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


def read_texts(demo: GraphDemo, graph: Graph, pair: PairOfGraphs, size: str) -> None:
    """Teach a tagger on the graph, read sentences that it has not seen, propose and merge.

    Args:
        demo: what the steps hand to each other.
        graph: the merged graph, as the hub has it.
        pair: the two graphs that it was made from; their codes serve the score alone.
        size: `full` or `small`, of `READING`.
    """
    from plait.graphs.merging import merge
    from plait.graphs.read.examples import read_marked
    from plait.graphs.read.extract import Reader, Text, to_graph
    from plait.graphs.read.facts import symmetric
    from plait.graphs.read.splits import Sizes
    from plait.graphs.read.teaching import load_tagger, prepare, teach
    from plait.training.tagger import TaggerOptions

    chosen = READING[size]
    try:
        encoder = encoder_folder(chosen.encoder)
    except PlaitError as error:
        demo.facts["read"] = {"skipped": str(error)}
        demo.steps.say(f"Nothing is read out of texts: {error}")
        return
    out = demo.folder / "organisations" / "gazetteer" / "tagger"
    with demo.step("teach", "Teaching a tagger to read, on sentences made of the graph", 1.0) as on:
        same = symmetric(graph.file)
        written = read_marked(SENTENCES, same)
        lesson = prepare(graph, sizes=Sizes(train=chosen.sentences), written=written)
        before = 0

        def show(done: int, total: int, loss: float) -> None:
            nonlocal before
            on((done - before) / total, f"Teaching a tagger to read, loss {loss:.3f}")
            before = done

        options = TaggerOptions(
            epochs=chosen.epochs,
            learning_rate=chosen.learning_rate,
            freeze_embeddings=chosen.freeze_embeddings,
            threads=1,  # the hub and its worker need the other core; waiting threads would take it
        )
        taught = teach(lesson, encoder, out, options, progress=show)
    with demo.step("read", "Reading sentences that were written by hand", 1.0) as on:
        extraction = Reader(graph, load_tagger(out, 1)).read(
            [Text(f"sentence {place}", one.text) for place, one in enumerate(written, start=1)]
        )
        meanings = Meanings.read(MEANINGS, country_codes(pair))
        linked = score_linked(graph, written, extraction.statements, meanings)
        added = to_graph(
            extraction, graph, source=SOURCE, title="Sentences of the demo", least=chosen.least
        )
    titles = {
        "templates": "templates held out",
        "entities": "entities held out",
        "written": "sentences written by hand",
    }
    demo.steps.say("Exact triples that the tagger finds (F1, with its 95% interval):")
    for name, one in taught.scores.items():
        f1, (low, high) = one.triples.f1, one.triples.f1_interval
        demo.steps.say(f"  {titles[name]:<26} {f1:.3f} [{low:.3f}, {high:.3f}]")
    wrong = sum(
        len(one.triples) != len(found)
        for one, found in zip(written, _by_sentence(written, extraction.statements), strict=True)
        if one.kind in ("negated", "none")
    )
    silent = sum(one.kind in ("negated", "none") for one in written)
    demo.steps.say(
        f"  with countries and values in place of words {linked.f1:.3f}; in {wrong} of {silent} "
        "sentences that deny a fact or have none, one was found"
    )
    proposed = added.statements.column("confidence").to_numpy(zero_copy_only=False)
    facts = {
        "encoder": chosen.encoder,
        "cpu_seconds": taught.result.cpu_seconds,
        "scores": {name: one.to_json() for name, one in taught.scores.items()},
        "linked": linked.to_json(),
        "read": len(extraction.statements),
        "known": len(extraction.of("known")),
        "proposed": len(added),
        "expected_right": float(proposed.sum()),
    }
    demo.facts["read"] = facts
    if not len(added):
        demo.steps.say("Nothing was read that the graph does not say already.")
        return
    with demo.step("extend", "Proposing what was read, with its sentences, and merging it"):
        united = merge(None, [graph, added]).graph
        number = propose(demo.url, demo.members["gazetteer"], united, "Read from sentences")
        state = merged(demo.url, demo.members["atlas"], number)
    facts |= {"pull": number, "status": state["status"]}
    if state["status"] != "merged":
        facts["said"] = (state.get("job") or {}).get("error")
    demo.steps.say(
        f"{facts['read']:,} facts read, {facts['known']:,} of them known; {len(added):,} from "
        f"confidence {chosen.least:g} on, some {facts['expected_right']:.0f} of them right if that "
        f"holds, proposed in pull request {number} of {GRAPH}: {state['status']}"
    )


def _by_sentence(
    examples: Sequence[Example], statements: Sequence[Statement]
) -> list[list[Statement]]:
    return [[one for one in statements if one.sentence == each.text] for each in examples]
