# SPDX-License-Identifier: Apache-2.0
"""GGUF files as inputs: the values that transformers reads, and damaged files refused."""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plait.errors import BadInput, MissingExtra, PlaitError
from plait.fusion import check_model, check_recipe, fuse, fused_tensors
from plait.fusion.weights.checkpoints import open_checkpoint
from plait.fusion.weights.gguf import read_gguf
from plait.fusion.weights.gguf_models import PARTS, WHOLE

from .models import read_safetensors

gguf = pytest.importorskip("gguf")

HIDDEN, INNER, WORDS, HEADS, KEYS = 64, 96, 40, 4, 2
Make = Callable[..., Path]


def names(kind: str) -> dict[str, tuple[int, ...]]:
    head = HIDDEN // HEADS
    found: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (WORDS, HIDDEN),
        "output_norm.weight": (HIDDEN,),
        "output.weight": (WORDS, HIDDEN),
    }
    for n in range(2):
        start = f"blk.{n}."
        found[f"{start}attn_norm.weight"] = found[f"{start}ffn_norm.weight"] = (HIDDEN,)
        for part, rows in (("q", HEADS), ("k", KEYS), ("v", KEYS)):
            found[f"{start}attn_{part}.weight"] = (rows * head, HIDDEN)
            if kind == "qwen2":
                found[f"{start}attn_{part}.bias"] = (rows * head,)
        found[f"{start}attn_output.weight"] = (HIDDEN, HIDDEN)
        found[f"{start}ffn_gate.weight"] = found[f"{start}ffn_up.weight"] = (INNER, HIDDEN)
        found[f"{start}ffn_down.weight"] = (HIDDEN, INNER)
        if kind == "qwen3":
            found[f"{start}attn_q_norm.weight"] = found[f"{start}attn_k_norm.weight"] = (head,)
    return found


def write(path: Path, kind: str = "llama", form: str = "F32", seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, kind)
    writer.add_block_count(2)
    writer.add_context_length(128)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEYS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(20_000.0)
    writer.add_vocab_size(WORDS)
    if kind == "qwen3":
        writer.add_key_length(HIDDEN // HEADS)
    writer.add_array("tokenizer.ggml.tokens", [f"w{i}" for i in range(WORDS)])
    random = np.random.default_rng(seed)
    for name, shape in names(kind).items():
        values = random.standard_normal(shape, np.float32) * np.float32(0.1)
        number = gguf.GGMLQuantizationType[form]
        if len(shape) == 1 or form == "F32":
            writer.add_tensor(name, values)
        elif form == "F16":
            writer.add_tensor(name, values.astype(np.float16))
        else:
            writer.add_tensor(name, gguf.quants.quantize(values, number), raw_dtype=number)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def passed_through(path: Path) -> dict[str, np.ndarray]:
    data = {"merge_method": "passthrough", "models": [{"model": str(path)}]}
    return dict(fused_tensors(data))


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        ("llama", "F32"),
        ("llama", "F16"),
        ("llama", "BF16"),
        ("llama", "Q8_0"),
        ("llama", "Q4_0"),
        ("llama", "Q4_1"),
        ("llama", "Q5_0"),
        ("llama", "Q5_1"),
        ("qwen2", "F16"),
        ("qwen2", "Q8_0"),
        ("qwen3", "Q4_0"),
    ],
)
def test_transformers_reads_the_same(kind: str, form: str, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    path = write(tmp_path / "m" / "model.gguf", kind, form)
    config = transformers.AutoConfig.from_pretrained(path.parent, gguf_file=path.name)
    config.head_dim = HIDDEN // HEADS  # of Qwen3's files transformers does not read it
    peer = transformers.AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, config=config
    )
    expected = {n: v.float().numpy() for n, v in peer.state_dict().items()}
    found = passed_through(path)
    assert set(found) == set(expected)
    for name, values in found.items():
        np.testing.assert_array_equal(values.astype(np.float32), expected[name], err_msg=name)


def test_the_configuration_comes_from_the_file(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    path = write(tmp_path / "m" / "model.gguf")
    fuse({"merge_method": "passthrough", "models": [{"model": str(path)}]}, tmp_path / "out")
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert type(model).__name__ == "LlamaForCausalLM"
    told = json.loads((tmp_path / "out" / "config.json").read_text())
    assert told["num_key_value_heads"] == KEYS
    assert told["rope_theta"] == 20_000
    assert told["vocab_size"] == WORDS
    assert told["tie_word_embeddings"] is False


def test_fused_with_others(tmp_path: Path) -> None:
    one, two = (write(tmp_path / n / "m.gguf", form="Q8_0", seed=i) for i, n in enumerate("ab"))
    fuse({"merge_method": "passthrough", "models": [{"model": str(two)}]}, tmp_path / "c")
    models = [{"model": str(m), "parameters": {"weight": 0.5}} for m in (one, tmp_path / "c")]
    result = fuse({"merge_method": "linear", "models": models}, tmp_path / "out", threads=2)
    assert result.inputs[str(one)].keys() == {"m.gguf"}
    made = read_safetensors(tmp_path / "out" / "model.safetensors")
    first, second = passed_through(one), passed_through(two)
    for name, values in made.items():
        np.testing.assert_allclose(values, (first[name] + second[name]) / 2, atol=1e-6)
    check = check_recipe({"merge_method": "linear", "models": models})
    assert check.models[0].architecture == "LlamaForCausalLM"
    assert check.cost is not None


def test_a_folder_with_one_file_stands_for_it(tmp_path: Path) -> None:
    path = write(tmp_path / "m" / "model-Q8_0.gguf", form="Q8_0")
    assert check_model(path.parent).files == ("model-Q8_0.gguf",)
    assert check_model(path).parameters == check_model(path.parent).parameters
    write(tmp_path / "m" / "model-F16.gguf", form="F16")
    with pytest.raises(BadInput, match="2 GGUF files"):
        check_model(path.parent)


def test_a_configuration_beside_it_counts(tmp_path: Path) -> None:
    path = write(tmp_path / "m" / "model.gguf")
    told = {"model_type": "mistral", "num_attention_heads": HEADS, "num_key_value_heads": KEYS}
    (path.parent / "config.json").write_text(json.dumps(told))
    assert open_checkpoint(path).config == told


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3"])
def test_names_are_those_of_llama_cpp(kind: str) -> None:
    number = next(n for n, t in gguf.MODEL_ARCH_NAMES.items() if t == kind)
    known = gguf.get_tensor_name_map(number, 1)
    for short, long in WHOLE.items():
        assert known.get_name(long) == short
    for short, long in PARTS.items():
        if kind == "qwen3" or "_norm" not in short or short in ("attn_norm", "ffn_norm"):
            assert known.get_name(f"model.layers.0.{long}") == f"blk.0.{short}"


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = write(tmp_path / "a" / "m.gguf", form="F16")
    quantised = write(tmp_path / "b" / "m.gguf", form="Q4_0")
    monkeypatch.setitem(sys.modules, "gguf", None)
    monkeypatch.setitem(sys.modules, "gguf.quants", None)
    assert passed_through(plain)
    with pytest.raises(MissingExtra, match="gguf"):
        check_model(quantised)


class TestBadFiles:
    def test_another_architecture(self, tmp_path: Path) -> None:
        writer = gguf.GGUFWriter(tmp_path / "m.gguf", "mamba")
        writer.add_tensor("token_embd.weight", np.zeros((2, 2), np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        with pytest.raises(BadInput, match="'mamba'"):
            check_model(tmp_path / "m.gguf")

    @pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
    def test_cut_off(self, share: float, tmp_path: Path) -> None:
        path = write(tmp_path / "m.gguf")
        raw = path.read_bytes()
        path.write_bytes(raw[: int(len(raw) * share)])
        with pytest.raises(BadInput, match="truncated"):
            check_model(path)

    def test_another_version(self, tmp_path: Path) -> None:
        path = write(tmp_path / "m.gguf")
        raw = bytearray(path.read_bytes())
        raw[4:8] = struct.pack("<I", 9)
        path.write_bytes(raw)
        with pytest.raises(BadInput, match="version"):
            check_model(path)

    def test_counts_that_cannot_be(self, tmp_path: Path) -> None:
        path = tmp_path / "m.gguf"
        path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 1 << 60))
        with pytest.raises(BadInput, match="announces"):
            check_model(path)
        key = struct.pack("<Q", 1) + b"a"
        array = key + struct.pack("<IIQ", 9, 0, 1 << 62)
        path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + array)
        with pytest.raises(BadInput, match="truncated"):
            check_model(path)

    def test_heads_that_do_not_divide(self, tmp_path: Path) -> None:
        path = write(tmp_path / "m" / "m.gguf")
        (path.parent / "config.json").write_text('{"num_attention_heads": 5}')
        with pytest.raises(BadInput, match="5 heads"):
            check_model(path)

    def test_nan_is_refused(self, tmp_path: Path) -> None:
        path = write(tmp_path / "m.gguf", form="F16")
        _, entries = read_gguf(path)
        entry = entries["blk.0.attn_q.weight"]
        raw = bytearray(path.read_bytes())
        raw[entry.offset : entry.offset + 2] = np.array([np.nan], np.float16).tobytes()
        path.write_bytes(raw)
        with pytest.raises(BadInput, match="NaN"):
            passed_through(path)

    @settings(
        max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(data=st.data())
    def test_any_change_is_a_sentence_or_a_model(self, data: Any, tmp_path: Path) -> None:
        source = tmp_path / "source.gguf"
        if not source.exists():
            write(source, form="Q8_0")
        raw = bytearray(source.read_bytes())
        header = 4000  # the settings and what tensors there are
        for _ in range(data.draw(st.integers(1, 4))):
            place = data.draw(st.integers(0, header))
            chunk = data.draw(st.binary(min_size=1, max_size=8))
            raw[place : place + len(chunk)] = chunk
        path = tmp_path / "changed.gguf"
        path.write_bytes(bytes(raw))
        try:
            check_model(path)
        except PlaitError as error:
            assert error.message.endswith(".")
