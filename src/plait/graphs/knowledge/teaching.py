# SPDX-License-Identifier: Apache-2.0
"""Put a graph's knowledge into a text model, and measure it on entities left out of training.

`text` continues a masked language model on the graph's sentences; what comes out is a base for any
task. `entities` and `rules` (and `plain`, to compare with) make a judge: a classifier that tells
true sentences from false ones.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from plait.errors import BadInput, Conflict
from plait.graphs.graph import Graph
from plait.graphs.knowledge import judges
from plait.graphs.knowledge.masked import load_masked, masked_loss, train_masked
from plait.graphs.knowledge.questions import Material, material
from plait.graphs.knowledge.rules import WEIGHT, rules_of
from plait.graphs.learn.training import Options as EmbeddingOptions
from plait.pretrained import limited_threads

HOWS = ("text", "entities", "rules", "plain")
EMBEDDINGS = EmbeddingOptions("transe", 200, 64, batch_size=128, every=10, patience=5)
WORDINGS = 3
"""Sentences of each statement that `text` trains on, where there are as many templates."""
Progress = Callable[[int, int, float, str], None]
"""Called with the steps done, the steps in all, the loss and what is done."""


@dataclass(frozen=True)
class Options:
    """How a model is taught."""

    how: str = "entities"
    steps: int = 600
    batch_size: int = 32
    learning_rate: float = 3e-4
    embeddings: EmbeddingOptions | Path | None = None
    """Of `entities`: how to train them (None: `EMBEDDINGS`), or the folder of those that are."""
    rules_weight: float = WEIGHT
    """Of the rules' loss beside that of the labels."""
    language: str = "en"
    seed: int = 0
    threads: int | None = None


def teach(
    graph: Graph,
    base: Path | str,
    out: Path | str,
    options: Options | None = None,
    *,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> dict[str, Any]:
    """Teach a model and write it into a new folder; return what was measured.

    For `text` that is the loss of masked words in the test's sentences, before and after; for a
    judge, how many of the test's questions it answers rightly.

    Raises:
        BadInput: an option is out of bounds, the graph too small, or the base no such model.
        Conflict: the folder is there.
        Cancelled: if `cancelled` says so; nothing is written.
    """
    options = options or Options()
    _check(options)
    out = Path(out)
    if out.exists() and any(out.iterdir()):
        raise Conflict(f"{out} is there already; choose another folder.")
    held = material(graph, language=options.language, seed=options.seed)
    started, cpu = time.monotonic(), time.process_time()
    out.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        with limited_threads(options.threads):
            if options.how == "text":
                told = _text(held, Path(base), made, options, progress, cancelled)
            else:
                judge, told = judge_of(held, graph, Path(base), options, progress, cancelled)
                judge.save(made)
        if out.exists():
            out.rmdir()
        made.chmod(0o755)
        made.rename(out)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return {
        "how": options.how,
        "statements": len(held.facts),
        "known": len(held.known),
        "held_out_entities": len(held.held_out),
        **told,
        "steps": options.steps,
        "seconds": round(time.monotonic() - started, 2),
        "cpu_seconds": round(time.process_time() - cpu, 2),
    }


def judge_of(
    held: Material,
    graph: Graph,
    base: Path,
    options: Options,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> tuple[judges.Judge, dict[str, Any]]:
    """Train a judge; return it and what was measured.

    Raises:
        BadInput: the base is no text encoder, or there are no rules.
        Cancelled: if `cancelled` says so.
    """
    told: dict[str, Any] = {}
    rules = rules_of(graph.file, held.relations) if options.how == "rules" else []
    known = None
    if options.how == "entities":
        from plait.graphs.knowledge import vectors

        if isinstance(options.embeddings, Path):
            found = vectors.given(options.embeddings, held)
            known = vectors.seen(found, held, held.testing)
        else:
            chosen = options.embeddings or replace(
                EMBEDDINGS, seed=options.seed, threads=options.threads
            )
            found = vectors.vectors_of(
                held, graph.file, chosen, progress=progress, cancelled=cancelled
            )
        told["embeddings"] = {
            "model": found.model,
            "dimension": found.dimension,
            "options": found.report.get("options"),
            "test": found.report.get("test"),
            "validation": found.report.get("validation"),
        }
        judge = judges.with_entities(base, held, vectors.by_name(found), options.seed)
    else:
        judge = judges.plain(base, options.seed)
    settings = judges.Settings(
        steps=options.steps,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        rules_weight=options.rules_weight,
        seed=options.seed,
        threads=options.threads,
    )
    show = (
        None
        if progress is None
        else lambda done, total, loss: progress(done, total, loss, "training on questions")
    )
    trained = judges.train(judge, held, settings, rules=rules, progress=show, cancelled=cancelled)
    right = judge.right(held.testing)
    kinds = np.array([one.row[1] for one in held.testing])
    told |= {
        "questions": {
            "training": len(held.training),
            "validation": len(held.validation),
            "test": len(held.testing),
        },
        **trained,
        "validation_accuracy": float(judge.right(held.validation).mean()),
        "accuracy": float(right.mean()),
        "by_predicate": {
            held.relations[kind]: [float(right[kinds == kind].mean()), int((kinds == kind).sum())]
            for kind in np.unique(kinds).tolist()
        },
        "rules": [asdict(one) for one in rules],
    }
    if known is not None:
        told["seen"] = {
            "questions": int(known.sum()),
            "accuracy_of_others": None if known.all() else float(right[~known].mean()),
        }
    if options.how == "entities":
        told["gates"] = [float(one.gate.detach()) for one in judge.model.attentions]
    return judge, told


def sentences(held: Material) -> list[str]:
    """Return what is known as sentences, each statement by up to `WORDINGS` templates."""
    return [
        held.say(row, place)
        for row in held.known.tolist()
        for place in range(min(WORDINGS, len(held.templates[row[1]])))
    ]


def _text(
    held: Material,
    base: Path,
    out: Path,
    options: Options,
    progress: Progress | None,
    cancelled: Callable[[], bool] | None,
) -> dict[str, Any]:
    model, tokenizer = load_masked(base)
    texts = sentences(held)
    asked = [one.text for one in held.testing if one.true]
    before = masked_loss(model.eval(), tokenizer, asked)
    show = (
        None
        if progress is None
        else lambda done, total, loss: progress(done, total, loss, "training on sentences")
    )
    train_masked(
        model,
        tokenizer,
        texts,
        steps=options.steps,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        seed=options.seed,
        threads=options.threads,
        progress=show,
        cancelled=cancelled,
    )
    after = masked_loss(model, tokenizer, asked)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return {"sentences": len(texts), "masked_loss": {"before": before, "after": after}}


def _check(options: Options) -> None:
    if options.how not in HOWS:
        raise BadInput(f"There is no --how {options.how}; there are {', '.join(HOWS)}.")
    for name, value, most in (
        ("steps", options.steps, 1_000_000),
        ("batch-size", options.batch_size, 4096),
    ):
        if not 1 <= value <= most:
            raise BadInput(f"--{name} must be from 1 to {most:,}, not {value:,}.")
    if isinstance(options.embeddings, Path) and options.how != "entities":
        raise BadInput(
            f"--embeddings are what --how entities attends to; --how {options.how} has no use for "
            "them."
        )
    if not 0 <= options.rules_weight <= 100:
        raise BadInput(f"--rules-weight must be from 0 to 100, not {options.rules_weight}.")
    if not 0 < options.learning_rate <= 1:
        raise BadInput(f"--learning-rate must be above 0, at most 1, not {options.learning_rate}.")
