# SPDX-License-Identifier: Apache-2.0
"""From texts and images to what the members of `PlaitEnsembleForSequenceClassification` read.

Members that read alike form a group; a group's part is a tokenizer or image processor of
transformers, or the processor of another architecture of ours.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoImageProcessor,
    AutoTokenizer,
    BatchEncoding,
    PretrainedConfig,
    PreTrainedTokenizerFast,
    ProcessorMixin,
)

FILE = "processor_config.json"
ARGUMENTS = {"text": "text", "image": "images", "audio": "audio"}
MAX_PIXELS = 50_000_000

MEMBER_CLASSES: dict[str, tuple[Any, Any, Any]] = {}
"""Classes (configuration, model, processor) of members that transformers does not have."""


class PlaitEnsembleProcessor(ProcessorMixin):  # type: ignore[misc]
    """Gives every group of members its inputs, under names that end with the group's suffix."""

    attributes: tuple[str, ...] = ()

    def __init__(self, groups: Sequence[Mapping[str, Any]], parts: Sequence[Any]) -> None:
        self.groups = [dict(group) for group in groups]
        self.parts = list(parts)

    @property
    def modalities(self) -> tuple[str, ...]:
        """What an item may have: at least one of these."""
        found = {name for group in self.groups for name in group["modalities"]}
        return tuple(name for name in ARGUMENTS if name in found)

    def __call__(
        self, text: Any = None, images: Any = None, audio: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Return tensors for the model, with `group_mask` if an item lacks what a group reads.

        Args:
            text: texts, or one; None where an item has none.
            images: paths or Pillow images; None likewise.
            audio: paths of wav files; None likewise.
            kwargs: ignored, for callers that pass `return_tensors="pt"`: there are no others.

        Raises:
            ValueError: if an item has nothing that a member reads, or a file cannot be read.
        """
        given = {"text": text, "image": images, "audio": audio}
        columns = {name: _listed(value) for name, value in given.items() if value is not None}
        lengths = {len(column) for column in columns.values()}
        if len(lengths) != 1 or 0 in lengths:
            raise ValueError("Give one or more modalities, with the same number of items each.")
        count = lengths.pop()
        mask = torch.zeros(count, len(self.groups), dtype=torch.long)
        made: dict[str, Any] = {}
        for place, (group, part) in enumerate(zip(self.groups, self.parts, strict=True)):
            own = {n: columns[n] for n in group["modalities"] if n in columns}
            rows = [i for i in range(count) if any(c[i] is not None for c in own.values())]
            if not rows:
                continue
            mask[rows, place] = 1
            chosen = {n: [column[i] for i in rows] for n, column in own.items()}
            for name, tensor in _encode(part, group, chosen).items():
                if len(rows) < count:
                    whole = tensor.new_zeros(count, *tensor.shape[1:])
                    whole[rows] = tensor
                    tensor = whole
                made[name + group["suffix"]] = tensor
        if not bool(mask.any(1).all()):
            raise ValueError(
                f"Item {int((~mask.bool().any(1)).nonzero()[0])} has nothing that a member reads "
                f"({', '.join(self.modalities)})."
            )
        return made if bool(mask.all()) else made | {"group_mask": mask}

    def save_pretrained(self, save_directory: Any, **kwargs: Any) -> None:
        """Write every group's part into its folder, and what they are."""
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        for group, part in zip(self.groups, self.parts, strict=True):
            part.save_pretrained(folder / group["folder"])
        content = {"processor_class": type(self).__name__, "groups": self.groups}
        (folder / FILE).write_text(json.dumps(content, indent=2) + "\n", "utf-8")

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: Any, **kwargs: Any
    ) -> PlaitEnsembleProcessor:
        """Read what `save_pretrained` wrote, from a folder or (by transformers' means) a hub."""
        place, options = str(pretrained_model_name_or_path), _options(kwargs)
        base = kwargs.get("subfolder") or ""
        found = _cached(place, FILE, base, options)
        groups = json.loads(Path(found).read_text("utf-8"))["groups"]
        tokenizers = [g for g in groups if g["kind"] == "tokenizer" and g["folder"] == ""]
        several = sum(g["kind"] == "tokenizer" for g in groups) > 1
        parts = []
        for group in groups:
            inside = "/".join(p for p in (base, group["folder"]) if p)
            kind = _part_class(group["kind"])
            if several and group in tokenizers:  # the folder's own is the class of them all
                kind = PreTrainedTokenizerFast
            parts.append(_load(kind, place, inside, options))
        return cls(groups, parts)


class PlaitEnsembleTokenizer(PreTrainedTokenizerFast):  # type: ignore[misc]
    """The first member's tokenizer, which gives the other members' inputs as well.

    Its `ensemble_groups` are {folder, suffix, max_length} of every tokenizer, itself first.
    """

    others: Sequence[Any] = ()

    def __call__(self, text: Any = None, *args: Any, **kwargs: Any) -> BatchEncoding:
        """Return every member's inputs; texts are cut where each one's are, unless told otherwise.

        Arguments are those of transformers' tokenizers; `max_length` counts for all.
        """
        groups = self.init_kwargs["ensemble_groups"]
        made: dict[str, Any] = {}
        callers = [super().__call__, *self.others]
        for caller, group in zip(callers, groups, strict=True):
            own = {"truncation": True} | kwargs
            if own["truncation"] and own.get("max_length") is None:
                own["max_length"] = group["max_length"]
            for name, value in caller(text, *args, **own).items():
                made[name + group["suffix"]] = value
        return BatchEncoding(made)

    def save_pretrained(self, save_directory: Any, *args: Any, **kwargs: Any) -> Any:
        """Write all the tokenizers."""
        written = super().save_pretrained(save_directory, *args, **kwargs)
        groups = self.init_kwargs["ensemble_groups"][1:]
        for other, group in zip(self.others, groups, strict=True):
            other.save_pretrained(Path(save_directory) / group["folder"])
        return written

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """Load all the tokenizers, from a folder or a hub."""
        made = super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        place, options = str(pretrained_model_name_or_path), _options(kwargs)
        base = kwargs.get("subfolder") or ""
        made.others = [
            _load(AutoTokenizer, place, "/".join(p for p in (base, g["folder"]) if p), options)
            for g in made.init_kwargs["ensemble_groups"][1:]
        ]
        return made


def _encode(part: Any, group: Mapping[str, Any], columns: Mapping[str, Any]) -> dict[str, Any]:
    if group["kind"] == "tokenizer":
        options = {"truncation": True, "max_length": group["max_length"]}
        texts = columns["text"]
        return dict(part(texts, padding=True, return_tensors="pt", **options))
    if group["kind"] == "image":
        pictures = [_picture(image) for image in columns["image"]]
        return {"pixel_values": part(pictures, return_tensors="pt")["pixel_values"]}
    return dict(part(**{ARGUMENTS[name]: column for name, column in columns.items()}))


def _picture(source: Any) -> Any:
    """Return a Pillow image in RGB."""
    from PIL import Image

    if not isinstance(source, str | Path):
        return source.convert("RGB")
    try:
        with Image.open(source) as image:
            wide, high = image.size
            if wide * high <= MAX_PIXELS:
                return image.convert("RGBA" if image.mode == "P" else "RGB").convert("RGB")
    except Exception as error:  # decoders raise many kinds for a damaged file
        told = " ".join(str(error).split())[:120]
        raise ValueError(f"{Path(source).name} is no image that can be read ({told}).") from None
    raise ValueError(f"{Path(source).name} has more than {MAX_PIXELS:,} pixels.")


def _part_class(kind: str) -> Any:
    if kind == "tokenizer":
        return AutoTokenizer
    if kind == "image":
        return AutoImageProcessor
    if kind == "plait_ensemble":
        return PlaitEnsembleProcessor
    if kind not in MEMBER_CLASSES:
        raise ValueError(f"A member reads with '{kind}', which is not known here.")
    return MEMBER_CLASSES[kind][2]


def _options(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    known = ("revision", "token", "cache_dir", "local_files_only", "force_download")
    return {name: kwargs[name] for name in known if kwargs.get(name) is not None}


def _load(kind: Any, place: str, inside: str, options: Mapping[str, Any]) -> Any:
    if kind is AutoTokenizer:  # its class is in its own files: the model's need not be asked
        options = dict(options) | {"config": PretrainedConfig()}
    if Path(place).is_dir():
        return kind.from_pretrained(str(Path(place) / inside), **options)
    return kind.from_pretrained(place, **({"subfolder": inside} if inside else {}), **options)


def _cached(place: str, name: str, inside: str, options: Mapping[str, Any]) -> str:
    from transformers.utils import cached_file

    if inside and not Path(place).is_dir():
        return str(cached_file(place, name, subfolder=inside, **options))
    return str(cached_file(str(Path(place) / inside) if inside else place, name, **options))


def _listed(value: Any) -> list[Any]:
    single = isinstance(value, str | Path) or not isinstance(value, Sequence)
    return [value] if single else list(value)
