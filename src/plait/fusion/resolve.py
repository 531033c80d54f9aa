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
        raise BadInput(why_not_fetched(reference, error)) from error


def why_not_fetched(reference: str, error: Exception, kind: str = "model") -> str:
    """Return what to do about a model or data set that is no folder and was not fetched.

    Args:
        reference: the repository, perhaps with @revision.
        error: what the hub's client raised.
        kind: `model` or `data set`.
    """
    from huggingface_hub import constants
    from huggingface_hub import errors as hub

    name, _, revision = reference.partition("@")
    hub_name = constants.ENDPOINT
    path = f"There is no folder '{reference}' here"
    if isinstance(error, hub.GatedRepoError):
        return f"{path}, and the {kind} '{name}' of {hub_name} is gated: ask for access there."
    if isinstance(error, hub.RepositoryNotFoundError):
        return (
            f"{path}, and {hub_name} has no {kind} '{name}' that you may read. Correct the name, "
            "or give HF_TOKEN if it is private."
        )
    if isinstance(error, hub.RevisionNotFoundError):
        return f"The {kind} '{name}' of {hub_name} has no revision '{revision}'."
    if isinstance(error, hub.HFValidationError):
        return f"{path}, and '{name}' is no repository's name either, such as 'org/name'."
    if _unreachable(error):
        return (
            f"{path}, and {hub_name} could not be asked for a {kind} '{name}': there is no "
            "connection to it. Correct the path; or set HF_ENDPOINT to a hub that can be reached."
        )
    reason = " ".join(str(error).split())[:300]
    return f"{path}, and fetching the {kind} '{name}' from {hub_name} failed: {reason}"


def _unreachable(error: BaseException | None) -> bool:
    """Tell whether an error, or what it came of, is that of a network that is not there."""
    while error is not None:
        words = {kind.__name__ for kind in type(error).__mro__}
        if words & {"ConnectError", "ConnectionError", "ConnectTimeout", "OfflineModeIsEnabled"}:
            return True
        error = error.__cause__ or error.__context__
    return False
