# SPDX-License-Identifier: Apache-2.0
"""A transformers classifier whose weights are replaced by those of models that are fused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from plait.errors import BadInput
from plait.fusion.weights.numbers import Array
from plait.pretrained import head_names, load_classifier, pad

MAX_TOKENS = 256


class Skeleton:
    """A classifier, its tokenizer, and which of its weights the fused tensors are.

    Args:
        folder: a text classifier, or an encoder with heads for tasks (see `plait.heads`).
        task: whose head to take where there are several.
        names: the tensors that are fused.

    Raises:
        BadInput: if the folder is no text classifier, or none of the tensors is in it.
    """

    def __init__(self, folder: Path, task: str, names: Iterable[str]) -> None:
        heads = head_names(folder)
        self.model, self.tokenizer = load_classifier(folder, task=task if task in heads else None)
        self.model.eval()
        self.model.requires_grad_(False)
        inside = self.model.state_dict(keep_vars=True)
        self.place: dict[str, str] = {}
        for name in names:
            if name in inside:
                self.place[name] = name
                continue
            ends = [p for p in inside if p.endswith(f".{name}") or name.endswith(f".{p}")]
            if len(ends) == 1:
                self.place[name] = ends[0]
        if not self.place:
            raise BadInput(
                f"{folder.name} as a text classifier has none of the weights that are fused."
            )
        self.inside = inside

    def put(self, values: Mapping[str, Array]) -> None:
        """Put tensors in their places; those that the classifier does not have are left out."""
        import torch

        for name, tensor in values.items():
            if name in self.place:
                self.inside[self.place[name]].data.copy_(torch.from_numpy(tensor))

    def rows(self, texts: list[str]) -> list[list[int]]:
        """Return the token ids of texts, cut at what the model can read."""
        most = getattr(self.model.config, "max_position_embeddings", None) or MAX_TOKENS
        limit = min(MAX_TOKENS, most)
        found = self.tokenizer(texts, truncation=True, max_length=limit)["input_ids"]
        return [list(row) for row in found]

    def batches(self, texts: list[str], size: int) -> list[dict[str, Any]]:
        """Return padded batches of texts, short texts with short ones."""
        rows = sorted(self.rows(texts), key=len)
        return [
            pad(self.tokenizer, rows[start : start + size]) for start in range(0, len(rows), size)
        ]
