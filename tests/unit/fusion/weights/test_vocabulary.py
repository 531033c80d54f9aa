# SPDX-License-Identifier: Apache-2.0
"""Fusing models whose tokenizers differ: one vocabulary, embeddings put in its order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plait.errors import BadInput
from plait.fusion.weights import fuse, fused_tensors

from .models import read_safetensors, write_model

EMBEDDING = "model.embed_tokens.weight"
HEAD = "lm_head.weight"
NORM = "model.norm.weight"


def row(number: float) -> list[float]:
    return [number, number + 0.5]


def written(folder: Path, words: dict[str, float], added: tuple[str, ...] = ()) -> str:
    """Write a model whose embedding of each word is its number, and its head ten times that."""
    values = np.array([row(n) for n in words.values()], np.float32)
    tensors = {EMBEDDING: values, HEAD: values * 10, NORM: np.ones(2, np.float32)}
    write_model(folder, tensors, model_type="llama", vocab_size=len(words))
    numbers = {w: i for i, w in enumerate(words)}
    plain = {w: i for w, i in numbers.items() if w not in added}
    special = [{"id": numbers[w], "content": w, "special": True} for w in added]
    data = {
        "model": {"type": "BPE", "vocab": plain, "merges": [[w, w] for w in plain]},
        "added_tokens": special,
    }
    (folder / "tokenizer.json").write_text(json.dumps(data))
    (folder / "vocab.json").write_text(json.dumps(plain))
    return str(folder)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[str, str]:
    base = written(tmp_path / "base", {"a": 1, "b": 2, "c": 3})
    other = written(tmp_path / "other", {"c": 30, "d": 40, "a": 10, "<x>": 50}, added=("<x>",))
    return base, other


def recipe(pair: tuple[str, str], **more: Any) -> dict[str, Any]:
    models = [
        {"model": m, "parameters": {"weight": w}} for m, w in zip(pair, (0.5, 0.5), strict=True)
    ]
    return {"merge_method": "linear", "models": models, "base_model": pair[0]} | more


def test_the_bases_vocabulary(pair: tuple[str, str], tmp_path: Path) -> None:
    made = dict(fused_tensors(recipe(pair, tokenizer_source="base")))
    # b is in the base alone: the other model borrows the base's
    np.testing.assert_array_equal(made[EMBEDDING], [row(5.5), row(2), row(16.5)])
    np.testing.assert_array_equal(made[HEAD], 10 * made[EMBEDDING])


def test_the_union(pair: tuple[str, str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    fuse(recipe(pair, tokenizer_source="union"), out)
    made = read_safetensors(out / "model.safetensors")
    np.testing.assert_array_equal(made[EMBEDDING], [row(5.5), row(2), row(16.5), row(40), row(50)])
    assert json.loads((out / "config.json").read_text())["vocab_size"] == 5
    data = json.loads((out / "tokenizer.json").read_text())
    assert data["model"]["vocab"] == {"a": 0, "b": 1, "c": 2, "d": 3}
    assert [(t["content"], t["id"], t["special"]) for t in data["added_tokens"]] == [
        ("<x>", 4, True)
    ]
    assert data["model"]["merges"] == [[w, w] for w in "abcd"]
    assert not (out / "vocab.json").exists()


def test_a_models_vocabulary(pair: tuple[str, str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    fuse(recipe(pair, tokenizer={"source": pair[1]}), out)
    made = read_safetensors(out / "model.safetensors")
    np.testing.assert_array_equal(made[EMBEDDING], [row(16.5), row(40), row(5.5), row(50)])
    assert (out / "tokenizer.json").read_bytes() == (Path(pair[1]) / "tokenizer.json").read_bytes()


def test_several_owners_are_averaged_and_padding_is_the_mean(tmp_path: Path) -> None:
    folders = [
        written(tmp_path / n, words)
        for n, words in (("base", {"a": 1}), ("one", {"a": 2, "z": 4}), ("two", {"z": 8}))
    ]
    data = {
        "merge_method": "task_arithmetic",
        "base_model": folders[0],
        "models": [{"model": folders[1], "parameters": {"weight": 1}}],
        "tokenizer": {"source": folders[1], "pad_to_multiple_of": 4},
    }
    made = dict(fused_tensors(data))
    assert made[EMBEDDING].shape == (4, 2)
    np.testing.assert_array_equal(made[EMBEDDING], [row(2), row(4), row(3), row(3)])
    data["models"].append({"model": folders[2], "parameters": {"weight": 0}})
    np.testing.assert_array_equal(dict(fused_tensors(data))[EMBEDDING][1], row(6 + 1 * (4 - 6)))


def test_rules_for_single_tokens(pair: tuple[str, str]) -> None:
    tokens = {
        "b": {"source": {"kind": "zero"}, "force": True},
        "a": {"source": pair[1], "force": True},
        "c": {"source": {"kind": "model_token", "model": pair[1], "token": "d"}, "force": True},
    }
    made = dict(fused_tensors(recipe(pair, tokenizer={"source": "base", "tokens": tokens})))
    np.testing.assert_array_equal(made[EMBEDDING], [row(10), [0, 0], row(40)])


def test_the_same_vocabulary_changes_nothing(tmp_path: Path) -> None:
    folders = [written(tmp_path / n, {"a": n_, "b": 2.0}) for n, n_ in (("x", 1.0), ("y", 3.0))]
    made = dict(fused_tensors(recipe((folders[0], folders[1]), tokenizer_source="union")))
    np.testing.assert_array_equal(made[EMBEDDING], [row(2), row(2)])


@pytest.mark.parametrize(
    ("tokenizer", "says"),
    [
        ({"source": "base", "tokens": {"nope": {"force": True}}}, "no vocabulary has"),
    ],
)
def test_what_does_not_fit(pair: tuple[str, str], tokenizer: Any, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        list(fused_tensors(recipe(pair, tokenizer=tokenizer)))


def test_a_tokenizer_of_another_model(pair: tuple[str, str]) -> None:
    path = Path(pair[1]) / "tokenizer.json"
    data = json.loads(path.read_text())
    data["model"]["vocab"]["far"] = 900
    path.write_text(json.dumps(data))
    with pytest.raises(BadInput, match="the tokenizer is not this model's"):
        list(fused_tensors(recipe(pair, tokenizer_source="base")))


def test_a_damaged_tokenizer(pair: tuple[str, str]) -> None:
    (Path(pair[1]) / "tokenizer.json").write_text('{"model": {"vocab": {"a": "b"}}}')
    with pytest.raises(BadInput, match="is not a tokenizer"):
        list(fused_tensors(recipe(pair, tokenizer_source="base")))


class TestTemplates:
    def made(self, pair: tuple[str, str], tmp_path: Path, asked: str) -> Path:
        for folder, template in zip(pair, ("mine", "theirs"), strict=True):
            settings = {"chat_template": template, "eos_token": "</s>"}
            (Path(folder) / "tokenizer_config.json").write_text(json.dumps(settings))
        (Path(pair[1]) / "chat_template.jinja").write_text("theirs")
        out = tmp_path / "out"
        fuse(recipe(pair, tokenizer_source="base", chat_template=asked), out)
        settings = json.loads((out / "tokenizer_config.json").read_text())
        assert settings == {"eos_token": "</s>"}
        return out / "chat_template.jinja"

    @pytest.mark.parametrize(
        ("asked", "starts"),
        [("auto", "mine"), ("chatml", "{% for"), ("{{ messages }}", "{{ messages }}")],
    )
    def test_it_is_written(
        self, pair: tuple[str, str], tmp_path: Path, asked: str, starts: str
    ) -> None:
        assert self.made(pair, tmp_path, asked).read_text().startswith(starts)

    def test_an_unknown_one(self, pair: tuple[str, str], tmp_path: Path) -> None:
        with pytest.raises(BadInput, match="did you mean 'chatml'"):
            self.made(pair, tmp_path, "chatlm")
        assert not (tmp_path / "out").exists()

    def test_each_can_be_rendered(self) -> None:
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        from plait.fusion.weights.templates import TEMPLATES

        messages = [
            {"role": "system", "content": "S"},
            {"role": "user", "content": "U"},
            {"role": "assistant", "content": "A"},
        ]
        for text in TEMPLATES.values():
            made = (
                ImmutableSandboxedEnvironment()
                .from_string(text)
                .render(
                    messages=messages, bos_token="<s>", eos_token="</s>", add_generation_prompt=True
                )
            )
            assert made.index("S") < made.index("U") < made.index("A")
