# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.hub import ANONYMOUS, AddBytes, AddPointer, Repository
from plait.hub.repositories.headers import count_parameters, read_gguf, read_safetensors
from plait.hub.repositories.libraries import guess_model

from ..conftest import World


def safetensors(tensors: dict[str, list[int]], dtype: str = "F32", bits: int = 32) -> bytes:
    header, place = {}, 0
    for name, shape in tensors.items():
        size = bits // 8
        for length in shape:
            size *= length
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [place, place + size]}
        place += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(place)


def gguf(values: dict[str, str], shape: list[int]) -> bytes:
    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    pairs = b"".join(text(k) + struct.pack("<I", 8) + text(v) for k, v in values.items())
    array = text("tokens") + struct.pack("<IIQ", 9, 8, 2) + text("a") + text("b")
    tensor = text("w") + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape)
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, len(values) + 1)
    return head + pairs + array + tensor + struct.pack("<IQ", 0, 0)


def reader(data: bytes) -> Any:
    return lambda start, end: data[start:end]


def commit(world: World, repo: Repository, **files: bytes | str) -> Repository:
    operations: list[AddBytes | AddPointer] = []
    for name, content in files.items():
        path = name.replace("__", ".").replace("_slash_", "/")
        data = content.encode() if isinstance(content, str) else content
        if path.endswith((".safetensors", ".gguf")):
            operations.append(AddPointer(path, world.blob(repo, data), len(data)))
        else:
            operations.append(AddBytes(path, data))
    world.hub.commits.apply(world.actor("ann"), repo, "main", operations, "files")
    return world.hub.repositories.get(world.actor("ann"), repo.type, repo.full_name)


def test_a_transformers_model_is_known_by_its_files(world: World) -> None:
    repo = commit(
        world,
        world.repo(),
        config__json='{"architectures": ["BertForSequenceClassification"], "model_type": "bert"}',
        tokenizer_config__json='{"mask_token": {"content": "[MASK]"}, "secret": "x"}',
        model__safetensors=safetensors({"a": [2, 3], "b": [4]}),
        README__md="---\nbase_model: google/bert\nlanguage: en\n---\nhttps://arxiv.org/abs/1810.04805",
    )
    facts = repo.facts
    assert facts["library_name"] == "transformers"
    assert facts["pipeline_tag"] == "text-classification"
    assert facts["transformersInfo"]["auto_model"] == "AutoModelForSequenceClassification"
    assert facts["safetensors"] == {"parameters": {"F32": 10}, "total": 10}
    assert repo.parameters == 10
    assert facts["mask_token"] == "[MASK]"
    assert facts["config"]["tokenizer_config"] == {"mask_token": "[MASK]"}
    assert set(facts["tags"]) >= {
        "transformers", "safetensors", "bert", "text-classification", "en", "arxiv:1810.04805",
        "base_model:google/bert", "base_model:finetune:google/bert",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("names", "card", "library", "relation"),
    [
        (["adapter_config.json"], {"base_model": "a/b"}, "peft", "adapter"),
        (
            ["modules.json", "config.json"],
            {"base_model": "a/b"},
            "sentence-transformers",
            "finetune",
        ),
        (["model_index.json"], {}, "diffusers", None),
        (["m.gguf"], {"base_model": "a/b"}, None, "quantized"),
        (["x"], {"base_model": ["a/b", "c/d"]}, None, "merge"),
        (["x"], {"base_model": "a/b", "tags": ["merge"]}, None, "merge"),
        (["x"], {"base_model": "a/b", "base_model_relation": "adapter"}, None, "adapter"),
        (["config.json"], {"library_name": "timm"}, "timm", None),
        ([], {"base_model": 3, "library_name": ["x"], "pipeline_tag": {}}, None, None),
    ],
)
def test_libraries_and_relations(
    names: list[str], card: dict[str, Any], library: str | None, relation: str | None
) -> None:
    guess = guess_model(names, card, "", {})
    assert (guess.library, guess.relation) == (library, relation)


def test_a_weight_file_is_read_again_only_when_it_changed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = commit(world, world.repo(), model__safetensors=safetensors({"a": [5]}))
    with monkeypatch.context() as patch:
        patch.setattr(
            "plait.hub.repositories.facts.read_safetensors", lambda *_: pytest.fail("read again")
        )
        repo = commit(world, repo, notes__txt="x")
    assert repo.parameters == 5
    repo = commit(world, repo, model__safetensors=safetensors({"a": [7]}))
    assert repo.parameters == 7


def test_shards_are_added_up_and_what_lies_is_left_out(world: World) -> None:
    index = json.dumps({"weight_map": {"a": "s-1.safetensors", "b": "s-2.safetensors", "c": "no"}})
    files = {
        "model__safetensors__index__json": index,
        "s-1__safetensors": safetensors({"a": [3]}),
        "s-2__safetensors": safetensors({"b": [4]}, "F16", 16),
        "other__safetensors": safetensors({"z": [100]}),
    }
    repo = commit(world, world.repo(), **files)
    assert repo.facts["safetensors"] == {"parameters": {"F32": 3, "F16": 4}, "total": 7}
    repo = commit(world, repo, **{"s-2__safetensors": b"\xff" * 100})
    assert repo.facts["safetensors"]["total"] == 3


def test_a_gguf_file_tells_its_architecture(world: World) -> None:
    data = gguf({"general.architecture": "llama", "tokenizer.chat_template": "{{ x }}"}, [4, 8])
    repo = commit(world, world.repo(), m__gguf=data)
    found = repo.facts["gguf"]
    assert (found["total"], found["architecture"], found["chat_template"]) == (
        32,
        "llama",
        "{{ x }}",
    )
    assert "gguf" in repo.facts["tags"]


def test_a_data_set_is_known_by_its_files_and_card(world: World) -> None:
    card = """---
language: [en, no]
task_categories: [text-classification]
dataset_info:
  features: [{name: t, dtype: string}, {name: n, dtype: int64}]
  splits: [{name: train, num_examples: 800}, {name: test, num_examples: 700}]
  dataset_size: 1234
---
# Reviews
Short *texts*.
"""
    repo = commit(world, world.repo(kind="dataset"), README__md=card, data__parquet=b"x")
    assert set(repo.facts["tags"]) >= {
        "language:en", "language:no", "task_categories:text-classification", "format:parquet",
        "size_categories:1K<n<10K", "modality:text", "modality:tabular", "library:datasets",
    }  # fmt: skip
    assert repo.facts["description"] == "Reviews Short texts ."
    assert repo.facts["mainSize"] == 1234


def test_a_space_keeps_its_sdk_until_its_card_says_otherwise(world: World) -> None:
    ann = world.actor("ann")
    repo = world.hub.repositories.create(ann, "space", "shop/app", sdk="docker")
    assert repo.facts["sdk"] == "docker"
    repo = commit(world, repo, app__py="x")
    assert repo.facts["sdk"] == "docker"
    repo = commit(world, repo, README__md="---\nsdk: gradio\nmodels: [shop/model]\n---")
    assert (repo.facts["sdk"], repo.facts["models"]) == ("gradio", ["shop/model"])


def test_unreadable_files_say_nothing(world: World) -> None:
    repo = commit(
        world,
        world.repo(),
        config__json="[" * 100_000,
        tokenizer_config__json="{",
        README__md="---\n: [\n---\n",
        model__safetensors=b"short",
    )
    assert repo.card == {}
    assert "config" not in repo.facts or repo.facts["config"] == {}
    assert repo.parameters is None
    assert world.hub.repositories.get(ANONYMOUS, "model", "shop/model").head == repo.head


@given(st.binary(max_size=400))
def test_any_bytes_are_a_header_or_none(data: bytes) -> None:
    for prefix in (b"", b"GGUF\x03\0\0\0", struct.pack("<Q", max(0, len(data)))):
        whole = prefix + data
        header = read_safetensors(reader(whole), len(whole))
        if header is not None:
            assert all(number >= 0 for number in count_parameters(header).values())
        read_gguf(reader(whole))


@given(
    st.dictionaries(
        st.text(max_size=5),
        st.fixed_dictionaries(
            {
                "dtype": st.sampled_from(["F32", "X"]) | st.integers(),
                "shape": st.lists(st.integers(-5, 2**60)) | st.text(max_size=3),
                "data_offsets": st.lists(st.integers(-5, 2**70), max_size=3),
            }
        ),
    )
)
def test_headers_that_lie_about_sizes_are_refused(tensors: dict[str, Any]) -> None:
    text = json.dumps(tensors).encode()
    whole = struct.pack("<Q", len(text)) + text + bytes(16)
    header = read_safetensors(reader(whole), len(whole))
    if header is not None:
        known = {name: t for name, t in header.items() if t["dtype"] == "F32"}
        assert sum(count_parameters(known).values()) * 4 <= 16 * max(1, len(known))
