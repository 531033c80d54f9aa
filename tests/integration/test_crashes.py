# SPDX-License-Identifier: Apache-2.0
"""kill -9 at random moments of everything that writes; what was acknowledged stays whole.

``PLAIT_KILLS`` sets how many processes are killed (a few by default, so that the suite stays fast).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

CAMPAIGN = r"""
import io, json, os, random, signal, sys, time, traceback
from pathlib import Path

from plait.collaboration.requests import request_merge
from plait.errors import PlaitError
from plait.hub import SYSTEM, AddBytes, AddPointer, Hub
from plait.hub.upkeep.collect import collect
from plait.hub.upkeep.fsck import damage
from plait.hub.git.packing import pack_repository
from plait.hub.git.pktline import FLUSH, pack
from plait.hub.git.receive import receive
from plait.settings import load_settings
from unit.hub.git.test_receive import Pack

folder, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
settings = load_settings(folder, {})


class Worker:
    def __init__(self, hub, run, alone, out):
        self.hub, self.run, self.out, self.number = hub, run, out, 0
        self.rng = random.Random(f"{seed} {run}")
        self.ann = hub.accounts.actor_for(hub.accounts.get("ann"))
        self.main = hub.repositories.by_id(1)
        self.other = hub.repositories.by_id(2)
        self.alone = alone

    def say(self, *what):
        os.write(self.out, (json.dumps(what) + "\n").encode())

    def large(self, repo):
        data = f"{self.run} {self.number} ".encode() * self.rng.randrange(1, 20000)
        sha256, size = self.hub.blobs.write([data])
        with self.hub.session(write=True) as session:
            self.hub.grant_blob(session, repo, sha256, size)
        return sha256, size

    def do_commit(self, mark):
        sha256, size = self.large(self.main)
        new = [AddPointer("w.bin", sha256, size), AddBytes("n.txt", mark.encode())]
        oid = self.hub.commits.apply(self.ann, self.main, "main", new, mark).oid
        self.say("main", oid, sha256, mark)

    def do_many(self, mark):
        new = [AddBytes(f"many/{n}", f"{mark} {n}".encode()) for n in range(30)]
        self.say("main", self.hub.commits.apply(self.ann, self.main, "main", new, mark).oid)

    def do_pull(self, mark):
        new = [AddBytes(f"p/{self.run}-{self.number}", mark.encode())]
        done = self.hub.commits.apply(self.ann, self.main, "main", new, mark, create_pr=True)
        number = done.discussion.number
        self.say("pull", number, done.oid)
        if self.rng.random() < 0.7:
            landed = request_merge(self.hub, self.ann, self.main, done.discussion).landed
            self.say("merged", number, landed)

    def do_squash(self, mark):
        name = f"b-{self.run}-{self.number}"
        self.hub.references.create_branch(self.ann, self.main, name)
        self.say("branch", f"refs/heads/{name}")
        oid = self.hub.references.super_squash(self.ann, self.main, name, mark)
        self.say("squashed", f"refs/heads/{name}", oid)
        self.hub.references.create_tag(self.ann, self.main, f"t-{name}", message=mark)
        self.say("branch", f"refs/tags/t-{name}")

    def do_move(self, mark):
        repo = self.hub.repositories.by_id(self.other.id)
        name = f"ann/other-{self.run}-{self.number}"
        self.hub.repositories.move(self.ann, repo, name)
        self.say("moved", name)

    def do_create(self, mark):
        name = f"ann/d-{self.run}-{self.number}"
        repo = self.hub.repositories.create(self.ann, "dataset", name)
        self.say("created", name)
        if self.rng.random() < 0.8:
            self.hub.repositories.delete(self.ann, repo)
            self.say("deleted", name)

    def do_purge(self, mark):
        repo = self.hub.repositories.by_id(self.other.id)
        sha256, size = self.large(repo)
        new = [AddPointer("w.bin", sha256, size)]
        self.hub.commits.apply(self.ann, repo, "main", new, mark)
        self.hub.largefiles.purge(self.ann, repo, [sha256])
        self.say("purged", sha256)

    def do_push(self, mark):
        made = Pack()
        files = [(0o100644, f"f{n}", made.add("blob", f"{mark} {n}".encode())) for n in range(5)]
        ref = f"refs/heads/push-{self.run}-{self.number}"
        old = self.hub.git.resolve(self.main)
        new = made.commit(made.tree(*files), old, message=mark)
        line = pack(f"{'0' * 40} {new} {ref}\0report-status".encode())
        answer = receive(self.hub, self.ann, self.main, io.BytesIO(line + FLUSH + made.encode()))
        assert f"ok {ref}".encode() in answer, answer
        self.say("pushed", ref, new)

    def do_pack(self, mark):
        pack_repository(self.hub, self.main, loose=50, packs=3)

    def do_gc(self, mark):
        if self.alone:
            collect(self.hub, grace=-10)

    def work(self):
        kinds = [name for name in dir(self) if name.startswith("do_")]
        while True:
            self.number += 1
            mark = f"{self.run} {self.number}"
            kind = self.rng.choice(kinds)
            self.say("try", kind, mark)
            try:
                getattr(self, kind)(mark)
            except PlaitError as error:
                self.say("refused", kind, error.message)


def start(run, alone):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(read)
            with Hub.open(settings) as hub:
                Worker(hub, run, alone, write).work()
        except BaseException as error:
            os.write(write, (json.dumps(["broken", traceback.format_exc()]) + "\n").encode())
        finally:
            os._exit(1)
    os.close(write)
    return child, read


def lines(read):
    with os.fdopen(read, "rb") as stream:
        return [json.loads(line) for line in stream if line.endswith(b"\n")]


def verify(said):
    with Hub.open(settings) as hub:
        found = damage(hub)
        assert found == [], [str(p) for p in found]
        repo = hub.repositories.get(SYSTEM, "model", "ann/main")
        git = hub.git
        head = git.resolve(repo)
        tried = {what[2] for what in said if what[0] == "try"}
        purged = {what[1] for what in said if what[0] == "purged"}
        moved = gone = None
        for kind, *rest in said:
            if kind == "broken":
                raise AssertionError(rest)
            if kind == "main":
                assert git.is_ancestor(repo, rest[0], head), rest
            elif kind == "pull":
                hub.discussions.get(repo, rest[0])
                assert git.is_ancestor(repo, rest[1], git.resolve(repo, f"refs/pr/{rest[0]}"))
            elif kind == "merged":
                assert hub.discussions.get(repo, rest[0]).status == "merged"
                assert git.is_ancestor(repo, rest[1], head)
            elif kind == "branch":
                git.resolve(repo, rest[0])
            elif kind in ("squashed", "pushed"):
                assert git.resolve(repo, rest[0]) == rest[1]
            elif kind == "moved":
                moved = rest[0]
            elif kind == "deleted":
                assert hub.repositories.find("dataset", rest[0]) is None
        if moved is not None:
            hub.repositories.get(SYSTEM, "model", hub.repositories.by_id(2).full_name)
        # A file and its neighbour of the same commit are never of two different ones.
        text = git.read(repo, head, "n.txt")
        data = b"".join(hub.commits.open_file(repo, head, "w.bin").read())
        assert data.startswith(text + b" ")
        # Nothing is visible that nobody asked for.
        for info in git.log(repo, head, 200):
            if not info.title.startswith(("Merge pull request", "initial commit")):
                assert info.title in tried | known, info.title
        known.update(tried)
        for sha256 in purged:
            assert not hub.blobs.exists(sha256)


known = set()
with Hub.open(settings) as hub:
    ann = hub.accounts.actor_for(hub.accounts.create_user("ann"))
    for name in ("ann/main", "ann/other"):
        hub.repositories.create(ann, "model", name)
    first = Worker(hub, "first", False, os.open(os.devnull, os.O_WRONLY))
    first.do_commit("first 0")
    known.add("first 0")
rng = random.Random(seed)
killed = acknowledged = 0
counts = {}
run = 0
while killed < kills:
    run += 1
    alone = run % 3 != 0
    children = [start(f"{run}-{n}", alone) for n in range(1 if alone else 2)]
    time.sleep(rng.uniform(0.05, 0.6))
    said = []
    for child, _ in children:
        os.kill(child, signal.SIGKILL)
    for child, read in children:
        os.waitpid(child, 0)
        said += lines(read)
        killed += 1
    for what in said:
        counts[what[0]] = counts.get(what[0], 0) + 1
    verify(said)
with Hub.open(settings) as hub:
    collect(hub, grace=-10)
    assert damage(hub, deep=True) == []
    assert list(settings.temporary_dir.iterdir()) == []
    assert not list(settings.git_dir.glob("*/incoming-*"))
    assert hub.audit.verify().broken is None
print(json.dumps({"killed": killed, **counts}))
"""


@pytest.mark.timeout(3600)
def test_kill_at_any_moment(tmp_path: Path) -> None:
    kills = int(os.environ.get("PLAIT_KILLS", "15"))
    seed = os.environ.get("PLAIT_KILL_SEED", "7")
    done = subprocess.run(
        [sys.executable, "-c", CAMPAIGN, str(tmp_path / "hub"), str(kills), seed],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
    told = json.loads(done.stdout.splitlines()[-1])
    print(told)
    assert told["killed"] >= kills
    assert told["main"] > 0
    assert "broken" not in told
