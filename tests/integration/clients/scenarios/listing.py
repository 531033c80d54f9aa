# SPDX-License-Identifier: Apache-2.0
"""Search and lists of models, data sets and spaces with every filter and sort."""

from __future__ import annotations

import json
import struct

from scene import FACTS, ME, ORGANIZATION, OTHER, api, done, has, other, send


def safetensors(values: int) -> bytes:
    """Return a whole safetensors file of one tensor of zeros."""
    head = json.dumps({"w": {"dtype": "F32", "shape": [values], "data_offsets": [0, 4 * values]}})
    return struct.pack("<Q", len(head)) + head.encode() + bytes(4 * values)


def card(repo: str, head: dict[str, object], kind: str = "model") -> None:
    text = f"---\n{json.dumps(head)}\n---\n# {repo}\n".encode()
    api.upload_file(path_or_fileobj=text, path_in_repo="README.md", repo_id=repo, repo_type=kind)


def models(**options: object) -> list[str]:
    options.setdefault("author", ME)
    return [info.id.split("/")[1] for info in api.list_models(**options)]


def datasets(**options: object) -> list[str]:
    options.setdefault("author", ME)
    return [info.id.split("/")[1] for info in api.list_datasets(**options)]


HEADS = {
    "aa-bert": {
        "pipeline_tag": "text-classification",
        "library_name": "transformers",
        "language": ["en", "fr"],
        "license": "mit",
        "tags": ["finance"],
        "datasets": [f"{ME}/reviews"],
    },
    "bb-llama": {
        "pipeline_tag": "text-generation",
        "library_name": "transformers",
        "language": "zh",
        "license": "apache-2.0",
        "base_model": f"{ME}/aa-bert",
        "tags": ["chat"],
    },
    "cc-vision": {"pipeline_tag": "image-classification", "library_name": "timm", "license": "mit"},
}
for name, head in HEADS.items():
    api.create_repo(f"{ME}/{name}")
    card(f"{ME}/{name}", head)
api.create_repo(f"{ME}/dd-secret", private=True)
api.create_repo(f"{ORGANIZATION}/ee-ours")
for name, size in (("aa-bert", 100), ("bb-llama", 100_000)):
    api.upload_file(
        path_or_fileobj=safetensors(size), path_in_repo="model.safetensors", repo_id=f"{ME}/{name}"
    )
api.upload_file(
    path_or_fileobj=json.dumps({"architectures": ["BertModel"], "model_type": "bert"}).encode(),
    path_in_repo="config.json",
    repo_id=f"{ME}/aa-bert",
)
api.update_repo_settings(f"{ME}/cc-vision", gated="auto")
send("POST", f"/api/models/{ME}/bb-llama/like", token=FACTS["other"]["token"])

# Who, what, with which tags.
assert sorted(models()) == ["aa-bert", "bb-llama", "cc-vision", "dd-secret"]
assert sorted(m.id for m in other.list_models(author=ME)) == [
    f"{ME}/{name}" for name in ("aa-bert", "bb-llama", "cc-vision")
]
assert models(author=ORGANIZATION) == ["ee-ours"] and models(author=OTHER) == []
for options, expected in (
    ({"search": "llama"}, ["bb-llama"]),
    ({"search": "LLAMA"}, ["bb-llama"]),
    ({"search": f"{ME}/cc"}, ["cc-vision"]),
    ({"search": "no%such_name"}, []),
    ({"filter": "finance"}, ["aa-bert"]),
    ({"filter": "transformers"}, ["aa-bert", "bb-llama"]),
    ({"filter": ["transformers", "license:mit"]}, ["aa-bert"]),
    ({"filter": "license:mit"}, ["aa-bert", "cc-vision"]),
    ({"filter": "fr"}, ["aa-bert"]),
    ({"filter": "zh"}, ["bb-llama"]),
    ({"filter": "text-generation"}, ["bb-llama"]),
    ({"pipeline_tag": "image-classification"}, ["cc-vision"]),
    ({"pipeline_tag": "text-classification", "filter": "chat"}, []),
    ({"trained_dataset": f"{ME}/reviews"}, ["aa-bert"]),
    ({"filter": f"dataset:{ME}/reviews"}, ["aa-bert"]),
    ({"filter": f"base_model:{ME}/aa-bert"}, ["bb-llama"]),
    ({"gated": True}, ["cc-vision"]),
    ({"gated": False}, ["aa-bert", "bb-llama", "dd-secret"]),
    ({"inference": "warm"}, []),
    ({"inference_provider": "hf-inference"}, []),
):
    assert sorted(models(**options)) == expected, (options, models(**options))
if has("list_models(num_parameters)"):
    assert models(num_parameters="min:1K") == ["bb-llama"]
    assert models(num_parameters="max:1K") == ["aa-bert"]
    assert models(num_parameters="min:10,max:200") == ["aa-bert"]
if has("list_models(language)"):
    assert sorted(models(language="fr")) == ["aa-bert"]
    assert sorted(models(library="timm")) == ["cc-vision"]
    assert sorted(models(task="text-generation")) == ["bb-llama"]
    assert sorted(models(tags=["finance"])) == ["aa-bert"]
    assert models(model_name="llama") == ["bb-llama"]

# Sorts, pages, limits.
assert models(sort="created_at") == ["dd-secret", "cc-vision", "bb-llama", "aa-bert"]
assert models(sort="last_modified")[0] in ("cc-vision", "aa-bert")
assert models(sort="likes")[0] == "bb-llama"
assert sorted(models(sort="downloads")) == sorted(models(sort="trending_score")) == sorted(models())
assert models(sort="created_at", limit=2) == ["dd-secret", "cc-vision"]
assert len(models(limit=3)) == 3
if has("list_models(direction)"):
    assert models(sort="likes", direction=-1)[0] == "bb-llama"

# What is told of each.
full = next(
    iter(api.list_models(author=ME, search="aa-bert", full=True, cardData=True, fetch_config=True))
)
assert full.card_data["license"] == "mit" and "finance" in full.tags and full.sha
assert "model.safetensors" in {s.rfilename for s in full.siblings}
assert full.pipeline_tag == "text-classification" and full.library_name == "transformers"
one = next(iter(api.list_models(author=ME, search="bb-llama", expand=["likes", "downloads"])))
assert one.likes == 1 and one.downloads is not None and one.sha is None and one.siblings is None
info = api.model_info(f"{ME}/aa-bert", files_metadata=True)
assert info.config["model_type"] == "bert" and info.safetensors.total == 100
weights = {s.rfilename: s for s in info.siblings}["model.safetensors"]
assert weights.size == len(safetensors(100)) and weights.blob_id
chosen = api.model_info(f"{ME}/aa-bert", expand=["safetensors", "tags", "usedStorage"])
assert chosen.safetensors.parameters == {"F32": 100} and chosen.sha is None
head = api.get_safetensors_metadata(f"{ME}/aa-bert")
assert head.parameter_count == {"F32": 100}
if has("get_sharded_safetensors_metadata"):
    assert api.parse_safetensors_file_metadata(f"{ME}/aa-bert", "model.safetensors").tensors

# Data sets and spaces.
for name, head in {
    "reviews": {
        "task_categories": ["text-classification"],
        "size_categories": ["n<1K"],
        "language": ["en"],
        "multilinguality": ["monolingual"],
        "task_ids": ["sentiment-classification"],
        "language_creators": ["found"],
        "license": "cc0-1.0",
    },
    "images": {"task_categories": ["image-classification"], "size_categories": ["1K<n<10K"]},
}.items():
    api.create_repo(f"{ME}/{name}", repo_type="dataset")
    card(f"{ME}/{name}", head, "dataset")
for options, expected in (
    ({}, ["images", "reviews"]),
    ({"search": "rev"}, ["reviews"]),
    ({"dataset_name": "images"}, ["images"]),
    ({"task_categories": "image-classification"}, ["images"]),
    ({"size_categories": "n<1K"}, ["reviews"]),
    ({"language": "en"}, ["reviews"]),
    ({"multilinguality": "monolingual"}, ["reviews"]),
    ({"task_ids": "sentiment-classification"}, ["reviews"]),
    ({"language_creators": "found"}, ["reviews"]),
    ({"filter": "license:cc0-1.0"}, ["reviews"]),
    ({"filter": ["task_categories:text-classification", "language:en"]}, ["reviews"]),
    ({"gated": True}, []),
    ({"sort": "created_at", "limit": 1}, ["images"]),
):
    assert sorted(datasets(**options)) == expected, (options, datasets(**options))
assert api.dataset_info(f"{ME}/reviews").card_data["license"] == "cc0-1.0"
api.create_repo(f"{ME}/app", repo_type="space", space_sdk="static")
card(
    f"{ME}/app",
    {"sdk": "static", "models": [f"{ME}/aa-bert"], "datasets": [f"{ME}/reviews"]},
    "space",
)


def spaces(**options: object) -> list[str]:
    return [space.id for space in api.list_spaces(author=ME, **options)]


for options in (
    {},
    {"search": "app"},
    {"models": f"{ME}/aa-bert"},
    {"datasets": f"{ME}/reviews"},
    {"filter": "static"},
    {"sort": "likes", "limit": 3},
    {"linked": True},
    {"full": True},
):
    assert spaces(**options) == [f"{ME}/app"], options
assert spaces(models=f"{ME}/bb-llama") == []

# Tags by type, for the filters of a page.
tags = api.get_model_tags()
assert isinstance(tags, dict) and {"pipeline_tag", "library", "license"} <= set(tags), set(tags)
assert "task_categories" in api.get_dataset_tags()

# More than one page.
for index in range(12):
    api.create_repo(f"{ME}/page-{index:02}", repo_type="dataset")
seen = [d.id for d in api.list_datasets(author=ME, search="page-", limit=None)]
assert len(seen) == len(set(seen)) == 12
step = send("GET", f"/api/datasets?author={ME}&search=page-&limit=5")
count, link = len(step.json()), step.headers["Link"]
assert count == 5 and 'rel="next"' in link
done()
