# SPDX-License-Identifier: Apache-2.0
"""What people answered about pairs: found in graphs, or read from a table, as decided pairs.

A graph keeps an answer as an identity claim whose source is a person. The next alignment takes it
for certain and learns from it.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from plait.errors import BadInput
from plait.graphs import schema
from plait.graphs.align.options import Options
from plait.graphs.graph import Graph
from plait.graphs.identity import PERSON, Identities

Pair = tuple[str, str]
_YES = ("yes", "y", "true", "1", schema.SAME)
_NO = ("no", "n", "false", "0", schema.DIFFERENT)


def answers_of(graph: Graph) -> dict[Pair, bool]:
    """Return the pairs that people decided in a graph, each in the order of its identifiers.

    Pairs that as many call the same as call different are undecided.
    """
    votes: dict[Pair, int] = defaultdict(int)
    for row in graph.identities.to_pylist():
        if row["source"].startswith(PERSON):
            votes[row["a"], row["b"]] += 1 if row["relation"] == schema.SAME else -1
    return {pair: count > 0 for pair, count in votes.items() if count}


def read_answers(path: Path) -> dict[Pair, bool]:
    """Read a table of pairs: the first two columns name entities, the third says yes or no.

    Raises:
        BadInput: a line is no such pair; with its number.
    """
    if not path.is_file():
        raise BadInput(f"There is no {path}; name a table of answers, or the folder of a graph.")
    found: dict[Pair, bool] = {}
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            for number, row in enumerate(csv.reader(lines), start=1):
                if not row or (
                    number == 1 and [one.strip().lower() for one in row[:2]] == ["a", "b"]
                ):
                    continue
                said = row[2].strip().lower() if len(row) == 3 else ""
                if said not in (*_YES, *_NO):
                    raise BadInput(
                        f"{path}, line {number:,}: it must be two entities and yes or no, as "
                        "'berlin,Q64,yes'."
                    )
                found[row[0], row[1]] = said in _YES
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{path} is no table of answers: {error}") from None
    return found


def with_answers(
    options: Options, left: tuple[Graph, Identities], right: tuple[Graph, Identities]
) -> Options:
    """Return options that know what people decided in either graph, by who stands for whom.

    What the options decide themselves goes before.
    """
    (ours, as_left), (theirs, as_right) = left, right
    known = [set(one.entities.column("id").to_pylist()) for one in (ours, theirs)]
    decided: dict[Pair, bool] = {}
    for graph in (ours, theirs):
        for pair, same in across(answers_of(graph).items(), *known):
            decided[as_left.of(pair[0]), as_right.of(pair[1])] = same
    for pairs, same in ((options.rejected, False), (options.confirmed, True)):
        for a, b in pairs:
            decided[as_left.of(a), as_right.of(b)] = same
    return replace(
        options,
        confirmed=frozenset(pair for pair, same in decided.items() if same),
        rejected=frozenset(pair for pair, same in decided.items() if not same),
    )


def across(
    answers: Iterable[tuple[Pair, bool]], left: set[str], right: set[str]
) -> Iterator[tuple[Pair, bool]]:
    """Yield the answers about an entity of the left and one of the right, the left one first."""
    for (a, b), same in answers:
        if a in left and b in right:
            yield (a, b), same
        elif b in left and a in right:
            yield (b, a), same
