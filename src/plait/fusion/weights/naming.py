# SPDX-License-Identifier: Apache-2.0
"""What tensor names tell: layers and their numbers, tied copies, what comes before the layers."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

_LAYER = re.compile(r"(?:^|\.)(?:layers?|h|blocks?)\.(\d+)\.")
_BEFORE = re.compile(r"embed|(^|\.)shared\.|wte|wpe|patch|conv1|class_token|cls_token")

_OVER_WORDS = re.compile(
    r"ForCausalLM|ForMaskedLM|LMHead|DoubleHeads|ForConditionalGeneration|ForPreTraining"
)

# a head whose matrix may be left out of a file because it is the input embedding's
_TIED = {
    "lm_head.weight": (
        "model.embed_tokens.weight",
        "transformer.wte.weight",
        "wte.weight",
        "shared.weight",
    ),
    "cls.predictions.decoder.weight": ("bert.embeddings.word_embeddings.weight",),
    "lm_head.decoder.weight": ("roberta.embeddings.word_embeddings.weight",),
    "embed_out.weight": ("gpt_neox.embed_in.weight",),
}


def layer_of(name: str) -> tuple[str, int] | None:
    """Return (stack, number) of a tensor's layer, such as ("bert.encoder.layer.", 3)."""
    found = _LAYER.search(name)
    return (name[: found.start(1)], int(found.group(1))) if found else None


def renumber(name: str, number: int) -> str:
    """Return the tensor's name with its layer's number replaced."""
    found = _LAYER.search(name)
    if not found:
        return name
    return f"{name[: found.start(1)]}{number}{name[found.end(1) :]}"


def layer_counts(names: Iterable[str]) -> dict[str, int]:
    """Return how many layers each stack has: one more than the largest number seen."""
    counts: dict[str, int] = {}
    for name in names:
        place = layer_of(name)
        if place:
            counts[place[0]] = max(counts.get(place[0], 0), place[1] + 1)
    return counts


def comes_before_layers(name: str) -> bool:
    """Tell whether a tensor outside the layers feeds them (embedding) or follows (head)."""
    return bool(_BEFORE.search(name))


def group_of(name: str) -> str:
    """Return the name a tensor is summed up under: its layer, or its first two parts."""
    place = layer_of(name)
    if place:
        return f"{place[0]}{place[1]}"
    parts = name.split(".")
    return ".".join(parts[: min(2, max(1, len(parts) - 1))])


def is_tied(names: Collection[str], architecture: str) -> bool:
    """Tell whether a model's head is its input embedding: it has a head, but no tensor for it.

    Classifiers have embeddings under the same names, and no head over the vocabulary.
    """
    if not _OVER_WORDS.search(architecture):
        return False
    return any(
        head not in names and any(embedding in names for embedding in embeddings)
        for head, embeddings in _TIED.items()
    ) and not any(head in names for head in _TIED)


def tied_names(name: str) -> tuple[str, ...]:
    """Return the tensors that may stand in for `name` where a model ties them."""
    return _TIED.get(name, ())
