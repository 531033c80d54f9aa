# SPDX-License-Identifier: Apache-2.0
"""New folders appear when they are whole, whatever happens while they are made."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from plait.errors import Conflict, StorageFull
from plait.fusion.places import hash_folder, is_full_disk, new_folder, scratch_folder, write_report

WORKS = """
import sys, time
from pathlib import Path
from plait.fusion.places import new_folder, scratch_folder
with new_folder(Path(sys.argv[1])) as place, scratch_folder(Path(sys.argv[1])) as scratch:
    (place / "half").write_text("written")
    (scratch / "work").write_text("done")
    print("ready", flush=True)
    time.sleep(60)
"""


def made(out: Path, content: str, *, overwrite: bool = False) -> None:
    with new_folder(out, overwrite=overwrite) as place:
        (place / "file").write_text(content)
        write_report(place, {"schema": 1})


def test_what_a_killed_run_left_the_next_removes(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", WORKS, str(tmp_path / "out")], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    living = set(tmp_path.iterdir())
    assert len(living) == 2
    with scratch_folder(tmp_path / "out") as mine:
        assert set(tmp_path.iterdir()) == living | {mine}  # who lives is left alone
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert not (tmp_path / "out").exists()
    made(tmp_path / "out", "whole")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out" / "file").read_text() == "whole"


def test_folders_of_others_are_never_removed(tmp_path: Path) -> None:
    for name in (".out-backup", ".out", ".outer.plait-1", "out.plait-1"):
        (tmp_path / name).mkdir()
    (tmp_path / ".out.plait-notes").write_text("mine")
    made(tmp_path / "out", "whole")
    assert len(list(tmp_path.iterdir())) == 6


def test_an_earlier_result_is_replaced_in_one_step(tmp_path: Path) -> None:
    made(tmp_path / "out", "first")
    with pytest.raises(Conflict, match="exists already"):
        made(tmp_path / "out", "second")
    made(tmp_path / "out", "second", overwrite=True)
    assert (tmp_path / "out" / "file").read_text() == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert list(hash_folder(tmp_path / "out")) == ["file"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_full_disk_is_said_and_leaves_things_as_they_were(
    tmp_path: Path, overwrite: bool
) -> None:
    if overwrite:
        made(tmp_path / "out", "first")
    with (
        pytest.raises(StorageFull, match=r"no room for .*out\. Nothing of it was kept"),
        new_folder(tmp_path / "out", overwrite=overwrite) as place,
    ):
        (place / "half").write_text("written")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert [path.name for path in tmp_path.iterdir()] == (["out"] if overwrite else [])
    if overwrite:
        assert (tmp_path / "out" / "file").read_text() == "first"


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (RuntimeError("Error while serializing: I/O error: File too large (os error 27)"), True),
        (RuntimeError('IoError(Os { code: 28, kind: StorageFull, message: "No space" })'), True),
        (RuntimeError("Permission denied (os error 13)"), False),
        (ValueError("28"), False),
    ],
)
def test_which_errors_mean_a_full_disk(error: Exception, full: bool) -> None:
    assert is_full_disk(error) is full


def test_safetensors_says_a_full_disk_in_these_words(tmp_path: Path) -> None:
    """A real error of the library, from a process that may write little."""
    numpy = pytest.importorskip("safetensors.numpy")
    assert numpy
    script = """
import resource, signal, sys
import numpy as np
from pathlib import Path
from safetensors.numpy import save_file
from plait.errors import StorageFull
from plait.fusion.places import new_folder
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    with new_folder(Path(sys.argv[1])) as place:
        save_file({"w": np.zeros(100_000, np.float32)}, place / "model.safetensors")
except StorageFull as error:
    print(error.message)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"There is no room for {tmp_path / 'out'}" in done.stdout
    assert list(tmp_path.iterdir()) == []
