# SPDX-License-Identifier: Apache-2.0
"""The whole loop for one graph: a tagger taught or loaded, texts read, statements made of them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from plait.errors import BadInput
from plait.graphs.graph import Graph
from plait.graphs.read.examples import read_marked
from plait.graphs.read.extract import Extraction, Reader, texts_of, to_graph
from plait.graphs.read.facts import symmetric
from plait.graphs.read.splits import Sizes
from plait.graphs.read.teaching import FILE, Taught, load_tagger, prepare, teach
from plait.recipes.extension import Extension
from plait.training.tagger import TaggerOptions

Progress = Callable[[float, str], None]
"""Called with what part of a stage is done, and the stage."""


@dataclass(frozen=True)
class Extended:
    """What came of it."""

    taught: Taught | None
    """The tagger, if one was trained."""
    extraction: Extraction
    added: Graph
    """The statements to propose, with their sentences as evidence."""


def extend(
    recipe: Extension,
    graph: Graph,
    *,
    threads: int | None = None,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Extended:
    """Read texts into statements for a graph, teaching a tagger first where there is none.

    Raises:
        BadInput: a text, the tagger or the encoder is not what it should be.
        TooLarge: the texts are more than is read at once.
        Cancelled: `cancelled` says so.
    """
    show = progress or (lambda fraction, stage: None)
    texts = texts_of(recipe.texts)  # what is wrong with them is said before anything is trained
    taught = None
    with tempfile.TemporaryDirectory(prefix="plait-tagger-") as folder:
        place = recipe.model
        if place is None or not (place / FILE).is_file():
            if recipe.encoder is None:
                raise BadInput(
                    f"{place} is no tagger of graphs (it has no {FILE}); train one with "
                    "'plait graph train-tagger', or name an encoder to train one of."
                )
            place = place or Path(folder) / "tagger"
            taught = _taught(recipe, graph, recipe.encoder, place, threads, show, cancelled)
        reader = Reader(graph, load_tagger(place, threads), templates=recipe.templates)
        extraction = reader.read(
            texts,
            progress=lambda done, total: show(done / total, "reading"),
            cancelled=cancelled,
        )
    added = to_graph(
        extraction,
        graph,
        source=recipe.source,
        recorded=datetime.now(UTC).date().isoformat(),
        least=recipe.least,
        contradictions=recipe.contradictions,
        new_entities=recipe.new_entities,
    )
    return Extended(taught, extraction, added)


def _taught(
    recipe: Extension,
    graph: Graph,
    encoder: Path,
    place: Path,
    threads: int | None,
    show: Progress,
    cancelled: Callable[[], bool] | None,
) -> Taught:
    train = recipe.train
    same = symmetric(graph.file)
    lesson = prepare(
        graph,
        predicates=recipe.predicates or None,
        templates=recipe.templates,
        sizes=Sizes(train=train.sentences),
        written=read_marked(train.written, same) if train.written else (),
        seed=train.seed,
    )
    options = TaggerOptions(
        epochs=train.epochs,
        learning_rate=train.learning_rate,
        batch_size=train.batch_size,
        seed=train.seed,
        threads=threads,
    )
    return teach(
        lesson,
        encoder,
        place,
        options,
        progress=lambda done, total, loss: show(done / total, f"training, loss {loss:.3f}"),
        cancelled=cancelled,
    )
