# SPDX-License-Identifier: Apache-2.0
"""What goes into a model: token ids of one length, pixels of a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from plait.errors import BadInput, MissingExtra

MAX_PIXELS = 50_000_000


def pad(tokenizer: Any, rows: list[list[int]]) -> dict[str, Any]:
    """Return the token ids of a batch as one tensor [rows, longest], with its mask."""
    import torch

    longest = max(len(row) for row in rows)
    fill = tokenizer.pad_token_id or 0
    ids = torch.full((len(rows), longest), fill, dtype=torch.long)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = torch.tensor(row)
        mask[index, : len(row)] = 1
    return {"input_ids": ids, "attention_mask": mask}


def open_image(file: Path) -> Any:
    """Return a picture's pixels, in red, green and blue.

    Raises:
        BadInput: if the file is no picture, or one of too many pixels.
        MissingExtra: if pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError:
        raise MissingExtra("pillow", "train") from None
    try:
        with Image.open(file) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise BadInput(f"{file.name} has more than {MAX_PIXELS:,} pixels.")
            return (
                picture.convert("RGBA").convert("RGB")
                if picture.mode == "P"
                else picture.convert("RGB")
            )
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise BadInput(f"{file.name} is not a picture that can be read: {error}.") from None
