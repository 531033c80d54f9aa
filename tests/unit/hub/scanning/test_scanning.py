# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import tempfile
import time
import zipfile
import zlib
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from plait.api import create_api
from plait.hub import AddBytes, AddPointer
from plait.hub.database import FileScan, PendingScan
from plait.hub.scanning import can_carry_code, child, runner, scan_waiting
from plait.hub.scanning.child import Findings, TooMuch, inspect
from plait.hub.scanning.runner import scan_file

from ..conftest import World

MARK = "/tmp/plait-a-pickle-was-loaded"


class Evil:
    def __reduce__(self) -> object:
        return (os.system, (f"touch {MARK}",))


class Odd:
    def __reduce__(self) -> object:
        return (json.dumps, ({"a": 1},))


EVIL = pickle.dumps(Evil())
ODD = pickle.dumps(Odd())
PLAIN = pickle.dumps({"weights": [1.0, 2.0], "names": ["a"]})


def zipped(members: dict[str, bytes]) -> bytes:
    found = io.BytesIO()
    with zipfile.ZipFile(found, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return found.getvalue()


def npy(header: bytes, rest: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + rest


def look(data: bytes, name: str) -> str:
    found = Findings()
    inspect(io.BytesIO(data), name, found)
    return found.verdict()


@pytest.mark.parametrize(
    ("name", "data", "verdict"),
    [
        ("a.pkl", EVIL, "unsafe"),
        ("a.bin", EVIL, "unsafe"),
        ("a.pkl", EVIL[:-3], "unsafe"),
        ("a.pkl", PLAIN + EVIL, "unsafe"),
        ("a.pkl", pickle.dumps(Evil(), protocol=0), "unsafe"),
        ("a.pkl", ODD, "suspicious"),
        ("a.pkl", PLAIN, "safe"),
        ("a.bin", b"GGUF" + bytes(1000), "safe"),
        ("a.pkl", b"", "safe"),
        ("a.pt", zipped({"archive/data.pkl": EVIL, "archive/data/0": bytes(64)}), "unsafe"),
        ("a.pt", zipped({"archive/data.pkl": PLAIN, "archive/data/0": bytes(64)}), "safe"),
        ("a.pt", zipped({"archive/hidden": EVIL}), "unsafe"),
        ("a.pt", zipped({"inner.zip": zipped({"x.pkl": EVIL})}), "unsafe"),
        ("a.pkl", EVIL + zipped({"a.txt": b"x"}), "unsafe"),
        ("a.pkl", PLAIN + zipped({"data.pkl": EVIL}), "unsafe"),
        ("a.npz", zipped({"x.npy": npy(b"{'descr': '|O', 'shape': (1,), }", EVIL)}), "unsafe"),
        ("a.npy", npy(b"{'descr': '|O', 'fortran_order': False, }", EVIL), "unsafe"),
        ("a.npy", npy(b"{'descr': '<f8', 'fortran_order': False, }", EVIL), "safe"),
        ("a.joblib", gzip.compress(EVIL), "unsafe"),
        ("a.joblib", bz2.compress(EVIL), "unsafe"),
        ("a.joblib", lzma.compress(EVIL), "unsafe"),
        ("a.joblib", zlib.compress(EVIL), "unsafe"),
        ("a.joblib", zlib.compress(PLAIN), "safe"),
        ("a.keras", zipped({"config.json": b'{"class_name": "Lambda"}'}), "suspicious"),
        ("a.keras", zipped({"config.json": b'{"class_name": "Dense"}'}), "safe"),
        ("a.h5", b"\x89HDF\r\n\x1a\n" + bytes(99) + b'"class_name": "Lambda"', "suspicious"),
        ("a.pt", zipped({"archive/data.pkl": PLAIN})[:-30], "suspicious"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else str(value),  # bytes differ by the clock
)
def test_verdicts(name: str, data: bytes, verdict: str) -> None:
    assert look(data, name) == verdict
    assert not Path(MARK).exists()


def test_what_is_known_to_be_harmless_in_models_is_safe(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    file = tmp_path / "model.pt"
    torch.save({"a": torch.zeros(3), "b": torch.ones(2, 2).bfloat16()}, file)
    assert scan_file(file, "model.pt")["verdict"] == "safe"
    torch.save({"a": torch.zeros(3)}, file, _use_new_zipfile_serialization=False)
    assert scan_file(file, "model.bin")["verdict"] == "safe"


def test_bombs_are_left_unopened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(child, "MAX_UNPACKED", 2**20)
    for data, name in [
        (zipped({"a.pkl": bytes(2**22)}), "a.pt"),
        (gzip.compress(bytes(2**22)), "a.joblib"),
        (zlib.compress(bytes(2**22)), "a.joblib"),
        (bz2.compress(bytes(2**22)), "a.joblib"),
        (lzma.compress(bytes(2**22)), "a.joblib"),
    ]:
        with pytest.raises(TooMuch):
            look(data, name)
    nested = PLAIN
    for _ in range(6):
        nested = zipped({"a.pkl": nested})
    with pytest.raises(TooMuch):
        look(nested, "a.pt")
    file = tmp_path / "bomb.pt"
    file.write_bytes(zipped({"a.pkl": bytes(600 * 2**20)}))
    found = scan_file(file, "bomb.pt", memory=2**30, seconds=20)
    assert found["verdict"] == "failed"


def test_the_child_is_bounded_and_what_was_found_first_counts(tmp_path: Path) -> None:
    file = tmp_path / "a.pkl"
    # A pickle of millions of opcodes takes more memory than the child has.
    file.write_bytes(b"\x80\x04" + b"0N" * 4_000_000 + b".")
    start = time.monotonic()
    found = scan_file(file, "a.pkl", memory=2**29, seconds=20)
    assert found["verdict"] == "failed"
    assert "memory" in found["reason"]
    found = scan_file(file, "a.pkl", memory=8 * 2**30, seconds=1)
    assert found["verdict"] == "failed"
    assert time.monotonic() - start < 60
    file.write_bytes(EVIL)
    found = scan_file(file, "-x; rm.pkl")
    assert found["verdict"] == "unsafe"
    assert {"module": "posix", "name": "system", "safety": "dangerous"} in found["imports"]
    assert scan_file(tmp_path / "missing", "a.pkl")["verdict"] == "failed"


def scanned(world: World) -> None:
    while scan_waiting(world.hub):
        pass


def test_committed_files_are_scanned_and_labelled(world: World) -> None:
    hub, ann = world.hub, world.actor("ann")
    repo = world.repo("shop/model")
    large = world.blob(repo, EVIL + bytes(100))
    hub.commits.apply(
        ann,
        repo,
        "main",
        [
            AddBytes("a/bad.pkl", EVIL),
            AddBytes("good.pickle", PLAIN),
            AddBytes("notes.txt", b"x"),
            AddPointer("large.bin", large),
        ],
        "one",
    )
    token = hub.tokens.create(world.accounts["ann"])
    client = TestClient(create_api(hub), headers={"Authorization": f"Bearer {token}"})
    tree = "/api/models/shop/model/tree/main?recursive=true&expand=true"
    before = {row["path"]: row for row in client.get(tree).json()}
    assert before["a/bad.pkl"]["securityFileStatus"]["status"] == "queued"
    scanned(world)
    after = {row["path"]: row.get("securityFileStatus") for row in client.get(tree).json()}
    assert after["a/bad.pkl"]["status"] == after["large.bin"]["status"] == "unsafe"
    assert after["good.pickle"]["status"] == "safe"
    assert after["notes.txt"] is None
    found = after["a/bad.pkl"]["pickleImportScan"]
    assert found["highestSafetyLevel"] == "dangerous"
    assert {"path": "posix.system", "safety": "dangerous"} in found["imports"]
    info = client.get("/api/models/shop/model?securityStatus=true").json()["securityRepoStatus"]
    assert info["scansDone"]
    assert info["filesWithIssues"] == [
        {"path": "a/bad.pkl", "level": "unsafe"},
        {"path": "large.bin", "level": "unsafe"},
    ]
    with hub.session() as session:
        assert session.query(PendingScan).count() == 0
        count = session.query(FileScan).count()
    # The same content elsewhere is known already, and pull requests are looked at, too.
    hub.commits.apply(ann, repo, "main", [AddBytes("copy.pkl", EVIL)], "two", create_pr=True)
    scanned(world)
    with hub.session() as session:
        assert session.query(FileScan).count() == count
    assert not Path(MARK).exists()


def test_a_scan_that_nobody_finished_is_taken_up_and_given_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = world.repo("shop/model")
    world.hub.commits.apply(world.actor("ann"), repo, "main", [AddBytes("bad.pkl", EVIL)], "one")

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "scan_file", killed)
    monkeypatch.setattr(runner, "_LEASE", runner.timedelta(seconds=-1))
    interrupted = 0
    for _ in range(10):
        try:
            if not scan_waiting(world.hub):
                break
        except KeyboardInterrupt:
            interrupted += 1
    assert interrupted == runner.ATTEMPTS
    with world.hub.session() as session:
        assert session.query(FileScan).one().verdict == "failed"


def test_a_deleted_repository_leaves_nothing_to_scan(world: World) -> None:
    hub, ann = world.hub, world.actor("ann")
    repo = world.repo("shop/model")
    hub.commits.apply(ann, repo, "main", [AddBytes("bad.pkl", EVIL)], "one")
    hub.repositories.delete(ann, repo)
    scanned(world)
    with hub.session() as session:
        assert session.query(PendingScan).count() == 0


@given(st.binary(max_size=300), st.sampled_from(["a.pkl", "a.pt", "a.npy", "a.joblib", "a.h5"]))
def test_any_bytes_get_a_verdict(data: bytes, name: str) -> None:
    with tempfile.NamedTemporaryFile() as file:
        for start in (b"", b"\x80\x04", b"PK\x03\x04", b"\x93NUMPY\x01\x00", b"\x1f\x8b\x08"):
            Path(file.name).write_bytes(start + data)
            found = child.report(file.name, name)
            assert found["verdict"] in ("safe", "suspicious", "unsafe", "failed")
            assert bool(found["reason"]) >= (found["verdict"] == "failed")
            assert len(json.dumps(found)) < 200_000


def test_names() -> None:
    assert can_carry_code("a/b.PKL")
    assert not can_carry_code("model.safetensors")
    assert not can_carry_code("pkl")
