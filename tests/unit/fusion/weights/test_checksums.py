# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from plait.fusion.weights import checksums
from plait.fusion.weights.checksums import cache_file, hash_files


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of caches; small files, and those just made, are remembered too."""
    monkeypatch.delenv(checksums.OFF, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(checksums, "LEAST", 0)
    monkeypatch.setattr(checksums, "SETTLED", 0.0)
    monkeypatch.setattr(checksums, "_known", {})
    return tmp_path / "cache"


def another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checksums, "_known", {})


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return a list that every file that is read enters."""
    found: list[Path] = []
    real = checksums._read

    def read(path: Path, tick: object) -> str:
        found.append(path)
        return real(path, tick)  # type: ignore[arg-type]

    monkeypatch.setattr(checksums, "_read", read)
    return found


def test_a_file_is_read_once_until_it_changes(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one")
    read = reads(monkeypatch)
    for _ in range(2):
        another_process(monkeypatch)
        assert hash_files([path]) == {path: sha256(path)}
    assert read == [path]
    told: list[int] = []
    assert hash_files([path], tick=told.append) and sum(told) == 3
    # the same size, the time of change put back
    before = path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    another_process(monkeypatch)
    assert hash_files([path]) == {path: hashlib.sha256(b"two").hexdigest()}


def test_what_just_changed_and_small_files_are_not_kept(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one")
    for name, value in (("SETTLED", 60.0), ("LEAST", 4)):
        with monkeypatch.context() as changed:
            changed.setattr(checksums, name, value)
            hash_files([path])
    read = reads(monkeypatch)
    another_process(monkeypatch)
    hash_files([path])
    assert read == [path]


def test_it_is_never_asked_to_verify(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one")
    hash_files([path])
    read = reads(monkeypatch)
    assert hash_files([path], cached=False) == {path: sha256(path)}
    assert read == [path]


@pytest.mark.parametrize("value", ["off", "0", "No"])
def test_it_can_be_put_off(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one")
    monkeypatch.setenv(checksums.OFF, value)
    assert hash_files([path]) == {path: sha256(path)}
    assert not disk.exists()


def test_a_damaged_or_barred_cache_harms_nothing(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one")
    hash_files([path])
    found = cache_file()
    assert found is not None and found.is_file()
    found.write_bytes(b"no database" * 1000)
    another_process(monkeypatch)
    assert hash_files([path]) == {path: sha256(path)}
    found.unlink()
    found.mkdir()
    another_process(monkeypatch)
    assert hash_files([path]) == {path: sha256(path)}


def test_the_oldest_are_forgotten(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checksums, "MOST", 2)
    paths = [tmp_path / name for name in "abc"]
    for path in paths:
        path.write_text(path.name)
        hash_files([path])
    read = reads(monkeypatch)
    another_process(monkeypatch)
    hash_files(paths[1:])
    assert not read
    hash_files(paths[:1])
    assert read == paths[:1]
