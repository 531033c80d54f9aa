# SPDX-License-Identifier: Apache-2.0
"""``plait graph verbalise``, ``train-tagger``, ``extract``, ``extend``: facts out of texts."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plait.cli.graph.options import Folder, Out, clear_line, graph, show_fraction
from plait.cli.graph.proposing import propose_statements
from plait.cli.options import Endpoint, HubToken, Json, print_json

if TYPE_CHECKING:
    from plait.graphs.read.extract import Extraction
    from plait.graphs.read.scoring import Scores
    from plait.recipes.extension import Extension

Texts = Annotated[list[Path], typer.Argument(help="Texts in UTF-8, or folders of them.")]
Predicates = Annotated[
    list[str] | None,
    typer.Option("--predicate", help="A predicate to take (may be repeated; default: all)."),
]
Templates = Annotated[
    Path | None,
    typer.Option(help="A YAML file of further templates: a list of sentences for each predicate."),
]
Language = Annotated[str, typer.Option(help="Of the entities' names.")]
Seed = Annotated[int, typer.Option(min=0, help="Seeds every random choice.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads (default: torch's own).")]
Least = Annotated[
    float, typer.Option(min=0.0, max=1.0, help="The least confidence of a statement.")
]
NewEntities = Annotated[
    bool, typer.Option("--new-entities", help="Make entities of names that the graph lacks.")
]
SourceName = Annotated[str, typer.Option(help="The name of the statements' source.")]
ReadOut = Annotated[
    Path | None,
    typer.Option("-o", "--out", help="A new folder for what was read, as a graph."),
]
SHOWN = 30
LEAST = 0.5
"""As `plait.recipes.extension.LEAST`, whose import every start of the command would pay for."""


@graph.command("verbalise")
def verbalise(
    folder: Folder,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="A file for the sentences, as JSON lines.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many sentences.")] = 20,
    plain: Annotated[
        bool,
        typer.Option("--plain", help="True facts by templates as they stand, without variation."),
    ] = False,
    predicate: Predicates = None,
    templates: Templates = None,
    language: Language = "en",
    seed: Seed = 0,
) -> None:
    """Say a graph's statements in sentences whose words are tagged: subject, predicate, object."""
    import numpy as np

    from plait.graphs.read.facts import facts_of, predicates_of, symmetric
    from plait.graphs.read.templates import templates_of
    from plait.graphs.read.verbalise import Material
    from plait.graphs.read.verbalise import verbalise as say
    from plait.graphs.storage import read_graph

    found = read_graph(folder, verify=True)
    random = np.random.default_rng(seed)
    facts = facts_of(found, predicates=predicate, language=language, random=random)
    known = templates_of(found.file, predicates_of(facts), _templates(templates))
    names = sorted({name for fact in facts for name in fact.names[:2]})
    once = frozenset(name for name, one in found.file.predicates.items() if one.functional)
    material = Material(facts, known, names, symmetric=symmetric(found.file), functional=once)
    made = say(material, count, random, varied=not plain)
    if out is None:
        for one in made:
            print(" ".join(_marked(one.tokens, one.tags)))
        return
    with out.open("w", encoding="utf-8") as file:
        for one in made:
            row = {
                "text": one.text, "tokens": one.tokens, "tags": one.tags, "kind": one.kind,
                "triples": sorted(one.triples), "template": one.template, "group": one.group,
            }  # fmt: skip
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    print(f"{len(made):,} sentences are in {out}", file=sys.stderr)


@graph.command("train-tagger")
def train_tagger(
    folder: Folder,
    encoder: Annotated[Path, typer.Argument(help="The folder of a BERT-like encoder.")],
    out: Out,
    sentences: Annotated[
        int, typer.Option(min=10, max=1_000_000, help="Sentences to train on.")
    ] = 3_000,
    epochs: Annotated[int, typer.Option(min=1, help="At most; see --patience.")] = 4,
    learning_rate: Annotated[float, typer.Option(help="Of AdamW.")] = 2e-4,
    batch_size: Annotated[int, typer.Option(min=1, help="Sentences in a step.")] = 16,
    patience: Annotated[
        int, typer.Option(min=0, help="Epochs without a better F1 that end it; 0: never.")
    ] = 2,
    all_weights: Annotated[
        bool, typer.Option("--all-weights", help="Train the words' vectors too.")
    ] = False,
    written: Annotated[
        Path | None,
        typer.Option(help="Sentences that people marked, to measure on: [words|S1] …"),
    ] = None,
    predicate: Predicates = None,
    templates: Templates = None,
    language: Language = "en",
    seed: Seed = 0,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Train a tagger on a graph's sentences; measure it on three kinds that it has not seen.

    Some templates and some entities are held out of the training altogether; early stopping looks
    at exact-triple F1 on sentences of further ones. Ctrl-C ends it and leaves nothing behind.
    """
    from plait.graphs.read.examples import read_marked
    from plait.graphs.read.facts import symmetric
    from plait.graphs.read.splits import Sizes
    from plait.graphs.read.teaching import prepare, teach
    from plait.graphs.storage import read_graph
    from plait.training.tagger import TaggerOptions

    found = read_graph(folder, verify=True)
    lesson = prepare(
        found,
        predicates=predicate,
        templates=_templates(templates),
        sizes=Sizes(train=sentences),
        language=language,
        written=read_marked(written, symmetric(found.file)) if written else (),
        seed=seed,
    )
    options = TaggerOptions(
        epochs, learning_rate, batch_size, freeze_embeddings=not all_weights, patience=patience,
        seed=seed, threads=threads,
    )  # fmt: skip
    taught = teach(lesson, encoder, out, options, progress=_show_training, said=_say_epoch)
    clear_line()
    if as_json:
        print_json(
            {
                "out": str(out),
                "epochs": list(taught.result.scores),
                "kept": taught.result.best,
                "cpu_seconds": taught.result.cpu_seconds,
                "scores": {name: one.to_json() for name, one in taught.scores.items()},
            }
        )
        return
    print_scores(taught.scores)
    print(
        f"epoch {taught.result.best} of {len(taught.result.scores)} was kept; "
        f"{taught.result.cpu_seconds:.0f} CPU-seconds; the tagger is in {out}",
        file=sys.stderr,
    )


@graph.command("extract")
def extract(
    folder: Folder,
    texts: Texts,
    model: Annotated[Path, typer.Option(help="The tagger that `train-tagger` wrote.")],
    out: ReadOut = None,
    least: Least = LEAST,
    source: SourceName = "text",
    new_entities: NewEntities = False,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Read statements out of texts, with the entities of a graph that they name."""
    from plait.recipes.extension import Extension

    _extend(
        Extension(
            str(folder), tuple(texts), model, source=source, least=least,
            new_entities=new_entities, out=out,
        ),
        threads, None, None, as_json,
    )  # fmt: skip


@graph.command("extend")
def extend(
    where: Annotated[
        str,
        typer.Argument(
            metavar="GRAPH|RECIPE",
            help="A graph's folder, a data set of the hub as OWNER/NAME, or a recipe's YAML file.",
        ),
    ],
    texts: Annotated[
        list[Path] | None, typer.Argument(help="Texts in UTF-8, or folders of them.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="The tagger; with --encoder, where a trained one is kept.")
    ] = None,
    encoder: Annotated[
        Path | None, typer.Option(help="An encoder to train a tagger of, where there is none.")
    ] = None,
    propose: Annotated[
        bool, typer.Option("--propose", help="Open a pull request with what was read.")
    ] = False,
    to: Annotated[
        str | None,
        typer.Option(metavar="OWNER/NAME", help="The data set for it, where GRAPH is a folder."),
    ] = None,
    out: ReadOut = None,
    least: Least = LEAST,
    source: SourceName = "text",
    new_entities: NewEntities = False,
    endpoint: Endpoint = None,
    token: HubToken = None,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Extend a graph by what texts say: train a tagger if there is none, read, propose."""
    from plait.errors import BadInput
    from plait.recipes.extension import Extension, read_extension

    if where.endswith((".yaml", ".yml")):
        if texts or model or encoder:
            raise BadInput("A recipe says itself which texts and model are meant; give it alone.")
        recipe = read_extension(Path(where))
    else:
        if not texts:
            raise BadInput("Name the texts to read, or a recipe that does.")
        recipe = Extension(
            where, tuple(texts), model, encoder, source=source, least=least,
            new_entities=new_entities, out=out,
        )  # fmt: skip
        if model is None and encoder is None:
            raise BadInput("Name a tagger with --model, or an --encoder to train one of.")
    if propose:
        repository = to or recipe.propose or (recipe.graph if recipe.on_hub else None)
        if repository is None:
            raise BadInput(
                f"{where} is a folder; say which data set the pull request is for: --to OWNER/NAME."
            )
        recipe = replace(recipe, propose=repository)
    _extend(recipe, threads, endpoint, token, as_json)


def _extend(
    recipe: Extension,
    threads: int | None,
    endpoint: str | None,
    token: str | None,
    as_json: bool,
) -> None:
    from plait.errors import Conflict
    from plait.graphs.read.extending import extend as run
    from plait.graphs.storage import read_graph, write_graph

    if recipe.out is not None and recipe.out.exists() and any(recipe.out.iterdir()):
        raise Conflict(f"{recipe.out} is there already; choose another folder.")
    with tempfile.TemporaryDirectory(prefix="plait-extend-") as folder:
        held = _fetched(recipe.graph, folder, endpoint, token) if recipe.on_hub else recipe.graph
        found = read_graph(held, verify=True)
    done = run(recipe, found, threads=threads, progress=show_fraction)
    clear_line()
    if recipe.out is not None:
        write_graph(done.added, recipe.out)
    number = None
    count = len(done.added)
    if recipe.propose and count:
        title = f"Statements read from {_some([one.name for one in recipe.texts])}"
        number = propose_statements(recipe.propose, done.added, title, endpoint, token)
    if as_json:
        print_json(
            {
                "sentences": done.extraction.sentences,
                "statements": [one.to_json() for one in done.extraction.statements],
                "taken": count,
                "pull_request": number,
                "scores": {name: one.to_json() for name, one in done.taught.scores.items()}
                if done.taught else None,
            }
        )  # fmt: skip
        return
    if done.taught is not None:
        print_scores(done.taught.scores)
    _print_statements(done.extraction)
    opened = f", pull request {number} of {recipe.propose}" if number else ""
    kept = f", in {recipe.out}" if recipe.out else ""
    print(
        f"{done.extraction.sentences:,} sentences, {len(done.extraction.statements):,} facts read, "
        f"{count:,} statements from confidence {recipe.least:g} on{kept}{opened}",
        file=sys.stderr,
    )


def _fetched(repo: str, folder: str, endpoint: str | None, token: str | None) -> str:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    from plait.errors import BadInput, PlaitError

    endpoint = endpoint or os.environ.get("HF_ENDPOINT")
    if not endpoint:
        raise BadInput(
            f"There is no folder {repo}. If it is on a hub, set HF_ENDPOINT or give --endpoint."
        )
    try:
        return str(
            HfApi(endpoint=endpoint, token=token).snapshot_download(
                repo, repo_type="dataset", local_dir=folder,
                allow_patterns=["graph.yaml", "graph/*"],
            )
        )  # fmt: skip
    except HfHubHTTPError as error:
        told = error.server_message or " ".join(str(error).split())[:200]
        raise PlaitError(f"The hub refuses: {told}") from None


def print_scores(scores: Mapping[str, Scores]) -> None:
    """Print a tagger's scores on each kind of test, apart."""
    titles = {
        "templates": "sentences of held-out templates",
        "entities": "sentences about held-out entities",
        "written": "sentences that people wrote",
    }
    for name, one in scores.items():
        print(f"\n{titles.get(name, name)} ({one.triples.sentences:,}): exact triples")
        for line in one.lines():
            print(f"  {line}")
        print("tags, as seqeval counts them")
        for line in one.report().splitlines():
            print(f"  {line}")


def _print_statements(extraction: Extraction) -> None:
    for one in extraction.statements[:SHOWN]:
        subject, predicate, said = one.said
        print(f"{one.confidence:.2f}  {subject} | {predicate} | {said}  ({one.status})")
    if len(extraction.statements) > SHOWN:
        print(f"… and {len(extraction.statements) - SHOWN:,} more (--json prints all)")


def _templates(path: Path | None) -> dict[str, list[str]] | None:
    if path is None:
        return None
    from plait.recipes.extension import read_templates

    return {name: list(found) for name, found in read_templates(path).items()}


def _marked(tokens: Any, tags: Any) -> list[str]:
    return [word if tag == "O" else f"{word}/{tag}" for word, tag in zip(tokens, tags, strict=True)]


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def _show_training(done: int, total: int, loss: float) -> None:
    show_fraction(done / max(1, total), f"training, loss {loss:.3f}")


def _say_epoch(epoch: int, value: float) -> None:
    clear_line()
    print(f"epoch {epoch}: exact-triple F1 {value:.3f} on validation", file=sys.stderr)
