# SPDX-License-Identifier: Apache-2.0
"""What is said of a recipe before it is run."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from plait.cli.main import app
from plait.errors import BadInput
from plait.fusion import fuse
from plait.fusion.weights import check_recipe
from plait.fusion.weights.check import human

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


def vocabulary_of(folder: Path, tensors: Any, words: str, rows: int | None = None) -> None:
    """Write a model whose vocabulary and embeddings have one row for each letter."""
    name = "bert.embeddings.word_embeddings.weight"
    values = np.resize(tensors[name], (rows or len(words), tensors[name].shape[1]))
    write_model(folder, tensors | {name: values}, vocab_size=len(values))
    vocabulary = {w: i for i, w in enumerate(words)}
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocabulary}}))


@pytest.mark.parametrize(
    ("other", "rows", "more"),
    [
        ("abcdefg", None, {"tokenizer_source": "union"}),
        ("abxy", None, {"tokenizer_source": "union"}),
        ("abcd", 8, {"tokenizer": {"source": "base", "pad_to_multiple_of": 64}}),
    ],
)
def test_vocabularies_of_two_sizes_are_no_other_architecture(
    family: Family, tmp_path: Path, other: str, rows: int | None, more: dict[str, Any]
) -> None:
    folders = family(1)
    base = bert(0)
    vocabulary_of(folders["base"], base, "abcd")
    vocabulary_of(folders["m0"], bert(1, base), other, rows)
    report = check_recipe(recipe(folders))
    assert not report.fits
    assert not any("same architecture" in p for p in report.problems)
    assert not any("the result has that of" in note for note in report.notes)
    assert all(key in str(report.instead) for key in more)
    assert check_recipe(recipe(folders, **more)).fits
    fuse(recipe(folders, **more), tmp_path / "out")
    with pytest.raises(BadInput, match="tokenizer_source"):
        fuse(recipe(folders), tmp_path / "none")


def test_vocabularies_are_not_blamed_where_union_does_not_help(family: Family) -> None:
    folders = family(1)
    wider = {n: np.resize(v, [24 if k == 16 else k for k in v.shape]) for n, v in bert(1).items()}
    vocabulary_of(folders["base"], bert(0), "abcd")
    vocabulary_of(folders["m0"], wider, "abcdefg")
    report = check_recipe(recipe(folders))
    assert "same architecture" in report.problems[0]
    assert "tokenizer_source" not in str(report.instead)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"parameters": {"lamda": 1}}, "did you mean 'lambda'"),
        ({"parameters": {"density": 3}}, "density"),
        ({"base_model": None}, "base_model"),
        ({"merge_method": "slerp"}, "needs exactly 1 model besides the base|'t'"),
        ({"twice": True}, "twice"),
        ({"dialect": "peft", "merge_method": "linear"}, "dialect"),
        ({"chat_template": "chatmll"}, "chat template"),
    ],
)
def test_a_mistake_in_the_recipe_is_no_reason_for_another_level(
    family: Family, change: dict[str, Any], says: str
) -> None:
    folders = family(3)
    for folder, seed in zip(folders.values(), range(4), strict=True):
        tensors = bert(0) if seed == 0 else bert(seed, bert(0))
        write_model(folder, tensors, label2id={"no": 0, "yes": 1})
    made = recipe(folders, "ties")
    if change.pop("twice", False):
        made["models"].append(made["models"][0])
    report = check_recipe(made | change)
    assert len(report.problems) == 1
    assert re.search(says, report.problems[0])
    assert report.instead is None


@pytest.mark.parametrize(
    ("architecture", "head", "tied"),
    [
        ("BertForSequenceClassification", False, False),
        ("BertModel", False, False),
        ("BertForMaskedLM", False, True),
        ("BertForMaskedLM", True, False),
    ],
)
def test_a_tied_head_is_told_of_models_with_a_head_over_words(
    family: Family, architecture: str, head: bool, tied: bool
) -> None:
    folders = family(1)
    tensors = bert(0)
    if head:
        rows = tensors["bert.embeddings.word_embeddings.weight"]
        tensors = {**tensors, "cls.predictions.decoder.weight": rows}
    for folder in folders.values():
        more = {"architectures": [architecture], "tie_word_embeddings": True}
        write_model(folder, tensors, **more)
    assert [m.tied for m in check_recipe(recipe(folders)).models] == [tied, tied]


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

    def test_small_things_are_told_as_they_are(self, family: Family, tmp_path: Path) -> None:
        folders = family(1)
        done = self.run(recipe(folders), tmp_path)
        assert "3,282 parameters" in done.output
        assert "under 0.1 CPU s" in done.output
        command = ["fuse", str(tmp_path / "recipe.yaml"), "-o", str(tmp_path / "out")]
        told = CliRunner().invoke(app, command).output
        size = (tmp_path / "out" / "model.safetensors").stat().st_size
        assert f"({human(size)}, " in told
        assert " 0.0 " not in done.output + told

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
