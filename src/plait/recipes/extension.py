# SPDX-License-Identifier: Apache-2.0
"""A recipe that extends a graph by what texts say: the tagger, the texts, what is proposed where.

Relative paths are below the recipe's folder.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from plait.errors import BadInput
from plait.recipes._reading import keys, number, read_mapping, text, texts, whole

LEAST = 0.5
"""The confidence from which a statement is proposed: from there on it is likelier right than wrong,
which is where to stop if a wrong statement costs as much as a missed one."""
MAX_CHARACTERS = 1_000_000
MAX_TEXTS = 1_000
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_KEYS = (
    "extend", "graph", "texts", "model", "encoder", "train", "predicates", "templates", "source",
    "least", "new_entities", "contradictions", "out", "propose",
)  # fmt: skip
_TRAIN = ("sentences", "epochs", "learning_rate", "batch_size", "seed", "written")


@dataclass(frozen=True)
class Training:
    """How a tagger is trained; see `plait.training.tagger.TaggerOptions`."""

    sentences: int = 3_000
    epochs: int = 4
    learning_rate: float = 2e-4
    batch_size: int = 16
    seed: int = 0
    written: Path | None = None
    """Sentences that people marked, to measure the tagger on."""


@dataclass(frozen=True)
class Extension:
    """The whole loop: a graph, a tagger or an encoder to make one of, texts, a pull request."""

    graph: str
    """A folder, or a data set of the hub as OWNER/NAME."""
    texts: tuple[Path, ...]
    model: Path | None = None
    """A tagger; else `encoder` is taught, and the tagger kept here if both are given."""
    encoder: Path | None = None
    train: Training = field(default_factory=Training)
    predicates: tuple[str, ...] = ()
    """Those that are read; none: all that have statements."""
    templates: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    source: str = "text"
    least: float = LEAST
    new_entities: bool = False
    contradictions: bool = True
    out: Path | None = None
    """A new folder for what was read, as a graph."""
    propose: str | None = None
    """The data set of the hub that a pull request is opened on."""

    @property
    def on_hub(self) -> bool:
        """Tell whether the graph is fetched from the hub."""
        return not Path(self.graph).is_dir() and _REPOSITORY.fullmatch(self.graph) is not None


def parse_extension(content: str, folder: Path, origin: str = "The recipe") -> Extension:
    """Read a recipe's text.

    Raises:
        BadInput: naming the key that is wrong, and what it may be.
    """
    found = keys(read_mapping(content, origin, MAX_CHARACTERS), origin, _KEYS)
    if found.get("extend", 1) != 1:
        raise BadInput(f"{origin}: 'extend' is the format's version; this Plait reads 1.")
    for name in ("graph", "texts"):
        if name not in found:
            raise BadInput(f"{origin} lacks '{name}'; a recipe to extend a graph must say it.")
    graph = text(found["graph"], f"{origin}: 'graph'", most=1024)
    if (folder / graph).is_dir():
        graph = str(folder / graph)
    named = found["texts"]
    listed = texts([named] if isinstance(named, str) else named, f"{origin}: 'texts'",
                   most=MAX_TEXTS)  # fmt: skip
    if not listed:
        raise BadInput(f"{origin}: 'texts' names no file.")
    made = Extension(
        graph=graph,
        texts=tuple(folder / one for one in listed),
        model=_path(found, "model", folder, origin),
        encoder=_path(found, "encoder", folder, origin),
        train=_training(found.get("train") or {}, folder, f"{origin}: 'train'"),
        predicates=texts(found.get("predicates") or [], f"{origin}: 'predicates'", most=1_000),
        templates=_templates(found.get("templates") or {}, f"{origin}: 'templates'"),
        source=text(found.get("source", "text"), f"{origin}: 'source'", most=200),
        least=number(found.get("least", LEAST), f"{origin}: 'least'", 0.0, 1.0),
        new_entities=_flag(found, "new_entities", False, origin),
        contradictions=_flag(found, "contradictions", True, origin),
        out=_path(found, "out", folder, origin),
        propose=None,
    )
    propose = found.get("propose")
    if propose is not None and propose is not False:
        wanted = made.graph if propose is True else propose
        made = _proposing(made, wanted, origin)
    if made.model is None and made.encoder is None:
        raise BadInput(f"{origin} names neither 'model', a tagger, nor 'encoder', to train one of.")
    return made


def read_extension(path: Path) -> Extension:
    """Read a recipe's file.

    Raises:
        BadInput: it cannot be read, or is no recipe.
    """
    try:
        content = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read: {error}.") from None
    return parse_extension(content, path.parent, path.name)


def read_templates(path: Path) -> dict[str, tuple[str, ...]]:
    """Read a file of templates: of each predicate a list of sentences.

    Raises:
        BadInput: it cannot be read, or is none.
    """
    try:
        content = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read: {error}.") from None
    return _templates(read_mapping(content, path.name, MAX_CHARACTERS), path.name)


def _proposing(made: Extension, wanted: object, origin: str) -> Extension:
    if not isinstance(wanted, str) or not _REPOSITORY.fullmatch(wanted):
        raise BadInput(
            f"{origin}: 'propose' must be a data set of the hub as OWNER/NAME, or true where "
            "'graph' is one."
        )
    return replace(made, propose=wanted)


def _training(value: object, folder: Path, where: str) -> Training:
    found = keys(value, where, _TRAIN)
    usual = Training()
    return Training(
        sentences=whole(found.get("sentences", usual.sentences), f"{where}: sentences", 10, 10**6),
        epochs=whole(found.get("epochs", usual.epochs), f"{where}: epochs", 1, 1_000),
        learning_rate=number(
            found.get("learning_rate", usual.learning_rate), f"{where}: learning_rate", 1e-9, 1.0
        ),
        batch_size=whole(
            found.get("batch_size", usual.batch_size), f"{where}: batch_size", 1, 4096
        ),
        seed=whole(found.get("seed", 0), f"{where}: seed", 0, 2**31),
        written=_path(found, "written", folder, where),
    )


def _templates(value: object, where: str) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, Mapping) or len(value) > 1_000:
        raise BadInput(f"{where} must map at most 1,000 predicates to lists of sentences.")
    return {
        text(name, f"{where}: a predicate", most=1024): texts(
            listed, f"{where}: '{name}'", most=200
        )
        for name, listed in value.items()
    }


def _path(found: Mapping[str, Any], key: str, folder: Path, where: str) -> Path | None:
    value = found.get(key)
    return None if value is None else folder / text(value, f"{where}: '{key}'", most=4096)


def _flag(found: Mapping[str, Any], key: str, usual: bool, where: str) -> bool:
    value = found.get(key, usual)
    if not isinstance(value, bool):
        raise BadInput(f"{where}: '{key}' must be true or false.")
    return value
