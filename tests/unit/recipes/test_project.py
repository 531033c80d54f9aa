# SPDX-License-Identifier: Apache-2.0
"""``plait.yaml``: what is understood, and how everything else is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.errors import BadInput
from plait.recipes.project import (
    Columns,
    CreditSpec,
    FusionSpec,
    GateSpec,
    ProjectSpec,
    TaskSpec,
    load_project,
    parse_project,
)
from plait.recipes.questions import EvaluationSpec, Limit

WHOLE = """
base: commons/sentiment
fusion:
  method: search
  methods: [task_arithmetic, ties]
  budget: 12
  search_split: validation
tasks:
  - name: shop
    type: text-classification
    dataset: shop/reviews
    revision: main
    metric: macro_f1
    columns: {text: text, label: label, group: document}
    role: target
    margin: 0.03
gate:
  split: gate
  confidence: 0.9
  minimum_gain: 0.01
  margin: 0.02
  smallest_effect: 0.01
  power: 0.9
credit: {exact: 8, samples: 20, split: validation}
evaluation: {allow: [commons/sentiment], hidden: [test], limit: 3 per day}
"""


def test_reads_every_key() -> None:
    spec = parse_project(WHOLE)
    assert spec.base == "commons/sentiment"
    assert spec.fusion == FusionSpec(methods=("task_arithmetic", "ties"), budget=12)
    assert spec.tasks == (
        TaskSpec(
            name="shop",
            dataset="shop/reviews",
            metric="macro_f1",
            columns=Columns(group="document"),
            role="target",
            margin=0.03,
        ),
    )
    assert spec.gate == GateSpec(confidence=0.9, minimum_gain=0.01, smallest_effect=0.01, power=0.9)
    assert spec.credit == CreditSpec(exact=8, samples=20, split="validation")
    assert spec.evaluation == EvaluationSpec(("commons/sentiment",), ("test",), Limit(3, "day"))
    assert spec.evaluation.limit.span.days == 1


@pytest.mark.parametrize("text", ["", "# nothing\n", b""])
def test_an_empty_file_is_all_defaults(text: str | bytes) -> None:
    assert parse_project(text) == ProjectSpec()


def test_a_fixed_method_keeps_its_parameters() -> None:
    spec = parse_project("fusion: {method: ties, parameters: {density: 0.5}}")
    assert (spec.fusion.method, spec.fusion.parameters) == ("ties", {"density": 0.5})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("task: []", r"unknown key 'task'.*'tasks'"),
        ("evaluation: {limit: often}", r"like '10 per week', not 'often'"),
        ("evaluation: {limit: 0 per day}", r"evaluation.limit must be a number"),
        ("evaluation: {limit: 5 per fortnight}", r"hour, day, week, month"),
        ("evaluation: {hidden: [../test]}", r"hidden lists '../test'"),
        ("evaluation: {hiden: [test]}", r"unknown key 'hiden'.*'hidden'"),
        ("credit: {exact: 30}", r"credit.exact"),
        ("gate: {power: 2}", r"gate.power"),
        ("gate: {confidance: 0.9}", r"unknown key 'confidance'.*'confidence'"),
        ("tasks: [{name: a, dataset: b, colums: {}}]", r"unknown key 'colums'.*'columns'"),
        ("tasks: [{name: a}]", r"tasks\[0\] needs 'dataset'"),
        ("tasks: [{name: a, dataset: b, metric: acuracy}]", "did you mean 'accuracy'"),
        ("tasks: [{name: a, dataset: b, role: guarded}]", "protected, target, watched"),
        ("tasks: [{name: a, dataset: b, margin: 2}]", r"margin must be a number from 0 to 1"),
        ("tasks: [{name: a, dataset: b, margin: true}]", "must be a number"),
        ("tasks: [{name: a, dataset: b, margin: .nan}]", "must be a number"),
        ("tasks: [{name: ../a, dataset: b}]", "must be one word"),
        ("tasks: [{name: a, dataset: b}, {name: a, dataset: c}]", "two tasks named 'a'"),
        ("tasks: {name: a}", "must be a list"),
        ("fusion: {budget: 0}", "whole number from 1"),
        ("fusion: {budget: 1.5}", "whole number from 1"),
        ("fusion: {method: ties, methods: [ties]}", "belongs to 'method: search'"),
        ("fusion: {methods: []}", "1 to 50 methods"),
        ("gate: [0.9]", "must be a mapping"),
        ("gate: {split: 'a/b'}", "must be one word"),
        ("evaluation: {allow: commons/sentiment}", "must be a list"),
        ("- a\n- b", "must be a mapping"),
        ("gate: {margin: 0.1, margin: 0.2}", "'margin' is there twice"),
        ("a: &x [1]\nbase: *x", "aliases"),
        ("base: !!python/object/apply:os.getcwd []", "not valid YAML"),
        ("base: 'a", "not valid YAML"),
        ("? [a]\n: b", "key must be a word"),
        ("base: " + "[" * 30 + "]" * 30, "nested too deeply"),
        ("#" * 300_000, "longer than"),
    ],
)
def test_refuses_with_a_sentence(text: str, told: str) -> None:
    with pytest.raises(BadInput, match=told) as caught:
        parse_project(text, "plait.yaml")
    assert "plait.yaml" in caught.value.message


def test_refuses_a_file_that_is_missing_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="There is no file"):
        load_project(tmp_path / "plait.yaml")
    (tmp_path / "plait.yaml").write_bytes(b"base: \xff\xfe")
    with pytest.raises(BadInput, match="not UTF-8"):
        load_project(tmp_path / "plait.yaml")
    (tmp_path / "plait.yaml").write_text(WHOLE)
    assert load_project(tmp_path / "plait.yaml") == parse_project(WHOLE)


@given(st.text(max_size=200) | st.binary(max_size=200))
def test_any_text_is_read_or_refused(text: str | bytes) -> None:
    try:
        parse_project(text)
    except BadInput as error:
        assert error.message


_plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["name", "dataset", "columns", "margin", "text", "method", "allow", "x"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["base", "fusion", "tasks", "gate", "evaluation"]), _plain))
def test_any_plain_values_are_read_or_refused(data: dict[str, object]) -> None:
    try:
        parse_project(data)
    except BadInput as error:
        assert error.message
