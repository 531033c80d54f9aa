# SPDX-License-Identifier: Apache-2.0
"""Which level a recipe is of, in whatever style its YAML is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from plait.errors import BadInput
from plait.fusion import check
from plait.recipes._reading import top_keys
from plait.recipes.levels import read_level
from plait.recipes.mixture import read_mixture

ENSEMBLE: dict[str, Any] = {
    "models": [{"name": "a", "model": "org/a"}, {"name": "b", "model": "org/b"}],
    "parameters": {"rule": "equal"},
    "method": "ensemble",
}
MIXTURE: dict[str, Any] = {
    "base_model": "org/base",
    "gate_mode": "random",
    "experts": [{"source_model": "org/a"}, {"source_model": "org/b"}],
}
STYLES = {
    "block": lambda data: yaml.safe_dump(data, sort_keys=False),
    "indented": lambda data: "".join(
        f"  {line}\n" for line in yaml.safe_dump(data, sort_keys=False).splitlines()
    ),
    "flow": lambda data: yaml.safe_dump(data, default_flow_style=True, width=10_000),
    "flow over lines": lambda data: yaml.safe_dump(data, default_flow_style=True, width=30),
    "json": json.dumps,
    "json without blanks": lambda data: json.dumps(data, separators=(",", ":")),
    "json over lines": lambda data: json.dumps(data, indent=2),
    "document": lambda data: "---\n" + yaml.safe_dump(data),
}


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("file", [False, True])
def test_a_recipe_above_weights_is_known_in_every_style(
    style: str, file: bool, tmp_path: Path
) -> None:
    content = STYLES[style](ENSEMBLE)
    if file:
        (tmp_path / "recipe.yaml").write_text(content)
    assert read_level(tmp_path / "recipe.yaml" if file else content) == (
        ENSEMBLE,
        tmp_path if file else Path(),
    )


@pytest.mark.parametrize("style", STYLES)
def test_a_mixture_is_known_in_every_style(style: str) -> None:
    found = read_mixture(STYLES[style](MIXTURE))
    assert found is not None
    assert found.base_model == "org/base"


@pytest.mark.parametrize("style", STYLES)
def test_what_is_deeper_or_of_weights_is_no_level(style: str) -> None:
    inner = {"merge_method": "linear", "models": [{"model": "org/a", "method: ": "method: x"}]}
    assert read_level(STYLES[style](inner)) is None
    assert read_level(STYLES[style]({"models": [{"method": "ensemble"}]})) is None
    assert read_level(STYLES[style](ENSEMBLE | {"merge_method": "linear"})) is None
    assert read_mixture(STYLES[style](inner | {"experts": []})) is None


def test_an_unknown_method_is_answered_by_its_level_in_flow_style_too() -> None:
    with pytest.raises(BadInput, match="did you mean 'ensemble'"):
        check("{method: ensembel, models: [a, b]}")


@pytest.mark.parametrize("text", ["method: ensemble\n models: [", "{method: ensemble, models: ["])
def test_broken_text_is_said_to_be_broken(text: str) -> None:
    with pytest.raises(BadInput, match="not valid YAML"):
        read_level(text)


def test_keys_are_those_of_the_top() -> None:
    assert top_keys("a: {b: 1, c: [d, {e: f}]}\ng: &x h\ni: *x\n? [j, k]\n: l\nm: n\n") == (
        *("a", "g", "i", "m"),
    )
    assert top_keys("[a, b]") == top_keys("word") == top_keys("") == ()
    assert top_keys("a: 1\nb: [") == ("a", "b")
