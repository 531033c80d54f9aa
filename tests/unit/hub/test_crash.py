# SPDX-License-Identifier: Apache-2.0
"""A process is killed while it writes: what was reported as done is there, nothing is half done."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from plait.hub import SYSTEM, Hub
from plait.hub.upkeep.collect import collect
from plait.hub.upkeep.fsck import damage
from plait.settings import load_settings

WRITER = r"""
import json, os, sys
from plait.hub import AddBytes, AddPointer, Hub
from plait.settings import load_settings

def say(*what):
    os.write(1, (json.dumps(what) + "\n").encode())

with Hub.open(load_settings(sys.argv[1], {})) as hub:
    ann = hub.accounts.actor_for(hub.accounts.get("ann"))
    repo = hub.repositories.find("model", "ann/model")
    run = sys.argv[2]
    say("ready")
    for n in range(10**6):
        data = f"{run} {n} ".encode() * 2000
        sha256, size = hub.blobs.write([data])
        with hub.session(write=True) as session:
            hub.grant_blob(session, repo, sha256)
        new = [
            AddPointer("model.safetensors", sha256, size),
            AddBytes("n.txt", f"{run} {n}".encode()),
            AddBytes("README.md", f"---\ntags: [run-{run}-{n}]\n---\n".encode()),
        ]
        say("main", hub.commits.apply(ann, repo, "main", new, f"main {run} {n}").oid)
        new = [AddBytes(f"p/{n}", data[:50])]
        out = hub.commits.apply(ann, repo, "main", new, f"pull {run} {n}", create_pr=True)
        say("pull", out.discussion.number, out.oid)
        ref = f"refs/pr/{out.discussion.number}"
        new = [AddBytes("q", data[:9])]
        say("again", ref, hub.commits.apply(ann, repo, ref, new, f"more {n}").oid)
        say("repo", hub.repositories.create(ann, "dataset", f"ann/d-{run}-{n}").full_name)
        hub.references.create_tag(ann, repo, f"t-{run}-{n}", message="annotated")
        say("tag", f"t-{run}-{n}")
"""


@pytest.mark.timeout(180)
def test_kill_at_any_moment(tmp_path: Path) -> None:
    settings = load_settings(tmp_path / "hub", {})
    with Hub.open(settings) as hub:
        ann = hub.accounts.actor_for(hub.accounts.create_user("ann"))
        hub.repositories.create(ann, "model", "ann/model")
    rng = random.Random(7)
    said: list[list[object]] = []
    for run in range(6):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(settings.dir), str(run)], stdout=subprocess.PIPE
        ) as writer:
            assert writer.stdout is not None
            assert json.loads(writer.stdout.readline()) == ["ready"]
            time.sleep(rng.uniform(0.02, 0.9))
            writer.send_signal(signal.SIGKILL)
            lines = writer.stdout.read().decode().splitlines(keepends=True)
        said += [json.loads(line) for line in lines if line.endswith("\n")]
        with Hub.open(settings) as hub:
            assert damage(hub, deep=True) == []
    assert {what[0] for what in said} >= {"main", "pull"}

    with Hub.open(settings) as hub:
        repo = hub.repositories.get(SYSTEM, "model", "ann/model")
        head = hub.git.resolve(repo)
        for kind, *rest in said:
            if kind == "main":
                assert hub.git.is_ancestor(repo, str(rest[0]), head)
            elif kind == "pull":
                pull = hub.discussions.get(repo, int(str(rest[0])))
                tip = hub.git.resolve(repo, f"refs/pr/{pull.number}")
                assert hub.git.is_ancestor(repo, str(rest[1]), tip)
            elif kind == "again":
                assert hub.git.is_ancestor(repo, str(rest[1]), hub.git.resolve(repo, str(rest[0])))
            elif kind == "repo":
                hub.repositories.get(SYSTEM, "dataset", str(rest[0]))
            else:
                hub.git.resolve(repo, str(rest[0]))
        # A file and its neighbour of the same commit are never of two different ones.
        text = hub.git.read(repo, head, "n.txt")
        with hub.commits.open_file(repo, head, "model.safetensors").open() as weights:
            assert weights.read().startswith(text + b" ")
        collect(hub, grace=-10)
        assert damage(hub, deep=True) == []
        found = hub.repositories.get(SYSTEM, "model", "ann/model")
        assert found.head == head
        assert found.card == {"tags": [f"run-{text.decode().replace(' ', '-')}"]}
        assert list(settings.temporary_dir.iterdir()) == []
