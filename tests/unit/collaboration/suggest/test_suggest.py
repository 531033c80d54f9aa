# SPDX-License-Identifier: Apache-2.0
"""Samples are read with care, nothing of them is kept, and nobody sees another's result."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from plait.collaboration import jobs, suggest
from plait.collaboration.worker import Worker
from plait.demo.data import encoder_folder
from plait.errors import BadInput, PlaitError, RepositoryNotFound
from plait.hub import ANONYMOUS, AddBytes, AddPointer, Hub, Operation
from plait.settings import Settings

GOOD = ["a lovely film", "what a great day", "really nice and good", "best thing ever"]
BAD = ["an awful film", "what a terrible day", "really bad and poor", "worst thing ever"]
SAMPLE = "text,label\n" + "".join(
    f"{text} number {k},{label}\n"
    for k in range(6)
    for texts, label in ((GOOD, "good"), (BAD, "bad"))
    for text in texts
)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\xff\xfe", b"text,label\na,b\n", b"a,b\n1,2\n", b"{", b'{"text": "x"}\n' * 30,
        b'{"text": "x", "label": {"a": 1}}\n' * 30, b"[" * 50_000, b"x" * (3 * 2**20),
        b"text,label\n" + b"x,y\n" * 2_000, b"text,label\n" + b"x,y\n" * 30,
    ],
)  # fmt: skip
def test_what_is_no_sample_is_refused_with_a_sentence(content: bytes) -> None:
    with pytest.raises(BadInput) as error:
        suggest.parse_sample(content)
    assert len(error.value.message) > 20


def test_csv_and_json_lines_are_read_alike() -> None:
    table = suggest.parse_sample(SAMPLE.encode())
    lines = "".join(
        f'{{"text": "{text}", "label": "{label}"}}\n'
        for text, label in zip(table.texts, table.labels, strict=True)
    )
    assert suggest.parse_sample(lines.encode()) == table
    assert set(table.classes) == {0, 1}


@pytest.mark.models
def test_a_job_ranks_what_its_sender_may_read_and_keeps_nothing(tmp_path: Path) -> None:
    encoder = encoder_folder("tiny")
    with Hub.open(Settings(dir=tmp_path / "hub")) as hub:
        ann, bob = (hub.accounts.actor_for(hub.accounts.create_user(n)) for n in ("ann", "bob"))
        for name, private in (("open", False), ("veiled", True)):
            repo = hub.repositories.create(ann, "model", f"ann/{name}", private)
            files: list[Operation] = []
            for file in sorted(encoder.iterdir()):
                if file.suffix == ".safetensors":
                    sha256, size = hub.blobs.write([file.read_bytes()])
                    with hub.session(write=True) as session:
                        hub.grant_blob(session, repo, sha256)
                    files.append(AddPointer(file.name, sha256, size))
                elif file.suffix in (".json", ".txt"):
                    files.append(AddBytes(file.name, file.read_bytes()))
            hub.commits.apply(ann, repo, "main", files, "add", "")
        for name, private, rows in (
            ("alike", False, [f"{text} of number {k}" for k in range(3) for text in GOOD + BAD]),
            ("other", False, [f"SELECT {k} FROM table_{k} WHERE id = {k};" for k in range(24)]),
            ("secret", True, [f"{text} of number {k}" for k in range(3) for text in GOOD + BAD]),
            ("texts-of-none", False, []),
        ):
            data = hub.repositories.create(ann, "dataset", f"ann/{name}", private)
            lines = "".join(json.dumps({"text": row}) + "\n" for row in rows).encode()
            hub.commits.apply(ann, data, "main", [AddBytes("data/train.jsonl", lines)], "add", "")
        sample = suggest.parse_sample(SAMPLE.encode())
        with pytest.raises(RepositoryNotFound):
            suggest.request(hub, bob, sample, ["ann/veiled"])
        with pytest.raises(PlaitError, match="Log in"):
            suggest.request(hub, ANONYMOUS, sample)
        stale = hub.settings.work_dir / f"sample-{'0' * 32}.json"
        stale.write_text("left")
        os.utime(stale, (time.time() - 9_999,) * 2)
        job = suggest.request(hub, bob, sample)
        assert job.repository_id is None
        assert "lovely" not in str(job.payload)
        assert not stale.exists()
        assert [f.stat().st_mode & 0o077 for f in hub.settings.work_dir.glob("sample-*")] == [0]
        assert Worker(hub).run_once()
        done = jobs.get(hub, job.id)
        assert done.state == "succeeded", done.error
        assert done.result is not None
        assert [row["model"] for row in done.result["models"]] == ["ann/open"]
        assert "veiled" not in str(done.result)
        near, far = done.result["datasets"]
        assert (near["dataset"], far["dataset"]) == ("ann/alike", "ann/other")
        assert near["distance"]["value"] < far["distance"]["value"]
        assert "secret" not in str(done.result)
        assert not list(hub.settings.work_dir.glob("sample-*"))
        both = suggest.request(hub, ann, sample)
        assert Worker(hub).run_once()
        found = jobs.get(hub, both.id).result
        assert found is not None
        assert found["fusable"] == [
            {"models": ["ann/open", "ann/veiled"], "level": "weights, if one base"}
        ]
