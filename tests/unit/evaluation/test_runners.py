# SPDX-License-Identifier: Apache-2.0
"""Running tiny models of transformers: what they answer is what transformers itself gives."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plait.errors import BadInput
from plait.evaluation.runners import LanguageModel, Regressor, SentenceEncoder, TokenTagger

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

TAGS = ["O", "B-A", "I-A"]
WORDS = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefghij"),
    *(*(f"##{one}" for one in "abcdefghij"), "[MASK]"),
]
Make = Callable[..., Path]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Write tiny random models with a tokenizer of ten letters."""
    root = tmp_path_factory.mktemp("models")

    def save(kind: str, **options: Any) -> Path:
        folder = root / f"{kind}-{len(list(root.iterdir()))}"
        folder.mkdir()
        vocabulary = folder / "vocab.txt"
        vocabulary.write_text("\n".join(WORDS))
        tokenizer = transformers.BertTokenizer(str(vocabulary))
        torch.manual_seed(0)
        size = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1}
        if kind == "GPT2LMHeadModel":
            config = transformers.GPT2Config(
                vocab_size=len(WORDS),
                n_embd=16,
                n_layer=1,
                n_head=2,
                n_positions=12,
                bos_token_id=2,
                eos_token_id=3,
                initializer_range=0.5,
            )
        else:
            config = transformers.BertConfig(
                vocab_size=len(WORDS),
                intermediate_size=16,
                max_position_embeddings=12,
                initializer_range=0.5,
                **size,
                **options,
            )
        getattr(transformers, kind)(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return save


def test_each_token_has_the_tag_of_its_first_piece(make: Make) -> None:
    folder = make("BertForTokenClassification", num_labels=3, id2label=dict(enumerate(TAGS)))
    tagger = TokenTagger.load(folder)
    assert tagger.labels == tuple(TAGS)
    model = transformers.AutoModelForTokenClassification.from_pretrained(folder).eval()
    sentence = ["a", "bcd", "e"]  # six pieces with the special ones: 2 + a, b ##c ##d, e
    with torch.inference_mode():
        ids = torch.tensor([[2, 4, 5, 16, 17, 8, 3]])
        best = model(input_ids=ids).logits.argmax(-1)[0].tolist()
    assert tagger.tag([sentence]) == [[TAGS[best[k]] for k in (1, 2, 5)]]
    # in a batch with others, and beyond what the model reads, every token has its tag
    long = ["a"] * 30
    many = tagger.tag([long, sentence, ["?", "j"]])
    assert [len(row) for row in many] == [30, 3, 2]
    assert many[1] == tagger.tag([sentence])[0]
    assert {tag for row in many for tag in row} <= set(TAGS)


def test_a_number_for_texts_and_pairs(make: Make) -> None:
    folder = make("BertForSequenceClassification", num_labels=1)
    regressor = Regressor.load(folder)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        alone = model(**tokenizer("a b", return_tensors="pt")).logits[0, 0].item()
        paired = model(**tokenizer("a b", "c", return_tensors="pt")).logits[0, 0].item()
    assert regressor.values(["a b", "a b c d"])[0] == pytest.approx(alone, abs=1e-5)
    assert regressor.values([("a b", "c"), ("a", "d e f")])[0] == pytest.approx(paired, abs=1e-5)
    several = make("BertForSequenceClassification", num_labels=3)
    with pytest.raises(BadInput, match="one output; this one has 3 labels"):
        Regressor.load(several)


def test_embeddings_are_sentence_transformers(make: Make) -> None:
    sentences = pytest.importorskip("sentence_transformers")
    folder = make("BertModel")
    texts = ["a b c", "d", "e f g h i j a b"]
    theirs = sentences.SentenceTransformer(str(folder), device="cpu").encode(texts)
    np.testing.assert_allclose(SentenceEncoder.load(folder).encode(texts), theirs, atol=1e-5)
    pooling = folder / "1_Pooling"
    pooling.mkdir()
    (pooling / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    first = SentenceEncoder.load(folder).encode(texts)
    assert not np.allclose(first, theirs, atol=1e-3)
    prompts = {"prompts": {"query": "a ", "document": ""}}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    prompted = SentenceEncoder.load(folder)
    np.testing.assert_allclose(
        prompted.encode(["b"], "query"), prompted.encode(["a b"], "document"), atol=1e-6
    )
    (pooling / "config.json").write_text(json.dumps({"pooling_mode_max_tokens": True}))
    with pytest.raises(BadInput, match="knows the mean and the first token"):
        SentenceEncoder.load(folder)
    (pooling / "config.json").write_text("{")
    with pytest.raises(BadInput, match="not JSON"):
        SentenceEncoder.load(folder)


def test_likelihoods_are_the_models_loss(make: Make) -> None:
    folder = make("GPT2LMHeadModel")
    language = LanguageModel.load(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    ids = torch.tensor([[4, 5, 6, 7]])
    with torch.inference_mode():
        loss = model(input_ids=ids, labels=ids).loss.item()
    got = language.likelihoods(["a b c d", "e", " ".join("abcdefghij" * 3)])
    assert got[0] == pytest.approx([3 * loss, 3], rel=1e-5)
    assert got[1].tolist() == [0, 0]  # one token and none before it
    assert got[2, 1] == 29  # windows over 30 tokens: all but the first


def test_answers_are_transformers_greedy_ones(make: Make) -> None:
    folder = make("GPT2LMHeadModel")
    language = LanguageModel.load(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    encoded = tokenizer("a b c", return_tensors="pt")
    with torch.inference_mode():
        made = model.generate(
            input_ids=encoded["input_ids"],
            attention_mask=encoded["attention_mask"],
            max_new_tokens=3,
            do_sample=False,
            pad_token_id=0,
        )
    expected = tokenizer.decode(made[0, encoded["input_ids"].shape[1] :], skip_special_tokens=True)
    # beside a shorter prompt, which is padded on the left
    assert language.generate(["a b c", "d"], 3)[0] == expected
    with pytest.raises(BadInput, match="none are left for the prompt"):
        language.generate(["a"], 12)


def test_folders_that_lack_the_head_or_bring_code_are_refused(make: Make) -> None:
    encoder = make("BertModel")
    with pytest.raises(BadInput, match="lacks weights"):
        TokenTagger.load(encoder)
    config = json.loads((encoder / "config.json").read_text())
    (encoder / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "x.Y"}}))
    with pytest.raises(BadInput, match="code of its own"):
        SentenceEncoder.load(encoder)


def test_lm_evals_tasks_run_offline(make: Make, tmp_path: Path) -> None:
    pytest.importorskip("lm_eval")
    pytest.importorskip("accelerate")
    from plait.evaluation import Evaluation, compare, evaluate, load_task
    from plait.recipes.project import parse_tasks

    (tmp_path / "data").mkdir()
    rows = [
        {"q": "a b", "choices": ["c", "d"], "answer": k % 2, "document": k // 2} for k in range(8)
    ]
    (tmp_path / "data" / "test.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    file = tmp_path / "task.yaml"
    file.write_text(
        "output_type: multiple_choice\ndoc_to_text: '{{q}}'\ndoc_to_target: answer\n"
        "doc_to_choice: choices\nmetric_list: [{metric: acc}, {metric: acc_norm}]\n"
    )
    entry = {"name": "letters", "dataset": "a/b", "type": "lm-eval", "harness": "task.yaml"}
    spec = parse_tasks([{**entry, "columns": {"group": "document"}}], "tasks")[0]
    folder = make("GPT2LMHeadModel")
    found = evaluate(folder, [load_task(spec, tmp_path, "test")])
    result = found.tasks["letters"]
    # the model prefers one of two letters whatever is asked: right on every other row
    assert result.score == 0.5
    assert (result.n, result.groups) == (8, 4)
    assert result.about["harness"] == "acc"
    again = Evaluation.from_json(json.loads(json.dumps(found.to_json())))
    assert again.to_json() == found.to_json()
    assert compare(found, again).average.effect == 0
    for change, told in (
        ("doc_to_text: '{{q.__class__}}'", "not allowed"),
        ("doc_to_text: '{{q[choices]}}'", "not allowed"),
        ("doc_to_text: '{{lipsum()}}'", "not allowed"),
        ("doc_to_text: !function tools.read", "not valid YAML"),
        ("dataset_path: someone/else", "unknown key 'dataset_path'"),
        ("metric_list: [{metric: bleurt}]", "must be one of acc"),
        ("doc_to_text: '{{q'", "no template"),
    ):
        key = change.split(":")[0]
        kept = [line for line in file.read_text().splitlines() if not line.startswith(key)]
        bad = tmp_path / "bad.yaml"
        bad.write_text("\n".join([*kept, change]))
        other = parse_tasks([{**entry, "harness": "bad.yaml"}], "tasks")[0]
        with pytest.raises(BadInput, match=told):
            load_task(other, tmp_path, "test")
    outside = parse_tasks([{**entry, "harness": "../task.yaml"}], "tasks")[0]
    with pytest.raises(BadInput, match="has no file"):
        load_task(outside, tmp_path, "test")
