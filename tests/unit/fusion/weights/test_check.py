# SPDX-License-Identifier: Apache-2.0
"""What is said of a recipe before it is run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from plait.cli.main import app
from plait.fusion.weights import check_recipe

from .models import bert, write_model

Family = Callable[..., dict[str, Path]]


def recipe(
    folders: dict[str, Path], method: str = "task_arithmetic", **more: Any
) -> dict[str, Any]:
    models = [
        {"model": str(f), "parameters": {"weight": 0.5}} for n, f in folders.items() if n != "base"
    ]
    return {"merge_method": method, "models": models, "base_model": str(folders["base"])} | more


def test_fine_tunes_of_one_base_fit(family: Family) -> None:
    folders = family(2)
    report = check_recipe(recipe(folders))
    assert report.fits
    assert report.instead is None
    assert [r.kinship for r in report.relations] == ["related", "related"]
    assert report.relations[0].distance == pytest.approx(0.05, rel=0.2)
    (pair,) = report.agreements
    assert pair.signs == pytest.approx(0.5, abs=0.1)
    assert report.cost is not None
    assert report.cost.output_bytes == report.models[0].bytes
    assert report.cost.read_bytes == 3 * report.models[0].bytes
    assert report.models[0].layers == 3


def test_strangers_do_not(family: Family, tmp_path: Path) -> None:
    folders = family(1)
    write_model(folders["m0"], bert(99), label2id={"no": 0, "yes": 1})
    write_model(folders["base"], bert(0), label2id={"no": 0, "yes": 1})
    report = check_recipe(recipe(folders))
    assert "do not come from one base" in report.problems[0]
    assert str(report.instead).startswith("outputs")


def test_layers_of_strangers_may_be_stacked(family: Family) -> None:
    folders = family(1)
    write_model(folders["m0"], bert(99))
    slices = [{"sources": [{"model": str(f), "layer_range": [0, 2]}]} for f in folders.values()]
    assert check_recipe({"merge_method": "passthrough", "slices": slices}).fits


def test_another_architecture_does_not(family: Family, tmp_path: Path) -> None:
    folders = family(1)
    tensors = {n: v[:8] for n, v in bert(1).items()}
    write_model(folders["m0"], tensors, model_type="roberta")
    report = check_recipe(recipe(folders))
    assert any("same architecture" in p for p in report.problems)
    assert str(report.instead).startswith("adapters")


def test_the_same_weights_are_noted(family: Family) -> None:
    folders = family(1)
    write_model(folders["m0"], bert(0))
    report = check_recipe(recipe(folders))
    assert report.fits
    assert any("nothing to fuse" in note for note in report.notes)


def test_parameters_without_effect_are_noted(family: Family) -> None:
    report = check_recipe(recipe(family(2), "model_stock", parameters={"density": 0.5}))
    assert any("has no use for density, weight" in note for note in report.notes)


def test_vocabularies_that_differ(family: Family) -> None:
    folders = family(1)
    for name, words in (("base", "ab"), ("m0", "ba")):
        vocabulary = {w: i for i, w in enumerate(words)}
        (folders[name] / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocabulary}}))
    report = check_recipe(recipe(folders))
    assert any("vocabularies" in p and "tokenizer_source" in p for p in report.problems)
    assert check_recipe(recipe(folders, tokenizer_source="union")).fits


def test_a_vocabulary_with_more_at_its_end_is_noted(family: Family) -> None:
    folders = family(1)
    for name, words in (("base", "ab"), ("m0", "abc")):
        vocabulary = {w: i for i, w in enumerate(words)}
        (folders[name] / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocabulary}}))
    report = check_recipe(recipe(folders))
    assert report.fits
    assert any("not of one size" in note for note in report.notes)


@pytest.mark.parametrize(
    ("licences", "says"),
    [
        (("mit", None), "states no licence"),
        (("mit", "gpl-3.0"), "Share the result under GNU GPL 3"),
        (("gpl-2.0", "cc-by-sa-4.0"), "do not go together"),
        (("mit", "cc-by-nc-4.0"), "not for commercial use"),
        (("mit", "cc-by-nd-4.0"), "does not allow changed versions"),
    ],
)
def test_licences(family: Family, licences: tuple[str | None, ...], says: str) -> None:
    folders = family(1)
    for folder, licence in zip(folders.values(), licences, strict=True):
        if licence:
            (folder / "README.md").write_text(f"---\nlicense: {licence}\n---\n# Model\n")
    report = check_recipe(recipe(folders))
    assert report.fits
    assert any(says in note for note in report.notes)


def test_licences_that_go_together_need_no_note(family: Family) -> None:
    folders = family(1)
    for folder in folders.values():
        (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    assert check_recipe(recipe(folders)).notes == []


class TestCommand:
    def run(self, data: dict[str, Any], tmp_path: Path, *options: str) -> Any:
        path = tmp_path / "recipe.yaml"
        path.write_text(json.dumps(data))  # JSON is YAML
        return CliRunner().invoke(app, ["check", str(path), *options])

    def test_what_fits(self, family: Family, tmp_path: Path) -> None:
        done = self.run(recipe(family(2)), tmp_path)
        assert done.exit_code == 0
        assert "This fits." in done.output
        assert "related (distance" in done.output

    def test_what_does_not_ends_with_status_1(self, family: Family, tmp_path: Path) -> None:
        folders = family(1)
        write_model(folders["m0"], bert(99))
        done = self.run(recipe(folders), tmp_path)
        assert done.exit_code == 1
        assert "problem:" in done.output
        assert "instead:" in done.output

    def test_as_json(self, family: Family, tmp_path: Path) -> None:
        done = self.run(recipe(family(2)), tmp_path, "--json")
        told = json.loads(done.output)
        assert told["fits"] is True
        assert told["relations"][0]["kinship"] == "related"
        assert {"read_bytes", "output_bytes", "memory_bytes", "cpu_seconds"} == set(told["cost"])


@pytest.mark.parametrize(("size", "files"), [("100GB", 1), ("2kB", 5)])
def test_the_size_of_files(family: Family, tmp_path: Path, size: str, files: int) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(recipe(family(1))))
    command = ["fuse", str(path), "-o", str(tmp_path / "out"), "--shard-size", size]
    assert CliRunner().invoke(app, command).exit_code == 0
    assert len(list((tmp_path / "out").glob("*.safetensors"))) >= files
    done = CliRunner().invoke(app, [*command[:-1], "big"])
    assert "such as 500MB" in str(done.exception)
