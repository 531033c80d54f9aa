# SPDX-License-Identifier: Apache-2.0
"""Trained embeddings in a folder: vectors as safetensors, names and figures as JSON."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.errors import BadInput, Conflict
from plait.graphs.learn import models
from plait.graphs.learn.ranking import Scores
from plait.graphs.learn.triples import Literal, Rows, Split, Triples

VECTORS = "embeddings.safetensors"
ABOUT = "embeddings.json"
PARTS = ("training", "validation", "testing")


@dataclass(frozen=True)
class Embeddings:
    """Vectors of a graph's entities and predicates, and what they were trained on."""

    model: str
    dimension: int
    reverse: bool
    """Whether a predicate's reverse has a vector of its own, behind all the predicates'."""
    triples: Triples
    split: Split
    entities: NDArray[np.float32]
    """[entities, width]; complex numbers as pairs of real ones."""
    relations: NDArray[np.float32]
    report: Mapping[str, Any] = field(default_factory=dict)

    def scores(self) -> Scores:
        """Return the function that scores every entity as tail or head of rows.

        Raises:
            MissingExtra: PyKEEN is not installed.
        """
        built = models.factory(
            self.split.training,
            len(self.triples.entities),
            len(self.triples.relations),
            reverse=self.reverse,
        )
        model = models.build(self.model, built, self.dimension, 0)
        models.put_weights(model, self.entities, self.relations)
        return lambda rows, side: models.scores(model, rows, side)

    def save(self, folder: Path | str) -> Path:
        """Write the vectors into a new folder, whole or not at all.

        Raises:
            Conflict: the folder is there and has files.
        """
        from safetensors.numpy import save_file

        out = Path(folder)
        if out.exists() and any(out.iterdir()):
            raise Conflict(f"{out} is there already; choose another folder.")
        made = out.with_name(f".{out.name}.writing")
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        try:
            parts = {name: np.ascontiguousarray(getattr(self.split, name)) for name in PARTS}
            vectors = {"entities": self.entities, "relations": self.relations}
            save_file({**vectors, **parts}, made / VECTORS)
            about = {
                "model": self.model,
                "dimension": self.dimension,
                "reverse": self.reverse,
                "entities": self.triples.entities,
                "relations": self.triples.relations,
                "literals": {name: asdict(one) for name, one in self.triples.literals.items()},
                "split": {
                    "together": self.split.together,
                    "leaking": self.split.leaking,
                    "repeating": self.split.repeating,
                },
                "report": self.report,
            }
            (made / ABOUT).write_text(
                json.dumps(about, ensure_ascii=False, indent=1) + "\n", "utf-8"
            )
            if out.exists():
                out.rmdir()
            made.rename(out)
        finally:
            shutil.rmtree(made, ignore_errors=True)
        return out


def load(folder: Path | str) -> Embeddings:
    """Read embeddings from their folder.

    Raises:
        BadInput: there are none, or the two files do not fit each other.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    place = Path(folder)
    try:
        about = json.loads((place / ABOUT).read_text("utf-8"))
        held = load_file(place / VECTORS)
    except FileNotFoundError:
        raise BadInput(
            f"{place} has no {ABOUT} and {VECTORS}; embeddings are saved there."
        ) from None
    except (OSError, ValueError, SafetensorError) as error:
        raise BadInput(f"The embeddings in {place} cannot be read: {error}") from None
    try:
        parts = [_rows(held[name], about) for name in PARTS]
        triples = Triples(
            tuple(about["entities"]),
            tuple(about["relations"]),
            np.concatenate(parts),
            ((),) * sum(map(len, parts)),
            {name: Literal(**one) for name, one in about["literals"].items()},
        )
        split = Split(
            parts[0],
            parts[1],
            parts[2],
            about["split"]["together"],
            about["split"]["leaking"],
            tuple((a, b, how) for a, b, how in about["split"]["repeating"]),
        )
        made = Embeddings(
            about["model"], int(about["dimension"]), bool(about["reverse"]), triples, split,
            held["entities"], held["relations"], about["report"],
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{place / ABOUT} does not describe embeddings: {error}") from None
    models.check_model(made.model)
    count = len(triples.relations) * (2 if made.reverse else 1)
    if len(made.entities) != len(triples.entities) or len(made.relations) != count:
        raise BadInput(f"{place / VECTORS} has vectors of another graph than {ABOUT} says.")
    return made


def _rows(rows: Any, about: Mapping[str, Any]) -> Rows:
    found = np.asarray(rows, dtype=np.int64)
    limits = (len(about["entities"]), len(about["relations"]), len(about["entities"]))
    if found.ndim != 2 or found.shape[1] != 3 or (found < 0).any() or (found >= limits).any():
        raise ValueError("its statements name what is not there")
    return found
