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


def test_data_sets_as_streams(alice: Person) -> None:
    out = alice.run(
        """
        from datasets import Dataset, DatasetDict, load_dataset, load_dataset_builder
        from huggingface_hub import whoami
        repo = f"{whoami()['name']}/streamed"
        rows = {"text": [f"row {n}" for n in range(3000)], "number": list(range(3000))}
        made = Dataset.from_dict(rows)
        parts = DatasetDict(train=made.select(range(2900)), test=made.select(range(2900, 3000)))
        parts.push_to_hub(repo, num_shards={"train": 3, "test": 1})
        stream = load_dataset(repo, split="train", streaming=True)
        first = list(stream.take(5))
        assert [row["number"] for row in first] == [0, 1, 2, 3, 4]
        assert sum(1 for _ in stream) == 2900
        assert stream.num_shards == 3
        assert [row["number"] for row in stream.skip(2895)] == [2895, 2896, 2897, 2898, 2899]
        parts["test"].push_to_hub(repo, "other", split="test")
        assert load_dataset(repo, "other", split="test").num_rows == 100
        assert load_dataset_builder(repo).info.splits["train"].num_examples == 2900
        assert load_dataset("parquet", data_files=f"hf://datasets/{repo}/data/test-*.parquet")[
            "train"
        ].num_rows == 100
        print("done")
        """
    )
    assert out.split()[-1] == "done"
    files = alice.api.list_repo_files(f"{alice.name}/streamed", repo_type="dataset")
    assert len([name for name in files if name.startswith("data/train-")]) == 3


@pytest.mark.models
def test_adapters(alice: Person) -> None:
    out = alice.run(
        """
        import torch
        from huggingface_hub import whoami
        from peft import LoraConfig, PeftModel, get_peft_model
        from transformers import (
            AutoModelForSequenceClassification, BertConfig, BertForSequenceClassification,
        )
        torch.manual_seed(1)
        me = whoami()["name"]
        config = BertConfig(
            vocab_size=100, hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=64, max_position_embeddings=32,
        )
        BertForSequenceClassification(config).push_to_hub(f"{me}/base")
        base = AutoModelForSequenceClassification.from_pretrained(f"{me}/base")
        lora = LoraConfig(r=4, target_modules=["query", "value"], task_type="SEQ_CLS",
                          init_lora_weights=False)
        adapted = get_peft_model(base, lora).eval()
        adapted.push_to_hub(f"{me}/adapter")
        fresh = AutoModelForSequenceClassification.from_pretrained(f"{me}/base")
        back = PeftModel.from_pretrained(fresh, f"{me}/adapter").eval()
        words = torch.arange(12).reshape(2, 6)
        assert torch.allclose(adapted(words).logits, back(words).logits)
        print(me)
        """
    )
    name = out.split()[-1]
    files = alice.api.list_repo_files(f"{name}/adapter")
    assert {"adapter_config.json", "adapter_model.safetensors"} <= set(files)


@pytest.mark.models
def test_sentence_transformers(alice: Person) -> None:
    out = alice.run(
        """
        import os
        from pathlib import Path
        import torch
        from huggingface_hub import whoami
        from sentence_transformers import SentenceTransformer, models
        from transformers import BertConfig, BertModel, BertTokenizerFast
        torch.manual_seed(1)
        me = whoami()["name"]
        folder = Path(os.environ["HOME"]) / "tiny"
        folder.mkdir()
        words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "small", "model", "data"]
        (folder / "vocab.txt").write_text("\\n".join(words))
        BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
        config = BertConfig(
            vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=32, max_position_embeddings=32,
        )
        BertModel(config).save_pretrained(folder)
        parts = models.Transformer(str(folder))
        made = SentenceTransformer(modules=[parts, models.Pooling(16)], device="cpu")
        made.push_to_hub(f"{me}/sentences")
        back = SentenceTransformer(f"{me}/sentences", device="cpu")
        texts = ["a small model", "data"]
        assert (made.encode(texts) == back.encode(texts)).all()
        print(me)
        """
    )
    name = out.split()[-1]
    info = alice.api.model_info(f"{name}/sentences")
    assert info.library_name == "sentence-transformers"
    assert "modules.json" in alice.api.list_repo_files(f"{name}/sentences")
