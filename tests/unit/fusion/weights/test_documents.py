# SPDX-License-Identifier: Apache-2.0
"""Recipes of several documents are checked to the last."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from plait.errors import BadInput
from plait.fusion import check, fuse

from .models import bert, write_model

Family = Callable[..., dict[str, Path]]


def documents(folders: dict[str, Path], first: str = "", last: str = "") -> str:
    return f"""
name: both
merge_method: linear
models:
  - {{model: {folders["m0"]}, parameters: {{weight: 1}}}}
  - {{model: {folders["m1"]}, parameters: {{weight: 1}}}}
{first}
---
merge_method: ties
base_model: {folders["base"]}
models: [{{model: both}}, {{model: {folders["m2"]}}}]
parameters: {{weight: 0.5, density: 0.4}}
{last}
"""


def test_all_documents_are_checked(family: Family, tmp_path: Path) -> None:
    folders = family(3)
    report = check(documents(folders))
    assert report.fits, report.problems
    assert report.method == "ties"
    assert {m.reference for m in report.models} == {str(f) for f in folders.values()}
    assert any("2 documents; all were checked" in note for note in report.notes)
    assert any("how far 'both' is" in note for note in report.notes)
    assert {r.model for r in report.relations} == {str(folders["m1"]), str(folders["m2"])}
    size = sum(v.nbytes for v in bert(0).values())
    assert report.cost is not None
    assert report.cost.output_bytes == 2 * size
    assert report.cost.read_bytes == (2 + 3) * size
    fuse(documents(folders), tmp_path / "out")


def test_a_problem_of_the_last_is_told_with_its_place(family: Family) -> None:
    folders = family(3)
    report = check(documents(folders, last="dtype: float16\nchat_template: llama9"))
    assert not report.fits
    assert report.problems[0].startswith("document 2: ")
    with pytest.raises(BadInput):
        check(documents(folders, last="colour: red"))
    report = check(documents(folders).replace("density", "dense"))
    assert "document 2: The method 'ties' has no parameter 'dense'" in report.problems[0]


def test_shapes_that_an_earlier_document_will_give(family: Family, tmp_path: Path) -> None:
    folders = family(2) | {"m2": write_model(tmp_path / "small", bert(5, layers=2))}
    report = check(documents(folders))
    assert not report.fits
    assert report.problems[0].startswith("document 2: ")
    # the first makes a model of two layers, which then fits
    sliced = f"""
name: both
merge_method: passthrough
slices: [{{sources: [{{model: {folders["m0"]}, layer_range: [0, 2]}}]}}]
---
merge_method: linear
models: [{{model: both}}, {{model: {folders["m2"]}}}]
parameters: {{weight: 1}}
"""
    assert not [p for p in check(sliced).problems if "does not have" in p or "shape" in p]


def test_formats_that_an_earlier_document_will_give(family: Family) -> None:
    report = check(documents(family(3), first="out_dtype: bfloat16"))
    assert report.fits, report.problems
    size = sum(v.nbytes for v in bert(0).values())
    assert report.cost is not None
    assert report.cost.output_bytes == size // 2 + size


def test_what_cannot_be_known_before(family: Family) -> None:
    folders = family(3)
    report = check(documents(folders).replace("merge_method: linear", "merge_method: slerp"))
    assert not report.fits
    assert report.problems[0].startswith("document 'both': ")
    assert any("document 2 cannot be checked before 'both' is made" in n for n in report.notes)


def test_nothing_is_written(family: Family, tmp_path: Path) -> None:
    folders = family(3)
    before = sorted(tmp_path.rglob("*"))
    check(documents(folders))
    assert sorted(tmp_path.rglob("*")) == before
    assert np.isfinite(check(documents(folders)).cost.cpu_seconds)  # type: ignore[union-attr]
