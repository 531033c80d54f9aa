# SPDX-License-Identifier: Apache-2.0
"""What may not land does not, and says why in a sentence that gives nothing away."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from plait.collaboration import jobs
from plait.collaboration.requests import request_merge
from plait.hub import AddBytes, Delete
from plait.hub.database import Job

from . import tiny
from .town import Town, build_town

pytestmark = pytest.mark.models

Spoil = Callable[[Path], None]


def job_of(town: Town, name: str) -> Job:
    found = jobs.latest(town.hub, town.pulls[name].id)
    assert found is not None
    return found


def everything_said(town: Town, name: str) -> str:
    """Return all that the discussion, the job and its log tell."""
    job = job_of(town, name)
    log = [line.text for line in jobs.lines(town.hub, job.id)]
    events = town.hub.discussions.events(town.pulls[name])
    return json.dumps([[e.data for e in events], log, job.result, job.error, job.stage])


def truncate(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def lie(folder: Path) -> None:
    path = folder / "model.safetensors"
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    header["classifier.bias"]["shape"] = [200]
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size :])


def put_nan(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["classifier.weight"] = tensors["classifier.weight"].copy()
    tensors["classifier.weight"][0, 3] = np.nan
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def other_shape(folder: Path) -> None:
    shutil.rmtree(folder)
    tiny.make_base(folder, hidden=16)


def swap_labels(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = {"0": "positive", "1": "negative"}
    (folder / "config.json").write_text(json.dumps(config))


def own_code(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModel": "model.Mine"}
    (folder / "config.json").write_text(json.dumps(config))


def other_words(folder: Path) -> None:
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    vocab = content["model"]["vocab"]
    vocab["word0"], vocab["word1"] = vocab["word1"], vocab["word0"]
    path.write_text(json.dumps(content))


def missing_tensor(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["classifier.bias"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (truncate, "truncated"),
        (lie, "classifier.bias"),
        (put_nan, "NaN"),
        (other_shape, "another architecture"),
        (swap_labels, "labels"),
        (own_code, "auto_map"),
        (other_words, "vocabulary"),
        (missing_tensor, "classifier.bias"),
    ],
)
def test_a_bad_contribution_gets_a_sentence_and_changes_nothing(
    town: Town, tmp_path: Path, spoil: Spoil, said: str
) -> None:
    folder = tmp_path / "bad"
    shutil.copytree(town.models / "shop", folder)
    spoil(folder)
    pull = town.propose("shop", folder)
    before = town.head()
    state = town.merge(pull)
    assert state["status"] == "open"
    assert state["job"]["state"] == "failed"
    assert said in state["job"]["error"]
    assert f"ull request {pull.number}" in state["job"]["error"]
    assert "/" not in state["job"]["error"].replace("/ ", "")  # no folder of the machine
    assert town.said(pull)[-1] == f"**Not merged.** {state['job']['error']}"
    assert town.head() == before
    assert list(town.hub.settings.work_dir.iterdir()) == []


def test_a_pickle_is_refused_by_its_name(town: Town) -> None:
    outcome = town.hub.commits.apply(
        town.members["shop"],
        town.repo,
        "main",
        [AddBytes("pytorch_model.bin", b"\x80\x02}q\x00.")],
        "pickled",
        "",
        create_pr=True,
    )
    assert outcome.discussion is not None
    town.pulls["shop"] = outcome.discussion
    state = town.merge(outcome.discussion)
    assert state["job"]["state"] == "failed"
    assert "pytorch_model.bin" in state["job"]["error"]
    assert "never loaded" in state["job"]["error"]


def test_what_makes_the_model_worse_does_not_land(town: Town, tmp_path: Path) -> None:
    assert town.merge(town.propose("shop", town.models / "shop"))["status"] == "merged"
    rows = [{**row, "label": 1 - row["label"]} for row in tiny.sentences("shop", 200, 5)]
    harmful = tiny.fine_tune(town.models / "base", tmp_path / "harmful", rows)
    before = town.head()
    state = town.merge(town.propose("cinema", harmful))
    assert state["status"] == "open"
    assert state["job"]["state"] == "succeeded"
    report = state["report"]
    assert report["verdict"] == "regresses"
    assert report["landed"] is None
    assert "Shop" in report["reason"]
    assert "regresses" in town.said(town.pulls["cinema"])[-1]
    assert town.head() == before
    values = {row["organisation"]: row["value"] for row in report["credit"]["contributions"]}
    assert values["cinema"] < 0
    # A person with the right to merge can look and ask again.
    again = request_merge(town.hub, town.owner, town.repo, town.pulls["cinema"])
    assert again.job is not None
    assert again.job.id != state["job"]["id"]
    assert town.state(town.pulls["cinema"])["report"] is None


def test_too_few_items_are_a_verdict_of_their_own(tmp_path: Path, tiny_models: Path) -> None:
    town = build_town(tmp_path / "hub", tiny_models, gate=18)
    state = town.merge(town.propose("shop", town.models / "shop"))
    assert state["status"] == "open"
    assert state["report"]["verdict"] == "not enough data"
    town.hub.close()


def test_a_data_set_that_does_not_permit_it_is_as_one_that_does_not_exist(
    tmp_path: Path, tiny_models: Path
) -> None:
    errors = []
    for place, target in enumerate(("press/texts", "press/nothing")):
        project = tiny.project().replace("dataset: press/texts", f"dataset: {target}")
        town = build_town(
            tmp_path / f"hub-{place}", tiny_models, project=project, allow=("shop", "cinema")
        )
        state = town.merge(town.propose("shop", town.models / "shop"))
        assert state["job"]["state"] == "failed"
        errors.append(state["job"]["error"])
        assert "press/texts" not in state["job"]["error"]
        assert "'press'" in state["job"]["error"]
        town.hub.close()
    assert errors[0] == errors[1]


def test_nothing_of_private_items_is_told(town: Town) -> None:
    town.merge(town.propose("shop", town.models / "shop"))
    told = everything_said(town, "shop")
    card = town.hub.git.read(town.repo, town.head(), "README.md").decode()
    lineage = town.hub.git.read(town.repo, town.head(), "lineage.json").decode()
    for text in (told, card, lineage):
        for name in tiny.DOMAINS:
            assert f"{name}/texts" not in text
            assert f"{name}-11-" not in text  # documents
            assert f"{name}good" not in text  # words
            assert f"{name}bad" not in text


@pytest.mark.parametrize(
    "columns", ["{label: text, group: document}", "{text: nothing, group: document}"]
)
def test_an_error_in_a_private_data_set_tells_nothing_of_it(
    tmp_path: Path, tiny_models: Path, columns: str
) -> None:
    project = tiny.project().replace("columns: {group: document}", f"columns: {columns}", 1)
    town = build_town(tmp_path / "hub", tiny_models, project=project)
    state = town.merge(town.propose("shop", town.models / "shop"))
    assert state["job"]["state"] == "failed"
    told = everything_said(town, "shop")
    assert "word1" not in told
    assert "shopgood" not in told
    assert "document" not in state["job"]["error"]
    town.hub.close()


def test_a_pull_request_that_changed_after_the_request_is_not_merged(town: Town) -> None:
    pull = town.propose("shop", town.models / "shop")
    request_merge(town.hub, town.owner, town.repo, pull)
    town.hub.commits.apply(
        town.members["shop"],
        town.repo,
        f"refs/pr/{pull.number}",
        town.operations(town.models / "cinema"),
        "something else",
        "",
    )
    town.work()
    state = town.state(pull)
    assert state["status"] == "open"
    assert "changed after" in state["job"]["error"]


def test_a_pull_request_that_was_closed_meanwhile_is_not_merged(town: Town) -> None:
    pull = town.propose("shop", town.models / "shop")
    request_merge(town.hub, town.owner, town.repo, pull)
    town.hub.discussions.set_status(town.owner, pull, "closed")
    town.work()
    assert "closed" in town.state(pull)["job"]["error"]


def test_contradicting_text_is_told_before_anything_is_fused(town: Town) -> None:
    town.commit(AddBytes("notes.txt", b"one\n"))
    pull = town.propose("shop", town.models / "shop", AddBytes("notes.txt", b"two\n"))
    town.commit(AddBytes("notes.txt", b"three\n"))
    state = town.merge(pull)
    assert state["job"]["state"] == "failed"
    assert "'notes.txt'" in state["job"]["error"]


def test_a_pull_request_cannot_choose_its_own_judges(town: Town) -> None:
    easy = b"tasks:\n  - {name: shop, dataset: shop/texts, role: watched}\ngate: {margin: 1}\n"
    rows = [{**row, "label": 1 - row["label"]} for row in tiny.sentences("shop", 200, 5)]
    assert town.merge(town.propose("shop", town.models / "shop"))["status"] == "merged"
    harmful = tiny.fine_tune(town.models / "base", town.hub.settings.dir / "tmp" / "bad", rows)
    state = town.merge(town.propose("press", harmful, AddBytes("plait.yaml", easy)))
    assert state["report"]["verdict"] == "regresses"
    assert any("`plait.yaml`" in note for note in state["report"]["notes"])


def test_weights_cannot_be_removed_by_a_merge(town: Town) -> None:
    outcome = town.hub.commits.apply(
        town.members["shop"],
        town.repo,
        "main",
        [Delete("model.safetensors")],
        "gone",
        "",
        create_pr=True,
    )
    assert outcome.discussion is not None
    town.pulls["shop"] = outcome.discussion
    state = town.merge(outcome.discussion)
    assert state["job"]["state"] == "failed"
    assert "removes" in state["job"]["error"]
