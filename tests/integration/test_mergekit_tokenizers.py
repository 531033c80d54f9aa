# SPDX-License-Identifier: Apache-2.0
"""Models whose tokenizers differ, through Plait and through mergekit 0.1.5: token by token.

Skipped without `PLAIT_MERGEKIT_PYTHON`, the interpreter of an environment that has mergekit.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plait.fusion.weights import fuse
from plait.fusion.weights.vocabulary import read_vocabulary

PYTHON = os.environ.get("PLAIT_MERGEKIT_PYTHON")
pytestmark = pytest.mark.skipif(
    not PYTHON,
    reason="PLAIT_MERGEKIT_PYTHON is not set: name the interpreter of one with mergekit==0.1.5",
)
SCRIPT = """
import json, sys, transformers as t
from tokenizers import Tokenizer, models, pre_tokenizers
from mergekit.config import MergeConfiguration
from mergekit.merge import run_merge
from mergekit.options import MergeOptions
root = sys.argv[1]
words = {"base": (["<unk>", "a", "b", "c"], []), "x": (["<unk>", "c", "d", "a"], ["<x>"]),
    "y": (["<unk>", "a", "d", "e", "b"], ["<y>"])}
for name, (plain, special) in words.items():
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(plain)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = t.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")
    if special:
        fast.add_special_tokens({"additional_special_tokens": special})
    t.LlamaForCausalLM(t.LlamaConfig(vocab_size=len(fast), hidden_size=8, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2, intermediate_size=8,
        max_position_embeddings=20)).save_pretrained(f"{root}/{name}")
    fast.save_pretrained(f"{root}/{name}")
for name, recipe in json.load(open(f"{root}/recipes.json")).items():
    run_merge(MergeConfiguration.model_validate(recipe), f"{root}/made/{name}",
        MergeOptions(copy_tokenizer=True, quiet=True))
"""
RULES = ("union", "base", "x", "union padded", "x padded", "tokens", "task vectors")


def recipes(root: Path) -> dict[str, dict[str, Any]]:
    path = {n: str(root / n) for n in ("base", "x", "y")}

    def recipe(tokenizer: dict[str, Any], method: str = "linear") -> dict[str, Any]:
        models = [
            {"model": path[n], "parameters": {"weight": w}}
            for n, w in (("base", 0.5), ("x", 0.3), ("y", 0.4))
        ]
        return {
            "merge_method": method,
            "base_model": path["base"],
            "models": models,
            "dtype": "float32",
            "tokenizer": tokenizer,
        }

    token = {"kind": "model_token", "model": path["x"], "token": "c"}
    tokens = {
        "b": {"source": {"kind": "zero"}, "force": True},
        "d": {"source": path["y"]},
        "a": {"source": token, "force": True},
    }
    return {
        "union": recipe({"source": "union"}),
        "base": recipe({"source": "base"}),
        "x": recipe({"source": path["x"]}),
        "union padded": recipe({"source": "union", "pad_to_multiple_of": 16}),
        "x padded": recipe({"source": path["x"], "pad_to_multiple_of": 4}),
        "tokens": recipe({"source": "union", "tokens": tokens}),
        "task vectors": recipe({"source": "union"}, "task_arithmetic"),
    }


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tokenizers")
    (root / "recipes.json").write_text(json.dumps(recipes(root)))
    done = subprocess.run(
        [str(PYTHON), "-c", SCRIPT, str(root)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return root


@pytest.mark.parametrize("name", RULES)
def test_tokens_and_embeddings_are_the_same(root: Path, tmp_path: Path, name: str) -> None:
    from safetensors.numpy import load_file

    fuse(recipes(root)[name], tmp_path / "out")
    theirs, ours = (read_vocabulary(f) for f in (root / "made" / name, tmp_path / "out"))
    assert theirs is not None
    assert ours is not None
    assert ours.tokens == theirs.tokens
    config = json.loads((root / "made" / name / "config.json").read_text())
    mine = json.loads((tmp_path / "out" / "config.json").read_text())
    assert mine["vocab_size"] == config["vocab_size"]
    wanted = load_file(root / "made" / name / "model.safetensors")
    made = load_file(tmp_path / "out" / "model.safetensors")
    assert made.keys() == wanted.keys()
    for tensor, values in wanted.items():
        np.testing.assert_allclose(made[tensor], values, rtol=1e-5, atol=1e-6, err_msg=tensor)
