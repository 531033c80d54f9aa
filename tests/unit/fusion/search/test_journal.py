# SPDX-License-Identifier: Apache-2.0
"""A search that is killed goes on where it was, and finds what it would have found."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from plait.errors import Conflict
from plait.fusion import fuse
from plait.fusion.places import hash_folder
from plait.fusion.results import REPORT
from plait.fusion.search import PLOT
from plait.fusion.search.candidate_model import CandidateModel
from plait.fusion.search.journal import Journal, journal_path

from .. import synthetic

pytest.importorskip("torch")

# measures slowly, so that it can be killed in the middle
SLOW = """
import sys, time
from plait.fusion import fuse
from plait.fusion.search import candidate_model
measure = candidate_model.CandidateModel.measure
def slowly(*args):
    found = measure(*args)
    time.sleep(0.04)
    return found
candidate_model.CandidateModel.measure = slowly
fuse(sys.argv[1], sys.argv[2], threads=1)
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base and two random models of its shape, and data."""
    folder = tmp_path_factory.mktemp("models")
    for seed, name in enumerate(("base", "shop", "cinema")):
        synthetic.bert(folder / name, width=16, seed=seed)
        synthetic.dataset(folder / f"data-{name}", "shop", train=8, held=48)
    return folder


@pytest.fixture
def place(models: Path, tmp_path: Path) -> Path:
    """A recipe of two tasks beside the models, in a folder of its own."""
    shutil.copytree(models, tmp_path / "place")
    data = {
        "merge_method": "task_arithmetic",
        "base_model": "base",
        "models": [{"model": "shop"}, {"model": "cinema"}],
        "parameters": {"weight": 0.1},
        "tasks": [synthetic.task(n, Path(f"data-{n}")) for n in ("shop", "cinema")],
        "search": {"budget": 9, "folds": 3, "subset": 12, "parameters": {"weight": [0, 1.5]}},
    }
    (tmp_path / "place" / "recipe.yaml").write_text(yaml.safe_dump(data), "utf-8")
    return tmp_path / "place"


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many items each measurement ran, of this process."""
    counts: list[int] = []
    measure = CandidateModel.measure

    def counted(self: CandidateModel, tasks: Sequence[Any], *rest: Any) -> Any:
        counts.append(sum(len(task.items) for task in tasks))
        return measure(self, tasks, *rest)

    monkeypatch.setattr(CandidateModel, "measure", counted)
    return counts


def kill(place: Path, out: Path, lines: int) -> int:
    """Start a search and kill it when so much is written down; return how many measurements are."""
    journal = journal_path(out)
    child = subprocess.Popen([sys.executable, "-c", SLOW, str(place / "recipe.yaml"), str(out)])
    deadline = time.monotonic() + 120
    try:
        while time.monotonic() < deadline and child.poll() is None:
            if journal.exists() and journal.read_bytes().count(b"\n") > lines:
                break
            time.sleep(0.01)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert child.returncode == -signal.SIGKILL
    return journal.read_bytes().count(b"\n") - 1


def interrupt(place: Path, out: Path, after: int) -> None:
    """Start a search in this process and interrupt it after some measurements."""
    measure = CandidateModel.measure
    count = 0

    def interrupted(*arguments: Any) -> Any:
        nonlocal count
        count += 1
        if count > after:
            raise KeyboardInterrupt
        return measure(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CandidateModel, "measure", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fuse(place / "recipe.yaml", out, threads=1)


def hidden(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


def test_what_was_measured_is_not_measured_again(
    place: Path, tmp_path: Path, measured: list[int]
) -> None:
    wanted = fuse(place / "recipe.yaml", tmp_path / "wanted", threads=1)
    all_of_them = list(measured)
    measured.clear()
    done = kill(place, tmp_path / "out", 5)
    assert not (tmp_path / "out").exists()
    assert len(hidden(tmp_path)) > 1  # its work besides the journal
    result = fuse(place / "recipe.yaml", tmp_path / "out", threads=1)
    assert result.resumed and not wanted.resumed
    assert 5 <= done < len(all_of_them)
    assert measured == all_of_them[done:]
    once, again = hash_folder(tmp_path / "wanted"), hash_folder(tmp_path / "out")
    assert once == again
    found, expected = (
        json.loads((tmp_path / name / REPORT).read_text())["search"] for name in ("out", "wanted")
    )
    assert found.pop("work")["taken_up"] == done
    assert expected.pop("work")["taken_up"] == 0
    assert found == expected
    assert hidden(tmp_path) == []


@pytest.mark.parametrize("change", ["items", "weights", "recipe"])
def test_of_another_search_nothing_is_taken_up(place: Path, tmp_path: Path, change: str) -> None:
    interrupt(place, tmp_path / "out", 2)
    if change == "items":
        file = place / "data-shop" / "data" / "validation.jsonl"
        file.write_text(file.read_text().replace("very", "quite"))
    elif change == "weights":
        shutil.rmtree(place / "shop")
        synthetic.bert(place / "shop", width=16, seed=9)
    else:
        file = place / "recipe.yaml"
        file.write_text(file.read_text().replace("budget: 9", "budget: 8"))
    result = fuse(place / "recipe.yaml", tmp_path / "out", threads=1)
    assert not result.resumed
    assert hash_folder(tmp_path / "out").keys() >= {"model.safetensors", PLOT}
    assert hidden(tmp_path) == []


def test_a_line_that_a_crash_cut_off_is_measured_again(place: Path, tmp_path: Path) -> None:
    interrupt(place, tmp_path / "out", 3)
    journal = journal_path(tmp_path / "out")
    journal.write_bytes(journal.read_bytes()[:-20])
    result = fuse(place / "recipe.yaml", tmp_path / "out", threads=1)
    assert result.report["search"]["work"]["taken_up"] == 2


def test_an_interrupted_search_keeps_what_it_measured(place: Path, tmp_path: Path) -> None:
    interrupt(place, tmp_path / "out", 3)
    assert hidden(tmp_path) == [journal_path(tmp_path / "out").name]
    result = fuse(place / "recipe.yaml", tmp_path / "out", threads=1)
    assert result.report["search"]["work"]["taken_up"] == 3


def test_two_searches_for_one_output_do_not_mix(place: Path, tmp_path: Path) -> None:
    with (
        Journal(journal_path(tmp_path / "out")),
        pytest.raises(Conflict, match="Another run is searching"),
    ):
        fuse(place / "recipe.yaml", tmp_path / "out", threads=1)
    assert not (tmp_path / "out").exists()
