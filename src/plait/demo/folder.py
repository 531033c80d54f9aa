# SPDX-License-Identifier: Apache-2.0
"""The demo's folder: made, marked, and only cleared when an earlier demo made it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from plait.errors import BadInput

MARKER = "plait-demo.json"
"""The file that tells a folder made by the demo: only such a folder is ever cleared."""


def prepare_folder(folder: Path) -> None:
    """Make an empty folder for the demo; one that an earlier demo made is cleared first.

    Raises:
        BadInput: the folder holds something that the demo did not make.
    """
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"{folder} is a file. Choose another folder with --dir.")
    if folder.is_dir() and any(folder.iterdir()):
        if not (folder / MARKER).is_file():
            raise BadInput(
                f"{folder} is not empty and was not made by the demo, so it stays untouched. "
                "Choose another folder with --dir."
            )
        marker = folder / MARKER
        _refuse_running(marker)
        for entry in folder.iterdir():
            if entry != marker:  # the marker goes last: a cleared half is still the demo's
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).write_text(json.dumps({"made_by": "plait demo", "pid": os.getpid()}))


def _refuse_running(marker: Path) -> None:
    try:
        pid = int(json.loads(marker.read_text())["pid"])
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError, KeyError, TypeError):
        return
    if pid != os.getpid() and b"plait" in command and b"demo" in command:
        raise BadInput(
            f"Another plait demo (process {pid}) is using {marker.parent}. Stop it with Ctrl-C, "
            "or choose another folder with --dir."
        )


def keep_clients_in(folder: Path) -> None:
    """Let the stock clients of this process keep what they know of the hub in the demo's folder."""
    os.environ.update(
        HF_HOME=str(folder / "client"),
        HF_XET_CACHE=str(folder / "client" / "xet"),
        HF_HUB_DISABLE_TELEMETRY="1",
        HF_HUB_DISABLE_UPDATE_CHECK="1",
        HF_HUB_DISABLE_PROGRESS_BARS="1",
        TOKENIZERS_PARALLELISM="false",
        HF_HUB_OFFLINE="0",  # whoever works offline can still reach the hub on this machine
    )
