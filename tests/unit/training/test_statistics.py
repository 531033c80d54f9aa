# SPDX-License-Identifier: Apache-2.0
"""Statistics of a tiny classifier: against sums written down again, and used in a fusion."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from plait.errors import BadInput

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from safetensors.numpy import load_file, save_file  # noqa: E402

from plait.cli.main import app  # noqa: E402
from plait.fusion.weights import fused_tensors  # noqa: E402
from plait.fusion.weights.checkpoints import STATISTICS  # noqa: E402
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
    # of a file the class would read nothing, without a word (transformers 5)
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    transformers.BertTokenizerFast(vocab=vocabulary).save_pretrained(folder)
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


@pytest.fixture(scope="module")
def speaker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a tiny causal language model."""
    folder = tmp_path_factory.mktemp("models") / "speaker"
    torch.manual_seed(5)
    config = transformers.LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        intermediate_size=12,
        max_position_embeddings=16,
        initializer_range=0.7,
        tie_word_embeddings=True,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    # of a file the class would read nothing, without a word (transformers 5)
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    transformers.BertTokenizerFast(vocab=vocabulary).save_pretrained(folder)
    return folder


def test_of_a_language_model_gram_is_per_token(speaker: Path, tmp_path: Path) -> None:
    collect_statistics(speaker, TEXTS, tmp_path / "s.safetensors", threads=1)
    made = load_file(tmp_path / "s.safetensors")
    weights = load_file(speaker / "model.safetensors")
    assert {name.removeprefix("gram.") for name in made} == {
        name for name, values in weights.items() if values.ndim == 2 and "embed" not in name
    }
    loaded = transformers.LlamaForCausalLM.from_pretrained(speaker).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(speaker)
    seen: list[np.ndarray] = []
    loaded.model.layers[0].mlp.down_proj.register_forward_pre_hook(
        lambda m, x: seen.append(x[0][0].detach().numpy())
    )
    with torch.inference_mode():
        for text in TEXTS:
            loaded(**tokenizer(text, return_tensors="pt", return_token_type_ids=False))
    inputs = np.concatenate(seen).astype(np.float64)
    np.testing.assert_allclose(
        made["gram.model.layers.0.mlp.down_proj.weight"],
        inputs.T @ inputs / len(inputs),
        rtol=1e-3,
        atol=1e-5,
    )


def test_of_a_language_model_fisher_is_the_expectation_over_tokens(
    speaker: Path, tmp_path: Path
) -> None:
    text = "good film bad"
    collect_statistics(
        speaker, [text] * 400, tmp_path / "s.safetensors", kinds=["fisher"], threads=1
    )
    made = load_file(tmp_path / "s.safetensors")["fisher.model.norm.weight"]
    loaded = transformers.LlamaForCausalLM.from_pretrained(speaker).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(speaker)
    given = tokenizer(text, return_tensors="pt", return_token_type_ids=False)
    logs = loaded(**given).logits[0, :-1].log_softmax(-1)
    exact = np.zeros(8)
    for place in logs:
        for log in place.unbind():
            slope = torch.autograd.grad(log, loaded.model.norm.weight, retain_graph=True)[0]
            exact += float(log.detach().exp()) * slope.numpy() ** 2 / len(logs)
    np.testing.assert_allclose(made, exact, rtol=0.35)
    assert made.sum() == pytest.approx(exact.sum(), rel=0.1)


def test_language_models_fuse_by_their_statistics(speaker: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(speaker, other)
    weights = load_file(other / "model.safetensors")
    draw = np.random.default_rng(2)
    save_file(
        {n: v + draw.normal(0, 0.1, v.shape).astype(v.dtype) for n, v in weights.items()},
        other / "model.safetensors",
        metadata={"format": "pt"},
    )
    for folder in (speaker, other):
        collect_statistics(folder, TEXTS, folder / STATISTICS, kinds=["gram", "fisher"], threads=1)
    data = {"models": [{"model": str(speaker)}, {"model": str(other)}]}
    layer = "model.layers.0.mlp.down_proj.weight"
    for method in ("regmean", "fisher"):
        made = dict(fused_tensors(data | {"merge_method": method}))
        assert made.keys() == weights.keys()
        mean = weights[layer] + (load_file(other / "model.safetensors")[layer] - weights[layer]) / 2
        assert np.abs(made[layer] - mean).max() > 1e-4


def test_a_language_model_has_nothing_to_say_of_single_tokens(
    speaker: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(speaker, bare)
    tokenizer = transformers.AutoTokenizer.from_pretrained(bare).backend_tokenizer
    tokenizer.post_processor = None  # no [CLS] and [SEP]
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]"
    ).save_pretrained(bare)
    with pytest.raises(BadInput, match="two tokens or more"):
        collect_statistics(bare, ["good", "bad"], tmp_path / "s", threads=1)


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
