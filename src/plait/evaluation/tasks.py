# SPDX-License-Identifier: Apache-2.0
"""Tasks: labelled items read from a data set's folder, checked before any model runs."""

from __future__ import annotations

import contextlib
import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plait.errors import BadInput, MissingExtra

if TYPE_CHECKING:
    from plait.recipes.project import TaskSpec

Label = int | str

MAX_FILE_BYTES = 1 << 30
MAX_ITEMS = 1_000_000
MAX_TEXT = 100_000
MAX_LABELS = 1_000
SUFFIXES = ("jsonl", "parquet", "csv")


Sample = str | Mapping[str, Any]
"""What a model reads of an item: its text; or, by modality, `text`, and `image` and `audio` as the
paths of files. A modality that an item lacks is not there."""


@dataclass(frozen=True, slots=True)
class Item:
    """One text (or image, or sound) with its true label; items of one group are not independent."""

    text: str
    label: Label
    group: str
    id: str
    image: Path | None = None
    audio: Path | None = None

    @property
    def sample(self) -> Sample:
        """What a model reads of it."""
        if self.image is None and self.audio is None:
            return self.text
        parts = {"text": self.text or None, "image": self.image, "audio": self.audio}
        return {name: value for name, value in parts.items() if value is not None}


@dataclass(frozen=True)
class Task:
    """The items of one split of one data set, and the metric that scores predictions on them.

    Items of classification are `Item`; other types have their own (see `plait.evaluation.types`),
    all with an `id` and a `group`.
    """

    name: str
    metric: str
    items: tuple[Any, ...]
    labels: tuple[Label, ...]
    type: str = "text-classification"
    seen: bool = True
    about: Mapping[str, Any] = field(default_factory=dict)
    """What the items share: a retrieval's corpus, the tags of tokens, options."""


def load_task(spec: TaskSpec, folder: Path, split: str) -> Task:
    """Read ``data/{split}.jsonl``, ``.parquet`` or ``.csv`` of a data set's folder.

    Raises:
        BadInput: naming the file, the row and the column, if the split is missing or empty, a
            column is missing, a text or label is not one, there is only one label, or it is too
            large.
    """
    from plait.evaluation.types import task_type

    return task_type(spec.type).load(spec, folder, split)


def read_split(
    spec: TaskSpec, folder: Path, split: str, columns: Sequence[str | None]
) -> Iterator[tuple[Mapping[str, Any], str, str]]:
    """Read one split's rows, each with its place for messages and an id.

    Raises:
        BadInput: naming the file, the row and the column; also for a split without rows.
    """
    wanted = [column for column in columns if column is not None]
    count = 0
    for file in split_files(folder, split, spec.dataset):
        where = f"{file.name} of data set {spec.dataset}"
        for number, row in enumerate(read_rows(file, where, wanted), start=1):
            if count >= MAX_ITEMS:
                raise BadInput(f"{where} has more than {MAX_ITEMS:,} items; use a smaller split.")
            yield row, f"row {number} of {where}", f"{split}:{count}"
            count += 1
    if count == 0:
        raise BadInput(
            f"Split '{split}' of data set {spec.dataset} is empty; it needs items of every label."
        )


def load_labelled(spec: TaskSpec, folder: Path, split: str) -> Task:
    """Read the items of a classification task; raises as `load_task`."""
    named = spec.columns
    columns = (named.text, named.label, named.group, named.image, named.audio)
    rows = read_split(spec, folder, split, columns)
    items = [_item(row, spec, place, identity, folder) for row, place, identity in rows]
    place = f"Split '{split}' of data set {spec.dataset}"
    if all(isinstance(i.label, str) and i.label.isdecimal() for i in items):
        items = [replace(i, label=int(i.label)) for i in items]
    kinds = {type(item.label) for item in items}
    if len(kinds) > 1:
        raise BadInput(
            f"{place}: column '{spec.columns.label}' mixes numbers and names; use one of the two."
        )
    labels = sorted({item.label for item in items}, key=lambda label: (str(type(label)), label))
    if len(labels) < 2:
        raise BadInput(
            f"{place}: every item has the label '{labels[0]}'; a task needs two labels or more."
        )
    if len(labels) > MAX_LABELS:
        raise BadInput(
            f"{place}: column '{spec.columns.label}' has more than {MAX_LABELS:,} labels; "
            "is it the right column?"
        )
    return Task(spec.name, spec.metric, tuple(items), tuple(labels), spec.type, spec.seen)


def split_files(folder: Path, split: str, dataset: str) -> list[Path]:
    """Return the files of one split of a data set's folder.

    Raises:
        BadInput: naming the files that there could be, if there is none.
    """
    data = folder / "data"
    for suffix in SUFFIXES:
        one = data / f"{split}.{suffix}"
        if one.is_file():
            return [one]
        # what `Dataset.push_to_hub` writes: train-00000-of-00002.parquet
        shards = sorted(data.glob(f"{split}-*-of-*.{suffix}"))
        if shards:
            return shards
    wanted = ", ".join(f"data/{split}.{suffix}" for suffix in SUFFIXES)
    raise BadInput(f"Data set {dataset} has no split '{split}'; it needs one of {wanted}.")


def _check_size(file: Path, where: str) -> None:
    size = file.stat().st_size
    if size > MAX_FILE_BYTES:
        raise BadInput(
            f"{where} has {size:,} bytes; {MAX_FILE_BYTES:,} is the most that a task may read."
        )


def read_rows(file: Path, where: str, columns: list[str]) -> Iterator[Mapping[str, Any]]:
    """Read a file's rows, which must have these columns.

    Raises:
        BadInput: naming `where`, the row and the column.
    """
    _check_size(file, where)
    read = {".jsonl": _jsonl, ".parquet": _parquet, ".csv": _csv}[file.suffix]
    try:
        yield from read(file, where, columns)
    except UnicodeDecodeError:
        raise BadInput(f"{where} is not UTF-8 text.") from None
    except OSError as error:
        raise BadInput(f"{where} cannot be read: {error.strerror or error}.") from None


def _jsonl(file: Path, where: str, columns: list[str]) -> Iterator[Mapping[str, Any]]:
    with file.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                raise BadInput(f"Line {number} of {where} is not JSON.") from None
            if not isinstance(row, dict):
                raise BadInput(f'Line {number} of {where} must be an object like {{"text": …}}.')
            _need(row, columns, f"Line {number} of {where}")
            yield row


def _csv(file: Path, where: str, columns: list[str]) -> Iterator[Mapping[str, Any]]:
    with file.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines)
        try:
            _need(reader.fieldnames or (), columns, where)
            yield from reader
        except csv.Error as error:
            raise BadInput(f"{where} is not valid CSV: {error}.") from None


def _parquet(file: Path, where: str, columns: list[str]) -> Iterator[Mapping[str, Any]]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtra("pyarrow", "train") from None
    try:
        with pyarrow.parquet.ParquetFile(file) as table:
            _need(table.schema_arrow.names, columns, where)
            # the header's claim is checked before anything is decoded
            if table.metadata.num_rows > MAX_ITEMS:
                raise BadInput(f"{where} has more than {MAX_ITEMS:,} items; use a smaller split.")
            for batch in table.iter_batches(batch_size=10_000, columns=columns):
                yield from batch.to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        told = " ".join(str(error).split())[:200]
        raise BadInput(f"{where} is not a readable Parquet file: {told}.") from None


def _need(present: object, columns: list[str], where: str) -> None:
    names = [str(name) for name in present]  # type: ignore[attr-defined]
    for column in columns:
        if column not in names:
            there = ", ".join(names[:20]) or "none"
            raise BadInput(
                f"{where} has no column '{column}' (it has: {there}). Name the right one under "
                "'columns' of the task in plait.yaml."
            )


def _item(row: Mapping[str, Any], spec: TaskSpec, where: str, identity: str, folder: Path) -> Item:
    image = _file(row, spec.columns.image, where, folder)
    audio = _file(row, spec.columns.audio, where, folder)
    content = _text(row, spec.columns.text, where, needed=image is None and audio is None)
    label = row[spec.columns.label]
    if isinstance(label, bool) or not isinstance(label, int | str) or label == "":
        raise BadInput(
            f"Column '{spec.columns.label}' in {where} must be a whole number or a name."
        )
    group = group_of(row, spec, where, identity)
    return Item(content, label, group, identity, image, audio)


def group_of(row: Mapping[str, Any], spec: TaskSpec, where: str, identity: str) -> str:
    """Return the group that a row names; without a group column it is its own."""
    if spec.columns.group is None:
        return identity
    value = row[spec.columns.group]
    if not isinstance(value, int | str) or value == "":
        raise BadInput(
            f"Column '{spec.columns.group}' in {where} must be a number or a name: the "
            "document that the text is from."
        )
    return str(value)


def text_in(row: Mapping[str, Any], column: str, where: str) -> str:
    """Return a text that is there.

    Raises:
        BadInput: if it is none, empty or too long.
    """
    return _text(row, column, where, needed=True)


def list_in(row: Mapping[str, Any], column: str, where: str, what: str) -> list[Any]:
    """Return a list that is not empty; in CSV it is JSON.

    Raises:
        BadInput: if it is none, empty or too long.
    """
    value = row[column]
    if isinstance(value, str) and value[:1] in "[{":
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            value = None
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_TEXT:
        raise BadInput(f"Column '{column}' in {where} must be a list of {what}, and not empty.")
    return value


def number_in(value: object, column: str, where: str) -> float:
    """Return a finite number, also from text, as CSV has it.

    Raises:
        BadInput: for anything else.
    """
    if isinstance(value, str):
        with contextlib.suppress(ValueError):  # refused below
            value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadInput(f"Column '{column}' in {where} must be a finite number.")
    return float(value)


def _text(row: Mapping[str, Any], column: str | None, where: str, *, needed: bool) -> str:
    content = row[column] if column is not None else None
    if not needed and (content is None or content == ""):
        return ""
    if not isinstance(content, str) or not content.strip():
        raise BadInput(f"Column '{column}' in {where} must be a text that is not empty.")
    if len(content) > MAX_TEXT:
        raise BadInput(f"Column '{column}' in {where} is longer than {MAX_TEXT:,} characters.")
    return content


def _file(row: Mapping[str, Any], column: str | None, where: str, folder: Path) -> Path | None:
    """Return the file that a row names, which must lie in the data set's folder."""
    value = row[column] if column is not None else None
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > 1_000 or "\0" in value:
        raise BadInput(f"Column '{column}' in {where} must be a file's path in the data set.")
    file = folder / value
    if not file.resolve().is_relative_to(folder.resolve()) or not file.is_file():
        raise BadInput(f"Column '{column}' in {where}: the data set has no file '{value[:100]}'.")
    return file
