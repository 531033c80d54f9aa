# SPDX-License-Identifier: Apache-2.0
"""What a file's page shows of its content, as its kind and size allow."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from markupsafe import Markup

from plait.errors import BadInput, EntryNotFound, MissingExtra
from plait.hub import TreeEntry
from plait.web import markdown
from plait.web.contents import FileBytes, open_bytes
from plait.web.figures import quantity, size
from plait.web.here import Here
from plait.web.parquet import read_parquet
from plait.web.tables import is_table, read_table
from plait.web.tensors import MOST_ROWS, read_header

MOST_TEXT = 512 * 1024
MOST_LINES = 5000
LARGEST_IMAGE = 32 * 2**20
IMAGES = frozenset({".png", ".jpg", ".jpeg", ".gif", ".webp", ".avif", ".svg"})
PICKLES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib"})


def preview(at: Here, revision: str, oid: str, entry: TreeEntry, *, plain: bool) -> dict[str, Any]:
    """Return what ``blob.html`` shows of a file: its ``kind``, and what that kind needs."""
    t = at.visit.t
    suffix = PurePosixPath(entry.path).suffix.lower()
    try:
        found = open_bytes(at, oid, entry.path)
        if suffix in PICKLES:
            return {"problem": t("files.pickle")}
        if suffix == ".safetensors":
            return {"kind": "safetensors", "tensors": _tensors(found)}
        if suffix == ".parquet":
            return {"kind": "table", "table": read_parquet(found.at, found.size, entry.etag)}
        if suffix in IMAGES and not plain:
            if entry.size > LARGEST_IMAGE:
                return {"problem": t("files.too_large")}
            return {"kind": "image"}
        return _text_preview(at, revision, entry, found, plain=plain)
    except MissingExtra:
        return {"problem": t("files.no_parquet")}
    except (BadInput, EntryNotFound) as error:
        return {"problem": error.message, "problem_lang": "en"}


def _text_preview(
    at: Here, revision: str, entry: TreeEntry, found: FileBytes, *, plain: bool
) -> dict[str, Any]:
    t = at.visit.t
    whole = entry.size <= MOST_TEXT
    if not whole and entry.lfs is None and not is_table(entry.path):
        return {"problem": t("files.too_large")}
    text = decode(found.at(0, MOST_TEXT), whole=whole)
    if text is None:
        return {"problem": t("files.binary")}
    if is_table(entry.path) and not plain:
        try:
            return {
                "kind": "table",
                "table": read_table(entry.path, text, whole=whole),
                "source": True,
            }
        except BadInput:
            # Not the table that its name promises: then it is text.
            plain = True
    if not whole:
        return {"problem": t("files.too_large")}
    suffix = PurePosixPath(entry.path).suffix.lower()
    if suffix == ".md" and not plain:
        links = markdown.repository_links(
            at.view.url, revision, str(PurePosixPath(entry.path).parent)
        )
        html = markdown.render(markdown.without_head(text), links)
        rendered = Markup(html)  # noqa: S704 - sanitised
        return {"kind": "markdown", "rendered": rendered, "source": True}
    lines = text.splitlines()
    return {"kind": "text", "lines": lines[:MOST_LINES], "cut": len(lines) > MOST_LINES}


def decode(data: bytes, *, whole: bool = True) -> str | None:
    """Return text, None if these bytes are not UTF-8; a beginning may end inside a letter."""
    if b"\0" in data:
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if whole or error.start < len(data) - 4:
            return None
        return data[: error.start].decode("utf-8-sig")


def _tensors(found: FileBytes) -> dict[str, Any]:
    header = read_header(found, found.size)
    return {
        "parameters": quantity(sum(row.count for row in header.tensors)),
        "count": len(header.tensors),
        "types": ", ".join(sorted({row.dtype for row in header.tensors})),
        "metadata": header.metadata,
        "rows": [
            {
                "name": row.name,
                "dtype": row.dtype,
                "shape": " × ".join(map(str, row.shape)),
                "bytes": row.bytes,
                "size": size(row.bytes),
            }
            for row in header.tensors[:MOST_ROWS]
        ],
        "more": len(header.tensors) > MOST_ROWS,
    }
