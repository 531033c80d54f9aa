# SPDX-License-Identifier: Apache-2.0
"""``plait graph teach``: what a graph knows put into a text model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from plait.cli.graph.learning import Seed, Threads
from plait.cli.graph.options import Folder, clear_line, graph, show_fraction
from plait.cli.options import Json, print_json


@graph.command("teach")
def teach(
    folder: Folder,
    base: Annotated[Path, typer.Option("--base", help="The folder of a text model.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="A new folder for the taught model.")],
    how: Annotated[
        str,
        typer.Option(
            help="text: masked words in the graph's sentences, a base for any task. entities: a "
            "judge of sentences with attention to entities' vectors. rules: a judge whose loss has "
            "the rules of graph.yaml. plain: a judge without, to compare with."
        ),
    ] = "entities",
    steps: Annotated[int, typer.Option(help="Steps of training.")] = 600,
    batch_size: Annotated[int, typer.Option(help="Sentences in a step.")] = 32,
    learning_rate: Annotated[float, typer.Option(help="The highest of the schedule.")] = 3e-4,
    embeddings: Annotated[
        Path | None,
        typer.Option(
            "--embeddings",
            help="Of entities: a folder that `plait graph embed` wrote (default: train new ones on "
            "what is known).",
        ),
    ] = None,
    rules_weight: Annotated[
        float, typer.Option(help="Of rules: their loss's weight beside that of the labels.")
    ] = 0.5,
    language: Annotated[str, typer.Option(help="Of the names in sentences.")] = "en",
    seed: Seed = 0,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Teach a text model what a graph knows, and measure it on entities left out of the questions.

    Half of what the graph says is known, the other half is asked about. Three in ten subjects are
    held out for the test and others for validation: no question of training names them.
    """
    from plait.graphs.knowledge.teaching import Options
    from plait.graphs.knowledge.teaching import teach as run
    from plait.graphs.storage import read_graph

    options = Options(
        how, steps, batch_size, learning_rate, embeddings, rules_weight,
        language=language, seed=seed, threads=threads,
    )  # fmt: skip
    told = run(read_graph(folder, verify=True), base, out, options, progress=_show)
    clear_line()
    if as_json:
        print_json(told)
        return
    if how == "text":
        loss = told["masked_loss"]
        print(
            f"masked words of the test's sentences: loss {loss['before']:.3f} before, "
            f"{loss['after']:.3f} after {told['sentences']:,} sentences of what is known"
        )
    else:
        print(
            f"{told['accuracy']:.3f} of {told['questions']['test']:,} questions about "
            f"{told['held_out_entities']:,} held-out entities are answered rightly (a coin: 0.5)"
        )
        for name, (right, count) in sorted(
            told["by_predicate"].items(), key=lambda one: -one[1][1]
        )[:20]:
            print(f"{right:8.3f}{count:7,}  {name}")
        if told.get("seen", {}).get("questions"):
            seen, others = told["seen"]["questions"], told["seen"]["accuracy_of_others"]
            print(
                f"{seen:,} of the questions ask about statements that the embeddings were trained "
                "on" + (f"; of the others {others:.3f} are right" if others is not None else "")
            )
    print(f"{told['cpu_seconds']:.0f} CPU-seconds; the model is in {out}", file=sys.stderr)


def _show(done: int, total: int, loss: float, stage: str) -> None:
    show_fraction(done / max(1, total), f"{stage}, loss {loss:.3f}")
