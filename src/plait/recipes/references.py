# SPDX-License-Identifier: Apache-2.0
"""How a recipe names a model: a folder or a repository, and perhaps an adapter put on it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from plait.errors import BadInput


def reference(value: object, where: str) -> str:
    """Return a model reference as a text; mergekit's `{model: {path, revision}, lora: …}` too.

    Raises:
        BadInput: if it names nothing.
    """
    if isinstance(value, Mapping):
        model, adapter = value.get("model", value), value.get("lora")
        found = _path(model, where)
        value = f"{found}+{_path(adapter, f'{where}.lora')}" if adapter else found
    if not isinstance(value, str) or not value.strip() or "\0" in value or len(value) > 4096:
        raise BadInput(f"'{where}' must name a model: a folder or a repository such as 'org/name'.")
    return value


def split_adapter(text: str) -> tuple[str, str | None]:
    """Return (model, adapter) of "model+adapter"; a folder whose name has a plus is one model."""
    model, plus, adapter = text.rpartition("+")
    if not plus or not model or not adapter or Path(text).exists():
        return text, None
    return model, adapter


def _path(value: object, where: str) -> str:
    if isinstance(value, Mapping):
        path, revision = value.get("path"), value.get("revision")
        if isinstance(path, str) and isinstance(revision, str | None):
            return f"{path}@{revision}" if revision else path
    if not isinstance(value, str):
        raise BadInput(f"'{where}' must name a model: a folder or a repository such as 'org/name'.")
    return value
