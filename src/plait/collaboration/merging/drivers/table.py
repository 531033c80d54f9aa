# SPDX-License-Identifier: Apache-2.0
"""The driver of tables: three-way by key or by row; what repeats is found, test rows refused."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from plait.collaboration.merging.drivers import contamination
from plait.collaboration.merging.drivers.base import (
    LIMIT,
    SHOWN,
    FileConflict,
    Outcome,
    Place,
    Work,
    one_sided,
    same,
    settle_whole,
)
from plait.collaboration.merging.drivers.text import merge_text
from plait.errors import BadInput, Conflict, PlaitError, TooLarge
from plait.hub.git.operations import AddBytes, Operation
from plait.tables import (
    RowConflict,
    Settlement,
    Table,
    TableMerge,
    check_memory,
    format_of,
    merge_tables,
    read_table,
    shape_of,
    write_table,
)
from plait.tables.reading import MAX_BYTES, Format

NAMED = 20
"""Rows that a refusal or a report names."""


class TableDriver:
    """Merges CSV, TSV, JSON Lines and Parquet files row by row."""

    name = "table"
    whole = True

    def claims(self, work: Work, path: str) -> bool:
        """Take files by their suffix."""
        return format_of(path) is not None

    def large(self, work: Work, paths: Sequence[str]) -> bool:
        """Tell whether the rows to read are many, of a binary format, or compared with hidden ones.

        Parquet that strangers wrote is unpacked in workers alone, never in the server.
        """
        if not paths:
            return False
        sizes = [e.size for path in paths for e in work.entries(path) if e is not None]
        tests = contamination.test_size(work)
        return (
            sum(sizes) + tests > LIMIT
            or any(format_of(path) == "parquet" for path in paths)
            or bool(_hidden(work))
        )

    def merge(self, work: Work, paths: Sequence[str]) -> Outcome:
        """Merge each table.

        Raises:
            Conflict: rows that the pull request adds stand in the test split.
        """
        found = Outcome()
        for path in paths:
            work.check()
            found += self._merge(work, path)
        return found

    def _merge(self, work: Work, path: str) -> Outcome:
        fork, main, head = work.entries(path)
        if same(main, head) or same(fork, head):
            return Outcome()
        if head is None:
            alone = one_sided(work, path)
            if alone is not None:
                # What git merged as a whole lacks the file already.
                return Outcome() if work.clean else Outcome(alone)
        if main is None and fork is not None and not work.clean:
            return settle_whole(
                work, path, self.name, "main removed it, the pull request changed it", text=False
            )
        if head is None or (main is None and fork is not None):
            reason = "the pull request removed it, main changed it"
            return (
                Outcome() if work.clean else settle_whole(work, path, self.name, reason, text=False)
            )
        decided = work.resolution(path)
        if decided.content is not None:
            return Outcome((_written(work, path, decided.content.encode()),))
        alone = one_sided(work, path)
        try:
            base, ours, theirs = _read(work, path)
            if theirs is None:
                return Outcome(alone or ())
            spec = work.spec.table(path)
            settlement = Settlement(
                dict(decided.places), dict(_sides(decided.places)), decided.rest
            )
            merge = merge_tables(base, ours or base or _none(theirs), theirs, spec.key, settlement)
        except PlaitError as error:
            return self._as_text(work, path, alone, error)
        if merge.table is None:
            return Outcome(conflicts=(_conflict(path, merge),))
        note = self._look(work, path, merge, spec) if work.look else {}
        if alone is not None and not merge.repeated:
            return Outcome(alone, notes=(note,))
        return Outcome((_written(work, path, write_table(merge.table)),), notes=(note,))

    def _as_text(
        self,
        work: Work,
        path: str,
        alone: tuple[Operation, ...] | None,
        error: PlaitError,
    ) -> Outcome:
        """Merge what cannot be merged row by row: one side's file, else by lines, else a side."""
        note = {"path": path, "driver": self.name, "unread": error.message}
        if alone is not None:
            return Outcome(alone, notes=(note,))
        decided = work.resolution(path)
        small = all(e is None or (e.lfs is None and e.size <= LIMIT) for e in work.entries(path))
        if small and format_of(path) != "parquet":
            with contextlib.suppress(UnicodeDecodeError):
                texts = [(data or b"").decode("utf-8") for data in work.bytes(path)]
                merged, places = merge_text(texts[0], texts[1], texts[2], decided)
                if merged is not None:
                    return Outcome((AddBytes(path, merged.encode()),), notes=(note,))
                return Outcome(
                    conflicts=(
                        FileConflict(
                            path, self.name, error.message, places[:SHOWN], len(places), text=True
                        ),
                    )
                )
        return settle_whole(work, path, self.name, error.message, text=False)

    def _look(self, work: Work, path: str, merge: TableMerge, spec: Any) -> Mapping[str, Any]:
        """Look through the new rows, and say what the merge did.

        Raises:
            Conflict: some stand in the test split.
        """
        assert merge.table is not None
        columns = contamination.text_columns(merge.table, spec)
        rows = [contamination.text_of(row, columns) for row in merge.fresh]
        tested = not contamination.is_test(work, path)
        if tested and rows and columns:
            others = contamination.test_texts(work, merge.table, spec)
            found, _ = contamination.matches(rows, others, spec.likeness)
            if found and work.spec.contamination == "refuse":
                raise Conflict(_refusal(path, found))
            _refuse_hidden(work, path, rows, spec)
        else:
            found = []
        new = {row.identity for row in merge.fresh}
        before = [
            (contamination.text_of(row, columns), path)
            for row in merge.table.rows
            if row.identity not in new
        ]
        near, looked = contamination.matches(rows, [o for o in before if o[0]], spec.likeness)
        return {
            "path": path,
            "driver": self.name,
            "key": list(merge.key) if merge.key else None,
            "rows": {
                "added": merge.added,
                "removed": merge.removed,
                "changed": merge.changed,
                "repeated": merge.repeated,
                "total": len(merge.table.rows),
            },
            "columns": {
                "added": list(merge.columns_added),
                "removed": list(merge.columns_removed),
                "retyped": {c: list(t) for c, t in merge.retyped.items()},
                "widened": {c: list(t) for c, t in merge.widened.items()},
            },
            "texts": columns,
            "near": {
                "count": len(near),
                "looked": looked,
                "likeness": spec.likeness,
                "rows": [match.to_json() for match in near[:NAMED]],
            },
            "tests": {
                "count": len(found),
                "rows": [match.to_json() for match in found[:NAMED]],
            },
        }


def _read(work: Work, path: str) -> tuple[Table | None, Table | None, Table | None]:
    """Read the three versions, within bounded memory."""
    format = format_of(path)
    assert format is not None
    sides = work.sides
    places = list(zip(work.entries(path), (sides.fork, sides.main, sides.head), strict=True))
    large = next((e for e, _ in places if e is not None and e.size > MAX_BYTES), None)
    if large is not None:
        raise TooLarge(
            f"'{path}' has {large.size / 2**20:,.0f} MiB; tables of up to "
            f"{MAX_BYTES / 2**20:,.0f} MiB are merged row by row. Split it into several files."
        )
    shapes = []
    for entry, oid in places:
        if entry is not None:
            with work.open(oid, path) as file:
                shapes.append(shape_of(file, entry.size, format, path))
    check_memory(shapes, f"'{path}'")
    base, ours, theirs = (
        None if entry is None else _table(work, oid, path, format) for entry, oid in places
    )
    return base, ours, theirs


def _table(work: Work, oid: str, path: str, format: Format) -> Table:
    work.check()
    return read_table(work.sides.content(oid, path), format, f"'{path}'")


def _none(like: Table) -> Table:
    """Return a table of no rows, in the place of a file that main does not have."""
    schema = None
    if like.schema is not None:
        import pyarrow

        schema = pyarrow.schema([])
    return Table(like.format, (), {}, (), schema)


def _sides(places: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return what was decided of columns' types."""
    return [
        (name.removeprefix("type:"), side)
        for name, side in places.items()
        if name.startswith("type:") and side in ("main", "pull")
    ]


def _written(work: Work, path: str, data: bytes) -> Operation:
    """Write a merged table as its versions were: in git, or as a large file."""
    entries = [entry for entry in work.entries(path) if entry is not None]
    if any(entry.lfs is not None for entry in entries) or len(data) > LIMIT:
        if work.store is None:
            raise BadInput(f"'{path}' is a large file; it is merged by a job.")
        return work.store(path, data)
    return AddBytes(path, data)


def _conflict(path: str, merge: TableMerge) -> FileConflict:
    types = [
        Place(f"type:{c.column}", f"type of column '{c.column}'", c.base, c.ours, c.theirs, False)
        for c in merge.type_conflicts
    ]
    cells = [_place(c) for c in merge.conflicts[: SHOWN - len(types)]]
    count = len(types) + len(merge.conflicts)
    key = f"rows are matched by {', '.join(merge.key)}" if merge.key else "whole rows"
    return FileConflict(path, "table", key, (*types, *cells), count)


def _place(conflict: RowConflict) -> Place:
    key = ", ".join(str(part)[:80] for part in conflict.key)
    if conflict.column is None:
        sides = (conflict.base, conflict.ours, conflict.theirs)
        base, ours, theirs = (None if s is None else _json(dict(s)) for s in sides)
        return Place(conflict.id, f"row {key}", base, ours, theirs, editable=False)
    where = f"row {key}, column '{conflict.column}'"
    base, ours, theirs = (_json(v) for v in (conflict.base, conflict.ours, conflict.theirs))
    return Place(conflict.id, where, base, ours, theirs)


def _json(value: Any) -> Any:
    """Return a value as JSON can hold it."""
    if isinstance(value, dict):
        return {str(k): _json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_json(v) for v in value]
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def _refusal(path: str, found: Sequence[contamination.Match]) -> str:
    where: dict[str, list[contamination.Match]] = {}
    for match in found:
        where.setdefault(match.path, []).append(match)
    parts = []
    for test, rows in sorted(where.items()):
        words = sum(row.likeness == 1 for row in rows)
        listed = ", ".join(str(row.row) for row in rows[:NAMED])
        more = "" if len(rows) <= NAMED else f" and {len(rows) - NAMED:,} more"
        parts.append(
            f"{len(rows):,} row{'s' if len(rows) != 1 else ''} ({words:,} word for word) also "
            f"stand in '{test}': number {listed}{more} of those it adds"
        )
    return (
        f"'{path}' would bring test items into the data that models are trained on: "
        f"{'; '.join(parts)}. Take them out of the pull request, then merge again. (A plait.yaml "
        "with 'merge: {contamination: show}' at main shows such rows and lets them in.)"
    )


def _hidden(work: Work) -> tuple[str, ...]:
    repo = work.sides.repo
    return work.sides.hub.hidden.splits(repo) if repo.type == "dataset" else ()


def _refuse_hidden(work: Work, path: str, rows: Sequence[str], spec: Any) -> None:
    """Refuse rows of a hidden split, without telling which: that would tell of what is hidden."""
    import tempfile
    from pathlib import Path

    hub, repo = work.sides.hub, work.sides.repo
    for split in _hidden(work):
        with tempfile.TemporaryDirectory(dir=hub.settings.work_dir) as folder:
            names = hub.hidden.materialize(repo, split, Path(folder))
            texts: list[tuple[str, str]] = []
            for name, _ in names:
                format = format_of(name)
                if format is None:
                    continue
                table = read_table((Path(folder) / name).read_bytes(), format, name)
                columns = contamination.text_columns(table, spec)
                texts += [(contamination.text_of(row, columns), split) for row in table.rows]
        texts = [text for text in texts if text[0]]
        found, _ = contamination.matches(rows, texts, spec.likeness)
        others = {match.other for match in found}
        if len(others) > 0.01 * len(texts) and work.spec.contamination == "refuse":
            raise Conflict(
                f"'{path}' would bring items of the hidden split '{split}' into the data that "
                "models are trained on: more than one in a hundred of them. Which ones is not "
                "told. Take rows of other sources of the same data out of the pull request."
            )
