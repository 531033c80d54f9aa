# SPDX-License-Identifier: Apache-2.0
"""Triples as tables: CSV and TSV, with a header that names columns, or three columns without.

A header names some of `COLUMNS`: ``object`` is an entity, ``value`` a literal; ``head``,
``relation`` and ``tail`` are other words for the first three. Without a header the columns are
subject, predicate and object, as PyKEEN and OpenKE have them.
"""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from plait.errors import BadInput
from plait.graphs import schema
from plait.graphs.exchange.formats import Imported, Progress
from plait.graphs.graph import Graph
from plait.recipes.graph import ENTITY
from plait.tables.reading import allow_long_fields

COLUMNS = (
    "subject", "predicate", "object", "value", "datatype", "language", "source", "licence",
    "confidence", "recorded", "valid_from", "valid_to", "rank", "evidence",
)  # fmt: skip
SYNONYMS = {"head": "subject", "relation": "predicate", "tail": "object", "h": "subject",
            "r": "predicate", "t": "object"}  # fmt: skip
_STEP = 50_000


def read(
    path: Path,
    into: Imported,
    *,
    format: str,
    progress: Progress,
    header: bool | None = None,
    literals: tuple[str, ...] = (),
) -> None:
    """Read triples.

    Args:
        header: whether the first line names columns; None finds out.
        literals: predicates whose third column is a literal, where ``graph.yaml`` gives them no
            datatype.

    Raises:
        BadInput: naming the line, and what is wrong in it.
    """
    with path.open(encoding="utf-8-sig", newline="", errors="strict") as lines:
        for number, row in _rows(lines, path, format, header):
            try:
                _add(row, into, literals)
            except BadInput as error:
                raise BadInput(f"{path}, line {number:,}: {error.message}") from None
            if number % _STEP == 0:
                progress(number, "reading triples")


def write(graph: Graph, out: BinaryIO, *, format: str, progress: Progress) -> None:
    """Write all statements, with a header."""
    text = io.TextIOWrapper(out, encoding="utf-8", newline="", write_through=False)
    writer = csv.writer(text, delimiter="\t" if format == "tsv" else ",", lineterminator="\n")
    writer.writerow(COLUMNS)
    done = 0
    for batch in graph.statements.to_batches(max_chunksize=_STEP):
        columns = [batch.column(name).to_pylist() for name in COLUMNS]
        columns[-1] = [" | ".join(one) for one in columns[-1]]
        writer.writerows(zip(*columns, strict=True))
        done += batch.num_rows
        progress(done, "writing triples")
    text.flush()
    text.detach()


def _rows(
    lines: Any, path: Path, format: str, header: bool | None
) -> Iterator[tuple[int, Mapping[str, str]]]:
    allow_long_fields()
    reader = csv.reader(lines, delimiter="\t" if format == "tsv" else ",", strict=True)
    try:
        first = next(reader, None)
        if first is None:
            return
        named = [SYNONYMS.get(name.strip().lower(), name.strip().lower()) for name in first]
        named_ones = {"subject", "predicate"} <= set(named)
        if header is None:
            header = named_ones
        if header and not named_ones:
            raise BadInput(
                f"{path}: the first line must name the columns subject and predicate; it names "
                f"{', '.join(first)[:200]}."
            )
        if header and (unknown := [name for name in named if name not in COLUMNS]):
            raise BadInput(
                f"{path}: no column is called '{unknown[0]}'; columns are {', '.join(COLUMNS)}."
            )
        if not header:
            named = ["subject", "predicate", "object"]
        rows = reader if header else itertools.chain([first], reader)
        for row in rows:
            if not row or (len(row) == 1 and not row[0].strip()):
                continue
            number = reader.line_num
            if len(row) != len(named):
                raise BadInput(
                    f"{path}, line {number:,}: it has {len(row)} fields where {len(named)} are "
                    f"expected ({', '.join(named)})."
                )
            yield number, dict(zip(named, row, strict=True))
    except csv.Error as error:
        raise BadInput(f"{path}, line {reader.line_num:,}: {error}.") from None
    except UnicodeDecodeError:
        raise BadInput(f"{path}, after line {reader.line_num:,}: it is not UTF-8.") from None


def _add(row: Mapping[str, str], into: Imported, literals: tuple[str, ...]) -> None:
    found = {key: value for key, value in row.items() if value != ""}
    for needed in ("subject", "predicate"):
        if needed not in found:
            raise BadInput(f"The {needed} is empty.")
    target, value = found.get("object"), found.get("value")
    if target is None and value is None:
        raise BadInput("It has neither an object nor a value.")
    known = into.builder.file.predicates.get(found["predicate"])
    told = found.get("datatype") or (known.datatype if known else None)
    literal = found["predicate"] in literals if told is None else told != ENTITY
    if value is None and literal:
        target, value = None, target
    if target is not None and value is not None:
        raise BadInput("It has both an object and a value.")
    confidence: float | None = None
    if "confidence" in found:
        try:
            confidence = float(found["confidence"])
        except ValueError:
            raise BadInput(f"The confidence '{found['confidence'][:40]}' is no number.") from None
    rank = found.get("rank", schema.NORMAL)
    into.builder.statement(
        found["subject"],
        found["predicate"],
        object=target,
        value=value,
        datatype=None if target is not None else told,
        source=found.get("source", into.source),
        rank=rank,
        evidence=found["evidence"].split(" | ") if "evidence" in found else (),
        confidence=confidence,
        **{
            name: found.get(name)
            for name in ("language", "licence", "recorded", "valid_from", "valid_to")
        },
    )
