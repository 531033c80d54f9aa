# SPDX-License-Identifier: Apache-2.0
"""Running classifiers: the small real encoder, and folders that must be refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from plait.errors import BadInput, PlaitError
from plait.evaluation import (
    CachedPredictor,
    Item,
    OutputEnsemble,
    Task,
    TextClassifier,
    evaluate,
    evaluate_folder,
)

TEXTS = ["I love it.", "Awful!", "A long sentence about nothing that anybody would care for.", "ok"]


class Fixed:
    """A predictor whose answers are written down."""

    def __init__(self, rows: list[list[float]], labels: tuple[str, ...] = ("no", "yes")) -> None:
        self.rows, self.labels = np.array(rows, dtype=np.float32), labels

    def predict(self, texts: Sequence[str], progress: object = None) -> np.ndarray:
        return self.rows[: len(texts)]


def task(labels: list[int | str], name: str = "t") -> Task:
    items = tuple(Item(f"text {k}", label, str(k), str(k)) for k, label in enumerate(labels))
    return Task(name, "accuracy", items, tuple(sorted(set(labels), key=str)))


def test_items_keep_what_the_model_made_of_them() -> None:
    model = Fixed([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7]])
    found = evaluate(model, [task(["NO", "yes", "no"])], "gate")
    items = found.tasks["t"].items
    assert [(i.label, i.predicted) for i in items] == [(0, 0), (1, 1), (0, 1)]
    assert [i.probability for i in items] == pytest.approx([0.9, 0.6, 0.3])
    assert found.tasks["t"].score == pytest.approx(2 / 3)
    assert (found.split, found.average) == ("gate", found.tasks["t"].score)


def test_the_average_weighs_tasks_not_items() -> None:
    model = Fixed([[0.9, 0.1]] * 8)
    found = evaluate(model, [task([0, 0, 0, 0, 0, 1], "long"), task([0, 1], "short")])
    assert found.average == pytest.approx((5 / 6 + 1 / 2) / 2)


@pytest.mark.parametrize("label", ["maybe", 2, -1])
def test_a_label_that_the_model_lacks_is_named(label: int | str) -> None:
    with pytest.raises(BadInput, match=f"label '{label}'.*its labels are no, yes"):
        evaluate(Fixed([[1, 0]] * 2), [task([label, label])])


def test_no_task_is_refused() -> None:
    with pytest.raises(BadInput, match="no task"):
        evaluate(Fixed([[1, 0]]), [])


def test_an_ensemble_averages_by_label_and_weight() -> None:
    one, other = Fixed([[0.8, 0.2]]), Fixed([[0.4, 0.6]], labels=("yes", "no"))
    seen: list[tuple[int, int]] = []
    both = OutputEnsemble([one, other], [3, 1])
    got = both.predict(["x"], lambda done, total: seen.append((done, total)))
    assert got[0] == pytest.approx([0.75 * 0.8 + 0.25 * 0.6, 0.75 * 0.2 + 0.25 * 0.4])
    assert got.dtype == np.float32


def test_a_remembered_model_runs_once_over_the_same_texts() -> None:
    runs: list[int] = []

    class Counting(Fixed):
        def predict(self, texts: Sequence[str], progress: object = None) -> np.ndarray:
            runs.append(len(texts))
            return super().predict(texts)

    model = CachedPredictor(Counting([[0.8, 0.2], [0.4, 0.6]]))
    seen: list[tuple[int, int]] = []
    first = model.predict(["a", "b"])
    first[:] = 0
    again = model.predict(["a", "b"], lambda done, total: seen.append((done, total)))
    assert again.tolist() == pytest.approx(np.array([[0.8, 0.2], [0.4, 0.6]]))
    assert (runs, seen) == ([2], [(2, 2)])
    model.predict(["a"])
    assert runs == [2, 1]


@pytest.mark.parametrize("weights", [[1], [1, -1], [0, 0], [1, float("nan")]])
def test_an_ensemble_refuses_weights_that_mean_nothing(weights: list[float]) -> None:
    with pytest.raises(BadInput, match="weight"):
        OutputEnsemble([Fixed([[1, 0]]), Fixed([[1, 0]])], weights)


def test_an_ensemble_needs_one_label_space() -> None:
    with pytest.raises(BadInput, match="same labels"):
        OutputEnsemble([Fixed([[1, 0]]), Fixed([[1, 0]], labels=("a", "b"))])
    with pytest.raises(BadInput, match="at least one"):
        OutputEnsemble([])


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The 17 MB encoder with a fresh head."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from plait.demo.data import make_base

    try:
        return make_base(tmp_path_factory.mktemp("models") / "tiny", "tiny")
    except PlaitError as error:
        pytest.skip(error.message)


@pytest.mark.models
class TestRealModel:
    def test_predictions_do_not_depend_on_the_order_of_the_texts(self, tiny: Path) -> None:
        model = TextClassifier.load(tiny, threads=1)
        seen: list[tuple[int, int]] = []
        texts = TEXTS * 10
        forth = model.predict(texts, lambda done, total: seen.append((done, total)))
        back = model.predict(texts[::-1])
        assert model.labels == ("negative", "positive")
        assert forth.shape == (40, 2)
        assert forth.sum(axis=1) == pytest.approx(np.ones(40), abs=1e-5)
        assert np.allclose(forth, back[::-1], atol=1e-5)
        assert seen[-1] == (40, 40)
        assert model.predict([]).shape == (0, 2)

    def test_a_candidate_is_judged_without_being_written(self, tiny: Path) -> None:
        from safetensors.numpy import load_file

        tensors = load_file(tiny / "model.safetensors")
        model = TextClassifier.load(tiny, threads=1)
        before = model.predict(TEXTS)
        flipped = tensors | {"classifier.weight": -tensors["classifier.weight"]}
        model.load_tensors(flipped.items())
        assert np.allclose(model.predict(TEXTS), before[:, ::-1], atol=1e-5)
        model.load_tensors(tensors.items())
        assert np.array_equal(model.predict(TEXTS), before)

    def test_load_tensors_is_strict(self, tiny: Path) -> None:
        from safetensors.numpy import load_file

        tensors = load_file(tiny / "model.safetensors")
        model = TextClassifier.load(tiny)
        head = tensors["classifier.weight"]
        for given, told in (
            ({k: v for k, v in tensors.items() if k != "classifier.weight"}, "was not given"),
            (tensors | {"extra": head}, "'extra' is not a weight"),
            (tensors | {"classifier.weight": head[:, :5]}, r"shape \[2, 5\].*needs \[2, 128\]"),
        ):
            with pytest.raises(BadInput, match=told):
                model.load_tensors(given.items())
        with pytest.raises(BadInput, match="twice"):
            model.load_tensors([("classifier.weight", head), ("classifier.weight", head)])

    def test_weights_that_are_not_numbers_are_noticed(self, tiny: Path) -> None:
        from safetensors.numpy import load_file

        tensors = load_file(tiny / "model.safetensors")
        model = TextClassifier.load(tiny)
        model.load_tensors((k, np.full_like(v, np.nan)) for k, v in tensors.items())
        with pytest.raises(BadInput, match="NaN"):
            model.predict(TEXTS)

    def test_evaluates_a_folder_on_a_project_file(self, tiny: Path, tmp_path: Path) -> None:
        data = tmp_path / "sets" / "shop" / "data"
        data.mkdir(parents=True)
        rows = [{"text": text, "label": k % 2, "document": k} for k, text in enumerate(TEXTS)]
        (data / "test.jsonl").write_text("\n".join(map(json.dumps, rows)))
        (tmp_path / "plait.yaml").write_text(
            "tasks:\n- {name: shop, dataset: sets/shop, columns: {group: document}}\n"
        )
        found = evaluate_folder(tiny, tmp_path / "plait.yaml")
        assert found.tasks["shop"].groups == 4
        assert found.to_json() == evaluate_folder(tiny, tmp_path).to_json()
        alone = evaluate_folder(tiny, tmp_path / "sets" / "shop")
        assert alone.tasks["shop"].score == found.average
        with pytest.raises(BadInput, match="no task 'shopp'; the tasks are: shop"):
            evaluate_folder(tiny, tmp_path, only=["shopp"])
        (data / "test.jsonl").unlink()
        with pytest.raises(BadInput, match="no split 'test'"):
            evaluate_folder(tiny, tmp_path)

    @pytest.mark.parametrize(
        ("break_it", "told"),
        [
            (lambda f: shutil.rmtree(f), "no model folder"),
            (lambda f: (f / "config.json").unlink(), "no config.json"),
            (lambda f: (f / "config.json").write_text("{"), "not JSON"),
            (lambda f: (f / "config.json").write_text("{}"), "without 'model_type'"),
            (lambda f: (f / "model.safetensors").unlink(), "needs model.safetensors"),
            (
                lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"),
                "pytorch_model.bin, a pickle, which is never loaded",
            ),
            (lambda f: (f / "tokenizer.json").unlink(), "no tokenizer"),
            (
                lambda f: (f / "model.safetensors").write_bytes(
                    (f / "model.safetensors").read_bytes()[:-5000]
                ),
                "cannot be loaded",
            ),
        ],
    )
    def test_refuses_what_is_not_a_classifier(
        self, tiny: Path, tmp_path: Path, break_it: object, told: str
    ) -> None:
        broken = shutil.copytree(tiny, tmp_path / "model")
        break_it(broken)  # type: ignore[operator]
        with pytest.raises(BadInput, match=told):
            TextClassifier.load(broken)

    @pytest.mark.parametrize(
        ("claim", "told"),
        [
            ({"vocab_size": 50_000_000}, "claims more weights"),
            ({"num_hidden_layers": 1_000_000}, "claims more weights"),
            ({"num_labels": 90_000_000}, "claims more weights"),
            ({"hidden_size": 10**12}, "'hidden_size' makes no sense"),
            ({"max_position_embeddings": 10**12}, "'max_position_embeddings' makes no sense"),
            ({"num_hidden_layers": -1}, "'num_hidden_layers' makes no sense"),
            ({"hidden_size": "128"}, "'hidden_size' makes no sense"),
        ],
    )
    def test_a_lying_configuration_does_not_fill_the_memory(
        self, tiny: Path, tmp_path: Path, claim: dict[str, object], told: str
    ) -> None:
        folder = shutil.copytree(tiny, tmp_path / "model")
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | claim))
        with pytest.raises(BadInput, match=told):
            TextClassifier.load(folder)

    def test_never_runs_code_of_the_repositorys_own(self, tiny: Path, tmp_path: Path) -> None:
        folder = shutil.copytree(tiny, tmp_path / "model")
        config = json.loads((folder / "config.json").read_text())
        config["auto_map"] = {"AutoModelForSequenceClassification": "evil.Model"}
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "evil.py").write_text("raise SystemExit('ran')")
        with pytest.raises(BadInput, match="code of its own"):
            TextClassifier.load(folder)

    def test_an_encoder_without_a_head_is_refused(self, tiny: Path) -> None:
        from plait.demo.data import encoder_folder

        with pytest.raises(BadInput, match="lacks weights that a text classifier needs"):
            TextClassifier.load(encoder_folder("tiny"))
