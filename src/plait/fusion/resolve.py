# SPDX-License-Identifier: Apache-2.0
"""From a model reference in a recipe to a folder on this machine."""

from __future__ import annotations

import re
from pathlib import Path

from plait.errors import BadInput

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?(@[\w./-]{1,255})?")
SMALL_FILES = ["*.json", "*.txt", "*.model", "*.jinja", "*.md", "plait.yaml"]
_WANTED = ["*.safetensors", *SMALL_FILES]


def is_repository(reference: str) -> bool:
    """Tell whether a reference can be a repository's, and is no folder."""
    return (
        not Path(reference).expanduser().exists()
        and _REPOSITORY.fullmatch(reference) is not None
        and ".." not in reference
    )


def resolve_model(reference: str) -> Path:
    """Return the folder of a model: the folder itself, else a snapshot by the hub's client.

    A GGUF file stands for itself.

    Raises:
        BadInput: if there is no such folder and no such repository can be fetched.
    """
    folder = Path(reference).expanduser()
    if folder.is_dir() or (folder.suffix == ".gguf" and folder.is_file()):
        return folder
    if not is_repository(reference):
        raise BadInput(f"There is no model folder '{reference}'.")
    from huggingface_hub import snapshot_download

    name, _, revision = reference.partition("@")
    try:
        found = Path(snapshot_download(name, revision=revision or None, allow_patterns=_WANTED))
        if not any(found.glob("*.safetensors")):
            old = [*_WANTED, "pytorch_model*.bin"]
            found = Path(snapshot_download(name, revision=revision or None, allow_patterns=old))
        return found
    except Exception as error:  # the client's family of errors is wide: network, access, names
        reason = " ".join(str(error).split())[:300]
        raise BadInput(
            f"'{reference}' is neither a folder nor a repository that can be fetched: {reason}"
        ) from error
