# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from plait.demo.folder import MARKER, prepare_folder
from plait.errors import BadInput


def test_a_new_folder_is_made_and_marked(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "demo"
    prepare_folder(folder)
    assert json.loads((folder / MARKER).read_text())["pid"] == os.getpid()


def test_an_earlier_demo_is_cleared(tmp_path: Path) -> None:
    prepare_folder(tmp_path)
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "plait.db").write_text("old")
    (tmp_path / "report.json").write_text("{}")
    prepare_folder(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == [MARKER]


def test_what_the_demo_did_not_make_stays(tmp_path: Path) -> None:
    precious = tmp_path / "thesis.txt"
    precious.write_text("years of work")
    with pytest.raises(BadInput, match="was not made by the demo"):
        prepare_folder(tmp_path)
    assert precious.read_text() == "years of work"


def test_a_hub_that_is_not_the_demos_stays(tmp_path: Path) -> None:
    from plait.hub import Hub
    from plait.settings import load_settings

    Hub.open(load_settings(tmp_path, {})).close()
    before = sorted(p.name for p in tmp_path.iterdir())
    with pytest.raises(BadInput, match="untouched"):
        prepare_folder(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("x")
    with pytest.raises(BadInput, match="is a file"):
        prepare_folder(path)


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")
def test_a_demo_that_still_runs_is_not_cleared(tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", "input()", "plait", "demo"], stdin=-1)
    try:
        while b"input" not in Path(f"/proc/{other.pid}/cmdline").read_bytes():
            time.sleep(0.01)  # until then it shows the command line of this process
        (tmp_path / MARKER).write_text(json.dumps({"pid": other.pid}))
        (tmp_path / "hub").mkdir()
        with pytest.raises(BadInput, match=f"process {other.pid}"):
            prepare_folder(tmp_path)
        assert (tmp_path / "hub").is_dir()
    finally:
        other.kill()
        other.wait()
