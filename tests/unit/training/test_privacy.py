# SPDX-License-Identifier: Apache-2.0
"""Statistics with differential privacy: the noise's size, what is cut, what is stated."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from plait.errors import BadInput

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from safetensors.numpy import load_file  # noqa: E402

from plait.cli.main import app  # noqa: E402
from plait.fusion import check, fuse  # noqa: E402
from plait.fusion.weights.privacy import read_statement  # noqa: E402
from plait.training import statistics  # noqa: E402
from plait.training.privacy import Clipped, Privacy, nearest_positive, noise_for  # noqa: E402
from plait.training.statistics import collect_statistics  # noqa: E402

from .test_statistics import LAYER, TEXTS, classifier  # noqa: E402

pytestmark = pytest.mark.models


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return classifier(tmp_path_factory.mktemp("models") / "m")


def leak(deviation: float, epsilon: float) -> float:
    """Return the delta of Gaussian noise, by numerical integration of its definition."""
    grid = np.linspace(-40 * deviation, 40 * deviation, 400_001)

    def density(mean: float) -> np.ndarray:
        scaled = (grid - mean) / deviation
        return np.exp(-0.5 * scaled**2) / (deviation * math.sqrt(2 * math.pi))

    over = np.maximum(density(1.0) - math.exp(epsilon) * density(0.0), 0)
    return float(np.trapezoid(over, grid))


@pytest.mark.parametrize(
    ("epsilon", "delta"), [(0.1, 1e-5), (1.0, 1e-5), (1.0, 1e-2), (4.0, 1e-6), (12.0, 1e-5)]
)
def test_the_noise_is_the_least_that_hides(epsilon: float, delta: float) -> None:
    deviation = noise_for(epsilon, delta)
    assert leak(deviation, epsilon) == pytest.approx(delta, rel=0.02)
    assert leak(0.99 * deviation, epsilon) > delta


def test_it_is_less_than_the_classical_bound() -> None:
    classical = math.sqrt(2 * math.log(1.25 / 1e-5))
    assert noise_for(1.0, 1e-5) == pytest.approx(3.7306, abs=1e-3)
    assert noise_for(1.0, 1e-5) < classical


@settings(max_examples=30, deadline=None)
@given(epsilon=st.floats(0.05, 50), more=st.floats(1.05, 4))
def test_more_privacy_is_more_noise(epsilon: float, more: float) -> None:
    assert noise_for(epsilon, 1e-5) > noise_for(epsilon * more, 1e-5)
    assert noise_for(epsilon, 1e-6) > noise_for(epsilon, 1e-4)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), size=st.floats(1e-3, 1e3))
def test_no_text_moves_the_sum_farther_than_allowed(seed: int, size: float) -> None:
    """Whatever a text holds, its part of the scaled sum is at most as long as the noise is for."""
    torch.manual_seed(seed)
    scales = {"gram.a": 0.5, "gram.b": 3.0}
    parts = {n: size * torch.randn(4, 4).double() for n in scales}
    summed = Clipped(scales)
    summed.add(parts)
    length = math.sqrt(sum(float((summed.sums[n] / s).square().sum()) for n, s in scales.items()))
    assert length <= math.sqrt(len(scales)) * (1 + 1e-9)
    whole = math.sqrt(sum(float((v / scales[n]).square().sum()) for n, v in parts.items()))
    if whole < math.sqrt(len(scales)):
        assert all(torch.equal(summed.sums[n], parts[n]) for n in parts)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), size=st.floats(0.1, 3))
def test_products_of_many_texts_are_added_as_one_by_one(seed: int, size: float) -> None:
    torch.manual_seed(seed)
    scales = {"gram.a": 5.0, "gram.b": 30.0}
    inputs = {n: size * torch.randn(6, 3, w) for n, w in (("gram.a", 4), ("gram.b", 7))}
    together, single = Clipped(scales), Clipped(scales)
    together.add_products({n: x[:4] for n, x in inputs.items()})
    together.add_products({n: x[4:] for n, x in inputs.items()})
    for place in range(6):
        single.add({n: (x[place].T @ x[place]).double() for n, x in inputs.items()})
    assert together.clipped == single.clipped
    for name, found in together.sums.items():
        torch.testing.assert_close(found, single.sums[name], rtol=1e-5, atol=1e-5 * size**2)


def test_the_noise_is_as_large_as_stated() -> None:
    summed = Clipped({"gram.a": 2.0, "fisher.b": 2.0})
    summed.add({"gram.a": torch.zeros(60, 60), "fisher.b": torch.zeros(3600)})
    found = summed.noised(5.0, np.random.default_rng(0))
    size = 5.0 * math.sqrt(2) * 2.0
    assert float(found["fisher.b"].std()) == pytest.approx(size, rel=0.05)
    matrix = found["gram.a"]
    assert torch.equal(matrix, matrix.T)
    upper = matrix[torch.triu(torch.ones(60, 60), 1).bool()]
    assert float(upper.std()) == pytest.approx(size / math.sqrt(2), rel=0.05)
    assert float(torch.diag(matrix).std()) == pytest.approx(size, rel=0.3)


def test_the_nearest_matrix_of_inner_products() -> None:
    matrix = torch.tensor([[1.0, 2.0], [2.0, 1.0]])  # eigenvalues 3 and -1
    torch.testing.assert_close(nearest_positive(matrix), torch.full((2, 2), 1.5))


def test_little_noise_is_near_the_exact_mean_over_texts(model: Path, tmp_path: Path) -> None:
    huge = Privacy(1000.0, 0.5, np.random.default_rng(0))
    one_length = [t for t in TEXTS if len(t.split()) == 2]
    collect_statistics(model, one_length * 40, tmp_path / "a", privacy=huge, threads=1)
    collect_statistics(model, one_length, tmp_path / "b", threads=1)
    noised, exact = load_file(tmp_path / "a"), load_file(tmp_path / "b")
    assert noised.keys() == exact.keys()
    name = f"gram.{LAYER}"
    # texts are cut to the length of random ones, so the direction is what is compared
    cosine = np.sum(noised[name] * exact[name]) / (
        np.linalg.norm(noised[name]) * np.linalg.norm(exact[name])
    )
    assert cosine > 0.98


def test_noise_differs_each_time_and_layers_that_read_the_same_share_it(
    model: Path, tmp_path: Path
) -> None:
    for name in "ab":
        collect_statistics(model, TEXTS, tmp_path / name, privacy=Privacy(1.0), threads=1)
    one, other = load_file(tmp_path / "a"), load_file(tmp_path / "b")
    query, key = (f"gram.bert.encoder.layer.0.attention.self.{p}.weight" for p in ("query", "key"))
    assert not np.allclose(one[query], other[query])
    np.testing.assert_array_equal(one[query], one[key])
    sizes = np.linalg.eigvalsh(one[query].astype(np.float64))
    assert sizes.min() > -1e-4 * sizes.max()


@pytest.mark.parametrize("diagonal", [False, True])
def test_what_the_file_says(model: Path, tmp_path: Path, diagonal: bool) -> None:
    out = tmp_path / "s"
    collect_statistics(
        model, TEXTS, out, kinds=["gram", "fisher"], privacy=Privacy(2.0, 1e-6), diagonal=diagonal
    )
    told = read_statement(out)
    assert told["texts"] == str(len(TEXTS))
    assert told["privacy"].startswith("(2, 1e-06)-differential privacy for one text")
    made = load_file(out)
    assert all(np.isfinite(v).all() for v in made.values())
    assert all(v.min() >= 0 for n, v in made.items() if n.startswith("fisher."))
    if diagonal:
        gram = made[f"gram.{LAYER}"]
        assert np.count_nonzero(gram - np.diag(np.diag(gram))) == 0
    collect_statistics(model, TEXTS, out, diagonal=diagonal)
    assert read_statement(out)["privacy"] == "exact: no guarantee"


def test_it_is_said_in_the_check_and_in_the_report(tmp_path: Path) -> None:
    data = tmp_path / "words"
    (data / "data").mkdir(parents=True)
    (data / "data" / "train.jsonl").write_text(
        "\n".join(json.dumps({"text": t}) for t in TEXTS)  # no labels at all
    )
    models = []
    for seed, more in ((1, ["--epsilon", "3"]), (2, [])):
        models.append(str(classifier(tmp_path / f"m{seed}", seed)))
        done = CliRunner().invoke(
            app, ["statistics", models[-1], "--data", str(data), "--json", *more]
        )
        assert done.exit_code == 0, done.output
    assert json.loads(done.output)["privacy"] == "exact: no guarantee"
    recipe = {"merge_method": "regmean", "models": [{"model": m} for m in models]}
    notes = [n for n in check(recipe).notes if n.startswith("Statistics of")]
    assert "of 12 texts; (3, 1e-05)-differential privacy" in notes[0]
    assert notes[1].endswith("of 12 texts; exact: no guarantee.")
    fuse(recipe, tmp_path / "out")
    report = json.loads((tmp_path / "out" / "plait_fusion.json").read_text())
    assert report["statistics"][models[0]]["epsilon"] == "3"
    assert report["statistics"][models[1]]["privacy"] == "exact: no guarantee"


@pytest.mark.parametrize(
    ("epsilon", "delta", "says"),
    [(0.0, 1e-5, "epsilon"), (math.nan, 1e-5, "epsilon"), (1.0, 0.0, "delta"), (1.0, 1.0, "delta")],
)
def test_what_cannot_be(epsilon: float, delta: float, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        Privacy(epsilon, delta)


def test_texts_read_together_are_read_as_if_alone(model: Path) -> None:
    from plait.pretrained import load_classifier

    loaded, tokenizer = load_classifier(model)
    rows = tokenizer(["good", "bad film day soup", "good day"])["input_ids"]
    reader = statistics._Reader(loaded.eval(), tokenizer, "", False)
    (together,) = reader.inputs(rows)
    for place, row in enumerate(rows):
        (alone,) = reader.inputs([row])
        assert together.keys() == alone.keys()
        for name, values in alone.items():
            found, wanted = reader.product(together[name])[place], reader.product(values)[0]
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
