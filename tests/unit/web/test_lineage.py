# SPDX-License-Identifier: Apache-2.0
"""The lineage's page: 500 models stay readable, searched and opened without a script."""

from __future__ import annotations

import re

import pytest

from community import add_many, sha
from gallery import Gallery

from .conftest import Browser

PLACE = "/commons/many/lineage"


@pytest.fixture(scope="module")
def many(gallery: Gallery) -> Gallery:
    """Add a model with 490 contributions of seven organisations."""
    add_many(gallery.hub, gallery.actors["commons"])
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
