# SPDX-License-Identifier: Apache-2.0
"""What is said of a model or data set that is neither here nor fetched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from huggingface_hub import errors as hub

from plait.errors import BadInput
from plait.fusion import check
from plait.fusion.resolve import resolve_model, why_not_fetched
from plait.recipes.fusion import parse_recipe

ANSWER = httpx.Response(404, request=httpx.Request("GET", "http://hub"))


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (hub.GatedRepoError("no", response=ANSWER), "gated: ask for access"),
        (hub.RepositoryNotFoundError("no", response=ANSWER), "Correct the name, or give HF_TOKEN"),
        (hub.RevisionNotFoundError("no", response=ANSWER), "has no revision 'v9'"),
        (hub.HFValidationError("no"), "no repository's name"),
        (hub.OfflineModeIsEnabled("no"), "no connection"),
        (ConnectionError("no"), "no connection"),
        (ValueError("a disk\n that is full"), "failed: a disk that is full"),
    ],
)
def test_each_reason_says_what_to_do(error: Exception, says: str) -> None:
    told = why_not_fetched("org/name@v9", error)
    assert says in told
    assert "'org/name" in told


def test_what_a_failure_came_of_counts() -> None:
    try:
        try:
            raise httpx.ConnectError("[Errno -2] Name or service not known")
        except httpx.ConnectError as error:
            raise RuntimeError("Got: ConnectError") from error
    except RuntimeError as error:
        assert "no connection" in why_not_fetched("org/name", error)


def test_a_hub_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(BadInput) as caught:
        resolve_model("nobody-has-this/model-here")
    assert "There is no folder 'nobody-has-this/model-here'" in caught.value.message
    assert "Errno" not in caught.value.message


@pytest.mark.parametrize("key", ["tokenizer_source", "tokenizer"])
@pytest.mark.parametrize(
    ("word", "near"), [("unoin", "union"), ("Base", "base"), ("shp", "shop"), ("basе", "base")]
)
def test_a_tokenizer_source_that_is_mistyped(key: str, word: str, near: str) -> None:
    data: dict[str, Any] = {"merge_method": "linear", "models": [{"model": "shop"}]}
    data[key] = word if key == "tokenizer_source" else {"source": word}
    with pytest.raises(BadInput, match=f"did you mean '{near}'"):
        check(data)


def test_a_tokenizer_source_that_is_a_model(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "unions").mkdir()
    for word in ("unions", "bases", "org/unoin", "gpt2"):
        models = [{"model": "bases"}, {"model": "other"}]
        data = {"merge_method": "linear", "models": models, "tokenizer_source": word}
        found = parse_recipe(data).tokenizer
        assert found is not None
        assert found.source == word
