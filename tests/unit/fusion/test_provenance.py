# SPDX-License-Identifier: Apache-2.0
"""What a fused model's card says of its base models and its licence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from plait.cards import dump_card, read_head
from plait.fusion.provenance import sources_head


def model(folder: Path, head: dict[str, Any] | None) -> Path:
    folder.mkdir()
    if head is not None:
        (folder / "README.md").write_text(dump_card(head, "# A model\n"))
    return folder


@pytest.mark.parametrize(
    ("heads", "expected"),
    [
        (({"license": "MIT"}, {"license": "mit"}), {"license": "mit"}),
        (
            ({"license": "mit"}, {"license": "apache-2.0"}),
            {"license": "other", "license_name": "apache-2.0 AND mit"},
        ),
        (({"license": "mit"}, {"license": "gpl-3.0"}), {"license": "gpl-3.0"}),
        (
            (
                {"license": "other", "license_name": "cc-by-4.0"},
                {"license": "cc-by-4.0", "base_model": "commons/base"},
            ),
            {"license": "cc-by-4.0", "base_model": ["commons/base"]},
        ),
        (({"license": "mit"}, {}), {}),
        (({"license": "mit"}, None), {}),
        (({"license": "gpl-2.0"}, {"license": "cc-by-sa-4.0"}), {}),
        (
            (
                {"base_model": ["commons/base", "../secret", 3]},
                {"base_model": "commons/base"},
            ),
            {"base_model": ["commons/base"]},
        ),
    ],
)
def test_a_card_states_what_the_inputs_state_together(
    tmp_path: Path, heads: tuple[dict[str, Any] | None, ...], expected: dict[str, Any]
) -> None:
    found = {f"m{k}": model(tmp_path / f"m{k}", head) for k, head in enumerate(heads)}
    assert sources_head(found, tmp_path) == expected


def test_repositories_are_named_themselves_and_not_their_bases(tmp_path: Path) -> None:
    cached = model(tmp_path / "cached", {"license": "mit", "base_model": "commons/base"})
    found = sources_head({"shop/sentiment@v2": cached}, tmp_path)
    assert found == {"base_model": ["shop/sentiment"], "license": "mit"}


HEAD = {"license": "apache-2.0", "base_model": "commons/base"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch")
    from . import synthetic

    place = tmp_path_factory.mktemp("licensed")
    for seed, name in enumerate(("base", "one", "two")):
        synthetic.bert(place / name, width=16, seed=seed)
        (place / name / "README.md").write_text(dump_card(HEAD, "# A model\n"))
    synthetic.dataset(place / "data", "shop", train=24, held=60)
    return place


@pytest.mark.parametrize("level", ["ensemble", "distill", "auto", "search"])
def test_every_level_states_it(world: Path, tmp_path: Path, level: str) -> None:
    from plait.fusion import fuse

    from . import synthetic

    made: dict[str, Any] = {
        "models": [{"name": n, "model": str(world / n)} for n in ("one", "two")],
        "base_model": str(world / "base"),
        "tasks": [synthetic.task("shop", world / "data")],
        "method": level,
    }
    if level == "distill":
        made["parameters"] = {"epochs": 1}
    if level == "auto":
        made["parameters"] = {"levels": ["outputs"], "search": 0}
    if level == "search":
        del made["method"]
        made |= {"merge_method": "task_arithmetic"}
        made["models"] = [{"model": str(world / n)} for n in ("one", "two")]
        made["search"] = {"budget": 2, "parameters": {"weight": [0, 1]}}
    fuse(made, tmp_path / "out", threads=1)
    head = read_head((tmp_path / "out" / "README.md").read_text("utf-8"))
    assert head["license"] == HEAD["license"]
    assert head["base_model"] == [HEAD["base_model"]]
