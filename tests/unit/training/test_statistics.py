# SPDX-License-Identifier: Apache-2.0
"""Statistics of a tiny classifier: against sums written down again, and used in a fusion."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from plait.errors import BadInput

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from safetensors.numpy import load_file  # noqa: E402

from plait.cli.main import app  # noqa: E402
from plait.fusion.weights import fused_tensors  # noqa: E402
from plait.training.statistics import collect_statistics  # noqa: E402

pytestmark = pytest.mark.models
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "day", "film", "soup"]
TEXTS = ["good day", "bad film", "good soup good day", "bad"] * 3
LAYER = "bert.encoder.layer.0.output.dense.weight"


def classifier(folder: Path, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    config = transformers.BertConfig(
        vocab_size=len(WORDS),
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=12,
        max_position_embeddings=16,
        num_labels=2,
    )
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    transformers.BertTokenizerFast(vocab_file=str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return classifier(tmp_path_factory.mktemp("models") / "m")


def test_gram_is_the_mean_of_inputs_without_padding(model: Path, tmp_path: Path) -> None:
    collect_statistics(model, TEXTS, tmp_path / "s.safetensors", threads=1)
    made = load_file(tmp_path / "s.safetensors")
    loaded = transformers.BertForSequenceClassification.from_pretrained(model).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    seen: list[np.ndarray] = []
    dense = dict(loaded.named_modules())[LAYER.removesuffix(".weight")]
    dense.register_forward_pre_hook(lambda m, x: seen.append(x[0][0].detach().numpy()))
    with torch.inference_mode():
        for text in TEXTS:  # one by one: no padding at all
            loaded(**tokenizer(text, return_tensors="pt"))
    inputs = np.concatenate(seen).astype(np.float64)
    np.testing.assert_allclose(
        made[f"gram.{LAYER}"], inputs.T @ inputs / len(inputs), rtol=1e-3, atol=1e-5
    )


def test_fisher_of_the_head_is_the_formula(model: Path, tmp_path: Path) -> None:
    collect_statistics(model, TEXTS, tmp_path / "s.safetensors", kinds=["fisher"], threads=1)
    made = load_file(tmp_path / "s.safetensors")
    loaded = transformers.BertForSequenceClassification.from_pretrained(model).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    total = np.zeros(2)
    with torch.inference_mode():
        for text in TEXTS:
            p = loaded(**tokenizer(text, return_tensors="pt")).logits[0].softmax(-1).numpy()
            # the gradient of log p_c by a head's bias is (class is c) - p
            total += sum(p[c] * (np.eye(2)[c] - p) ** 2 for c in range(2)) / len(TEXTS)
    np.testing.assert_allclose(made["fisher.classifier.bias"], total, rtol=1e-4)
    assert set(made) == {f"fisher.{n}" for n in load_file(model / "model.safetensors")}


@pytest.mark.parametrize(("kind", "method"), [("gram", "regmean"), ("fisher", "fisher")])
def test_they_are_what_fusion_asks_for(tmp_path: Path, kind: str, method: str) -> None:
    names = []
    (tmp_path / "words" / "data").mkdir(parents=True)
    rows = [{"text": t, "label": "good" if "good" in t else "bad"} for t in TEXTS]
    text = "\n".join(json.dumps(r) for r in rows)
    (tmp_path / "words" / "data" / "train.jsonl").write_text(text)
    for seed in (1, 2):
        names.append(str(classifier(tmp_path / f"m{seed}", seed)))
        command = ["statistics", names[-1], "--data", str(tmp_path / "words"), "--kind", kind]
        done = CliRunner().invoke(app, [*command, "--limit", "8", "--json"])
        assert done.exit_code == 0, done.output
        assert json.loads(done.output)["texts"] == 8
    data = {"merge_method": method, "models": [{"model": n} for n in names]}
    made = dict(fused_tensors(data))
    means = dict(
        fused_tensors(
            data
            | {
                "merge_method": "linear",
                "models": [{"model": n, "parameters": {"weight": 1}} for n in names],
            }
        )
    )
    assert made.keys() == means.keys()
    assert not np.allclose(made[LAYER], means[LAYER], atol=1e-4)


@pytest.mark.parametrize(
    ("texts", "kinds", "says"),
    [
        ([], ["gram"], "1 to"),
        (["a"], ["gramm"], "not 'gramm'; did you mean 'gram'"),
        (["a"], [], "none is named"),
    ],
)
def test_what_cannot_be(
    model: Path, tmp_path: Path, texts: list[str], kinds: list[str], says: str
) -> None:
    with pytest.raises(BadInput, match=says):
        collect_statistics(model, texts, tmp_path / "s", kinds=kinds)
    assert list(tmp_path.iterdir()) == []
