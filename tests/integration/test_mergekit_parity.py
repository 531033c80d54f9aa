# SPDX-License-Identifier: Apache-2.0
"""The same recipes through Plait and through mergekit 0.1.5, number by number.

mergekit is not a dependency: it lives in an environment of its own, whose interpreter
`PLAIT_MERGEKIT_PYTHON` names, and is only ever run, never imported.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plait.fusion.weights import fused_tensors

PYTHON = os.environ.get("PLAIT_MERGEKIT_PYTHON")
pytestmark = pytest.mark.skipif(
    not PYTHON,
    reason="PLAIT_MERGEKIT_PYTHON is not set: name the interpreter of one with mergekit==0.1.5",
)

HIDDEN, INNER, LAYERS, VOCABULARY = 64, 128, 3, 200
MODELS = ("base", "a", "b", "c")
WEIGHTS = {"a": 0.5, "b": 0.3, "c": 0.4}
RUN = """
import json, sys
from mergekit.config import MergeConfiguration
from mergekit.merge import run_merge
from mergekit.options import MergeOptions
for name, recipe in json.load(open(sys.argv[1])).items():
    options = MergeOptions(copy_tokenizer=False, quiet=True, random_seed=7)
    run_merge(MergeConfiguration.model_validate(recipe), f"{sys.argv[2]}/{name}", options)
"""

Arrays = dict[str, np.ndarray]


def shapes() -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (VOCABULARY, HIDDEN),
        "model.norm.weight": (HIDDEN,),
        "lm_head.weight": (VOCABULARY, HIDDEN),
    }
    for number in range(LAYERS):
        start = f"model.layers.{number}."
        found |= {f"{start}self_attn.{p}_proj.weight": (HIDDEN, HIDDEN) for p in "qkvo"}
        found |= {f"{start}mlp.{p}_proj.weight": (INNER, HIDDEN) for p in ("gate", "up")}
        found[f"{start}mlp.down_proj.weight"] = (HIDDEN, INNER)
        found[f"{start}input_layernorm.weight"] = (HIDDEN,)
        found[f"{start}post_attention_layernorm.weight"] = (HIDDEN,)
    return found


def bfloat16(values: np.ndarray) -> np.ndarray:
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def widened(stored: np.ndarray) -> np.ndarray:
    return (stored.astype(np.uint32) << np.uint32(16)).view(np.float32)


def write(folder: Path, tensors: Arrays) -> None:
    folder.mkdir()
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    place = 0
    for name, values in tensors.items():
        offsets = [place, place + values.nbytes]
        header[name] = {"dtype": "BF16", "shape": values.shape, "data_offsets": offsets}
        place += values.nbytes
    text = json.dumps(header).encode()
    data = b"".join(v.tobytes() for v in tensors.values())
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    config = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "num_hidden_layers": LAYERS,
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "vocab_size": VOCABULARY,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "max_position_embeddings": 64,
        "torch_dtype": "bfloat16",
    }
    (folder / "config.json").write_text(json.dumps(config))


def read(folder: Path) -> Arrays:
    result = {}
    for path in folder.glob("*.safetensors"):
        raw = path.read_bytes()
        (length,) = struct.unpack("<Q", raw[:8])
        for name, entry in json.loads(raw[8 : 8 + length]).items():
            if name != "__metadata__":
                begin, end = (8 + length + o for o in entry["data_offsets"])
                short = entry["dtype"] == "BF16"
                values = np.frombuffer(raw[begin:end], np.uint16 if short else np.float32)
                result[name] = (widened(values) if short else values).reshape(entry["shape"])
    return result


def recipes(root: Path) -> dict[str, dict[str, Any]]:
    path = {n: str(root / n) for n in MODELS}

    def deltas(method: str, own: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        models = [
            {"model": path[n], "parameters": {"weight": w} | (own or {})}
            for n, w in WEIGHTS.items()
        ]
        return {"merge_method": method, "base_model": path["base"], "models": models} | more

    def linear(**more: Any) -> dict[str, Any]:
        data = deltas("linear", **more)
        del data["base_model"]
        return data

    def slerp(t: Any, **more: Any) -> dict[str, Any]:
        models = [{"model": path["a"]}, {"model": path["b"]}]
        data = {"merge_method": "slerp", "base_model": path["a"], "models": models}
        return data | {"parameters": {"t": t}} | more

    def source(model: str, low: int, high: int, **own: Any) -> dict[str, Any]:
        return {"model": path[model], "layer_range": [low, high], "parameters": own}

    two = deltas("linear")["models"][:2]
    wide, short = {"dtype": "float32"}, {"dtype": "bfloat16"}
    both = wide | {"out_dtype": "bfloat16"}
    rules = [
        {"filter": "mlp", "value": [0.1, 0.9, 0.2, 0.3]},
        {"filter": "lm_head", "value": [0.2, 0.8]},
        {"filter": "norm", "value": 0.7},
        {"filter": "*", "value": [0.3, 0.35]},
    ]
    return {
        "linear": linear(**both),
        "linear float32": linear(**wide),
        "linear bfloat16": linear(**short),
        "linear as it comes": linear(),
        "linear plain": linear(**wide, parameters={"normalize": False}),
        "linear slices": {
            "merge_method": "linear",
            "slices": [
                {"sources": [source("a", 0, 2, weight=0.3), source("b", 1, 3, weight=[0.1, 0.9])]},
                {"sources": [source("c", 0, 2, weight=0.5), source("b", 0, 2, weight=0.2)]},
            ],
        }
        | wide,
        "passthrough": {
            "merge_method": "passthrough",
            "slices": [{"sources": [source("a", 0, 2)]}, {"sources": [source("b", 1, 3)]}],
        }
        | short,
        "task_arithmetic": deltas("task_arithmetic", **both),
        "task_arithmetic float32": deltas("task_arithmetic", **wide),
        "task_arithmetic bfloat16": deltas("task_arithmetic", **short),
        "task_arithmetic rules": deltas("task_arithmetic", {"weight": rules}, **wide),
        "task_arithmetic lambda": deltas(
            "task_arithmetic", **short, parameters={"lambda": 0.7, "normalize": True}
        ),
        "ties whole": deltas("ties", {"density": 1.0}, **wide),
        "ties whole bfloat16": deltas("ties", {"density": 1.0}, **short),
        "ties whole plain": deltas(
            "ties", {"density": 1.0}, **wide, parameters={"normalize": False}
        ),
        "ties": deltas("ties", {"density": 0.2}, **wide),
        "ties lambda": deltas("ties", {"density": 0.6}, **wide, parameters={"lambda": 0.4}),
        "slerp": slerp(0.3, **short),
        "slerp gradient": slerp(
            [{"filter": "mlp", "value": [0.1, 0.9, 0.2]}, {"value": 0.5}], **both
        ),
        "nuslerp": linear(**both) | {"merge_method": "nuslerp", "models": two},
        "nuslerp base": deltas("nuslerp", **both) | {"models": two},
        "nuslerp last": deltas("nuslerp", **both, parameters={"nuslerp_flatten": False})
        | {"models": two},
        "nuslerp first": deltas(
            "nuslerp", **both, parameters={"nuslerp_flatten": False, "nuslerp_row_wise": True}
        )
        | {"models": two},
        "multislerp": linear(**both) | {"merge_method": "multislerp"},
        "multislerp plain": linear(**both, parameters={"normalize_weights": False})
        | {"merge_method": "multislerp"},
        "multislerp base": deltas("multislerp", **both),
        "karcher": linear(**both) | {"merge_method": "karcher"},
        "model_stock": deltas("model_stock", **both),
        "model_stock rows": deltas("model_stock", **both, parameters={"filter_wise": True}),
        "nearswap": slerp(0.001, **both) | {"merge_method": "nearswap"},
        "ram": deltas("ram", **both, parameters={"epsilon": 0.002}),
        "ramplus_tl": deltas("ramplus_tl", **both, parameters={"epsilon": 0.002, "r": 0.5}),
        "sce": deltas("sce", **both),
        "breadcrumbs": deltas("breadcrumbs", {"density": 0.5, "gamma": 0.1}, **wide),
        "breadcrumbs_ties": deltas("breadcrumbs_ties", {"density": 0.5, "gamma": 0.1}, **wide),
        "della whole": deltas("della", {"density": 1.0}, **both),
        "della_linear whole": deltas("della_linear", {"density": 1.0}, **both),
        "della": deltas("della", {"density": 0.4, "epsilon": 0.2}, **wide),
        "della_linear": deltas("della_linear", {"density": 0.4}, **wide),
        "dare_linear": deltas("dare_linear", {"density": 0.3}, **wide),
        "dare_ties": deltas("dare_ties", {"density": 0.3}, **wide),
    }


Case = tuple[Arrays, Arrays, dict[str, Arrays]]


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Case]:
    """Run every recipe through mergekit once; then give (its tensors, Plait's, the inputs)."""
    root = tmp_path_factory.mktemp("parity")
    random = np.random.default_rng(0)
    inputs: dict[str, Arrays] = {n: {} for n in MODELS}
    for name, shape in shapes().items():
        base = random.standard_normal(shape, np.float32) * np.float32(0.02)
        for model in MODELS:
            noise = random.standard_normal(shape, np.float32) * np.float32(0.002)
            inputs[model][name] = bfloat16(base if model == "base" else base + noise)
    for model, tensors in inputs.items():
        write(root / model, tensors)
    every = recipes(root)
    (root / "recipes.json").write_text(json.dumps(every))
    command = [str(PYTHON), "-c", RUN, str(root / "recipes.json"), str(root / "made")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    values = {m: {n: widened(v) for n, v in t.items()} for m, t in inputs.items()}

    def get(name: str) -> Case:
        theirs, ours = read(root / "made" / name), dict(fused_tensors(every[name]))
        assert theirs.keys() == ours.keys()
        return theirs, ours, values

    return get


EXACT = [
    "linear",
    "linear float32",
    "linear bfloat16",
    "linear as it comes",
    "linear plain",
    "linear slices",
    "passthrough",
    "task_arithmetic",
    "task_arithmetic float32",
    "task_arithmetic bfloat16",
    "task_arithmetic rules",
    "task_arithmetic lambda",
    "ties whole",
    "ties whole bfloat16",
    "ties whole plain",
    "della whole",
    "della_linear whole",
]
NEAR = [
    "slerp",
    "slerp gradient",
    "nuslerp",
    "nuslerp base",
    "nuslerp last",
    "nuslerp first",
    "multislerp",
    "multislerp plain",
    "multislerp base",
    "karcher",
    "model_stock",
    "model_stock rows",
    "nearswap",
    "ram",
    "ramplus_tl",
    "sce",
]


@pytest.mark.parametrize("name", EXACT)
def test_the_same_bit_for_bit(case: Callable[[str], Case], name: str) -> None:
    theirs, ours, _ = case(name)
    for tensor, values in theirs.items():
        np.testing.assert_array_equal(ours[tensor], values, err_msg=tensor)


@pytest.mark.parametrize("name", NEAR)
def test_within_one_step_of_bfloat16(case: Callable[[str], Case], name: str) -> None:
    theirs, ours, _ = case(name)
    equal = total = 0
    for tensor, values in theirs.items():
        steps = (ours[tensor].view(np.int32) >> 16) - (values.view(np.int32) >> 16)
        assert np.abs(steps).max() <= 1, tensor
        equal += int(np.count_nonzero(steps == 0))
        total += steps.size
    assert equal / total >= 0.999


@pytest.mark.parametrize(("name", "density"), [("ties", 0.2), ("ties lambda", 0.6)])
def test_ties_outside_equal_changes_at_the_threshold(
    case: Callable[[str], Case], name: str, density: float
) -> None:
    theirs, ours, inputs = case(name)
    compared = total = 0
    for tensor, values in theirs.items():
        in_doubt = np.zeros(values.shape, bool)
        for model in WEIGHTS:
            change = np.abs(inputs[model][tensor] - inputs["base"][tensor])
            keep = max(1, int(density * change.size))
            in_doubt |= change == np.sort(change, axis=None)[-keep]
        np.testing.assert_array_equal(ours[tensor][~in_doubt], values[~in_doubt])
        compared += int(np.count_nonzero(~in_doubt))
        total += values.size
    assert compared / total > 0.9


@pytest.mark.parametrize("name", ["breadcrumbs", "breadcrumbs_ties"])
def test_outside_what_is_equal_at_the_threshold(case: Callable[[str], Case], name: str) -> None:
    theirs, ours, _ = case(name)
    differ = sum(
        int(np.count_nonzero(~np.isclose(ours[n], v, 1e-5, 1e-7))) for n, v in theirs.items()
    )
    # changes of bfloat16 weights come in few sizes: many are equal where the line is drawn
    assert differ / sum(v.size for v in theirs.values()) < 0.05


@pytest.mark.parametrize("name", ["dare_linear", "dare_ties", "della", "della_linear"])
def test_drawing_is_the_same_in_distribution(case: Callable[[str], Case], name: str) -> None:
    theirs, ours, inputs = case(name)
    found = []
    for made in (theirs, ours):
        left = np.concatenate([(made[n] - inputs["base"][n]).ravel() for n in theirs])
        found.append(
            (np.mean(left != 0), np.abs(left).mean(), left.std(), np.quantile(np.abs(left), 0.9))
        )
    # about 120,000 elements: two samples of one distribution differ by well under two per cent
    np.testing.assert_allclose(found[1], found[0], rtol=0.02)
