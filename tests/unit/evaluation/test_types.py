# SPDX-License-Identifier: Apache-2.0
"""Every type of task: read, run, kept, compared, judged; and a sentence for what is wrong."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plait.errors import BadInput
from plait.evaluation import Evaluation, compare, evaluate, judge, load_task
from plait.recipes.project import GateSpec, TaskSpec, dump_tasks, parse_project, parse_tasks

TAGS = ("O", "B-X", "I-X")
COUNT = 48


class Model:
    """Does all that a type of task may ask; how well, its noise says."""

    labels = TAGS

    def __init__(self, noise: float = 0.0, broken: float | None = None) -> None:
        self.noise, self.broken = noise, broken

    def _random(self) -> np.random.Generator:
        return np.random.default_rng(3)

    def tag(self, sentences: Sequence[Sequence[str]], progress: Any = None) -> list[list[str]]:
        random = self._random()
        return [
            [
                str(random.choice(TAGS)) if random.random() < self.noise else word.split("/")[1]
                for word in sentence
            ]
            for sentence in sentences
        ]

    def values(self, samples: Sequence[Any], progress: Any = None) -> np.ndarray:
        random = self._random()
        last = [one if isinstance(one, str) else one[1] for one in samples]
        found = np.array([float(text.split()[-1]) for text in last])
        found += self.noise * random.normal(size=len(found)) * 20
        if self.broken is not None:
            found[0] = self.broken
        return found

    def encode(self, texts: Sequence[str], kind: str, progress: Any = None) -> np.ndarray:
        random = np.random.default_rng(len(kind))  # queries and texts stray apart
        out = np.eye(COUNT + 1)[[int(text.split()[-1]) for text in texts]]
        out = out + self.noise * random.normal(size=out.shape)
        if self.broken is not None:
            out[0, 0] = self.broken
        return out

    def generate(self, prompts: Sequence[str], most: int, progress: Any = None) -> list[str]:
        random = self._random()
        return ["no" if random.random() < self.noise else text.split()[-1] for text in prompts]

    def likelihoods(self, texts: Sequence[str], progress: Any = None) -> np.ndarray:
        random = self._random()
        out = np.array([[2.0 + len(text) / 10, 5.0] for text in texts])
        out[:, 0] += self.noise * random.random(len(texts)) * 30
        if self.broken is not None:
            out[0, 0] = self.broken
        return out


def rows_of(kind: str) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for k in range(COUNT):
        tokens = ["a/B-X", "b/I-X", "c/O", "d/B-X"][: 1 + k % 4]
        row: dict[str, Any] = {
            "token-classification": {
                "tokens": tokens,
                "tags": [one.split("/")[1] for one in tokens],
            },
            "regression": {"text": f"number {k}", "label": k},
            "retrieval": {"text": f"find {k}", "relevant": [k]},
            "ranking": {
                "text": f"find {k}",
                "candidates": [f"text {k + j}" for j in range(3)],
                "grades": [0, 0, 1],
            },
            "generation": {"prompt": f"say {k}", "reference": [str(k), "nothing"]},
            "language-modeling": {"text": f"text {'x' * k} {k}"},
        }[kind]
        made.append({**row, "document": k // 2})
    return made


def write(folder: Path, rows: list[dict[str, Any]], name: str = "test") -> Path:
    (folder / "data").mkdir(parents=True, exist_ok=True)
    content = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "data" / f"{name}.jsonl").write_text(content)
    return folder


def spec_of(kind: str, **more: Any) -> TaskSpec:
    columns = {"group": "document", **more.pop("columns", {})}
    plain = {"name": "it", "dataset": "a/b", "type": kind, "columns": columns, **more}
    return parse_tasks([plain], "tasks")[0]


def loaded(folder: Path, kind: str, rows: list[dict[str, Any]] | None = None, **more: Any) -> Any:
    write(folder, rows_of(kind) if rows is None else rows)
    if kind == "retrieval":
        write(folder, [{"id": k, "text": f"text {k}"} for k in range(COUNT)], "corpus")
    return load_task(spec_of(kind, **more), folder, "test")


KINDS = [
    ("token-classification", "f1", 1.0),
    ("token-classification", "strict_f1", 1.0),
    ("token-classification", "token_accuracy", 1.0),
    ("regression", "mse", 0.0),
    ("regression", "spearman", 1.0),
    ("regression", "pearson", 1.0),
    ("regression", "r2", 1.0),
    ("retrieval", "recall@1", 1.0),
    ("retrieval", "ndcg@7", 1.0),
    ("ranking", "mrr", 1.0),
    ("generation", "exact_match", 1.0),
    ("generation", "chrf", None),
    ("language-modeling", "perplexity", None),
    ("language-modeling", "bits_per_byte", None),
]


@pytest.mark.parametrize(("kind", "metric", "perfect"), KINDS)
def test_a_type_is_run_kept_compared_and_judged(
    tmp_path: Path, kind: str, metric: str, perfect: float | None
) -> None:
    task = loaded(tmp_path, kind, metric=metric)
    good, bad = (evaluate(Model(noise), [task]) for noise in (0.0, 0.9))
    result = good.tasks["it"]
    if perfect is not None:
        assert result.score == pytest.approx(perfect)
    assert (result.n, result.groups, result.type) == (COUNT, COUNT // 2, kind)
    assert result.interval[0] <= result.score <= result.interval[1]
    assert result.scores[metric] == result.score
    # written and read back, it is the same
    again = Evaluation.from_json(json.loads(json.dumps(bad.to_json())))
    assert again.to_json() == bad.to_json()
    found = compare(good, again).tasks["it"]
    assert found.gain > 0
    assert found.gain == found.direction * (result.score - bad.tasks["it"].score)
    # a resample may miss what varies most: R² has far the widest tails
    assert found.p < (0.2 if metric == "r2" else 0.05)
    assert found.p_exchange is not None
    assert found.p_exchange < 0.05
    assert found.least_gain < found.gain
    # the gate knows which way is better
    if metric == "r2":
        return
    spec = spec_of(kind, metric=metric, role="target")
    gate = GateSpec(margin=0.0)
    assert judge(compare(good, bad), gate, [spec]).verdict == "passes"
    back = judge(compare(bad, good), gate, [spec])
    assert back.verdict == "regresses"
    assert "significant loss" in back.reason


def test_margins_are_in_the_metrics_unit(tmp_path: Path) -> None:
    task = loaded(tmp_path, "regression", metric="mse")
    good, bad = (evaluate(Model(noise), [task]) for noise in (0.05, 0.1))
    wide, narrow = (spec_of("regression", metric="mse", margin=margin) for margin in (50, 0.01))
    gate = GateSpec(margin=1, minimum_gain=-1)
    comparison = compare(bad, good)
    assert judge(comparison, gate, [wide]).tasks["it"].verdict == "passes"
    told = judge(comparison, gate, [narrow]).tasks["it"]
    assert told.verdict == "regresses"
    assert "it changes by +" in told.note
    assert "0.01 are allowed" in told.note
    assert "points" not in told.note


def test_averages_leave_out_what_does_not_mix_and_tell_unseen_apart(tmp_path: Path) -> None:
    tasks = []
    for name, kind, metric, seen in (
        ("a", "retrieval", "recall@1", True),
        ("b", "ranking", "mrr", True),
        ("c", "generation", "exact_match", False),
        ("d", "regression", "mse", True),
    ):
        rows = rows_of(kind)
        write(tmp_path / name, rows)
        write(tmp_path / name, [{"id": k, "text": f"text {k}"} for k in range(COUNT)], "corpus")
        spec = {"name": name, "dataset": name, "type": kind, "metric": metric, "seen": seen}
        spec["columns"] = {"group": "document"}
        tasks.append(load_task(parse_tasks([spec], "tasks")[0], tmp_path / name, "test"))
    one, two = (evaluate(Model(noise), tasks) for noise in (0.2, 0.6))
    assert one.averaged == ("a", "b", "c")
    assert one.average == pytest.approx(np.mean([one.tasks[name].score for name in "abc"]))
    assert one.seen is not None
    assert one.unseen is not None
    assert (one.seen.tasks, one.unseen.tasks) == (("a", "b"), ("c",))
    assert one.unseen.score == one.tasks["c"].score
    found = compare(one, two)
    assert found.seen is not None
    assert found.unseen is not None
    assert found.unseen.effect == pytest.approx(found.tasks["c"].effect)
    plain = found.to_json()
    assert plain["seen"]["effect"] == pytest.approx(found.seen.effect)
    again = Evaluation.from_json(json.loads(json.dumps(one.to_json())))
    assert again.to_json() == one.to_json()
    alone = evaluate(Model(0.2), [tasks[3]])
    assert alone.averaged == ("d",)
    assert alone.average == alone.tasks["d"].score


GOOD: dict[str, dict[str, Any]] = {
    kind: {**rows_of(kind)[3]}
    for kind in ("token-classification", "regression", "retrieval", "ranking", "generation")
}


@pytest.mark.parametrize(
    ("kind", "change", "told"),
    [
        ("token-classification", {"tags": ["B-X"]}, "4 tokens but 1 tags"),
        ("token-classification", {"tags": ["B-X", "X", "O", "O"]}, "'X' is not a BIO tag"),
        ("token-classification", {"tags": ["S-X", "O", "O", "O"]}, "token_accuracy"),
        ("token-classification", {"tokens": []}, "list of tokens, and not empty"),
        ("token-classification", {"tokens": ["a", "", "b", "c"]}, "none empty"),
        ("token-classification", {"tags": [0.5] * 4}, "list of tags"),
        ("regression", {"label": None}, "finite number"),
        ("regression", {"label": "many"}, "finite number"),
        ("regression", {"label": float("nan")}, "finite number"),
        ("regression", {"text": ""}, "text that is not empty"),
        ("retrieval", {"relevant": ["nowhere"]}, "the id 'nowhere', which the corpus"),
        ("retrieval", {"relevant": []}, "list of ids"),
        ("retrieval", {"relevant": {"3": 0}}, "nothing that is relevant"),
        ("retrieval", {"relevant": {"3": "x"}}, "finite number"),
        ("ranking", {"grades": [1]}, "3 candidates but 1 grades"),
        ("ranking", {"grades": [0, 0, 0]}, "no candidate with a grade above zero"),
        ("ranking", {"candidates": "x"}, "list of texts"),
        ("generation", {"reference": None}, "text that is not empty"),
        ("generation", {"reference": ["a", 3]}, "text that is not empty"),
    ],
)
def test_bad_rows_are_refused_with_a_sentence(
    tmp_path: Path, kind: str, change: dict[str, Any], told: str
) -> None:
    rows = [*rows_of(kind)[:2], {**GOOD[kind], **change}]
    with pytest.raises(BadInput, match=told) as caught:
        loaded(tmp_path, kind, rows)
    assert "row 3 of test.jsonl" in caught.value.message


def test_a_regression_of_one_number_is_refused(tmp_path: Path) -> None:
    rows = [{**row, "label": 2} for row in rows_of("regression")]
    with pytest.raises(BadInput, match="nothing to tell apart"):
        loaded(tmp_path, "regression", rows)


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([{"id": "a", "text": "x"}, {"id": "a", "text": "y"}], "'a' is there twice"),
        ([{"id": None, "text": "x"}], "number or a name"),
        ([{"text": "x"}], "no column 'id'"),
    ],
)
def test_a_bad_corpus_is_refused(tmp_path: Path, rows: list[dict[str, Any]], told: str) -> None:
    write(tmp_path, rows_of("retrieval"))
    with pytest.raises(BadInput, match="no split 'corpus'"):
        load_task(spec_of("retrieval"), tmp_path, "test")
    write(tmp_path, rows, "corpus")
    with pytest.raises(BadInput, match=told):
        load_task(spec_of("retrieval"), tmp_path, "test")


@pytest.mark.parametrize("kind", ["regression", "retrieval", "ranking", "language-modeling"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_answers_that_are_no_numbers_are_refused(tmp_path: Path, kind: str, value: float) -> None:
    task = loaded(tmp_path, kind)
    with pytest.raises(BadInput, match="not numbers"):
        evaluate(Model(broken=value), [task])


def test_a_model_that_cannot_do_it_is_named(tmp_path: Path) -> None:
    for kind, method in (("token-classification", "tag"), ("generation", "generate")):
        with pytest.raises(BadInput, match=f"needs a model with '{method}'; object has none"):
            evaluate(object(), [loaded(tmp_path, kind)])  # type: ignore[arg-type]


def test_answers_of_another_length_are_refused(tmp_path: Path) -> None:
    class Short(Model):
        def tag(self, sentences: Any, progress: Any = None) -> list[list[str]]:
            return [[*row, "O"] for row in super().tag(sentences)]

        def values(self, samples: Any, progress: Any = None) -> np.ndarray:
            return super().values(samples)[1:]

        def generate(self, prompts: Any, most: int, progress: Any = None) -> list[str]:
            return ["x"]

    for kind, told in (
        ("token-classification", "gave 2 tags for 1 tokens"),
        ("regression", rf"shape \[{COUNT - 1}\] for {COUNT} items"),
        ("generation", f"gave 1 answers to {COUNT} prompts"),
    ):
        with pytest.raises(BadInput, match=told):
            evaluate(Short(), [loaded(tmp_path, kind)])


def test_tags_as_numbers_are_the_models(tmp_path: Path) -> None:
    rows = rows_of("token-classification")
    numbered = [{**row, "tags": [TAGS.index(tag) for tag in row["tags"]]} for row in rows]
    task = loaded(tmp_path, "token-classification", numbered)
    assert evaluate(Model(), [task]).average == 1
    numbered[0]["tags"] = [7]
    with pytest.raises(BadInput, match="label '7', which the model does not give"):
        evaluate(Model(), [loaded(tmp_path, "token-classification", numbered)])


def test_two_runs_on_other_truths_are_not_compared(tmp_path: Path) -> None:
    one = evaluate(Model(), [loaded(tmp_path, "token-classification")])
    rows = rows_of("token-classification")
    rows[3]["tags"] = ["O"] * 4
    other = evaluate(Model(), [loaded(tmp_path, "token-classification", rows)])
    with pytest.raises(BadInput, match="same tags"):
        compare(one, other)


def test_broken_records_are_no_evaluation(tmp_path: Path) -> None:
    for kind in ("token-classification", "regression", "ranking", "generation"):
        plain = evaluate(Model(), [loaded(tmp_path, kind)]).to_json()
        row = plain["tasks"]["it"]["items"][0]
        for bad in (row[:3], [*row[:2], "x"], [*row[:2], float("nan"), float("nan")]):
            plain["tasks"]["it"]["items"][0] = bad
            with pytest.raises(BadInput, match="not an evaluation"):
                Evaluation.from_json(plain)


def test_csv_has_lists_as_json(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "test.csv").write_text(
        'tokens,tags\n"[""a/B-X"", ""c/O""]","[""B-X"", ""O""]"\n'
    )
    task = load_task(
        parse_tasks([{"name": "it", "dataset": "a/b", "type": "token-classification"}], "t")[0],
        tmp_path,
        "test",
    )
    assert task.items[0].tokens == ("a/B-X", "c/O")


def test_specs_know_their_types_columns_and_metrics() -> None:
    spec = spec_of("token-classification")
    assert (spec.metric, spec.columns.text, spec.columns.label) == ("f1", "tokens", "tags")
    every = [
        {"name": f"t{k}", "dataset": "d", "type": kind, "seen": k % 2 == 0}
        for k, kind in enumerate(
            ("token-classification", "image-classification", "ranking", "generation", "regression")
        )
    ]
    every[0]["columns"] = {"text": "text"}
    specs = parse_tasks(every, "tasks")
    assert parse_tasks(dump_tasks(specs), "again") == specs
    assert specs[1].columns.image == "image"


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"type": "regression", "metric": "accuracy"}, "'accuracy' but must be one of mse, mae"),
        ({"type": "retrieval", "metric": "recall@k"}, "recall@10"),
        ({"type": "retrieval", "metric": "recall@0"}, "recall@10"),
        ({"type": "retrieval", "metric": "ndcg@5000"}, "ndcg@10"),
        ({"type": "token-clasification"}, "token-classification"),
        ({"max_new_tokens": 5}, "belongs to 'type: generation'"),
        ({"type": "lm-eval"}, "needs 'harness'"),
        ({"seen": "no"}, "true or false"),
        ({"margin": 2}, "from 0 to 1"),
    ],
)
def test_specs_that_cannot_be_are_refused(entry: dict[str, Any], told: str) -> None:
    with pytest.raises(BadInput, match=told):
        parse_project({"tasks": [{"name": "x", "dataset": "d", **entry}]})
