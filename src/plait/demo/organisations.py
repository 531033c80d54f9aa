# SPDX-License-Identifier: Apache-2.0
"""The demo's organisations, and what each of them does with the stock client."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from plait.demo.data import DOMAINS, HELD_OUT

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from plait.demo.data import Domain
    from plait.demo.sizes import Size
    from plait.hub import Hub

COMMONS = "commons"
MODEL = f"{COMMONS}/sentiment"


@dataclass(frozen=True)
class Organisation:
    """One organisation of the demo: its user, its token, and its own folder."""

    name: str
    user: str
    token: str
    folder: Path

    @property
    def dataset(self) -> str:
        """The repository that holds its private held-out texts."""
        return f"{self.name}/texts"


def create_accounts(hub: Hub, folder: Path) -> dict[str, Organisation]:
    """Make ``commons`` and the four domains' organisations, with a user and a token each."""
    made: dict[str, Organisation] = {}
    for name in (COMMONS, *DOMAINS):
        user = f"{name}-ml"
        account = hub.accounts.create_user(user)
        hub.accounts.create_organization(name, account)
        token = hub.tokens.create(account, scope="write", name="demo")
        own = folder / name
        own.mkdir(parents=True)
        made[name] = Organisation(name, user, token, own)
    return made


def project_file(organisations: Sequence[Organisation], size: Size) -> str:
    """Write the base's ``plait.yaml``: what it is judged by and how it may be fused."""
    tasks = "\n".join(
        f"""  - name: {org.name}
    type: text-classification
    dataset: {org.dataset}
    metric: balanced_accuracy
    columns: {{text: text, label: label, group: document}}
    role: protected
    margin: {size.task_margin}"""
        for org in organisations
    )
    return f"""\
# How pull requests of this model are merged and judged.
fusion:
  method: search
  budget: {size.budget}
  search_split: validation
tasks:
{tasks}
gate:
  split: gate
  confidence: 0.95
  margin: {size.average_margin}
"""


def base_card() -> str:
    """Write the base model's card."""
    return f"""\
---
license: apache-2.0
language: en
library_name: transformers
pipeline_tag: text-classification
tags: [sentiment, merging]
---
# Sentiment, built together

A MiniLM-L6 encoder (the weights of `sentence-transformers/all-MiniLM-L6-v2`, Apache-2.0) with a
fresh head for two classes, `negative` and `positive`. By itself it knows nothing of sentiment.
Organisations fine-tune it on texts that never leave them and open pull requests; merging one
fuses its weights with everyone else's.

```python
from transformers import pipeline
classify = pipeline("text-classification", "{MODEL}")
classify("A film that stays with you.")
```

What it is judged by stands in [plait.yaml](plait.yaml), where it came from in
[lineage.json](lineage.json) after the first merge.
"""


def publish_base(
    api: HfApi, folder: Path, organisations: Sequence[Organisation], size: Size
) -> None:
    """Publish the base model, its card and its ``plait.yaml`` as ``commons``."""
    (folder / "README.md").write_text(base_card())
    (folder / "plait.yaml").write_text(project_file(organisations, size))
    api.create_repo(MODEL)
    api.upload_folder(repo_id=MODEL, folder_path=folder, commit_message="Publish the base")


def keep_at_home(organisation: Organisation, domain: Domain) -> Path:
    """Write an organisation's training texts into its own folder; they are never uploaded."""
    path = organisation.folder / "training.jsonl"
    write_items(path, domain, "train")
    return path


def publish_held_out(api: HfApi, organisation: Organisation, domain: Domain) -> None:
    """Publish the held-out texts as a private data set that ``commons/sentiment`` may be judged by.

    The data set's own ``plait.yaml`` gives that leave: without it the hub's jobs refuse, whatever
    a model repository asks for.
    """
    folder = organisation.folder / "held-out"
    for split in HELD_OUT:
        write_items(folder / "data" / f"{split}.jsonl", domain, split)
    (folder / "plait.yaml").write_text(f"evaluation:\n  allow: [{MODEL}]\n")
    (folder / "README.md").write_text(
        "---\nlanguage: en\ntask_categories: [text-classification]\nconfigs:\n"
        "- config_name: default\n  data_files:\n"
        + "".join(f"  - split: {s}\n    path: data/{s}.jsonl\n" for s in HELD_OUT)
        + f"---\n# Held-out texts of {organisation.name}\n\n{domain.description}\n"
    )
    api.create_repo(organisation.dataset, repo_type="dataset", private=True)
    api.upload_folder(
        repo_id=organisation.dataset,
        repo_type="dataset",
        folder_path=folder,
        commit_message="Publish the held-out texts",
    )


def propose(api: HfApi, organisation: Organisation, model: Path, description: str) -> int:
    """Propose a fine-tuned model as a pull request; give its number."""
    commit = api.upload_folder(
        repo_id=MODEL,
        folder_path=model,
        commit_message=f"Fine-tune on {organisation.name}'s texts",
        commit_description=description,
        create_pr=True,
    )
    if commit.pr_num is None:
        raise RuntimeError("The hub made no pull request.")
    return commit.pr_num


def write_items(path: Path, domain: Domain, split: str) -> None:
    """Write one split as JSON Lines with the columns text, label and document."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (
        json.dumps({"text": item.text, "label": item.label, "document": item.document})
        for item in domain.splits[split]
    )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
