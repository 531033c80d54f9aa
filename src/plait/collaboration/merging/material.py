# SPDX-License-Identifier: Apache-2.0
"""What a merge works with: the models in folders of the job, checked, under names for people."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plait.collaboration.merging.changes import driver_of
from plait.collaboration.merging.plan import Plan
from plait.errors import BadInput
from plait.fusion.verification import carry_over
from plait.fusion.weights import check_model
from plait.fusion.weights.checkpoints import open_checkpoint
from plait.fusion.weights.vocabulary import is_embedding, read_vocabulary
from plait.lineage import Contribution, Origin

MAX_CONFIG = 2**20

# Settings that must be alike for weights of the same shape to mean the same.
_MEANING = (
    "model_type",
    "architectures",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "intermediate_size",
    "vocab_size",
    "max_position_embeddings",
    "type_vocab_size",
    "hidden_act",
    "activation",
    "layer_norm_eps",
    "position_embedding_type",
    "problem_type",
)
_PROBLEM = ("problem_type",)


@dataclass(frozen=True)
class Model:
    """A model in a folder, and how error messages call it."""

    folder: Path
    title: str
    origin: Origin
    number: int | None = None
    """The pull request that it came from; None for the base and main."""

    @property
    def reference(self) -> str:
        """How recipes name it: ``namespace/name@revision``."""
        return f"{self.origin.repository}@{self.origin.revision}"


@dataclass(frozen=True)
class Material:
    """The base and the contributions of a plan, in the plan's order."""

    plan: Plan
    base: Model
    contributions: tuple[Model, ...]
    newest: Model
    originals: Mapping[str, Path] = field(default_factory=dict)
    """Where some added tokens: the folders as they were, by reference. The models themselves have
    embeddings for the tokens of all then, and one tokenizer."""

    @property
    def union(self) -> bool:
        """Whether vocabularies are united."""
        return bool(self.originals)

    def resolve(self, reference: str) -> Path:
        """Turn a recipe's reference into a folder.

        Raises:
            BadInput: the recipe names something else.
        """
        for model in (self.base, *self.contributions):
            if model.reference == reference:
                return model.folder
        raise BadInput(f"'{reference}' is not part of this merge.")

    def resolve_original(self, reference: str) -> Path:
        """Turn a recipe's reference into the folder of the model as it was contributed.

        Raises:
            BadInput: the recipe names something else.
        """
        return self.originals.get(reference) or self.resolve(reference)

    def numbers(self) -> tuple[int, ...]:
        """Return the pull requests' numbers in the plan's order."""
        return tuple(one.number for one in self.plan.contributions)


def check_contribution(base: Path, folder: Path, title: str) -> None:
    """Refuse a contribution that cannot be fused with its base; nothing of it is executed.

    Checks the safetensors headers, that every tensor has the base's name and shape, and that the
    configuration gives the weights and labels the base's meaning.

    Raises:
        BadInput: a sentence that names the pull request and what to do.
    """
    with named({folder: title, base: "the base"}):
        check_model(folder)
        theirs, ours = open_checkpoint(folder), open_checkpoint(base)
        mine, own = read_vocabulary(folder), read_vocabulary(base)
    before, after = read_config(base, "The base"), read_config(folder, title)
    grown = mine is not None and own is not None and _grew(own.tokens, mine.tokens)
    words = mine is not None and own is not None and mine.tokens != own.tokens
    check_config(before, after, title, grown=words)
    # A token must mean the same row in every contribution; new ones may follow.
    if mine is not None and own is not None and words and not grown:
        raise BadInput(
            f"{title} has another vocabulary than its base: {_otherwise(own.tokens, mine.tokens)}. "
            "Fine-tune with the base's tokenizer; tokens may be added after those that it has "
            "(tokenizer.add_tokens, then model.resize_token_embeddings)."
        )
    for name, entry in ours.tensors.items():
        other = theirs.tensors.get(name)
        if other is None:
            raise BadInput(f"{title} lacks the tensor '{name}' that its base has.")
        if other.shape != entry.shape and not (
            grown
            and is_embedding(name)
            and other.shape[1:] == entry.shape[1:]
            and other.shape[0] > entry.shape[0]
        ):
            raise BadInput(
                f"{title} is another architecture than its base: tensor '{name}' has shape "
                f"{list(other.shape)} instead of {list(entry.shape)}. Fine-tune the base itself."
            )
    extra = sorted(set(theirs.tensors) - set(ours.tensors))
    if extra:
        raise BadInput(f"{title} has the tensor '{extra[0][:100]}' that its base lacks.")


def _grew(before: Mapping[str, int], after: Mapping[str, int]) -> bool:
    """Tell whether a vocabulary has all that another has, at the same rows, and more after it."""
    return len(after) > len(before) and all(after.get(t) == n for t, n in before.items())


def _otherwise(before: Mapping[str, int], after: Mapping[str, int]) -> str:
    """Say in which token two vocabularies differ."""
    for token, number in sorted(before.items(), key=lambda pair: pair[1]):
        found = after.get(token)
        if found is None:
            return f"it lacks the token {token!r:.60}"
        if found != number:
            return f"the token {token!r:.60} is number {found} instead of {number}"
    return "its tokens are others"


def check_config(
    before: Mapping[str, Any], after: Mapping[str, Any], title: str, *, grown: bool = False
) -> None:
    """Refuse a config.json that gives the same weights another meaning.

    ``grown``: the vocabularies differ, and so may their sizes; what that means is another matter.

    Raises:
        BadInput: a sentence that names the key, with ``title`` as its subject.
    """
    if "auto_map" in after:
        raise BadInput(
            f"{title} asks for code of its own to be run ('auto_map' in config.json), which is "
            "never done. Take that out."
        )
    for key in _MEANING:
        if key in _PROBLEM and (after.get(key) is None or before.get(key) is None):
            continue  # set by training tools for the loss; the weights mean the same
        if key == "vocab_size" and grown:
            continue
        if before.get(key) != after.get(key):
            raise BadInput(
                f"{title} is another architecture than its base: config.json has {key} = "
                f"{_short(after.get(key))} instead of {_short(before.get(key))}. Fine-tune the "
                "base itself."
            )
    if _labels(before) != _labels(after):
        raise BadInput(
            f"{title} orders or names its labels otherwise than the base: "
            f"{_short(_labels(after))} instead of {_short(_labels(before))}. Train with the base's "
            "id2label."
        )


def rebase(
    base: Model, contribution: Model, own_base: Path, folder: Path, cancelled: Callable[[], bool]
) -> Path:
    """Carry a contribution over to another base: ``base + (contribution - its own base)``.

    Raises:
        BadInput: the three are not of one architecture.
    """
    with named({contribution.folder: contribution.title, own_base: "its base"}):
        carry_over(base.folder, contribution.folder, own_base, folder, cancelled=cancelled)
    return folder


def wanted(path: str) -> bool:
    """Tell whether a file belongs to the model itself, as a job needs it."""
    return driver_of(path) in ("weights", "model")


def read_config(folder: Path, title: str) -> dict[str, Any]:
    """Read a model's config.json.

    Raises:
        BadInput: there is none, or it is not a JSON object of a sensible size.
    """
    path = folder / "config.json"
    try:
        if path.stat().st_size > MAX_CONFIG:
            raise BadInput(f"{title}: config.json is larger than {MAX_CONFIG:,} bytes.")
        return parse_config(path.read_bytes(), title)
    except FileNotFoundError:
        raise BadInput(f"{title} has no config.json; upload the whole model folder.") from None


def parse_config(content: bytes, title: str, name: str = "config.json") -> dict[str, Any]:
    """Read the bytes of a config.json, or of another such file.

    Raises:
        BadInput: they are not a JSON object of a sensible size.
    """
    if len(content) > MAX_CONFIG:
        raise BadInput(f"{title}: {name} is larger than {MAX_CONFIG:,} bytes.")
    try:
        config = json.loads(content)
    except (ValueError, RecursionError):
        raise BadInput(f"{title}: {name} is not valid JSON.") from None
    if not isinstance(config, dict):
        raise BadInput(f"{title}: {name} must hold an object.")
    return config


class named:  # noqa: N801 - used as a context manager, like contextlib's
    """Put people's names for models where an engine's message has folders or references."""

    def __init__(self, names: Mapping[Path | str, str]) -> None:
        self.names = names

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, BadInput):
            message = error.message
            # The longest first: one folder's path may begin another's.
            for place, title in sorted(self.names.items(), key=lambda one: -len(str(one[0]))):
                inside = re.compile(re.escape(str(place)) + r"/([\w./-]*\w)")
                message = inside.sub(rf"{title}'s \1", message).replace(str(place), title)
            raise BadInput(message[:1].upper() + message[1:]) from None


def contribution_title(one: Contribution) -> str:
    """Return how messages call a contribution."""
    return f"pull request {one.number}"


def _labels(config: Mapping[str, Any]) -> list[str] | int | None:
    names = config.get("id2label")
    if isinstance(names, dict):
        try:
            return [str(names[key]) for key in sorted(names, key=int)]
        except (ValueError, TypeError):
            return [str(value) for value in names.values()]
    count = config.get("num_labels")
    return count if isinstance(count, int) else None


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 120 else text[:117] + "..."
