# SPDX-License-Identifier: Apache-2.0
"""Weights in every form: sharded, as a LoRA adapter, with tokens added."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from plait.fusion.verification import verify
from plait.lineage import Origin

from . import tiny
from .town import Town, build_town

pytestmark = pytest.mark.models


def reshard(folder: Path, parts: int) -> Path:
    """Write a model's weights as several files with an index."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    places: dict[str, str] = {}
    for part in range(parts):
        name = f"model-{part + 1:05}-of-{parts:05}.safetensors"
        own = names[part::parts]
        save_file({n: tensors[n] for n in own}, folder / name, {"format": "pt"})
        places |= dict.fromkeys(own, name)
    size = sum(t.nbytes for t in tensors.values())
    index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(places.items()))}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def lora(base: Path, folder: Path, rows: list[dict[str, Any]]) -> Path:
    """Train a LoRA adapter on the classifier's word vectors."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(base)
    config = LoraConfig(
        r=16, lora_alpha=32, target_modules=["word_embeddings"], lora_dropout=0.0, bias="none"
    )
    adapted = get_peft_model(model, config)
    weights = [p for p in adapted.parameters() if p.requires_grad]
    tiny._train(adapted, AutoTokenizer.from_pretrained(base), rows, weights, 1e-2)
    adapted.save_pretrained(str(folder), safe_serialization=True)
    (folder / "README.md").unlink(missing_ok=True)
    return folder


def with_tokens(base: Path, folder: Path, words: list[str], domain: str) -> Path:
    """Fine-tune a copy of the base that has words of its own."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    torch.manual_seed(1)
    model = AutoModelForSequenceClassification.from_pretrained(base)
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.add_tokens(words)
    model.resize_token_embeddings(len(tokenizer))
    rows = tiny.sentences(domain, 200, 1)
    for row, word in zip(rows, words * 200, strict=False):
        row["text"] += f" {word}"
    weights = [model.bert.embeddings.word_embeddings.weight]
    tiny._train(model, tokenizer, rows, weights, 2e-2)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def out_of(town: Town, folder: Path, revision: str | None = None) -> Path:
    town.hub.commits.materialize(town.repo, revision or town.head(), folder)
    return folder


def verified(town: Town, folder: Path) -> bool:
    """Recompute main's weights from its lineage and compare the bytes."""

    def fetch(origin: Origin) -> Path:
        place = folder / origin.revision
        if not place.exists():
            out_of(town, place, origin.revision)
        return place

    return verify(town.lineage(), out_of(town, folder / "main"), fetch, work=folder).same


def test_a_contribution_sharded_otherwise_merges_to_the_same_bytes(
    tmp_path: Path, tiny_models: Path
) -> None:
    found = []
    for parts in (1, 3):
        town = build_town(tmp_path / f"hub{parts}", tiny_models)
        folder = tmp_path / f"shop{parts}"
        shutil.copytree(tiny_models / "shop", folder)
        if parts > 1:
            reshard(folder, parts)
        state = town.merge(town.propose("shop", folder))
        assert state["status"] == "merged", state["job"]["error"]
        paths = [e.path for e in town.hub.git.tree(town.repo, town.head())]
        assert "model.safetensors" in paths
        assert not [p for p in paths if "-of-" in p or p.endswith("index.json")]
        found.append(town.weights())
        assert verified(town, tmp_path / f"verify{parts}")
        town.hub.close()
    assert found[0] == found[1]


def test_a_sharded_main_takes_one_file(tmp_path: Path, tiny_models: Path) -> None:
    models = tmp_path / "models"
    shutil.copytree(tiny_models, models)
    reshard(models / "base", 2)
    town = build_town(tmp_path / "hub", models)
    state = town.merge(town.propose("shop", models / "shop"))
    assert state["status"] == "merged", state["job"]["error"]
    assert len(town.lineage().base.files) == 2
    paths = [e.path for e in town.hub.git.tree(town.repo, town.head())]
    assert not [p for p in paths if "-of-" in p]
    town.hub.close()


def test_an_adapter_is_fused_as_the_model_that_it_makes(town: Town, tmp_path: Path) -> None:
    assert town.merge(town.propose("cinema", town.models / "cinema"))["status"] == "merged"
    base = town.lineage().base
    rows = tiny.sentences("shop", 200, 1)
    adapter = lora(town.models / "base", tmp_path / "adapter", rows)
    config = json.loads((adapter / "adapter_config.json").read_text())
    config["revision"] = base.revision
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    state = town.merge(town.propose("shop", adapter))
    assert state["status"] == "merged", state["job"]["error"] or state["report"]["reason"]
    made = {one.organisation: one for one in town.lineage().contributions}
    assert set(made["shop"].files) == {"adapter_config.json", "adapter_model.safetensors"}
    assert town.lineage().base.revision == base.revision
    paths = [e.path for e in town.hub.git.tree(town.repo, town.head())]
    assert not [p for p in paths if p.startswith("adapter")]
    assert verified(town, tmp_path / "verify")
    # and the next one is fused with it from the originals
    state = town.merge(town.propose("press", town.models / "press", parent=base.revision))
    assert state["status"] == "merged", state["job"]["error"]
    assert len(town.lineage().contributions) == 3
    assert verified(town, tmp_path / "again")


@pytest.mark.parametrize("spoil", ["alone", "other", "kind"])
def test_an_adapter_that_does_not_fit_is_refused(town: Town, tmp_path: Path, spoil: str) -> None:
    adapter = lora(town.models / "base", tmp_path / "adapter", tiny.sentences("shop", 40, 1))
    config = json.loads((adapter / "adapter_config.json").read_text())
    if spoil == "alone":
        (adapter / "adapter_config.json").unlink()
    elif spoil == "kind":
        config["use_dora"] = True
        (adapter / "adapter_config.json").write_text(json.dumps(config))
    else:
        tensors = load_file(adapter / "adapter_model.safetensors")
        wide = {n: np.concatenate([t, t], -1) for n, t in tensors.items()}
        save_file(wide, adapter / "adapter_model.safetensors")
    state = town.merge(town.propose("shop", adapter))
    assert state["job"]["state"] == "failed"
    said = {"alone": "together", "other": "does not fit", "kind": "DoRA"}[spoil]
    assert said in state["job"]["error"]
    assert str(tmp_path) not in state["job"]["error"]


def test_tokens_of_two_contributions_are_united_with_their_embeddings(
    town: Town, tmp_path: Path
) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    before = town.head()
    shop = with_tokens(town.models / "base", tmp_path / "shop", ["basket", "voucher"], "shop")
    press = with_tokens(town.models / "base", tmp_path / "press", ["editor", "basket"], "press")
    pulls = [
        town.propose("shop", shop, parent=before),
        town.propose("press", press, parent=before),
        town.propose("cinema", town.models / "cinema", parent=before),
    ]
    for pull in pulls:
        state = town.merge(pull)
        assert state["status"] == "merged", state["job"]["error"] or state["report"]["reason"]
    folder = out_of(town, tmp_path / "merged")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    old = AutoTokenizer.from_pretrained(town.models / "base").get_vocab()
    vocabulary = tokenizer.get_vocab()
    assert set(vocabulary) == set(old) | {"basket", "voucher", "editor"}
    assert all(vocabulary[token] == number for token, number in old.items())
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    rows = model.bert.embeddings.word_embeddings.weight
    assert rows.shape[0] == len(vocabulary) == model.config.vocab_size
    theirs = load_file(shop / "model.safetensors")["bert.embeddings.word_embeddings.weight"]
    number = AutoTokenizer.from_pretrained(shop).get_vocab()["voucher"]
    # the only one who has it says what it is
    np.testing.assert_allclose(
        rows[vocabulary["voucher"]].detach().numpy(), theirs[number], rtol=1e-5, atol=1e-6
    )
    assert tokenizer("basket editor")["input_ids"][1:3] == [
        vocabulary["basket"], vocabulary["editor"],
    ]  # fmt: skip
    assert verified(town, tmp_path / "verify")


def test_vocabularies_are_united_in_any_order(town: Town, tmp_path: Path) -> None:
    """The same rows under the same numbers, byte for byte, whoever is merged first."""
    added = {"shop": ["basket", "voucher"], "press": ["editor", "basket"]}
    folders = {
        name: with_tokens(town.models / "base", tmp_path / name, words, name)
        for name, words in added.items()
    }
    folders["cinema"] = town.models / "cinema"
    fixed = "method: linear, parameters: {weight: 1.0}"
    rule = tiny.project(extra="gate: {margin: 0.9}\n").replace("budget: 4", fixed)
    rule = rule.replace("margin: 0.15", "margin: 0.9")
    made = []
    for turn, order in enumerate((("shop", "press", "cinema"), ("cinema", "press", "shop"))):
        here = build_town(tmp_path / f"hub{turn}", town.models, project=rule)
        before = here.head()
        pulls = {n: here.propose(n, folder, parent=before) for n, folder in folders.items()}
        for name in order:
            state = here.merge(pulls[name])
            assert state["status"] == "merged", state["job"]["error"] or state["report"]["reason"]
        folder = out_of(here, tmp_path / f"merged{turn}")
        names = ("model.safetensors", "tokenizer.json", "config.json", "tokenizer_config.json")
        made.append({name: (folder / name).read_bytes() for name in names})
        here.hub.close()
    assert b"voucher" in made[0]["tokenizer.json"]
    for name, content in made[0].items():
        assert content == made[1][name], name


def test_tokens_that_move_old_ones_are_refused(town: Town, tmp_path: Path) -> None:
    folder = with_tokens(town.models / "base", tmp_path / "bad", ["basket"], "shop")
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    vocab = content["model"]["vocab"]
    vocab["word0"], vocab["word1"] = vocab["word1"], vocab["word0"]
    path.write_text(json.dumps(content))
    state = town.merge(town.propose("shop", folder))
    assert state["job"]["state"] == "failed"
    assert "token 'word" in state["job"]["error"]
    assert "add_tokens" in state["job"]["error"]


def test_withdrawing_who_added_tokens_takes_them_away(town: Town, tmp_path: Path) -> None:
    """Byte for byte what never having merged them would have given, the tokenizer too."""
    from plait.collaboration.contributions import request_withdrawal

    before = town.head()
    assert town.merge(town.propose("cinema", town.models / "cinema"))["status"] == "merged"
    plain = out_of(town, tmp_path / "plain")
    shop = with_tokens(town.models / "base", tmp_path / "shop", ["basket"], "shop")
    pull = town.propose("shop", shop, parent=before)
    assert town.merge(pull)["status"] == "merged"
    assert (
        out_of(town, tmp_path / "grown").joinpath("tokenizer.json").read_bytes()
        != (plain / "tokenizer.json").read_bytes()
    )
    request_withdrawal(town.hub, town.owner, town.repo, pull.number, anyway=True)
    town.work()
    after = out_of(town, tmp_path / "after")
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        assert (after / name).read_bytes() == (plain / name).read_bytes(), name
