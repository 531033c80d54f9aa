# SPDX-License-Identifier: Apache-2.0
"""What kind of data a data set holds, told from its files and card as the Hub tells it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from plait.cards import card_tags
from plait.hub.repositories.libraries import arxiv_tags

_FORMATS: Mapping[str, str] = {
    "csv": "csv", "tsv": "csv", "json": "json", "jsonl": "json", "ndjson": "json",
    "parquet": "parquet", "arrow": "arrow", "txt": "text", "tar": "webdataset",
    "jpg": "imagefolder", "jpeg": "imagefolder", "png": "imagefolder", "webp": "imagefolder",
    "gif": "imagefolder", "tiff": "imagefolder", "wav": "audiofolder", "mp3": "audiofolder",
    "flac": "audiofolder", "ogg": "audiofolder", "mp4": "videofolder", "mkv": "videofolder",
}  # fmt: skip
_MODALITIES: Mapping[str, str] = {
    "imagefolder": "image", "audiofolder": "audio", "videofolder": "video", "text": "text",
}  # fmt: skip
_SIZES: tuple[tuple[int, str], ...] = (
    (10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"),
    (10**7, "1M<n<10M"), (10**8, "10M<n<100M"), (10**9, "100M<n<1B"), (10**10, "1B<n<10B"),
    (10**11, "10B<n<100B"), (10**12, "100B<n<1T"),
)  # fmt: skip
_PREFIXED = (
    "task_categories", "task_ids", "annotations_creators", "language_creators", "multilinguality",
    "source_datasets", "language", "size_categories", "benchmark",
)  # fmt: skip
_COMPRESSION = (".gz", ".zst", ".bz2", ".xz", ".zip")
_NOT_DATA = frozenset({"dataset_infos.json", "readme.txt", "license.txt", "requirements.txt"})
_CITATION = re.compile(r"^@\w+\s*\{.{0,4000}?^\}", re.MULTILINE | re.DOTALL)
_MARKUP = re.compile(r"<!--.*?-->|```.*?```|<[^>]{1,500}>|[#*_`]+", re.DOTALL)


@dataclass(frozen=True)
class DatasetGuess:
    """What the files and the card say of a data set."""

    tags: list[str] = field(default_factory=list)
    description: str = ""
    citation: str | None = None
    main_size: int | None = None
    """Bytes of the data once loaded, where the card tells."""


def guess_dataset(names: Collection[str], card: Mapping[str, Any], text: str) -> DatasetGuess:
    """Tell a data set's tags and what it says of itself.

    Args:
        names: paths of the files.
        card: README.md's head.
        text: README.md's text.
    """
    found = _card_tags(card)
    rows, features, main_size = _info(card)
    if rows is not None and not any(tag.startswith("size_categories:") for tag in found):
        found.append(f"size_categories:{size_category(rows)}")
    kinds = _formats(names)
    if kinds:
        kind = kinds.most_common(1)[0][0]
        found.append(f"format:{kind}")
        found += [f"modality:{modality}" for modality in _modalities(kinds, features)]
        found.append("library:datasets")
        if kind in ("csv", "json", "parquet", "arrow", "text"):
            found.append("library:pandas")
        if kind in ("csv", "json", "parquet"):
            found.append("library:polars")
    found += arxiv_tags(text)
    citation = _CITATION.search(text)
    return DatasetGuess(
        list(dict.fromkeys(found)),
        " ".join(_MARKUP.sub(" ", text[:5000]).split())[:500],
        citation[0][:2000] if citation else None,
        main_size,
    )


def _card_tags(card: Mapping[str, Any]) -> list[str]:
    """List a card's tags; a data set's languages and the like are told with their kind."""
    found = card_tags({key: value for key, value in card.items() if key not in _PREFIXED})
    for key in _PREFIXED:
        value = card.get(key)
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, str) and item.strip():
                found.append(f"{key}:{item.strip()}")
    return found


def size_category(rows: int) -> str:
    """Return the Hub's word for a number of rows, as ``1K<n<10K``."""
    return next((name for limit, name in _SIZES if rows < limit), "n>1T")


def _formats(names: Collection[str]) -> Counter[str]:
    found: Counter[str] = Counter()
    for path in names:
        name = path.rsplit("/", 1)[-1].lower()
        if name.startswith(".") or name in _NOT_DATA:
            continue
        for ending in _COMPRESSION:
            name = name.removesuffix(ending)
        kind = _FORMATS.get(name.rsplit(".", 1)[-1]) if "." in name else None
        if kind is not None:
            found[kind] += 1
    return found


def _modalities(kinds: Counter[str], features: set[str]) -> list[str]:
    found = {_MODALITIES[kind] for kind in kinds if kind in _MODALITIES}
    found |= {kind for kind in ("image", "audio", "video") if kind in features}
    if "string" in features or "large_string" in features:
        found.add("text")
    if features & {"int8", "int16", "int32", "int64", "float16", "float32", "float64"}:
        found.add("tabular")
    if not found and set(kinds) & {"csv", "json", "parquet"}:
        found.add("tabular" if set(kinds) == {"csv"} else "text")
    return sorted(found)


def _info(card: Mapping[str, Any]) -> tuple[int | None, set[str], int | None]:
    """Read the rows, the kinds of columns and the bytes of the card's ``dataset_info``."""
    given = card.get("dataset_info")
    infos = [i for i in (given if isinstance(given, list) else [given]) if isinstance(i, dict)]
    rows = size = 0
    counted = False
    kinds: set[str] = set()
    for info in infos[:200]:
        splits = info.get("splits")
        for split in splits[:200] if isinstance(splits, list) else []:
            number = split.get("num_examples") if isinstance(split, dict) else None
            if type(number) is int and 0 <= number < 2**53:
                rows, counted = rows + number, True
        if type(info.get("dataset_size")) is int and 0 <= info["dataset_size"] < 2**53:
            size += info["dataset_size"]
        features = info.get("features")
        for feature in features[:1000] if isinstance(features, list) else []:
            if isinstance(feature, dict) and isinstance(feature.get("dtype"), str):
                kinds.add(feature["dtype"])
    return (rows if counted else None), kinds, (size or None)
