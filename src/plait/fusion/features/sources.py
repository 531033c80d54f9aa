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
MOST_PREPARED = 1 << 30
"""Bytes of pixels or spectrograms kept for an encoder that is trained; files beyond are read again.
"""
KINDS = {"pixels": ("pixel_values",), "mel": ("input_features", "input_features_mask")}
"""What our own processors make of one item, which may be padded and put together later."""

Told = Callable[[str, int, int], None]


class Source:
    """Items of one split, given as batches of what the encoders found in them."""

    def __init__(
        self, model: Any, processor: Any, items: Sequence[Item], classes: Sequence[int]
    ) -> None:
        import torch

        self._processor = processor
        self.samples = [
            {"text": s} if isinstance(s, str) else dict(s) for s in (i.sample for i in items)
        ]
        self.classes = torch.tensor(classes)
        self.remembered: dict[str, tuple[Any, Any, Any]] = {}
        self._prepared: dict[str, list[dict[str, Any] | None]] = {}
        self.use(model)
        names = model.config.modalities
        for sample, here, item in zip(self.samples, self.present, items, strict=True):
            if not bool(here.any()):
                raise BadInput(
                    f"Item {item.id} has none of the encoders' modalities ({', '.join(names)}), "
                    f"only {', '.join(sample)}."
                )

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
        """Run a modality's encoder over every item and keep what it finds, unless that is kept.

        Without `tokens`, only its pooled vectors. Where all would be more than `MOST_REMEMBERED`
        bytes, nothing is kept.

        Raises:
            BadInput: if an item's file cannot be read.
            Cancelled: if `cancelled` says so.
        """
        import torch

        if modality in self.remembered:
            return
        self._model.encoders[modality].eval()
        parts: list[tuple[Any, Any, Any]] = []
        with torch.no_grad():
            for start in range(0, len(self), BATCH):
                _go_on(cancelled)
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
        self.remembered[modality] = (
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
        made.remembered = {
            name: (pooled[list(places)], tokens[list(places)], mask[list(places)])
            for name, (pooled, tokens, mask) in self.remembered.items()
        }
        made._prepared = {
            name: [items[place] for place in places] for name, items in self._prepared.items()
        }
        return made

    def forget(self, modality: str) -> None:
        """Compute a modality anew for every batch: its encoder changes."""
        self.remembered.pop(modality, None)

    def batch(self, places: Sequence[int], modalities: Sequence[str]) -> Mapping[str, Any]:
        """Return (pooled, tokens, mask) by modality for the items at `places`."""
        made = {}
        for name in modalities:
            if name in self.remembered:
                pooled, tokens, mask = self.remembered[name]
                made[name] = (pooled[places], *_trim(tokens[places], mask[places]))
            else:
                made[name] = self._encode(name, places)
        return made

    def use(self, model: Any) -> None:
        """Let another model read the items: one whose encoders are some of those remembered."""
        import torch

        self._model = model
        names = model.config.modalities
        self.present = torch.tensor([[m in s for m in names] for s in self.samples])

    def prepare(
        self,
        modality: str,
        *,
        tell: Told | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> None:
        """Read a modality's files once and keep what the processor makes of them.

        For an encoder that is trained: reading and resampling sounds costs more than a small
        encoder. Where all would be more than `MOST_PREPARED` bytes, nothing is kept.

        Raises:
            BadInput: if an item's file cannot be read.
            Cancelled: if `cancelled` says so.
        """
        names = KINDS.get(self._processor.settings[modality].get("kind", ""))
        if names is None or modality in self._prepared:
            return
        made: list[dict[str, Any] | None] = []
        held = 0
        for place, sample in enumerate(self.samples):
            _go_on(cancelled)
            if tell is not None and place % BATCH == 0:
                tell(f"read {modality}", place, len(self))
            value = sample.get(modality)
            found = None if value is None else self._process(modality, [value])
            made.append(None if found is None else {name: found[name][0] for name in names})
            held += sum(part.nbytes for part in (made[-1] or {}).values())
            if held > MOST_PREPARED:
                return
        self._prepared[modality] = made

    def _encode(self, modality: str, places: Sequence[int]) -> tuple[Any, Any, Any]:
        import torch

        if all(modality not in self.samples[place] for place in places):
            # nobody reads these: one item that has the modality stands in for all
            place = next((i for i, s in enumerate(self.samples) if modality in s), None)
            if place is None:
                raise BadInput(f"No item has {modality}, which the recipe has an encoder for.")
            places = [place] * len(places)
        if modality in self._prepared:
            inputs = _together([self._prepared[modality][place] for place in places])
        else:
            values = [self.samples[place].get(modality) for place in places]
            inputs = self._process(modality, values)
        encoder = self._model.encoders[modality]
        frozen = not any(p.requires_grad for p in encoder.parameters())
        with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
            found: tuple[Any, Any, Any] = self._model.encode(**inputs)[modality]
        return found

    def _process(self, modality: str, values: Sequence[Any]) -> dict[str, Any]:
        try:
            inputs: dict[str, Any] = self._processor(**{ARGUMENTS[modality]: values})
        except ValueError as error:
            raise BadInput(str(error)) from None
        inputs.pop("modality_mask")
        return inputs


def check_files(items: Sequence[Item]) -> None:
    """Refuse items whose files are missing.

    Raises:
        BadInput: naming the first.
    """
    for item in items:
        for file in (item.image, item.audio):
            if file is not None and not Path(file).is_file():
                raise BadInput(f"Item {item.id}: there is no file {file}.")


def _go_on(cancelled: Callable[[], bool] | None) -> None:
    if cancelled is not None and cancelled():
        raise Cancelled("The fusion was cancelled; nothing was written.")


def _trim(tokens: Any, mask: Any) -> tuple[Any, Any]:
    """Cut off the columns at the end that no item of a batch fills; one is always left."""
    filled = mask.bool().any(0).nonzero()
    longest = int(filled[-1]) + 1 if len(filled) else 1
    return tokens[:, :longest], mask[:, :longest]


def _together(items: Sequence[dict[str, Any] | None]) -> dict[str, Any]:
    """Return one batch of what was prepared of single items; zeros where an item has nothing."""
    import torch

    some = next(item for item in items if item is not None)
    made = {}
    for name, first in some.items():
        longest = max(len(item[name]) for item in items if item is not None)
        blank = torch.zeros_like(first[:1])
        parts = [(blank if item is None else item[name])[None] for item in items]
        made[name] = torch.cat([_pad(part, longest) for part in parts])
    return made


def _pad(values: Any, longest: int) -> Any:
    import torch

    lacking = longest - values.shape[1]
    if not lacking:
        return values
    shape = (values.shape[0], lacking, *values.shape[2:])
    return torch.cat([values, values.new_zeros(shape)], dim=1)
