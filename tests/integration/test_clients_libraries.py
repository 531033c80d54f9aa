# SPDX-License-Identifier: Apache-2.0
"""The libraries that stand on the stock client, with nothing set but HF_ENDPOINT and a token."""

from __future__ import annotations

import pytest

from integration.live import Person


@pytest.mark.models
def test_transformers(alice: Person, bob: Person) -> None:
    out = alice.run(
        """
        import torch
        from huggingface_hub import whoami
        from transformers import (
            AutoModelForSequenceClassification, BertConfig, BertForSequenceClassification,
        )
        torch.manual_seed(1)
        config = BertConfig(
            vocab_size=100, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
            intermediate_size=64, max_position_embeddings=32,
            id2label={0: "negative", 1: "positive"}, label2id={"negative": 0, "positive": 1},
        )
        model = BertForSequenceClassification(config).eval()
        repo = f"{whoami()['name']}/tiny"
        model.push_to_hub(repo)
        back = AutoModelForSequenceClassification.from_pretrained(repo).eval()
        words = torch.arange(12).reshape(2, 6)
        assert torch.equal(model(words).logits, back(words).logits)
        print(repo, back.config.id2label[1])
        """
    ).split()
    assert out[1] == "positive"
    info = bob.api.model_info(out[0], files_metadata=True)
    files = {sibling.rfilename: sibling for sibling in info.siblings or []}
    assert {"config.json", "model.safetensors"} <= set(files)
    assert files["model.safetensors"].lfs is not None
    assert info.config is not None
    assert info.config["architectures"] == ["BertForSequenceClassification"]


def test_datasets(alice: Person) -> None:
    out = alice.run(
        """
        from datasets import Dataset, load_dataset
        from huggingface_hub import whoami
        repo = f"{whoami()['name']}/reviews"
        rows = {"text": [f"row {n}" for n in range(50)], "label": [n % 2 for n in range(50)]}
        made = Dataset.from_dict(rows)
        made.push_to_hub(repo, private=True)
        back = load_dataset(repo, split="train")
        assert back.to_dict() == rows
        made.select(range(5)).push_to_hub(repo, split="test")
        assert load_dataset(repo, split="test").num_rows == 5
        assert load_dataset(repo, split="train").num_rows == 50
        print("done")
        """
    )
    assert out.split()[-1] == "done"
    assert alice.api.dataset_info(f"{alice.name}/reviews").private is True


def test_plain_files_as_a_data_set(alice: Person) -> None:
    repo = alice.api.create_repo(f"{alice.name}/lines", repo_type="dataset").repo_id
    for split, count in (("train", 3), ("test", 2)):
        lines = "".join(f'{{"text": "t{n}", "label": {n % 2}}}\n' for n in range(count))
        alice.api.upload_file(
            path_or_fileobj=lines.encode(),
            path_in_repo=f"data/{split}.jsonl",
            repo_id=repo,
            repo_type="dataset",
        )
    out = alice.run(
        """
        import sys
        from datasets import load_dataset
        found = load_dataset(sys.argv[1])
        print({name: split.num_rows for name, split in found.items()})
        """,
        repo,
    )
    assert out.strip().endswith("{'train': 3, 'test': 2}")
