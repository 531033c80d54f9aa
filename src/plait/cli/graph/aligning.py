# SPDX-License-Identifier: Apache-2.0
"""``plait graph align``: which entities of two graphs are the same."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plait.cli.graph.options import clear_line, graph, show_fraction
from plait.cli.options import Json, print_json

if TYPE_CHECKING:
    from plait.graphs.align import Match, Options, Question
    from plait.graphs.graph import Graph


@graph.command("align")
def align(
    left: Annotated[Path, typer.Argument(help="The folder of one graph.")],
    right: Annotated[Path, typer.Argument(help="The folder of the other.")],
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="A folder for both graphs united, with identity claims."),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="The least probability of a match.")
    ] = None,
    many: Annotated[
        bool, typer.Option("--many", help="An entity may be the same as several.")
    ] = False,
    ask: Annotated[
        int,
        typer.Option(
            help="Print so many pairs that are worth asking a person about; with --out they are "
            "also kept, and asked on the graph's page."
        ),
    ] = 0,
    answers: Annotated[
        Path | None,
        typer.Option(
            help="What people answered: a table of two entities and yes or no, or the folder of a "
            "graph with their claims (those of LEFT and RIGHT are known without)."
        ),
    ] = None,
    encoder: Annotated[
        Path | None,
        typer.Option(help="The folder of a transformer that also compares what names mean."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Find which entities of two graphs are the same, and why.

    What people answered is certain, is not asked again, and teaches what evidence is worth.
    """
    from plait.graphs.align import Options
    from plait.graphs.align import align as align_graphs
    from plait.graphs.align.encoding import encoder_from
    from plait.graphs.graph import make
    from plait.graphs.merging import merge as merge_graphs
    from plait.graphs.storage import read_graph, write_graph
    from plait.recipes.graph import GraphFile, Source

    ours, theirs = read_graph(left, verify=True), read_graph(right, verify=True)
    options = Options(one_to_one=not many, encoder=encoder_from(encoder) if encoder else None)
    if answers is not None:
        options = _answered(options, answers, ours, theirs)
    found = align_graphs(ours, theirs, options, show_fraction)
    clear_line()
    matches = found.matches(threshold)
    questions = found.questions(ask) if ask else []
    if out is not None:
        claims = make(
            GraphFile(sources={"align": Source(title="plait graph align")}),
            identities=[*found.claims(threshold=threshold), *_doubts(questions, matches)],
        )
        write_graph(merge_graphs(None, [ours, theirs, claims]).graph, out)
    if as_json:
        print_json(
            {
                "threshold": threshold if threshold is not None else found.threshold,
                "matches": [vars(one) for one in matches],
                "questions": [{**vars(one.match), "worth": one.worth} for one in questions],
            }
        )
        return
    for one in matches[:50]:
        print(f"{one.probability:.3f}  {one.left}  =  {one.right}  ({_why(one)})")
    if len(matches) > 50:
        print(f"… and {len(matches) - 50:,} more (--json prints all)")
    for question in questions:
        one = question.match
        print(f"Are {one.left} and {one.right} the same? {one.probability:.2f} ({_why(one)})")
    print(f"{len(matches):,} matches" + (f", united in {out}" if out else ""), file=sys.stderr)


def _answered(options: Options, path: Path, left: Graph, right: Graph) -> Options:
    """Return options with the answers of a table, or of a graph about entities of both."""
    from dataclasses import replace

    from plait.errors import BadInput
    from plait.graphs.align.answers import across, answers_of, read_answers
    from plait.graphs.storage import read_graph

    table = not path.is_dir()
    answers = read_answers(path) if table else answers_of(read_graph(path, verify=True))
    known = [set(one.entities.column("id").to_pylist()) for one in (left, right)]
    if table:
        for pair in answers:
            for one in pair:
                if one not in known[0] | known[1]:
                    raise BadInput(f"{path} names '{one[:200]}', which neither graph has.")
    found = dict(across(answers.items(), *known))
    print(f"{len(found):,} answers of {path} are about entities of both", file=sys.stderr)
    return replace(
        options,
        confirmed=frozenset(pair for pair, same in found.items() if same),
        rejected=frozenset(pair for pair, same in found.items() if not same),
    )


def _doubts(questions: Sequence[Question], matches: Sequence[Match]) -> list[dict[str, Any]]:
    """Return claims that pairs in doubt are different, until a person answers."""
    from plait.graphs.identity import claim
    from plait.graphs.schema import DIFFERENT

    united = {(one.left, one.right) for one in matches}
    return [
        claim(
            one.left,
            one.right,
            DIFFERENT,
            source="align",
            method="plait.graphs.align",
            score=round(1.0 - one.probability, 6),
            explanation=json.dumps(
                {kind: [likeness, round(bits, 2)] for kind, likeness, bits in one.because}
            ),
        )
        for one in (question.match for question in questions)
        if (one.left, one.right) not in united and one.left != one.right
    ]


def _why(match: Any) -> str:
    return ", ".join(f"{kind} {bits:+.1f}" for kind, _, bits in match.because[:3])
