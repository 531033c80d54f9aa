# SPDX-License-Identifier: Apache-2.0
"""Exports of a lineage, read by the tools of those who define their forms."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.errors import BadInput
from plait.lineage import FORMATS, DataUse, Lineage, export, parse_lineage
from plait.lineage.models import Subject

from .test_document import document

SUBJECT = Subject("commons/sentiment", "f" * 40, "http://hub.example", "apache-2.0")


def lineage(**changes: Any) -> Lineage:
    made = document()
    made["contributions"] += [
        made["contributions"][0]
        | {
            "number": 4,
            "author": "bob",
            "licence": "llama3.1",
            "revision": "9" * 40,
            "base": made["base"] | {"revision": "8" * 40},
        }
        | changes
    ]
    return parse_lineage(made)


def check_cyclonedx(data: dict[str, Any]) -> None:
    schema = pytest.importorskip("cyclonedx.schema")
    validation = pytest.importorskip("cyclonedx.validation.json")
    validator = validation.JsonStrictValidator(schema.SchemaVersion.V1_6)
    try:
        error = validator.validate_str(json.dumps(data))
    except Exception as missing:  # the schema's own checker is an extra of the library
        pytest.skip(str(missing))
    assert error is None, error


def check_spdx(data: dict[str, Any]) -> None:
    parser = pytest.importorskip("spdx_tools.spdx.parser.jsonlikedict.json_like_dict_parser")
    validation = pytest.importorskip("spdx_tools.spdx.validation.document_validator")
    read = parser.JsonLikeDictParser().parse(data)
    assert validation.validate_full_spdx_document(read) == []


def check_prov(data: dict[str, Any]) -> None:
    prov = pytest.importorskip("prov.model")
    read = prov.ProvDocument.deserialize(content=json.dumps(data), format="json")
    derived = list(read.get_records(prov.ProvDerivation))
    assert len(derived) == len(data["wasDerivedFrom"])
    again = json.loads(read.serialize(format="json"))
    assert set(again["entity"]) == set(data["entity"])


CHECKS = {"cyclonedx": check_cyclonedx, "spdx": check_spdx, "prov": check_prov}


@pytest.mark.parametrize("format", sorted(FORMATS))
def test_an_export_is_valid_and_names_every_input_by_hash(format: str) -> None:
    data = export(lineage(), SUBJECT, format)
    CHECKS[format](data)
    text = json.dumps(data)
    for part in ("a" * 64, "d" * 64, "e" * 64, "8" * 40, "9" * 40, "bob", "llama3.1"):
        assert part in text
    assert export(lineage(), SUBJECT, format) == data


@settings(max_examples=8, deadline=None)
@given(
    st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=60),
    st.one_of(st.none(), st.sampled_from(["mit", "other", "MIT OR GPL-3.0-only", "(x"])),
)
def test_whatever_people_wrote_stays_valid(title: str, licence: str | None) -> None:
    for format, check in CHECKS.items():
        check(export(lineage(title=title, licence=licence), SUBJECT, format))


@pytest.mark.parametrize("format", sorted(FORMATS))
def test_data_privacy_and_budget_are_in_every_form(format: str) -> None:
    made = replace(
        lineage(datasets=["imdb"], privacy={"epsilon": 8}),
        data=(
            DataUse("shop", "test", "gate", "3" * 64, "org/exam", hidden=True),
            DataUse("film", "gate", "a <b", "4" * 64),
        ),
        budget={"candidates": 12, 'a b:"c': 1.0},
    )
    data = export(made, SUBJECT, format)
    CHECKS[format](data)
    text = json.dumps(data)
    for told in ("3" * 64, "org/exam@main, hidden", "not public", "#4: imdb", "epsilon 8", "12"):
        assert told in text


def test_an_unknown_form_is_refused() -> None:
    with pytest.raises(BadInput, match="cyclonedx, prov, spdx"):
        export(lineage(), SUBJECT, "xml")
