# SPDX-License-Identifier: Apache-2.0
"""Training embeddings of a graph with PyKEEN: progress, cancelling, early stopping, figures."""

from __future__ import annotations

import copy
import gc
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from plait.errors import BadInput, Cancelled, TooLarge
from plait.graphs.learn import models
from plait.graphs.learn.baselines import by_frequency
from plait.graphs.learn.embeddings import Embeddings
from plait.graphs.learn.ranking import by_relation, metrics, rank
from plait.graphs.learn.triples import Split, Triples
from plait.pretrained import limited_threads

Progress = Callable[[int, int, float, str], None]
"""Called with the batches done, the batches in all, the loss (or the MRR) and what is done."""

MOST_VALIDATED = 2_000
"""Statements that early stopping looks at."""
MAX_MEMORY = 8 * 2**30
"""Bytes that vectors and their optimiser's state may take."""


@dataclass(frozen=True)
class Options:
    """How embeddings are trained; what is None is the model's own (see `models.MODELS`)."""

    model: str = "complex"
    epochs: int = 50
    dimension: int | None = None
    learning_rate: float | None = None
    batch_size: int = 512
    negatives: int = 32
    """Corrupted statements for each true one, where they are sampled."""
    all_entities: bool | None = None
    """Cross-entropy over all entities rather than samples; None: where it fits."""
    every: int = 5
    """Epochs between two looks at the validation statements."""
    patience: int = 4
    """Looks without a better MRR after which training ends; 0: never."""
    seed: int = 0
    threads: int | None = None


def embed(
    found: Triples,
    parts: Split,
    options: Options | None = None,
    *,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Embeddings:
    """Train embeddings and measure them on the test statements.

    One seed and number of threads give the same vectors on one machine. The vectors kept are those
    of the look with the best validation MRR.

    Raises:
        BadInput: an option is out of bounds, or the loss is no number.
        TooLarge: the vectors would not fit in memory; with the figure.
        Cancelled: if `cancelled` says so.
        MissingExtra: PyKEEN is not installed.
    """
    options = options or Options()
    kind = models.check_model(options.model)
    _check(options)
    dimension = options.dimension or kind.dimension
    size = len(found.entities)
    need = size * dimension * 2 * 4 * 4
    if need > MAX_MEMORY:
        raise TooLarge(
            f"{size:,} entities of {dimension} dimensions need {need:,} bytes to train; Plait "
            f"takes up to {MAX_MEMORY:,}. Use a smaller --dimension or part of the graph."
        )
    every = options.all_entities
    if every is None:
        cells = options.batch_size * size * (2 * dimension if kind.wide else 1)
        every = kind.all_entities and cells <= models.MOST_CELLS * (10 if kind.wide else 1)
    started, cpu = time.monotonic(), time.process_time()
    with limited_threads(options.threads), models.seeded(options.seed), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that there is no accelerator
        models.pykeen()
        triples = models.factory(parts.training, size, len(found.relations), reverse=every)
        model = models.build(options.model, triples, dimension, options.seed)
        watch = _Watch(found, parts, options, progress, cancelled)
        _train(model, triples, options, every, watch)
        watch.restore(model)
        known = parts.all
        score: Any = lambda rows, side: models.scores(model, rows, side)  # noqa: E731
        ranks = rank(score, parts.testing, known, size)
        validated = metrics(rank(score, parts.validation, known, size))
    plain = by_frequency(parts.training, size, len(found.relations))
    baseline = metrics(rank(plain, parts.testing, known, size))
    entity, relation = models.weights(model)
    return Embeddings(
        model=options.model,
        dimension=dimension,
        reverse=every,
        triples=found,
        split=parts,
        entities=entity,
        relations=relation,
        report={
            "test": asdict(metrics(ranks)),
            "validation": asdict(validated),
            "baseline": asdict(baseline),
            "by_relation": {
                name: asdict(one) for name, one in by_relation(ranks, found.relations).items()
            },
            "epochs": watch.epochs,
            "best_epoch": watch.best_epoch,
            "seconds": round(time.monotonic() - started, 2),
            "cpu_seconds": round(time.process_time() - cpu, 2),
            "loss": [round(one, 6) for one in watch.losses],
            "options": asdict(options),
            "pykeen": str(models.pykeen().version.get_version()),
        },
    )


class _Watch:
    """What happens beside the steps: progress, cancelling, looks at the validation statements."""

    def __init__(
        self,
        found: Triples,
        parts: Split,
        options: Options,
        progress: Progress | None,
        cancelled: Callable[[], bool] | None,
    ) -> None:
        self.found, self.parts, self.options = found, parts, options
        self.progress, self.cancelled = progress, cancelled
        chosen = np.random.default_rng(options.seed).permutation(len(parts.validation))
        self.rows = parts.validation[np.sort(chosen[:MOST_VALIDATED])]
        self.losses: list[float] = []
        self.best = -1.0
        self.best_epoch = 0
        self.epochs = 0
        self.waited = 0
        self.state: Any = None

    def step(self, done: int, total: int, loss: float) -> None:
        """After a batch."""
        if self.cancelled is not None and self.cancelled():
            raise Cancelled("The training was cancelled; nothing was written.")
        if not np.isfinite(loss):
            raise BadInput(
                f"The loss is not a number after {done} steps; use a lower learning rate."
            )
        if self.progress is not None:
            self.progress(done, total, loss, "training embeddings")

    def look(self, model: Any, epoch: int) -> bool:
        """After an epoch; tell whether to stop."""
        self.epochs = epoch
        last = epoch == self.options.epochs
        if epoch % self.options.every and not last:
            return False
        found = metrics(
            rank(
                lambda rows, side: models.scores(model, rows, side),
                self.rows,
                self.parts.all,
                len(self.found.entities),
            )
        ).mrr
        if found > self.best:
            self.best, self.best_epoch, self.waited = found, epoch, 0
            self.state = copy.deepcopy(model.state_dict())
        else:
            self.waited += 1
        return bool(self.options.patience) and self.waited >= self.options.patience

    def restore(self, model: Any) -> None:
        """Put the best vectors back."""
        if self.state is not None:
            model.load_state_dict(self.state)


def _train(model: Any, triples: Any, options: Options, every: bool, watch: _Watch) -> None:
    import torch

    found = models.pykeen()
    from pykeen.training.callbacks import TrainingCallback

    kind = models.check_model(options.model)
    optimiser = torch.optim.Adam(
        model.get_grad_params(), lr=options.learning_rate or kind.learning_rate
    )
    if every:
        loop = found.training.LCWATrainingLoop(
            model=model, triples_factory=triples, optimizer=optimiser
        )
    else:
        loop = found.training.SLCWATrainingLoop(
            model=model,
            triples_factory=triples,
            optimizer=optimiser,
            negative_sampler_kwargs={"num_negs_per_pos": options.negatives},
        )
    rows = watch.parts.training
    instances = (
        len(np.unique(rows[:, :2], axis=0)) + len(np.unique(rows[:, 1:], axis=0))
        if every
        else len(rows)
    )
    per_epoch = -(-instances // options.batch_size)

    class Watching(TrainingCallback):  # type: ignore[misc]
        """PyKEEN's hooks."""

        done = 0
        total = 0.0
        count = 0

        def on_batch(self, epoch: int, batch: Any, batch_loss: float, **kwargs: Any) -> None:
            self.total += float(batch_loss)
            self.count += 1
            self.done += 1
            watch.step(self.done, per_epoch * options.epochs, float(batch_loss))

        def post_epoch(self, epoch: int, epoch_loss: float, **kwargs: Any) -> None:
            watch.losses.append(self.total / max(1, self.count))
            self.total, self.count = 0.0, 0
            if watch.look(model, epoch):
                # PyKEEN's own way to end its loop before the last epoch
                self.training_loop._should_stop = True

    gc.freeze()  # PyKEEN collects garbage after every epoch, which walks over all that is loaded
    try:
        loop.train(
            triples_factory=triples,
            num_epochs=options.epochs,
            batch_size=options.batch_size,
            use_tqdm=False,
            callbacks=Watching(),
            pin_memory=False,
        )
    finally:
        gc.unfreeze()


def _check(options: Options) -> None:
    for name, value, least, most in (
        ("epochs", options.epochs, 1, 10_000),
        ("batch_size", options.batch_size, 1, 65_536),
        ("negatives", options.negatives, 1, 4_096),
        ("dimension", options.dimension or 1, 1, 4_096),
        ("every", options.every, 1, 10_000),
        ("patience", options.patience, 0, 10_000),
    ):
        if not least <= value <= most:
            raise BadInput(f"{name} must be from {least} to {most:,}, not {value:,}.")
    rate = options.learning_rate
    if rate is not None and not 0 < rate <= 1:
        raise BadInput(f"learning_rate must be above 0 and at most 1, not {rate}.")
