# SPDX-License-Identifier: Apache-2.0
"""The fusion recipe: mergekit's language is read, what is wrong is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from plait.errors import BadInput
from plait.recipes.fusion import (
    FusionRecipe,
    Gradient,
    Module,
    Rule,
    Rules,
    Slice,
    Source,
    TokenizerSpec,
    dump_recipe,
    evaluate,
    load_recipe,
    load_stages,
    parse_recipe,
)
from plait.recipes.tokenizer import TokenRule

WHOLE = """
merge_method: ties
base_model: org/base@main
models:
  - model: org/one
    parameters:
      weight: 0.5
      density: [0.2, 0.8]
  - model: org/two
    parameters:
      weight:
        - filter: attention
          value: [0.1, 0.9]
        - filter: "*"
          value: 0.3
parameters:
  normalize: true
  lambda: 0.9
dtype: float32
out_dtype: bfloat16
tokenizer_source: base
seed: 7
order: canonical
"""


def test_a_whole_recipe_is_read() -> None:
    recipe = load_recipe(WHOLE)
    assert recipe == FusionRecipe(
        method="ties",
        models=(
            Source("org/one", None, {"weight": 0.5, "density": Gradient((0.2, 0.8))}),
            Source(
                "org/two",
                None,
                {"weight": Rules((Rule("attention", Gradient((0.1, 0.9))), Rule(None, 0.3)))},
            ),
        ),
        base_model="org/base@main",
        parameters={"normalize": True, "lambda": 0.9},
        dtype="float32",
        out_dtype="bfloat16",
        tokenizer=TokenizerSpec("base"),
        seed=7,
        order="canonical",
    )
    assert recipe.references() == ("org/base@main", "org/one", "org/two")


def test_slices_are_read() -> None:
    recipe = load_recipe(
        "merge_method: passthrough\n"
        "slices:\n"
        "- sources:\n"
        "  - {model: a, layer_range: [0, 4], parameters: {scale: 2}}\n"
        "- sources:\n"
        "  - {model: b, layer_range: [2, 6]}\n"
    )
    assert recipe.slices == (
        Slice((Source("a", (0, 4), {"scale": 2}),)),
        Slice((Source("b", (2, 6)),)),
    )


def test_a_file_a_text_and_a_mapping_are_the_same(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(WHOLE)
    assert load_recipe(path) == load_recipe(str(path)) == load_recipe(WHOLE)
    assert load_recipe(yaml.safe_load(WHOLE)) == load_recipe(WHOLE)


def test_mergekits_long_form_of_a_model() -> None:
    data = {
        "merge_method": "linear",
        "models": [{"model": {"model": {"path": "o/m", "revision": "r"}}}],
    }
    assert parse_recipe(data).models[0].model == "o/m@r"


@pytest.mark.parametrize(
    ("setting", "t", "value"),
    [
        (0.5, 0.7, 0.5),
        (Gradient((0.0, 1.0)), 0.25, 0.25),
        (Gradient((0.0, 1.0, 0.0)), 0.75, 0.5),
        (Gradient((0.0, 1.0, 0.0)), 1.0, 0.0),
        (Gradient((3.0,)), 0.4, 3.0),
        (Gradient((True, False)), 0.9, True),
        (Gradient((True, False)), 1.0, False),
    ],
)
def test_gradients_go_over_the_layers(setting: Any, t: float, value: Any) -> None:
    assert evaluate(setting, "any", t) == pytest.approx(value)


def test_the_first_rule_that_matches_holds() -> None:
    rules = Rules((Rule("mlp", 1.0), Rule("layer.1", 2.0)))
    assert evaluate(rules, "layer.1.mlp.weight", 0) == 1.0
    assert evaluate(rules, "layer.1.attention", 0) == 2.0
    assert evaluate(rules, "embeddings", 0) is None


MODELS = "models: [{model: a, parameters: {weight: 1}}]"
WRONG = {
    f"merge_metod: linear\n{MODELS}": "unknown key 'merge_metod'; did you mean 'merge_method'?",
    MODELS + "\n": "needs 'merge_method'",
    "merge_method: linear\n": "either 'models' or 'slices'",
    f"merge_method: linear\n{MODELS}\nslices: []": "either 'models' or 'slices'",
    "merge_method: linear\nmodels: []": "at least one entry",
    "merge_method: linear\nmodels: {a: 1}": "'models' must be a list",
    "merge_method: linear\nmodels: [{model: a, weight: 1}]": "go under 'parameters'",
    "merge_method: linear\nmodels: [{parameters: {weight: 1}}]": "must name a model",
    "merge_method: linear\nmodels: [{model: 3}]": "must name a model",
    "merge_method: linear\nmodels: [{model: a, parameters: {weight: .nan}}]": "finite number",
    "merge_method: linear\nmodels: [{model: a, parameters: {weight: {b: 1}}}]": "must be a number",
    "merge_method: linear\nmodels: [{model: a, parameters: {weight: []}}]": "at least one value",
    "merge_method: linear\nmodels: [{model: a, parameters: {weight: [{filter: x}]}}]": (
        "must be like {filter"
    ),
    "merge_method: linear\nmodels: [{model: a, parameters: {weight: [{filtre: x, value: 1}]}}]": (
        "unknown key 'filtre'; did you mean 'filter'?"
    ),
    f"merge_method: linear\n{MODELS}\ndtype: float31": "did you mean 'float32'?",
    f"merge_method: linear\n{MODELS}\nseed: -1": "'seed' must be a whole number",
    f"merge_method: linear\n{MODELS}\nseed: 1.5": "'seed' must be a whole number",
    f"merge_method: linear\n{MODELS}\norder: sorted": "must be one of given, canonical",
    f"merge_method: linear\n{MODELS}\ntokenizer: {{sorce: base}}": "did you mean 'source'?",
    f"merge_method: linear\n{MODELS}\ntokenizer: {{tokens: {{x: {{source: {{kind: model_token, "
    "model: a}}}}": "needs 'token'",
    f"merge_method: linear\n{MODELS}\ntokenizer: {{pad_to_multiple_of: 0}}": "from 1 to",
    f"merge_method: linear\n{MODELS}\ntokenizer: {{}}\ntokenizer_source: base": "not both",
    "merge_method: linear\nmodules: {}": "at least one part",
    "merge_method: linear\nmodules: {encoder: {model: a}}": "did you mean 'models'?",
    f"merge_method: linear\n{MODELS}\n---\nmerge_method: linear\n{MODELS}": "without 'name'",
    f"name: a b\nmerge_method: linear\n{MODELS}": "a word of letters",
    f"merge_method: linear\n{MODELS}\nmodules: {{}}": "'modules'",
    f"merge_method: linear\n{MODELS}\nchat_template: 3": "'chat_template' must be",
    f"merge_method: linear\nmerge_method: ties\n{MODELS}": "written twice",
    "merge_method: linear\nslices: [{sources: [{model: a}]}]": "must be two whole numbers",
    "merge_method: linear\nslices: [{sources: [{model: a, layer_range: [3, 1]}]}]": "two whole",
    "merge_method: linear\nslices: [{sources: [{model: a, layer_range: [0, 2]}, "
    "{model: b, layer_range: [0, 3]}]}]": "as many layers",
    "a: [1\n": "not valid YAML",
    "- 1\n- 2\n": "not a recipe",
    "a: !!python/object/apply:os.system [x]\n": "not valid YAML",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_named(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        load_recipe(text)
    assert WRONG[text] in caught.value.message
    assert caught.value.message.rstrip()[-1] in ".?"


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="There is no recipe file"):
        load_recipe(tmp_path / "none.yaml")


STAGES = """
name: second
merge_method: linear
models: [{model: first, parameters: {weight: 1}}]
---
merge_method: linear
models: [{model: second, parameters: {weight: 1}}, {model: first, parameters: {weight: 1}}]
---
name: first
merge_method: linear
models: [{model: org/one, parameters: {weight: 1}}]
"""


def test_documents_are_ordered_by_what_they_use() -> None:
    assert [name for name, _ in load_stages(STAGES)] == ["first", "second", None]


def test_documents_in_a_circle() -> None:
    text = STAGES.replace("org/one", "second")
    with pytest.raises(BadInput, match="in a circle"):
        load_stages(text)


def test_one_recipe_is_asked_for_where_there_are_several() -> None:
    with pytest.raises(BadInput, match="3 documents"):
        load_recipe(STAGES)


numbers = st.floats(-10, 10, allow_nan=False)
scalars = numbers | st.booleans() | st.integers(-5, 5)
gradients = st.lists(scalars, min_size=1, max_size=3).map(lambda v: Gradient(tuple(v)))
rules = st.lists(
    st.builds(Rule, st.none() | st.text("abc.", min_size=1, max_size=5), scalars | gradients),
    min_size=1,
    max_size=3,
).map(lambda r: Rules(tuple(r)))
parameters = st.dictionaries(
    st.sampled_from(["weight", "density", "t", "normalize"]),
    scalars | gradients | rules,
    max_size=3,
)
words = st.text("abcdef/-_.", min_size=1, max_size=12)
ranges = st.tuples(st.integers(0, 9), st.just(3)).map(lambda p: (p[0], p[0] + p[1]))
sources = st.lists(st.builds(Source, words, st.none(), parameters), min_size=1, max_size=3)
slices = st.lists(
    st.builds(
        Slice,
        st.lists(st.builds(Source, words, ranges, parameters), min_size=1, max_size=2).map(tuple),
        parameters,
        st.none() | words,
    ),
    min_size=1,
    max_size=3,
).map(tuple)
rules_of_tokens = st.builds(
    TokenRule, words, st.none() | words | st.integers(0, 9), st.booleans()
) | st.builds(TokenRule, st.sampled_from([None, "zero"]), st.none(), st.booleans())
tokenizers = st.builds(
    TokenizerSpec,
    st.sampled_from(["base", "union", "org/words"]),
    st.dictionaries(words, rules_of_tokens, max_size=2),
    st.none() | st.integers(1, 64),
)
modules = st.dictionaries(
    words,
    st.builds(Module, models=sources.map(tuple), parameters=parameters)
    | st.builds(Module, slices=slices, parameters=parameters),
    min_size=1,
    max_size=2,
)
recipes = (
    st.builds(
        FusionRecipe,
        method=st.sampled_from(["linear", "ties"]),
        models=sources.map(tuple),
        base_model=st.none() | words,
        parameters=parameters,
        dtype=st.sampled_from([None, "float32", "bfloat16"]),
        tokenizer=st.none() | tokenizers,
        chat_template=st.sampled_from([None, "auto", "{{ messages }}"]),
        seed=st.integers(0, 2**40),
        order=st.sampled_from(["given", "canonical"]),
        dialect=st.sampled_from([None, "paper"]),
    )
    | st.builds(FusionRecipe, method=st.just("passthrough"), slices=slices)
    | st.builds(FusionRecipe, method=st.just("linear"), modules=modules)
)


@given(recipes)
def test_a_recipe_survives_writing_and_reading(recipe: FusionRecipe) -> None:
    assert load_recipe(yaml.safe_dump(dump_recipe(recipe))) == recipe


@given(
    st.recursive(
        scalars | st.text(max_size=5) | st.none(),
        lambda c: (
            st.lists(c, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "merge_method",
                        "models",
                        "slices",
                        "sources",
                        "model",
                        "parameters",
                        "base_model",
                        "x",
                    ]
                ),
                c,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_no_values_are_met_with_anything_but_a_sentence(data: Any) -> None:
    if not isinstance(data, dict):
        data = {"merge_method": "linear", "models": data}
    try:
        parse_recipe(data)
    except BadInput as error:
        assert error.message
