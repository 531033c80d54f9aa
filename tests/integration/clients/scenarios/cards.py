# SPDX-License-Identifier: Apache-2.0
"""Cards: pushed, loaded, validated, metadata changed, results added."""

from __future__ import annotations

from huggingface_hub import (
    DatasetCard,
    EvalResult,
    ModelCard,
    ModelCardData,
    RepoCard,
    SpaceCard,
    metadata_load,
    metadata_update,
)
from scene import ME, VERSION, api, done, send


def push(card: RepoCard, repo: str, message: str, kind: str = "model") -> None:
    """Push a card; before 2.0 a card asks huggingface.co itself whether it is right."""
    if VERSION == "hf-2":
        card.validate()
        card.push_to_hub(repo, repo_type=kind, commit_message=message)
    else:
        content = {"path_or_fileobj": str(card).encode(), "path_in_repo": "README.md"}
        api.upload_file(**content, repo_id=repo, repo_type=kind, commit_message=message)


def change(metadata: dict[str, object]) -> None:
    """Change a card's metadata; the same goes for it."""
    if VERSION == "hf-2":
        assert "/commit/" in metadata_update(repo, metadata, overwrite=True)
    else:
        card = ModelCard.load(repo)
        card.data = ModelCardData(**{**card.data.to_dict(), **metadata})
        push(card, repo, "Change the metadata")


repo = api.create_repo(f"{ME}/carded").repo_id
data = ModelCardData(
    language=["en", "zh"],
    license="mit",
    library_name="transformers",
    pipeline_tag="text-classification",
    tags=["finance"],
    base_model="plait/base",
    model_name="carded",
    eval_results=[
        EvalResult(
            task_type="text-classification",
            dataset_type="shop/reviews",
            dataset_name="Reviews",
            metric_type="accuracy",
            metric_value=0.5,
        )
    ],
)
card = ModelCard(f"---\n{data.to_yaml()}\n---\n\n# 模型\n\nA card.\n")
push(card, repo, "A card")
loaded = ModelCard.load(repo)
assert loaded.data.license == "mit" and "# 模型" in loaded.text
assert loaded.data.eval_results[0].metric_value == 0.5
info = api.model_info(repo)
assert info.card_data.license == "mit" and {"finance", "license:mit", "en", "zh"} <= set(info.tags)
assert info.model_index and "base_model:plait/base" in info.tags

change({"tags": ["finance", "news"]})
assert {"news", "finance"} <= set(api.model_info(repo).tags)
change(
    {
        "model-index": [
            {
                "name": "carded",
                "results": [
                    {
                        "task": {"type": "text-classification"},
                        "dataset": {"name": "Reviews", "type": "shop/reviews"},
                        "metrics": [{"type": "accuracy", "value": 0.75}],
                    }
                ],
            }
        ]
    },
)
path = api.hf_hub_download(repo, "README.md")
assert metadata_load(path)["model-index"][0]["results"][0]["metrics"][0]["value"] == 0.75
if VERSION == "hf-2":
    offer = loaded.push_to_hub(repo, create_pr=True)
    assert "discussions" in str(getattr(offer, "pr_url", offer))

for kind, make in (("dataset", DatasetCard), ("space", SpaceCard)):
    name = api.create_repo(
        f"{ME}/carded", repo_type=kind, **({"space_sdk": "static"} if kind == "space" else {})
    ).repo_id
    extra = "sdk: static\n" if kind == "space" else "task_categories:\n- text-classification\n"
    made = make(f"---\nlicense: mit\n{extra}---\n# A {kind}\n")
    push(made, name, "A card", kind)
    assert make.load(name).data.license == "mit"

# A broken head is refused with the reason, before anything is committed.
before = api.model_info(repo).sha
answer = send(
    "POST", "/api/validate-yaml", json={"content": "---\nlicense: [mit\n---\n", "repoType": "model"}
)
assert answer.status_code == 400 and answer.json()["errors"][0]["message"]
for content in (b"---\nlicense: [mit\n---\n",):
    try:
        api.upload_file(path_or_fileobj=content, path_in_repo="README.md", repo_id=repo)
    except Exception as error:
        assert "yaml" in str(error).lower() or "Invalid metadata" in str(error), error
    else:
        raise AssertionError("a broken card was taken")
assert api.model_info(repo).sha == before
done()
