# SPDX-License-Identifier: Apache-2.0
"""The lineage's page: 500 models stay readable, searched and opened without a script."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from community import add_many, sha
from gallery import Gallery
from plait.collaboration.ancestry import MOST
from plait.collaboration.requests import request_merge
from plait.hub import AddBytes

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


@pytest.fixture(scope="module")
def rows(gallery: Gallery) -> tuple[list[int], list[str]]:
    """Add a data set that two pull requests were merged into; return their numbers and commits."""
    hub, owner = gallery.hub, gallery.actors["commons"]
    repo = hub.repositories.create(owner, "dataset", "commons/rows")

    def write(name: str, count: int, **how: Any) -> Any:
        text = "".join(json.dumps({"id": k, "text": f"{name} {k}"}) + "\n" for k in range(count))
        card = AddBytes("README.md", b"---\nlicense: cc-by-4.0\n---\n# Rows\n")
        made = [AddBytes(f"data/{name}.jsonl", text.encode()), card]
        return hub.commits.apply(owner, repo, "main", made, f"Rows of {name}", "", **how)

    write("first", 3)
    pulls = [write(name, 2, create_pr=True).discussion for name in ("second", "third")]
    for pull in pulls:
        assert request_merge(hub, owner, repo, pull).landed
    write("by hand", 1)
    return [pull.number for pull in pulls], [
        hub.git.resolve(repo, f"refs/pr/{pull.number}") for pull in pulls
    ]


def test_a_data_set_says_what_it_was_merged_from(
    gallery: Gallery, browser: Browser, rows: tuple[list[int], list[str]]
) -> None:
    client = browser(None)
    page = client.get("/datasets/commons/rows/lineage").text
    assert nodes(page) == 4, "the base, two pull requests, main"
    for number, oid in zip(*rows, strict=True):
        assert f"/datasets/commons/rows/discussions/{number}" in page
        assert oid[:10] in page
    second = hashlib.sha256(
        b'{"id": 0, "text": "second 0"}\n{"id": 1, "text": "second 1"}\n'
    ).hexdigest()
    assert second in page
    assert "data/by hand.jsonl" in page
    assert "Rows of third" in page
    api = "/api/plait/datasets/commons/rows/lineage/main"
    made = client.get(api).json()
    assert made["metadata"]["component"]["type"] == "data"
    assert "modelCard" not in made["metadata"]["component"]
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    assert validator.validate_str(json.dumps(made)) is None
    hashes = {h["content"] for one in made["components"] for f in one["components"]
              for h in f["hashes"]}  # fmt: skip
    assert second in hashes
    assert {one["version"] for one in made["components"]} >= set(rows[1])
    prov = client.get(f"{api}?format=prov").json()
    assert prov["entity"]["plait:result"]["prov:type"]["$"] == "plait:DataSet"
    assert "/datasets/commons/rows/tree/" in json.dumps(prov)
    assert client.get(f"{api}?format=spdx").json()["spdxVersion"] == "SPDX-2.3"
    # An earlier revision was merged from less; the first from nothing.
    before = client.get(api.replace("main", rows[1][0])).status_code
    assert before == 404
    nothing = client.get("/datasets/commons/files-of-every-kind/lineage").text
    assert "No pull request was merged" in nothing
    assert client.get(api.replace("/main", "/nowhere")).status_code == 404


def test_chinese(many: Gallery, browser: Browser) -> None:
    page = browser(None).get(f"{PLACE}?lang=zh").text
    assert "70 个贡献" in page


def test_a_lineage_that_is_cut_says_so(many: Gallery, browser: Browser) -> None:
    add_many(many.hub, many.actors["commons"], MOST + 5, "more")
    said = f"it has more than {MOST} models"
    assert said in browser(None).get("/commons/more/lineage").text
    assert "超过 500 个" in browser(None).get("/commons/more/lineage?lang=zh").text
    assert said not in browser(None).get(PLACE).text
