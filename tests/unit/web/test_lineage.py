# SPDX-License-Identifier: Apache-2.0
"""The lineage's page: 500 models stay readable, searched and opened without a script."""

from __future__ import annotations

import hashlib
import re

import pytest

from gallery import Gallery
from plait.hub import AddBytes, AddPointer
from plait.lineage import Contribution, DataUse, Lineage, Origin, dump_lineage

from .conftest import Browser

W = "model.safetensors"
PLACE = "/commons/many/lineage"


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture(scope="module")
def many(gallery: Gallery) -> Gallery:
    """Add a model with 490 contributions of seven organisations."""
    hub, actor = gallery.hub, gallery.actors["commons"]
    repo = hub.repositories.create(actor, "model", "commons/many")
    digest, size = hub.blobs.write(iter([b"many"]))
    with hub.session(write=True) as session:
        hub.grant_blob(session, repo, digest, size)
    contributions = tuple(
        Contribution(
            number, "ann", f"org{number % 7}", f"Part <{number}>", f"{number:040x}",
            {W: sha(f"c{number}")}, 0.5, "mit", None, ("org/texts",), {"x": 1.0},
        )
        for number in range(1, 491)
    )  # fmt: skip
    base = Origin("commons/away", "a" * 40, {W: sha("away")})
    exam = DataUse("shop", "test", "gate", sha("items"), hidden=True)
    document = dump_lineage(
        Lineage(base, contributions, {}, {W: digest}, data=(exam,), budget={"seconds": 3.0})
    )
    files = [AddPointer(W, digest, size), AddBytes("lineage.json", document)]
    hub.commits.apply(actor, repo, "main", files, "weights")
    return gallery


def nodes(page: str) -> int:
    return len(re.findall(r"data-node=", page))


def test_one_box_for_each_organisation(many: Gallery, browser: Browser) -> None:
    page = browser(None).get(PLACE).text
    assert nodes(page) == 7 + 2
    assert "70 contributions" in page
    assert "not public" in page
    assert "org/texts" in page
    assert 'href="?open=org3"' in page
    opened = browser(None).get(f"{PLACE}?open=org3").text
    assert nodes(opened) == 6 + 70 + 2
    everything = browser(None).get(f"{PLACE}?open=*").text
    assert nodes(everything) == 492
    assert "Part &lt;17&gt;" in everything
    assert len(everything) < 1_500_000


def test_search_marks_and_filters(many: Gallery, browser: Browser) -> None:
    found = browser(None).get(f"{PLACE}?open=*&q=%23123").text
    assert found.count(" hit") == 1
    assert "Contribution #123</a>" in found
    assert "Contribution #124</a>" not in found
    by_hash = browser(None).get(f"{PLACE}?q={sha('c42')}").text
    assert by_hash.count(" hit") == 1  # the box of its organisation
    odd = browser(None).get(PLACE, params={"q": "<script>x", "open": "nobody"})
    assert odd.status_code == 200
    assert "<script>x" not in odd.text


def test_chinese(many: Gallery, browser: Browser) -> None:
    page = browser(None).get(f"{PLACE}?lang=zh").text
    assert "70 个贡献" in page
