# SPDX-License-Identifier: Apache-2.0
"""``plait graph embed`` and ``predict``: vectors of a graph, and statements that they propose."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from plait.cli.graph.options import Folder, clear_line, graph, show_fraction
from plait.cli.graph.proposing import Propose, propose_statements
from plait.cli.options import Endpoint, HubToken, Json, print_json

Threads = Annotated[int | None, typer.Option(min=1, help="Threads (default: torch's own).")]
Seed = Annotated[int, typer.Option(min=0, help="Seeds every random choice.")]
Relations = Annotated[
    list[str] | None,
    typer.Option("--relations", help="A predicate to keep (may be repeated; default: all)."),
]
_FIGURES = (
    ("MRR", "mrr"),
    ("Hits@1", "hits_at_1"),
    ("Hits@3", "hits_at_3"),
    ("Hits@10", "hits_at_10"),
    ("AMRI", "amri"),
)


@graph.command("embed")
def embed(
    folder: Folder,
    out: Annotated[Path, typer.Option("-o", "--out", help="A new folder for the embeddings.")],
    model: Annotated[str, typer.Option(help="transe, rotate, complex or distmult.")] = "complex",
    epochs: Annotated[int, typer.Option(min=1, help="At most; see --patience.")] = 50,
    dimension: Annotated[
        int | None, typer.Option(min=1, help="Of a vector (default: the model's own).")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Of Adam.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Statements in a step.")] = 512,
    negatives: Annotated[
        int, typer.Option(min=1, help="Corrupted statements for each, where they are sampled.")
    ] = 32,
    every: Annotated[
        int, typer.Option(min=1, help="Epochs between looks at the validation statements.")
    ] = 5,
    patience: Annotated[
        int, typer.Option(min=0, help="Looks without a better MRR that end it; 0: never.")
    ] = 4,
    literals: Annotated[
        list[str] | None,
        typer.Option(
            "--literals", help="A predicate whose values count as entities (may be repeated)."
        ),
    ] = None,
    relations: Relations = None,
    validation: Annotated[
        list[str] | None,
        typer.Option("--validation", help="A source whose statements are the validation's."),
    ] = None,
    test: Annotated[
        list[str] | None,
        typer.Option("--test", help="A source whose statements are the test's."),
    ] = None,
    seed: Seed = 0,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Train embeddings of a graph and rank held-out statements among all others.

    A tenth of the statements each is held out for early stopping and for the test, unless sources
    are named. What is printed is filtered and over both sides; beside it stands what the mere
    frequency of entities gives.
    """
    from plait.errors import BadInput, Conflict
    from plait.graphs.learn.training import Options
    from plait.graphs.learn.training import embed as train
    from plait.graphs.learn.triples import split, split_by_sources, triples
    from plait.graphs.storage import read_graph

    if bool(validation) != bool(test):
        raise BadInput("Name sources for both, --validation and --test, or for neither.")
    if out.exists() and any(out.iterdir()):
        raise Conflict(f"{out} is there already; choose another folder.")
    read = read_graph(folder, verify=True)
    found = triples(read, literals=literals or (), relations=relations or None)
    if validation and test:
        parts = split_by_sources(found, read.file, validation=validation, testing=test)
    else:
        parts = split(found, read.file, seed=seed)
    options = Options(
        model, epochs, dimension, learning_rate, batch_size, negatives,
        every=every, patience=patience, seed=seed, threads=threads,
    )  # fmt: skip
    made = train(found, parts, options, progress=_show_training)
    clear_line()
    made.save(out)
    report = made.report
    if as_json:
        print_json({**report, "split": _sizes(parts)})
        return
    sizes = _sizes(parts)
    print(
        f"{len(found.entities):,} entities, {len(found.relations):,} predicates; "
        f"{sizes['training']:,} statements for training, {sizes['validation']:,} for validation, "
        f"{sizes['test']:,} for the test"
    )
    if parts.leaking:
        print(f"{parts.leaking:,} held-out statements are in training the other way round")
    _print_metrics(report)
    print(
        f"best of {report['epochs']} epochs: {report['best_epoch']}; "
        f"{report['cpu_seconds']:.0f} CPU-seconds; the vectors are in {out}",
        file=sys.stderr,
    )


@graph.command("predict")
def predict(
    folder: Folder,
    embeddings: Annotated[Path, typer.Argument(help="The folder that `embed` wrote.")],
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="A new folder for the proposals, as a graph."),
    ] = None,
    threshold: Annotated[float, typer.Option(help="The least confidence of a proposal.")] = 0.5,
    best: Annotated[
        int, typer.Option(help="Proposals for one subject and predicate, at most.")
    ] = 10,
    most: Annotated[int, typer.Option(help="Proposals in all, the surest first.")] = 1000,
    relations: Relations = None,
    calibration: Annotated[str, typer.Option(help="isotonic or platt.")] = "isotonic",
    propose: Propose = None,
    endpoint: Endpoint = None,
    token: HubToken = None,
    seed: Seed = 0,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Propose statements that embeddings hold for likely, with how sure that is.

    Confidence is calibrated on the validation statements and measured on the test's. Proposals have
    the source `predicted`; what the graph says, or has deprecated, is not proposed, nor a second
    value of a functional predicate.
    """
    from plait.errors import Conflict
    from plait.graphs.learn.embeddings import load
    from plait.graphs.learn.predicting import Options
    from plait.graphs.learn.predicting import predict as find
    from plait.graphs.storage import read_graph, write_graph

    if out is not None and out.exists() and any(out.iterdir()):
        raise Conflict(f"{out} is there already; choose another folder.")
    read = read_graph(folder, verify=True)
    options = Options(
        threshold, best, most, tuple(relations) if relations else None, calibration, seed, threads
    )
    found = find(read, load(embeddings), options, progress=_show_questions)
    clear_line()
    if out is not None:
        write_graph(found.graph, out)
    number = None
    if propose and found.proposals:
        title = f"Propose {len(found.proposals):,} predicted statements"
        number = propose_statements(propose, found.graph, title, endpoint, token)
    if as_json:
        print_json(
            {
                **found.report,
                "proposed": [vars(one) for one in found.proposals],
                "pull_request": number,
            }
        )
        return
    names = _names(found.graph)
    for one in found.proposals[:50]:
        subject, target = (names.get(each, each) for each in (one.subject, one.object))
        print(
            f"{one.confidence:.3f}  {subject}  {one.predicate}  {target}  "
            f"(rank {one.rank:,} of {one.candidates:,})"
        )
    if len(found.proposals) > 50:
        print(f"… and {len(found.proposals) - 50:,} more (--json prints all)")
    _print_calibration(found.report)
    kept = f", in {out}" if out else ""
    opened = f", pull request {number} of {propose}" if number else ""
    print(
        f"{len(found.proposals):,} proposals to {found.report['questions']:,} questions"
        f"{kept}{opened}",
        file=sys.stderr,
    )


def _print_metrics(report: Mapping[str, Any]) -> None:
    columns = {
        "test": report["test"],
        "validation": report["validation"],
        "frequency (test)": report["baseline"],
    }
    print(f"{'':10}" + "".join(f"{name:>18}" for name in columns))
    for title, key in _FIGURES:
        print(f"{title:10}" + "".join(f"{one[key]:18.3f}" for one in columns.values()))
    print(f"{'at random':10}{report['test']['random_mrr']:18.3f}  (MRR)")
    kinds = sorted(report["by_relation"].items(), key=lambda one: -one[1]["statements"])
    print(f"\n{'MRR':>8}{'Hits@10':>9}{'n':>7}  predicate")
    for name, one in kinds[:20]:
        print(f"{one['mrr']:8.3f}{one['hits_at_10']:9.3f}{one['statements']:7,}  {name}")
    if len(kinds) > 20:
        print(f"… and {len(kinds) - 20:,} predicates more (--json prints all)")


def _print_calibration(report: Mapping[str, Any]) -> None:
    one = report["test"]
    print(
        f"\nof {one['candidates']:,} candidates, {one['base_rate']:.2%} are held-out statements of "
        f"the test ({one['reachable']:,} of {one['statements']:,} can be asked for)"
    )
    print(f"{'':24}{'calibrated':>12}{'share':>12}{'base rate':>12}")
    print(
        f"{'Brier score':24}{one['brier']:12.5f}{one['brier_of_shares']:12.5f}"
        f"{one['brier_of_base_rate']:12.5f}"
    )
    print(f"{'calibration error (ECE)':24}{one['ece']:12.5f}{one['ece_of_shares']:12.5f}")
    print(f"{'confidence':>12}{'true':>8}{'n':>10}")
    for _, _, n, sure, true in one["bins"]:
        if n:
            print(f"{sure:12.3f}{true:8.3f}{n:10,}")
    if one["precision"] is None:
        print(f"none of the test's candidates reaches {one['threshold']}")
        return
    print(
        f"from {one['threshold']} on: {one['proposed']:,} candidates, "
        f"said {one['confidence']:.3f}, true {one['precision']:.3f}; "
        f"{one['recall']:.1%} of the held-out statements"
    )


def _names(found: Any) -> dict[str, str]:
    made = {}
    for row in found.entities.to_pylist():
        labels = sorted(row["labels"], key=lambda one: (not one["main"], one["language"] != "en"))
        if labels:
            made[row["id"]] = labels[0]["text"]
    return made


def _sizes(parts: Any) -> dict[str, int]:
    return {
        "training": len(parts.training),
        "validation": len(parts.validation),
        "test": len(parts.testing),
    }


def _show_training(done: int, total: int, loss: float, stage: str) -> None:
    show_fraction(done / max(1, total), f"{stage}, loss {loss:.3f}")


def _show_questions(done: int, total: int, stage: str) -> None:
    show_fraction(done / max(1, total), stage)
