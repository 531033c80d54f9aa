# SPDX-License-Identifier: Apache-2.0
"""A transformer's encoder as what turns names into vectors: the mean of its last hidden states.

As sentence-transformers' models are used (Reimers and Gurevych, EMNLP 2019), from a folder on this
machine; code that a model brings is not run.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from plait.errors import BadInput, MissingExtra
from plait.graphs.align.options import Encoder

BATCH = 64
MAX_TOKENS = 64
"""Of one name; what comes after is cut off."""


def encoder_from(folder: Path) -> Encoder:
    """Return the encoder in a folder.

    Raises:
        BadInput: the folder holds no encoder in safetensors.
        MissingExtra: transformers or torch is not installed.
    """
    try:
        import torch
        from transformers import AutoModel, AutoTokenizer
    except ImportError:
        raise MissingExtra("transformers", "train") from None
    if not (folder / "config.json").is_file():
        raise BadInput(f"{folder} holds no model: it has no config.json.")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModel.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
        ).eval()
    except (OSError, ValueError, KeyError) as error:
        raise BadInput(f"{folder} holds no encoder that can be used: {error}") from None

    def encode(texts: Sequence[str]) -> np.ndarray:
        # Names of like length stand together, so that little is padded.
        order = sorted(range(len(texts)), key=lambda place: (len(texts[place]), texts[place]))
        parts = []
        for start in range(0, len(order), BATCH):
            chosen = [texts[place] for place in order[start : start + BATCH]]
            given = tokenizer(
                chosen, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
            )
            with torch.inference_mode():
                states = model(**given).last_hidden_state
            mask = given["attention_mask"].unsqueeze(-1).to(states.dtype)
            mean = (states * mask).sum(1) / mask.sum(1).clamp_min(1.0)
            parts.append(torch.nn.functional.normalize(mean, dim=1).numpy())
        width = int(model.config.hidden_size)
        made = np.empty((len(texts), width), np.float32)
        if parts:
            made[order] = np.concatenate(parts)
        return made

    return encode
