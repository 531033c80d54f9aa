# SPDX-License-Identifier: Apache-2.0
"""The items that a fusion learns on; what a frozen encoder finds in them is computed once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from plait.errors import BadInput, Cancelled
from plait.evaluation.tasks import Item

ARGUMENTS = {"text": "text", "image": "images", "audio": "audio"}
BATCH = 32
MOST_REMEMBERED = 4 << 30
"""Bytes of tokens that are kept in memory; beyond, a frozen encoder runs again for each batch."""

Told = Callable[[str, int, int], None]


class Source:
    """Items of one split, given as batches of what the encoders found in them."""

    def __init__(
        self, model: Any, processor: Any, items: Sequence[Item], classes: Sequence[int]
    ) -> None:
        import torch

        self._model = model
        self._processor = processor
        self.samples = [
            {"text": s} if isinstance(s, str) else dict(s) for s in (i.sample for i in items)
        ]
        self.classes = torch.tensor(classes)
        names = model.config.modalities
        self.present = torch.tensor([[m in s for m in names] for s in self.samples])
        for sample, here, item in zip(self.samples, self.present, items, strict=True):
            if not bool(here.any()):
                raise BadInput(
                    f"Item {item.id} has none of the encoders' modalities ({', '.join(names)}), "
                    f"only {', '.join(sample)}."
                )
        self._kept: dict[str, tuple[Any, Any, Any]] = {}

    def __len__(self) -> int:
        return len(self.samples)

    def remember(
        self,
        modality: str,
        *,
        tokens: bool,
        tell: Told | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> None:
        """Run a modality's encoder over every item and keep what it finds.

        Without `tokens`, only its pooled vectors. Where all would be more than `MOST_REMEMBERED`
        bytes, nothing is kept.

        Raises:
            BadInput: if an item's file cannot be read.
            Cancelled: if `cancelled` says so.
        """
        import torch

        parts: list[tuple[Any, Any, Any]] = []
        with torch.no_grad():
            for start in range(0, len(self), BATCH):
                if cancelled is not None and cancelled():
                    raise Cancelled("The fusion was cancelled; nothing was written.")
                places = list(range(start, min(start + BATCH, len(self))))
                pooled, found, mask = self._encode(modality, places)
                if not tokens:
                    found, mask = found[:, :1], mask[:, :1]
                if found.numel() * 4 * len(self) / len(places) > MOST_REMEMBERED:
                    return
                parts.append((pooled, found, mask))
                if tell is not None:
                    tell(f"encode {modality}", start + len(places), len(self))
        longest = max(part[1].shape[1] for part in parts)
        self._kept[modality] = (
            torch.cat([part[0] for part in parts]),
            torch.cat([_pad(part[1], longest) for part in parts]),
            torch.cat([_pad(part[2], longest) for part in parts]),
        )

    def take(self, places: Sequence[int]) -> Source:
        """Return some of the items as a source of their own, with what was remembered of them."""
        made = Source.__new__(Source)
        made._model, made._processor = self._model, self._processor
        made.samples = [self.samples[place] for place in places]
        made.classes, made.present = self.classes[list(places)], self.present[list(places)]
        made._kept = {
            name: (pooled[list(places)], tokens[list(places)], mask[list(places)])
            for name, (pooled, tokens, mask) in self._kept.items()
        }
        return made

    def forget(self, modality: str) -> None:
        """Compute a modality anew for every batch: its encoder changes."""
        self._kept.pop(modality, None)

    def batch(self, places: Sequence[int], modalities: Sequence[str]) -> Mapping[str, Any]:
        """Return (pooled, tokens, mask) by modality for the items at `places`."""
        made = {}
        for name in modalities:
            if name in self._kept:
                pooled, tokens, mask = self._kept[name]
                made[name] = (pooled[places], tokens[places], mask[places])
            else:
                made[name] = self._encode(name, places)
        return made

    def use(self, model: Any) -> None:
        """Let another model with the same encoders read what is not remembered."""
        self._model = model

    def _encode(self, modality: str, places: Sequence[int]) -> tuple[Any, Any, Any]:
        import torch

        values = [self.samples[place].get(modality) for place in places]
        inputs: dict[str, Any] = {}
        if all(value is None for value in values):
            # nobody reads these: one item that has the modality stands in for all
            place = int(
                self.present[:, self._model.config.modalities.index(modality)].int().argmax()
            )
            if modality not in self.samples[place]:
                raise BadInput(f"No item has {modality}, which the recipe has an encoder for.")
            values = [self.samples[place][modality]] * len(values)
        try:
            inputs = self._processor(**{ARGUMENTS[modality]: values})
        except ValueError as error:
            raise BadInput(str(error)) from None
        inputs.pop("modality_mask")
        encoder = self._model.encoders[modality]
        frozen = not any(p.requires_grad for p in encoder.parameters())
        with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
            found: tuple[Any, Any, Any] = self._model.encode(**inputs)[modality]
        return found


def check_files(items: Sequence[Item]) -> None:
    """Refuse items whose files are missing.

    Raises:
        BadInput: naming the first.
    """
    for item in items:
        for file in (item.image, item.audio):
            if file is not None and not Path(file).is_file():
                raise BadInput(f"Item {item.id}: there is no file {file}.")


def _pad(values: Any, longest: int) -> Any:
    import torch

    lacking = longest - values.shape[1]
    if not lacking:
        return values
    shape = (values.shape[0], lacking, *values.shape[2:])
    return torch.cat([values, values.new_zeros(shape)], dim=1)
