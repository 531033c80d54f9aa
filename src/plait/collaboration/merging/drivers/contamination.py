# SPDX-License-Identifier: Apache-2.0
"""Rows of a pull request that stand in the repository's test split too, and near duplicates."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any

from plait.collaboration.merging.drivers.base import Work
from plait.errors import PlaitError
from plait.recipes.merging import TableSpec
from plait.recipes.project import FILE as PROJECT
from plait.recipes.project import ProjectSpec, parse_project
from plait.tables import Row, Table, exact_duplicates, format_of, near_duplicates, read_table

MAX_NEAR = 20_000
"""Texts on either side for which near duplicates are looked for; above, exact ones alone."""
MAX_TEST = 64 * 2**20
"""Bytes of test files that are looked through."""
LONG = 16
"""Mean characters from which on a column holds texts (an unspaced script's count threefold)."""
TEST_NAMES = ("test", "gate")
_WORDS = re.compile(r"[^a-z0-9]+")
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")


@dataclass(frozen=True)
class Match:
    """A row of a pull request that says what another row says."""

    row: int
    """Its number among the pull request's new rows, from 1."""
    text: str
    other: str
    path: str
    """The file that the other row stands in."""
    likeness: float

    def to_json(self) -> dict[str, Any]:
        """Return plain values, long texts cut."""
        return {
            "row": self.row,
            "text": _cut(self.text),
            "other": _cut(self.other),
            "path": self.path,
            "likeness": round(self.likeness, 3),
        }


def is_test(work: Work, path: str) -> bool:
    """Tell whether a table is one that judges models, by `plait.yaml` or by its name."""
    if format_of(path) is None:
        return False
    if work.spec.tests:
        return any(fnmatchcase(path, glob) for glob in work.spec.tests)
    parts = PurePosixPath(path.lower())
    words = {word for part in (*parts.parts[:-1], parts.stem) for word in _WORDS.split(part)}
    return bool(words & set(_test_names(work)))


def _test_names(work: Work) -> tuple[str, ...]:
    project = project_of(work)
    named = [project.gate.split] if project.tasks else []
    own = work.sides.repo.full_name.lower()
    if any(task.dataset.lower() == own for task in project.tasks):
        named += [split for split in (project.credit.split,) if split]
    return (*TEST_NAMES, *(name.lower() for name in named))


def project_of(work: Work) -> ProjectSpec:
    """Return main's `plait.yaml`; what cannot be read says nothing."""
    if PROJECT not in work.sides.at_main:
        return ProjectSpec()
    try:
        return parse_project(work.sides.read(work.sides.main, PROJECT))
    except PlaitError:
        return ProjectSpec()


def test_size(work: Work) -> int:
    """Return the bytes of the test files."""
    return sum(entry.size for _, _, entry in _test_files(work))


def _test_files(work: Work) -> Iterator[tuple[str, str, Any]]:
    """Yield the commit, path and entry of each test file as the merge would leave it."""
    sides = work.sides
    for path in sorted({*sides.at_main, *sides.at_head}):
        if not is_test(work, path):
            continue
        fork, main, head = work.entries(path)
        theirs = head is not None and head.oid != (fork.oid if fork else None)
        if theirs and head is not None:
            yield sides.head, path, head
        elif main is not None:
            yield sides.main, path, main


def test_texts(work: Work, like: Table, spec: TableSpec) -> list[tuple[str, str]]:
    """Return the texts of the test files' rows, each with its path."""
    found: list[tuple[str, str]] = []
    size = 0
    for oid, path, entry in _test_files(work):
        format = format_of(path)
        size += entry.size
        if format is None or size > MAX_TEST:
            continue
        work.check()
        try:
            table = read_table(work.sides.content(oid, path), format, path)
        except PlaitError:
            continue
        columns = [c for c in text_columns(like, spec) if c in table.columns]
        found += [(text_of(row, columns), path) for row in table.rows if columns]
    return [(text, path) for text, path in found if text]


def matches(
    rows: Sequence[str], others: Sequence[tuple[str, str]], likeness: float
) -> tuple[list[Match], bool]:
    """Find rows that say what others say, each once; and whether near ones were looked for.

    Args:
        rows: texts of the pull request's new rows.
        others: texts to compare with, and where they stand.
        likeness: the share of runs of three words from which on two texts are the same.
    """
    texts = [text for text, _ in others]
    asked = [(place, text) for place, text in enumerate(rows) if text]
    lines = [text for _, text in asked]
    found = {pair.first: pair for pair in exact_duplicates(lines, texts)}
    near = max(len(lines), len(texts)) <= MAX_NEAR
    if near and lines and texts:
        for pair in near_duplicates(lines, texts, threshold=likeness):
            best = found.get(pair.first)
            if best is None or pair.likeness > best.likeness:
                found[pair.first] = pair
    return [
        Match(
            asked[p.first][0] + 1, lines[p.first], texts[p.second], others[p.second][1], p.likeness
        )
        for p in sorted(found.values())
    ], near


def text_columns(table: Table, spec: TableSpec) -> list[str]:
    """Return the columns by which rows are compared: those named, else those of longer texts."""
    if spec.texts:
        return [column for column in spec.texts if column in table.columns]
    long = []
    for column in table.columns:
        values = [row.values.get(column) for row in table.rows[:1000]]
        texts = [v for v in values if isinstance(v, str)]
        size = sum(len(t) + 2 * len(_UNSPACED.findall(t)) for t in texts)
        if texts and 2 * len(texts) >= len(values) and size >= LONG * len(texts):
            long.append(column)
    return long


def text_of(row: Row, columns: Sequence[str]) -> str:
    """Return what a row says in some columns."""
    parts = (row.values.get(column) for column in columns)
    return "\n".join(part for part in parts if isinstance(part, str) and part.strip())


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 160 else line[:159] + "…"
