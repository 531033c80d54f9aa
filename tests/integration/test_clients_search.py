# SPDX-License-Identifier: Apache-2.0
"""Listing and searching with the stock client: every filter, order and property."""

from __future__ import annotations

import json
import secrets
from typing import Any, get_args

import httpx
import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import BadRequestError
from huggingface_hub.hf_api import (
    ExpandDatasetProperty_T,
    ExpandModelProperty_T,
    ExpandSpaceProperty_T,
)
from safetensors.numpy import save
from sqlalchemy import update

from integration.live import LiveHub, Person
from plait.hub import Repository

BERT = json.dumps({"architectures": ["BertForSequenceClassification"], "model_type": "bert"})


def card(**head: Any) -> bytes:
    return f"---\n{json.dumps(head)}\n---\nText.".encode()


def fill(api: HfApi, repo_id: str, kind: str = "model", **files: bytes | str) -> str:
    sdk = "static" if kind == "space" else None
    api.create_repo(repo_id, repo_type=kind, space_sdk=sdk)
    operations = [
        CommitOperationAdd(
            name.replace("__", "."), data.encode() if isinstance(data, str) else data
        )
        for name, data in files.items()
    ]
    if operations:
        api.create_commit(repo_id, operations, commit_message="files", repo_type=kind)
    return repo_id


def ids(found: Any) -> set[str]:
    return {item.id for item in found}


@pytest.fixture(scope="module")
def world(live_hub: LiveHub) -> tuple[LiveHub, Person, dict[str, str]]:
    import numpy

    ann = live_hub.person("ann")
    api, me = ann.api, ann.name
    base = f"{me}/base"
    weights = save({"w": numpy.zeros((4, 5), dtype=numpy.float32)})
    names = {
        "base": fill(
            api,
            base,
            config__json=BERT,
            model__safetensors=weights,
            README__md=card(license="mit", language=["en", "no"], datasets=["x/reviews"]),
        ),
        "tuned": fill(api, f"{me}/tuned", README__md=card(license="apache-2.0", base_model=base)),
        "adapter": fill(
            api, f"{me}/adapter", adapter_config__json="{}", README__md=card(base_model=base)
        ),
        "hidden": fill(api, f"{me}/hidden", README__md=card(license="mit", base_model=base)),
        "data": fill(
            api,
            f"{me}/reviews",
            "dataset",
            train__csv="a,b\n1,2\n",
            README__md=card(
                language="en", task_categories=["text-classification"], size_categories="n<1K"
            ),
        ),
        "app": fill(api, f"{me}/app", "space", README__md=card(sdk="static", models=[base])),
        "plain": fill(api, f"{me}/plain-app", "space"),
    }
    api.update_repo_settings(names["hidden"], private=True)
    return live_hub, ann, names


World = tuple[LiveHub, Person, dict[str, str]]


def test_filters_of_models(world: World) -> None:
    live, ann, names = world
    api, me = HfApi(endpoint=live.url, token=False), ann.name

    def found(**filters: Any) -> set[str]:
        return {key for key, name in names.items() if name in ids(api.list_models(**filters))}

    assert found(author=me) == {"base", "tuned", "adapter"}
    assert found(search=f"{me}/TUNED") == {"tuned"}
    assert found(author=me, filter="license:mit") == {"base"}
    assert found(author=me, filter=["en", "license:mit"]) == {"base"}
    assert found(author=me, filter="language:no") == {"base"}
    assert found(author=me, filter="bert") == {"base"}
    assert found(author=me, filter="transformers") == {"base"}
    assert found(author=me, trained_dataset="x/reviews") == {"base"}
    assert found(author=me, pipeline_tag="text-classification") == {"base"}
    assert found(author=me, num_parameters="min:10,max:1K") == {"base"}
    assert found(author=me, num_parameters="min:1B") == set()
    assert found(filter=f"base_model:{names['base']}") == {"tuned", "adapter"}
    assert found(filter=f"base_model:finetune:{names['base']}") == {"tuned"}
    assert found(filter=f"base_model:adapter:{names['base']}") == {"adapter"}
    assert found(author=me, apps="vllm") == {"base"}
    assert found(author=me, inference="warm") == set()
    assert found(author=me, gated=True) == set()
    assert names["hidden"] in ids(ann.api.list_models(author=me))
    assert names["hidden"] in ids(ann.api.list_models(filter="license:mit", author=me))


def test_filters_of_data_sets_and_spaces(world: World) -> None:
    live, ann, names = world
    api, me = HfApi(endpoint=live.url, token=False), ann.name
    data = {names["data"]}
    for filters in (
        {"language": "en"},
        {"task_categories": "text-classification"},
        {"size_categories": ["n<1K"]},
        {"filter": "format:csv"},
        {"dataset_name": "review", "search": me},
    ):
        assert ids(api.list_datasets(author=me, **filters)) == data, filters  # type: ignore[arg-type]
    assert ids(api.list_datasets(author=me, language="de")) == set()
    app = {names["app"]}
    assert ids(api.list_spaces(author=me)) == {names["app"], names["plain"]}
    assert ids(api.list_spaces(author=me, models=names["base"])) == app
    assert ids(api.list_spaces(author=me, linked=True)) == app
    assert ids(api.list_spaces(author=me, datasets="a/b")) == set()


def test_orders_and_pages(live_hub: LiveHub, alice: Person) -> None:
    api, me = alice.api, alice.name
    names = [fill(api, f"{me}/m{n}") for n in range(5)]
    with live_hub.hub.session(write=True) as session:
        for n, name in enumerate(names):
            values = {"likes": n, "downloads": 10 - n, "trending": n % 3}
            session.execute(
                update(Repository).where(Repository.search_key == name.lower()).values(**values)
            )

    def order(**options: Any) -> list[int]:
        return [int(m.id[-1]) for m in api.list_models(author=me, **options)]

    assert order(sort="likes") == [4, 3, 2, 1, 0]
    assert order(sort="downloads") == [0, 1, 2, 3, 4]
    assert order(sort="trending_score") == [2, 4, 1, 3, 0]
    assert order(sort="created_at") == order(sort="last_modified") == [4, 3, 2, 1, 0]
    assert order(sort="likes", limit=2) == [4, 3]
    url: str | None = f"{live_hub.url}/api/models?author={me}&sort=likes&limit=2"
    seen: list[str] = []
    while url:
        answer = httpx.get(url)
        seen += [row["id"] for row in answer.json()]
        url = answer.links.get("next", {}).get("url")
    assert seen == names[::-1]
    assert httpx.get(f"{live_hub.url}/api/models?sort=beauty").status_code == 400


@pytest.mark.parametrize(
    ("kind", "properties"),
    [
        ("model", get_args(ExpandModelProperty_T)),
        ("dataset", get_args(ExpandDatasetProperty_T)),
        ("space", get_args(ExpandSpaceProperty_T)),
    ],
)
def test_every_property_can_be_asked_for(
    world: World, kind: str, properties: tuple[str, ...]
) -> None:
    live, ann, names = world
    api, key = ann.api, {"model": "base", "dataset": "data", "space": "app"}[kind]
    whole = api.repo_info(names[key], repo_type=kind, expand=list(properties))  # type: ignore[arg-type]
    assert whole.id == names[key]
    listed = {
        "model": api.list_models,
        "dataset": api.list_datasets,
        "space": api.list_spaces,
    }[kind](author=ann.name, expand=list(properties))  # type: ignore[operator]
    assert names[key] in ids(listed)
    for name in properties:
        one = api.repo_info(names[key], repo_type=kind, expand=[name])  # type: ignore[list-item]
        assert one.id == names[key]
    with pytest.raises(BadRequestError) as wrong:
        api.repo_info(names[key], repo_type=kind, expand=["does_not_exist"])  # type: ignore[list-item]
    message = wrong.value.response.json()["error"]
    assert message.startswith('"expand" must be one of ')
    told = message.removeprefix('"expand" must be one of ').strip("[]").split(", ")
    assert set(told) == set(properties)
    old = httpx.get(f"{live.url}/api/{kind}s/{names[key]}?expand[]=likes").json()
    assert set(old) <= {"_id", "id", "modelId", "likes"}


def test_what_a_model_is_said_to_be(world: World) -> None:
    live, ann, names = world
    api = HfApi(endpoint=live.url, token=False)
    info = api.model_info(names["base"], files_metadata=True, securityStatus=True)
    assert info.safetensors is not None
    assert info.safetensors.total == 20
    assert (info.library_name, info.pipeline_tag) == ("transformers", "text-classification")
    assert info.transformers_info is not None
    assert info.transformers_info.auto_model == "AutoModelForSequenceClassification"
    assert info.config == {"architectures": ["BertForSequenceClassification"], "model_type": "bert"}
    assert info.spaces == [names["app"]]
    assert info.used_storage is not None
    assert info.used_storage > 0
    assert info.security_repo_status is not None
    sizes = {s.rfilename: s.size for s in info.siblings or []}
    assert sizes["model.safetensors"] == info.used_storage
    counted = api.model_info(names["base"], expand=["childrenModelCount"])
    assert counted.children_model_count == 2
    counted = ann.api.model_info(names["base"], expand=["childrenModelCount"])
    assert counted.children_model_count == 3
    tuned = api.model_info(names["tuned"], expand=["baseModels"])
    assert tuned.base_models is not None
    assert tuned.base_models["relation"] == "finetune"  # type: ignore[call-overload]
    assert api.get_safetensors_metadata(names["base"]).parameter_count == {"F32": 20}
    old = api.model_info(names["base"], revision=api.list_repo_commits(names["base"])[-1].commit_id)
    assert old.safetensors is None
    everything = list(api.list_models(author=ann.name, full=True, cardData=True, fetch_config=True))
    base = next(model for model in everything if model.id == names["base"])
    assert base.card_data is not None
    assert base.card_data.license == "mit"
    assert "config.json" in {s.rfilename for s in base.siblings or []}


def test_tags_by_type(world: World) -> None:
    live, _, _ = world
    api = HfApi(endpoint=live.url, token=False)
    models = api.get_model_tags()
    assert "transformers" in {tag["id"] for tag in models["library"]}
    assert "license:mit" in {tag["id"] for tag in models["license"]}
    assert "text-classification" in {tag["id"] for tag in models["pipeline_tag"]}
    datasets = api.get_dataset_tags()
    assert "size_categories:n<1K" in {tag["id"] for tag in datasets["size_categories"]}


def test_sharded_headers_come_in_one_answer(alice: Person) -> None:
    import numpy

    shards = {
        f"model-{n}.safetensors": save({f"w{n}": numpy.zeros(n, dtype=numpy.float16)})
        for n in (1, 2)
    }
    index = {
        "metadata": {"total_size": 6},
        "weight_map": {f"w{n}": f"model-{n}.safetensors" for n in (1, 2)},
    }
    name = alice.api.create_repo(f"{alice.name}/{secrets.token_hex(4)}").repo_id
    files = {**shards, "model.safetensors.index.json": json.dumps(index).encode()}
    alice.api.create_commit(
        name, [CommitOperationAdd(path, data) for path, data in files.items()], commit_message="w"
    )
    found = alice.api.get_sharded_safetensors_metadata(name)
    assert found.parameter_count == {"F16": 3}
    assert found.weight_map == index["weight_map"]
    assert alice.api.model_info(name).safetensors.total == 3  # type: ignore[union-attr]
