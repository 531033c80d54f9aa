# SPDX-License-Identifier: Apache-2.0
"""Tokenizers of the models to fuse: one vocabulary for all, and embeddings in its order.

A token that a model lacks gets an embedding for it: the base's, else that of the one model which
has the token, else the mean of those that have it (mergekit's rule); zeros if nobody has it.
"""

from __future__ import annotations

import filecmp
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from plait.errors import BadInput
from plait.fusion.weights.alike import Misfit
from plait.fusion.weights.checkpoints import Checkpoint
from plait.fusion.weights.computed import Computed, Read, float_code, rows_of
from plait.fusion.weights.numbers import FLOATS, Array
from plait.fusion.weights.safetensors import Entry
from plait.recipes.fusion import FusionRecipe
from plait.recipes.tokenizer import TokenRule

MAX_FILE = 200_000_000
PADDING = -2
BINARY = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model")
_EMBEDDING = re.compile(
    r"(^|\.)(embed_tokens|wte|word_embeddings|shared|embed_in|embed_out|lm_head(\.decoder)?"
    r"|predictions(\.decoder)?|vocab_projector)\.(weight|bias)$"
)


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer's tokens by number, and the parsed file that they are from."""

    tokens: Mapping[str, int]
    data: Mapping[str, Any]
    file: str


@dataclass(frozen=True)
class Unified:
    """The fused model's vocabulary: its size with padding, and the file to write (None: as is)."""

    size: int
    data: Mapping[str, Any] | None
    file: str
    digest: str


@dataclass(frozen=True)
class Rearranged(Computed):
    """An embedding whose rows are another's in a new order.

    `order` gives the row for each new row, or -1 where `lent` (tensors and rows that are averaged;
    none for zeros) has what stands there, or -2 for padding: the mean of all rows that are none.
    """

    order: Array
    lent: Mapping[int, tuple[tuple[Entry, int], ...]]

    def rows(self, read: Read, low: int, high: int) -> Array:
        """Return the new rows."""
        values = np.zeros((high - low, self.row), np.float64 if self.code == "F64" else np.float32)
        here = self.order[low:high]
        # runs of rows that lie one after the other are read at once
        breaks = np.flatnonzero((np.diff(here) != 1) | (here[:-1] < 0)) + 1
        for first, last in zip((0, *breaks), (*breaks, here.size), strict=True):
            if here[first] >= 0:
                start = int(here[first])
                values[first:last] = rows_of(read, self.origin, start, start + last - first)
        for number in np.flatnonzero(here == -1):
            sources = self.lent.get(low + int(number), ())
            if sources:
                found = [rows_of(read, e, r, r + 1)[0].astype(np.float64) for e, r in sources]
                values[number] = np.mean(found, 0)
        if np.any(here == PADDING):
            values[here == PADDING] = self._mean(read)
        return values

    def _mean(self, read: Read) -> Array:
        total = np.zeros(self.row)
        tokens = np.flatnonzero(self.order != PADDING)
        step = max((1 << 20) // self.row, 1)
        breaks = np.flatnonzero(np.diff(tokens) != 1) + 1
        for run in np.split(tokens, breaks):
            for low in range(int(run[0]), int(run[-1]) + 1, step):
                high = min(low + step, int(run[-1]) + 1)
                total += np.add.reduce(self.rows(read, low, high), axis=0, dtype=np.float64)
        return np.asarray(total / max(tokens.size, 1))


def is_embedding(name: str) -> bool:
    """Tell whether a tensor has a row for each token."""
    return _EMBEDDING.search(name) is not None


def _vocabulary_file(folder: Path) -> Path | None:
    paths = (folder / name for name in ("tokenizer.json", "vocab.json", "vocab.txt"))
    return next((path for path in paths if path.is_file()), None)


def read_vocabulary(folder: Path) -> Vocabulary | None:
    """Return a model folder's vocabulary; None if it has none that can be read as text.

    Raises:
        BadInput: if the file is damaged.
    """
    path = _vocabulary_file(folder)
    if path is None:
        return None
    name = path.name
    if path.stat().st_size > MAX_FILE:
        raise BadInput(f"{path} is larger than {MAX_FILE:,} bytes.")
    try:
        text = path.read_text("utf-8")
        if name == "vocab.txt":
            lines = [line for line in text.split("\n") if line]
            return Vocabulary({token: i for i, token in enumerate(lines)}, {}, name)
        data = json.loads(text)
        tokens = _tokens_of(data) if name == "tokenizer.json" else data
        if not all(type(i) is int and 0 <= i < 1 << 31 for i in tokens.values()):
            raise TypeError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise BadInput(f"{path} is not a tokenizer; fetch the model again.") from None
    return Vocabulary(tokens, data, name)


def refuse_other_words(folders: Mapping[str, Path]) -> None:
    """Refuse models in whose vocabularies one number stands for different tokens.

    More tokens at the end of one are none of that. Only files that differ are parsed.

    Raises:
        Misfit: naming the two models, the number and both tokens.
    """
    first: tuple[str, Path, Vocabulary] | None = None
    for reference, folder in folders.items():
        path = _vocabulary_file(folder)
        if path is None:
            continue
        if first is None:
            found = read_vocabulary(folder)
            first = (reference, path, found) if found else None
            continue
        name, other, known = first
        if path.name == other.name and filecmp.cmp(path, other, shallow=False):
            continue
        own = read_vocabulary(folder)
        clash = _clash(known, own) if own else None
        if clash:
            number, one, two = clash
            raise Misfit(
                f"The vocabularies of '{name}' and '{reference}' differ: the number {number} is "
                f"{one!r:.60} in one and {two!r:.60} in the other, so that rows of their "
                "embeddings stand for different tokens. Give 'tokenizer_source: base' or 'union'."
            )


def _clash(one: Vocabulary, other: Vocabulary) -> tuple[int, str, str] | None:
    tokens = {number: token for token, number in one.tokens.items()}
    for token, number in sorted(other.tokens.items(), key=lambda pair: pair[1]):
        if tokens.get(number, token) != token:
            return number, tokens[number], token
    return None


def unify(
    recipe: FusionRecipe, models: Mapping[str, Checkpoint], donor: str
) -> tuple[dict[str, Checkpoint], Unified | None]:
    """Return the models with their embeddings in one order, and the vocabulary that has it.

    Raises:
        BadInput: if a vocabulary is needed that is not there, or does not fit its embedding.
    """
    spec = recipe.tokenizer
    if spec is None:
        if recipe.method != "passthrough":
            refuse_other_words({r: m.folder for r, m in models.items()})
        return dict(models), None
    found = {r: read_vocabulary(m.folder) for r, m in models.items()}
    first = donor if spec.source in ("base", "union") else spec.source
    if any(v is None for v in found.values()):
        _same_binary(models, first)
        return dict(models), None
    known = {r: v for r, v in found.items() if v is not None}
    alike = all(v.tokens == known[first].tokens for v in known.values())
    if alike and not spec.tokens and not spec.pad_to_multiple_of:
        return dict(models), None
    tokens, data = _joined(known, first, union=spec.source == "union")
    size = max(tokens.values(), default=-1) + 1
    if spec.pad_to_multiple_of:
        size = -(-size // spec.pad_to_multiple_of) * spec.pad_to_multiple_of
    for name in spec.tokens:
        if name not in tokens:
            raise BadInput(f"'tokenizer.tokens' names '{name[:60]}', which no vocabulary has.")
    lent = _Lenders(models, known, donor, spec.tokens)
    told = json.dumps([tokens, {r: dict(v.tokens) for r, v in known.items()}], sort_keys=True)
    digest = hashlib.sha256(told.encode()).hexdigest()
    return (
        {r: _rearranged(r, m, known[r], tokens, size, lent) for r, m in models.items()},
        Unified(size, data, known[first].file, digest),
    )


@dataclass(frozen=True)
class _Lenders:
    """Who gives an embedding for a token that a model does not have."""

    models: Mapping[str, Checkpoint]
    vocabularies: Mapping[str, Vocabulary]
    base: str
    rules: Mapping[str, TokenRule]

    def of(self, token: str, tensor: str) -> tuple[tuple[Entry, int], ...]:
        rule = self.rules.get(token)
        if rule and rule.source == "zero":
            return ()
        if rule and rule.source:
            name = token if rule.token is None else rule.token
            tokens = self.vocabularies[rule.source].tokens
            row = name if isinstance(name, int) else tokens.get(name)
            entry = self.models[rule.source].tensors.get(tensor)
            if row is None or entry is None or row >= entry.shape[0]:
                raise BadInput(f"'{rule.source}' has no embedding for '{str(name)[:60]}'.")
            return ((entry, row),)
        having = []
        for reference, vocabulary in self.vocabularies.items():
            row = vocabulary.tokens.get(token)
            entry = self.models[reference].tensors.get(tensor)
            if row is not None and entry is not None and row < entry.shape[0]:
                if reference == self.base:
                    return ((entry, row),)
                having.append((entry, row))
        return tuple(having)


def _rearranged(
    reference: str,
    model: Checkpoint,
    vocabulary: Vocabulary,
    tokens: Mapping[str, int],
    size: int,
    lent: _Lenders,
) -> Checkpoint:
    rows = max(vocabulary.tokens.values(), default=-1) + 1
    tensors = dict(model.tensors)
    for name, entry in model.tensors.items():
        if not _EMBEDDING.search(name) or entry.code not in FLOATS or not entry.shape:
            continue
        if entry.shape[0] < rows:
            raise BadInput(
                f"'{reference}': '{name}' has {entry.shape[0]:,} rows but the vocabulary "
                f"{rows:,} tokens; the tokenizer is not this model's."
            )
        order = np.full(size, -1, np.int64)
        given: dict[int, tuple[tuple[Entry, int], ...]] = {}
        for token, number in tokens.items():
            rule = lent.rules.get(token)
            row = None if rule and rule.force else vocabulary.tokens.get(token)
            if row is None:
                given[number] = lent.of(token, name)
            else:
                order[number] = row
        order[sorted(set(range(size)) - set(tokens.values()))] = PADDING
        tensors[name] = Rearranged(
            name=name,
            code=float_code(entry),
            shape=(size, *entry.shape[1:]),
            path=entry.path,
            offset=entry.offset,
            nbytes=entry.nbytes,
            origin=entry,
            order=order,
            lent=given,
        )
    return replace(model, tensors=tensors)


def _tokens_of(data: Mapping[str, Any]) -> dict[str, int]:
    listed = data["model"].get("vocab", {})
    tokens = {p[0]: i for i, p in enumerate(listed)} if isinstance(listed, list) else dict(listed)
    for added in data.get("added_tokens") or ():
        tokens[added["content"]] = added["id"]
    return tokens


def _joined(
    known: Mapping[str, Vocabulary], first: str, *, union: bool
) -> tuple[dict[str, int], Mapping[str, Any] | None]:
    """Return the tokens of the result by number, and the file that has them (None: the first's)."""
    tokens = dict(known[first].tokens)
    if not union:
        return tokens, None
    data = json.loads(json.dumps(known[first].data))
    number = max(tokens.values(), default=-1) + 1
    new: dict[str, int] = {}
    added = {t["content"] for v in known.values() for t in v.data.get("added_tokens") or ()}
    # added tokens come last, as they do in every tokenizer
    for late in (False, True):
        for vocabulary in known.values():
            for token, _ in sorted(vocabulary.tokens.items(), key=lambda item: item[1]):
                if token not in tokens and (token in added) is late:
                    tokens[token] = new[token] = number
                    number += 1
    if not new:
        return tokens, None
    if known[first].file == "tokenizer.json":
        _add_tokens(data, new, known)
    elif known[first].file == "vocab.json":
        data |= new
    else:
        data = {"lines": [t for t, _ in sorted(tokens.items(), key=lambda item: item[1])]}
    return tokens, data


def _add_tokens(
    data: dict[str, Any], new: Mapping[str, int], known: Mapping[str, Vocabulary]
) -> None:
    """Put new tokens into a tokenizer: into its vocabulary, or among the added ones if they were.

    The merges that make new tokens of a byte-pair vocabulary come after those that were there.
    """
    added: dict[str, Any] = {}
    merges: dict[str, Any] = {}
    scores: dict[str, float] = {}
    for vocabulary in known.values():
        for entry in vocabulary.data.get("added_tokens") or ():
            added.setdefault(entry["content"], entry)
        model = vocabulary.data.get("model") or {}
        for merge in model.get("merges") or ():
            merges.setdefault(json.dumps(merge), merge)
        if isinstance(model.get("vocab"), list):
            scores |= {p[0]: p[1] for p in model["vocab"] if p[0] not in scores}
    model = data["model"]
    plain = {t: i for t, i in new.items() if t not in added}
    if isinstance(model.get("vocab"), list):
        # numbers of a list are places: whatever comes after the added tokens must be added too
        if data.get("added_tokens") or len(plain) < len(new):
            added |= {t: _added(t) for t in plain}
            plain = {}
        model["vocab"] += [[t, scores.get(t, 0.0)] for t in plain]
    else:
        model["vocab"] |= plain
        if "merges" in model:
            have = {json.dumps(m) for m in model["merges"]}
            model["merges"] += [m for key, m in merges.items() if key not in have]
    data["added_tokens"] = (data.get("added_tokens") or []) + [
        added[t] | {"id": i} for t, i in new.items() if t in added
    ]


def _added(token: str) -> dict[str, Any]:
    plain = ("single_word", "lstrip", "rstrip", "normalized", "special")
    return {"content": token} | dict.fromkeys(plain, False)


def _same_binary(models: Mapping[str, Checkpoint], first: str) -> None:
    """Refuse different vocabularies that cannot be read as text."""
    base = models[first].folder
    for reference, model in models.items():
        for name in BINARY:
            mine, theirs = base / name, model.folder / name
            if mine.is_file() and theirs.is_file() and mine.read_bytes() != theirs.read_bytes():
                raise BadInput(
                    f"The vocabulary of '{reference}' ({name}) is not that of '{first}', and it "
                    "cannot be read without tokenizer.json; save it as a fast tokenizer first."
                )
