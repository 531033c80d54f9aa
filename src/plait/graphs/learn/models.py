# SPDX-License-Identifier: Apache-2.0
"""The models that PyKEEN trains for us, and the settings that they start from.

TransE (Bordes et al. 2013), DistMult (Yang et al. 2015, arXiv:1412.6575), ComplEx (Trouillon et al.
2016, arXiv:1606.06357) and RotatE (Sun et al. 2019, arXiv:1902.10197). What is trained by
cross-entropy over all entities learns a predicate's reverse as another predicate ("reciprocal
relations"; Lacroix et al. 2018, arXiv:1806.07297), as ComplEx does with that paper's N3 penalty.
"""

from __future__ import annotations

import atexit
import os
import random
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.errors import BadInput, MissingExtra
from plait.graphs.learn.triples import Rows

MOST_CELLS = 60_000_000
"""Of what a step of cross-entropy over all entities may hold: batch × entities × width."""


@dataclass(frozen=True)
class Kind:
    """One of the models."""

    title: str
    module: str
    """The class's name in `pykeen.models`."""
    dimension: int
    all_entities: bool
    """Trained by cross-entropy over all entities; else against sampled ones."""
    learning_rate: float
    wide: bool
    """Whether a step over all entities holds a vector for each pair, not a number."""
    options: Mapping[str, Any] = field(default_factory=dict)


MODELS = {
    "transe": Kind("TransE", "TransE", 128, True, 0.01, True),
    "distmult": Kind(
        "DistMult", "DistMult", 256, True, 0.01, False,
        {"regularizer": None, "entity_constrainer": None},
    ),
    # PyKEEN draws ComplEx's entities from N(0, 1): too large for cross-entropy to learn from
    "complex": Kind(
        "ComplEx", "ComplEx", 128, True, 0.01, False,
        {"entity_initializer": "xavier_uniform_", "relation_initializer": "xavier_uniform_",
         "regularizer": "lp",
         "regularizer_kwargs": {"weight": 0.01, "p": 3.0, "apply_only_once": False}},
    ),
    "rotate": Kind("RotatE", "RotatE", 128, False, 0.01, True),
}  # fmt: skip


def check_model(name: str) -> Kind:
    """Return a model by its name.

    Raises:
        BadInput: there is none.
    """
    if name not in MODELS:
        raise BadInput(f"There is no model '{name}'; models are {', '.join(MODELS)}.")
    return MODELS[name]


def pykeen() -> Any:
    """Return PyKEEN, which writes nothing into the user's home.

    It makes folders as soon as it is imported; they are made in a temporary one, unless
    ``PYSTOW_HOME`` names another.

    Raises:
        MissingExtra: PyKEEN or torch is not installed.
    """
    if "PYSTOW_HOME" not in os.environ:
        folder = tempfile.mkdtemp(prefix="plait-pykeen-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ["PYSTOW_HOME"] = folder
    try:
        import pykeen as found
        import pykeen.models
        import pykeen.training
        import pykeen.triples
    except ImportError as error:
        raise MissingExtra(error.name or "pykeen", "graph-learn") from None
    return found


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed every generator that PyKEEN draws from, and put them back afterwards."""
    import torch

    states = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])


def factory(rows: Rows, entities: int, relations: int, *, reverse: bool) -> Any:
    """Return PyKEEN's object for triples."""
    import torch

    return pykeen().triples.CoreTriplesFactory.create(
        mapped_triples=torch.from_numpy(np.ascontiguousarray(rows)),
        num_entities=entities,
        num_relations=relations,
        create_inverse_triples=reverse,
    )


def build(name: str, triples: Any, dimension: int, seed: int) -> Any:
    """Return a model with fresh weights."""
    kind = check_model(name)
    options = dict(kind.options)
    if "entity_initializer" in options:
        from pykeen.nn.init import initializer_resolver

        for key in ("entity_initializer", "relation_initializer"):
            options[key] = initializer_resolver.lookup(options[key])
    loss = "crossentropy" if kind_trains_on_all(triples) else "nssa"
    return getattr(pykeen().models, kind.module)(
        triples_factory=triples, embedding_dim=dimension, loss=loss, random_seed=seed, **options
    )


def kind_trains_on_all(triples: Any) -> bool:
    """Tell whether triples are for cross-entropy over all entities: these have their reverses."""
    return bool(triples.create_inverse_triples)


def weights(model: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the vectors of entities and of relations; complex numbers as pairs of real ones."""
    found = []
    for held in (model.entity_representations, model.relation_representations):
        found.append(held[0]._embeddings.weight.detach().numpy().astype(np.float32).copy())
    return found[0], found[1]


def put_weights(model: Any, entities: NDArray[np.float32], relations: NDArray[np.float32]) -> None:
    """Give a model its vectors.

    Raises:
        BadInput: they are not of its shape.
    """
    import torch

    for held, given in (
        (model.entity_representations, entities),
        (model.relation_representations, relations),
    ):
        weight = held[0]._embeddings.weight
        if tuple(weight.shape) != tuple(given.shape):
            raise BadInput(
                f"The embeddings have shape {list(given.shape)}; their description asks for "
                f"{list(weight.shape)}."
            )
        with torch.no_grad():
            weight.copy_(torch.from_numpy(given))


def scores(model: Any, rows: Rows, side: str) -> NDArray[np.float32]:
    """Return every entity's score as `tail` or `head` of rows [rows, entities].

    Raises:
        BadInput: a score is no number.
    """
    import torch

    given = torch.from_numpy(np.ascontiguousarray(rows))
    with torch.no_grad():
        found = (
            model.predict_t(given[:, :2]) if side == "tail" else model.predict_h(given[:, 1:])
        ).numpy()
    if not np.isfinite(found).all():
        raise BadInput("The model's scores are no numbers; train with a lower learning rate.")
    return np.asarray(found, dtype=np.float32)
