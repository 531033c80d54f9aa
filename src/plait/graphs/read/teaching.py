# SPDX-License-Identifier: Apache-2.0
"""Teaching a tagger to read for a graph: sentences made, split, trained on, measured apart."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from plait.errors import BadInput
from plait.graphs.graph import Graph
from plait.graphs.read.calibrating import Calibrator, fit, from_json
from plait.graphs.read.examples import KINDS, Example, labels_of
from plait.graphs.read.facts import Kind, kinds_of, names_of, symmetric
from plait.graphs.read.patterns import PatternTagger
from plait.graphs.read.phrases import Phrases
from plait.graphs.read.scoring import Scores, exact_f1, score
from plait.graphs.read.splits import Parts, Sizes, split
from plait.graphs.read.triples import decode, facts_in
from plait.training.loop import Progress
from plait.training.tagger import TaggerOptions, TaggerResult, train_tagger

FILE = "plait_graph_tagger.json"
"""What a tagger's folder says of it: its predicates, and its scores on each split."""
MAX_FILE = 16_000_000
CAUTIONS = (1.0, 0.5, 0.25, 0.1, 0.03, 0.01)
"""What is tried for `triples.decode`; one is taken by the validation sentences."""


@dataclass(frozen=True)
class Lesson:
    """What a tagger is taught with, and measured on."""

    parts: Parts
    kinds: Mapping[str, Kind]
    phrases: Phrases
    symmetric: frozenset[str]
    names: frozenset[str]
    """Keys of the entities' names."""
    written: tuple[Example, ...] = ()
    """Sentences that people wrote; nothing is chosen by them."""

    def is_entity(self, text: str) -> bool:
        """Tell whether a text is the name of an entity of the graph."""
        key = key_of_name(text)
        return key in self.names

    def tests(self) -> dict[str, Sequence[Example]]:
        """Return the sentences of each kind of test."""
        found: dict[str, Sequence[Example]] = {
            "templates": self.parts.templates,
            "entities": self.parts.entities,
        }
        return found | ({"written": self.written} if self.written else {})


@dataclass(frozen=True)
class Taught:
    """A tagger, how its training went, and its scores."""

    result: TaggerResult
    scores: Mapping[str, Scores] = field(default_factory=dict)


def prepare(
    graph: Graph,
    *,
    predicates: Sequence[str] | None = None,
    templates: Mapping[str, Sequence[str]] | None = None,
    sizes: Sizes | None = None,
    language: str = "en",
    written: Sequence[Example] = (),
    seed: int = 0,
) -> Lesson:
    """Make the sentences that a graph gives; see `splits.split`.

    Raises:
        BadInput: there are too few facts or templates.
    """
    parts = split(
        graph, predicates=predicates, more=templates, sizes=sizes, language=language, seed=seed
    )
    kinds = {name: one for name, one in kinds_of(graph).items() if name in parts.known}
    names = frozenset(
        key_of_name(name) for found in names_of(graph, language).values() for name in found
    )
    return Lesson(
        parts, kinds, Phrases.of(graph.file, parts.known, kinds), symmetric(graph.file), names,
        tuple(written),
    )  # fmt: skip


def teach(
    lesson: Lesson,
    encoder: Path,
    out: Path,
    options: TaggerOptions | None = None,
    *,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
    said: Callable[[int, float], None] | None = None,
) -> Taught:
    """Train a tagger; the epoch with the best exact-triple F1 on validation sentences is kept.

    Args:
        lesson: what `prepare` made.
        encoder: a folder with a text encoder.
        out: the tagger's new folder.
        options: of the training.
        progress: called after each step.
        cancelled: asked before each step.
        said: called after each epoch with its number and F1.

    Raises:
        BadInput: as `train_tagger`.
        Cancelled: if `cancelled` says so.
    """
    from plait.evaluation.runners import TokenTagger

    options = options or TaggerOptions()
    options = replace(options, hide=options.hide or KINDS)
    epoch = 0

    def judge(model: Any, tokenizer: Any) -> float:
        nonlocal epoch
        epoch += 1
        tagger = TokenTagger(model, tokenizer, threads=options.threads)
        value, _ = _best_caution(lesson, tagger)
        if said is not None:
            said(epoch, value)
        return value

    train = lesson.parts.train
    result = train_tagger(
        encoder,
        [one.tokens for one in train],
        [one.typed for one in train],
        out,
        labels=labels_of(lesson.parts.known),
        options=options,
        judge=judge,
        progress=progress,
        cancelled=cancelled,
    )
    tagger = TokenTagger.load(out, options.threads)
    _, caution = _best_caution(lesson, tagger)
    calibrator = _calibrator(lesson, tagger, caution)
    about: dict[str, Any] = {
        "caution": caution,
        "calibration": calibrator.to_json() if calibrator is not None else None,
        "predicates": sorted(lesson.parts.known),
        "datatypes": {name: one.datatype for name, one in lesson.kinds.items()},
        "seed": options.seed,
        "epochs": list(result.scores),
        "kept": result.best,
    }
    _write(out, about)
    scores = measure(lesson, load_tagger(out, options.threads))
    _write(out, about | {"scores": {name: one.to_json() for name, one in scores.items()}})
    return Taught(result, scores)


def load_tagger(folder: Path, threads: int | None = None) -> Any:
    """Load a tagger that `teach` wrote.

    Raises:
        BadInput: the folder holds no tagger of graphs.
        MissingExtra: torch or transformers is not installed.
    """
    about = about_tagger(folder)
    from plait.evaluation.runners import TokenTagger

    tagger = TokenTagger.load(folder, threads)
    tagger.caution = about["caution"]
    tagger.calibrator = from_json(about.get("calibration"))
    return tagger


def _best_caution(lesson: Lesson, tagger: Any) -> tuple[float, float]:
    """Return the best exact-triple F1 on the validation sentences, and the caution that gives it.

    Epochs are compared so as well: one may only be more cautious than another.
    """
    held = lesson.parts.validation
    tables = tagger.probabilities([one.tokens for one in held])
    found = []
    for caution in CAUTIONS:
        readings = [decode(table, tagger.labels, caution) for table in tables]
        found.append(exact_f1(held, readings, lesson.phrases, lesson.symmetric, lesson.is_entity))
    best = max(range(len(CAUTIONS)), key=lambda place: found[place])
    return found[best], CAUTIONS[best]


def _calibrator(lesson: Lesson, tagger: Any, caution: float) -> Calibrator | None:
    """Return how sure the tagger's readings are, by validation sentences that chose nothing."""
    held = lesson.parts.calibration
    tables = tagger.probabilities([one.tokens for one in held])
    readings = [decode(table, tagger.labels, caution) for table in tables]
    return fit(held, facts_in(held, readings, lesson.phrases, lesson.is_entity), lesson.symmetric)


def _write(folder: Path, about: Mapping[str, Any]) -> None:
    (folder / FILE).write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", "utf-8")


def measure(lesson: Lesson, tagger: Any) -> dict[str, Scores]:
    """Measure a tagger on each kind of test by itself."""
    return {
        name: score(tagger, examples, lesson.phrases, lesson.symmetric, lesson.is_entity)
        for name, examples in lesson.tests().items()
    }


def baseline(lesson: Lesson, graph: Graph, language: str = "en") -> PatternTagger:
    """Return a tagger by dictionary and phrases, of the training's templates and all names."""
    names = [name for found in names_of(graph, language).values() for name in found]
    values = [value for one in lesson.kinds.values() for value in one.values]
    for name in lesson.kinds:
        known = graph.file.predicates.get(name)
        if known is not None:
            values += [said for ways in known.values.values() for said in ways]
    return PatternTagger(names, lesson.parts.known, lesson.kinds, values)


def about_tagger(folder: Path) -> dict[str, Any]:
    """Return what a tagger's folder says of it.

    Raises:
        BadInput: the folder holds no tagger of graphs.
    """
    path = Path(folder) / FILE
    try:
        if path.stat().st_size > MAX_FILE:
            raise BadInput(f"{path} is larger than {MAX_FILE:,} bytes.")
        found = json.loads(path.read_text("utf-8"))
        predicates = [str(one) for one in found["predicates"]]
        caution = min(1.0, max(1e-3, float(found.get("caution", 1.0))))
        from_json(found.get("calibration"))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise BadInput(
            f"{folder} is no tagger of graphs: it has no {FILE}. Train one with "
            "'plait graph train-tagger'."
        ) from None
    return {**found, "predicates": predicates, "caution": caution}


def key_of_name(text: str) -> str:
    """Return a name as a key, without its article."""
    from plait.graphs.lookup.names import key_of as key

    made = key(text)
    return made.removeprefix("the ") if len(made) > 4 else made


__all__ = [
    "FILE", "Lesson", "Taught", "about_tagger", "baseline", "key_of_name", "measure",
    "prepare", "teach",
]  # fmt: skip
