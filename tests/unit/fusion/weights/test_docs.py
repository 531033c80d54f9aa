# SPDX-License-Identifier: Apache-2.0
"""What docs/fusion.md says of methods and recipes is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from plait.fusion.weights import methods
from plait.fusion.weights.adapters.combine import COMBINATIONS, DENSITY, SHARED, WEIGHT
from plait.fusion.weights.templates import TEMPLATES
from plait.recipes.fusion import load_stages
from plait.recipes.mixture import read_mixture
from plait.recipes.tokenizer import parse_tokenizer

TEXT = (Path(__file__).parents[4] / "docs" / "fusion.md").read_text("utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)


def rows() -> dict[str, str]:
    """Return the line of the tables of methods that each method has."""
    found = {}
    part = TEXT[TEXT.index("## Methods") : TEXT.index("**Statistics**")]
    for line in part.split("\n"):
        if line.startswith("| `"):
            for name in re.findall(r"`(\w+)`", line.split("|")[1]):
                found[name] = line
    return found


@pytest.mark.parametrize("name", methods.names())
def test_every_method_is_described(name: str) -> None:
    method = methods.get(name)
    line = rows()[name]
    for parameter in method.parameters:
        assert f"`{parameter.name}`" in line, parameter.name
        # one row for two methods gives both defaults, of which this is one
        if parameter.is_flag:
            after = line.split(f"`{parameter.name}`")[1].split(")")[0]
            assert str(parameter.default).lower() in after
        elif parameter.words:
            assert f"`{parameter.name}` ({parameter.default})" in line
        elif parameter.default not in (None, 1e-8):
            assert re.search(
                rf"`{parameter.name}` \({re.escape(f'{parameter.default:g}')}\)"
                rf"|`{parameter.name}` \(1e-{str(parameter.default)[-1]}\)"
                rf"|`{parameter.name}` of",
                line.replace("1e-05", "1e-5").replace("1e-3)", "0.001)"),
            ), parameter.name
    numbers = re.findall(r"arXiv:\d+\.\d+", method.paper)
    assert all(n in line for n in numbers)
    wanted = {
        "required": "required",
        "unused": "unused",
        "member": "one of the two",
        "optional": "optional",
    }
    assert wanted[method.base] in line


def test_no_method_is_described_that_is_not_there() -> None:
    assert set(rows()) == set(methods.names())


@pytest.mark.parametrize("block", [b for b in BLOCKS if "merge_method" in b])
def test_recipes_are_recipes(block: str) -> None:
    for _, recipe in load_stages(block):
        if recipe.method not in COMBINATIONS:
            methods.get(recipe.method)


def test_the_mixture_is_a_recipe() -> None:
    (block,) = [b for b in BLOCKS if "experts:" in b]
    found = read_mixture(block)
    assert found is not None
    assert found.experts[1].negative == ("dose",)


def test_every_way_of_combining_adapters_is_named() -> None:
    part = TEXT[TEXT.index("**Adapters without their base.**") : TEXT.index("## Tokenizers")]
    assert all(f"`{name}`" in part for name in COMBINATIONS)
    assert all(f"`{p.name}" in part or f"{p.name}:" in part for p in (WEIGHT, DENSITY, *SHARED))


def test_the_long_form_of_a_tokenizer_is_one() -> None:
    import yaml

    (block,) = [b for b in BLOCKS if b.startswith("tokenizer:")]
    spec = parse_tokenizer(yaml.safe_load(block))
    assert spec is not None
    assert spec.tokens["<pad>"].token == "<|end|>"


def test_every_template_is_named() -> None:
    assert all(f"`{name}`" in TEXT for name in TEMPLATES)
