# SPDX-License-Identifier: Apache-2.0
"""What is remembered or prepared of items is what the encoders would find anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from plait.evaluation.tasks import load_task
from plait.fusion.features import options, sources
from plait.fusion.features.encoders import build, find_encoder, open_encoder
from plait.fusion.features.run import load_items

from .conftest import LABELS, recipe

pytestmark = pytest.mark.models


@pytest.fixture
def source(world: dict[str, Path]) -> sources.Source:
    made = recipe(world, "text", "image", "audio", fusion="attention")
    read = options.parse(made, Path())
    opened = {m.modality: open_encoder(m, find_encoder(m, Path(), None), 64) for m in read.members}
    model, processor = build(read, opened, LABELS)
    items = load_items(read)[0].items
    return sources.Source(model.eval(), processor, items, [0] * len(items))


def alike(one: Any, other: Any) -> bool:
    """Compare what encoders found; tokens where the mask has any."""
    import torch

    width = min(one[1].shape[1], other[1].shape[1])
    masks = [found[2][:, :width].bool() for found in (one, other)]
    return bool(
        torch.allclose(one[0], other[0], atol=1e-5)
        and torch.equal(*masks)
        and torch.allclose(one[1][:, :width][masks[0]], other[1][:, :width][masks[0]], atol=1e-5)
    )


@pytest.mark.parametrize("modality", ["text", "image", "audio"])
def test_remembered_prepared_and_fresh_are_alike(modality: str, source: sources.Source) -> None:
    import torch

    places = [7, 3, 30]
    with torch.no_grad():
        fresh = source.batch(places, [modality])[modality]
        source.prepare(modality)
        prepared = source.batch(places, [modality])[modality]
        source.remember(modality, tokens=True)
        kept = source.batch(places, [modality])[modality]
        taken = source.take(places).batch([0, 1, 2], [modality])[modality]
    assert alike(fresh, prepared)
    assert alike(fresh, kept)
    assert alike(fresh, taken)
    assert kept[2].bool().any(0)[-1], "no batch is longer than its longest item"


def test_what_is_remembered_has_no_dropout_in_it(source: sources.Source) -> None:
    import torch

    with torch.no_grad():
        fresh = source.batch([0, 1], ["text"])["text"]
    source._model.train()
    source.remember("text", tokens=True)
    assert alike(fresh, source.batch([0, 1], ["text"])["text"])


def test_a_batch_that_lacks_a_modality_is_filled_and_masked(source: sources.Source) -> None:
    import torch

    for sample in source.samples[:2]:
        del sample["audio"]
    source.use(source._model)
    assert source.present[:3].tolist() == [[True, True, False]] * 2 + [[True] * 3]
    source.prepare("audio")
    with torch.no_grad():
        pooled, _, _ = source.batch([0, 1], ["audio"])["audio"]
        one = source.batch([1, 2], ["audio"])["audio"]
        two = source.batch([2], ["audio"])["audio"]
    assert pooled.shape[0] == 2
    assert torch.allclose(one[0][1], two[0][0], atol=1e-5)


def test_nothing_is_kept_beyond_the_bounds(
    source: sources.Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "MOST_PREPARED", 1_000)
    monkeypatch.setattr(sources, "MOST_REMEMBERED", 1_000)
    source.prepare("image")
    source.remember("image", tokens=True)
    assert not source.remembered
    assert not source._prepared


def test_validation_is_carved_by_group_where_there_is_none(
    world: dict[str, Path], tmp_path: Path
) -> None:
    import shutil

    data = tmp_path / "data"
    shutil.copytree(world["data"], data)
    (data / "data" / "validation.jsonl").unlink()
    read = options.parse(recipe(world, "text", data=data), Path())
    train, validation, _, carved = load_items(read)
    assert carved
    assert not {i.group for i in train.items} & {i.group for i in validation.items}
    whole = load_task(read.task, data, "train").items
    assert len(train.items) + len(validation.items) == len(whole)
