# SPDX-License-Identifier: Apache-2.0
"""What a repository's files say of it: read when main moves, kept for lists, search and pages."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pygit2.enums import ObjectType
from sqlalchemy import func, select

from plait.cards import card_tags, parse_card
from plait.errors import BadInput, EntryNotFound, PlaitError
from plait.hub.database import Blob, BlobGrant, Repository
from plait.hub.git.objects import TreeEntry, find_commit
from plait.hub.repositories.datafiles import guess_dataset
from plait.hub.repositories.headers import ReadAt, count_parameters, read_gguf, read_safetensors
from plait.hub.repositories.libraries import arxiv_tags, guess_model

if TYPE_CHECKING:
    from plait.hub.facade import Hub

README = "README.md"
MAX_CARD = 2**20
MAX_CONFIG = 2**20
MAX_TEMPLATE = 50_000
MAX_INDEX = 16 * 2**20
MAX_NAMES = 100_000
"""Files whose names are looked at."""
MAX_SHARDS = 1000
MAX_TAGS = 1000
TAG_LENGTH = 200

_CONFIG = ("architectures", "model_type", "auto_map", "quantization_config", "pretrained_cfg")
_TOKENS = ("bos_token", "eos_token", "pad_token", "unk_token", "mask_token", "sep_token")
_PEFT = ("base_model_name_or_path", "task_type", "peft_type")
_SDKS = ("gradio", "docker", "static", "streamlit")


@dataclass(frozen=True)
class Found:
    """What the files at a commit say."""

    card: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    parameters: int | None = None
    terms: frozenset[str] = frozenset()
    """What it is filtered by: its tags, and terms that are not shown (`linked_term`)."""


def read(hub: Hub, repo: Repository, head: str, before: Mapping[str, Any] | None = None) -> Found:
    """Read what the files at commit ``head`` say; a file that cannot be read says nothing.

    ``before`` are the facts of an earlier commit: headers of weight files that did not change are
    not read again.
    """
    files = Files(hub, repo, head)
    card, text = files.card()
    facts: dict[str, Any] = {"files": len(files.names)}
    parameters: int | None = None
    terms: set[str] = set()
    if repo.type == "model":
        config = read_config(files)
        guess = guess_model(files.names, card, text, config)
        facts |= {
            "tags": guess.tags,
            "library_name": guess.library,
            "pipeline_tag": guess.pipeline_tag,
            "transformersInfo": guess.transformers,
            "base_models": guess.base_models,
            "relation": guess.relation,
            "config": config,
            "mask_token": _mask_token(config),
            **_weights(files, before or {}),
        }
        if "safetensors" in facts:
            parameters = facts["safetensors"]["total"]
    elif repo.type == "dataset":
        data = guess_dataset(files.names, card, text)
        facts |= {
            "tags": data.tags,
            "description": data.description,
            "citation": data.citation,
            "mainSize": data.main_size,
        }
    else:
        sdk = card.get("sdk")
        kept = (before or {}).get("sdk")
        facts["sdk"] = sdk if sdk in _SDKS else kept
        facts["models"], facts["datasets"] = _linked(card, "models"), _linked(card, "datasets")
        tags = [facts["sdk"], *card_tags({**card, "datasets": None}), *arxiv_tags(text)]
        facts["tags"] = list(dict.fromkeys(tag for tag in tags if tag))
        terms |= {linked_term("model", name) for name in facts["models"]}
        terms |= {linked_term("dataset", name) for name in facts["datasets"]}
        if terms:
            terms.add(LINKED)
    facts["tags"] = [tag[:TAG_LENGTH] for tag in facts["tags"][:MAX_TAGS] if _is_tag(tag)]
    facts = {key: value for key, value in facts.items() if value is not None}
    terms |= _languages(card)
    return Found(card, facts, parameters, frozenset({*facts["tags"], *terms}))


def _languages(card: Mapping[str, Any]) -> set[str]:
    """Return both forms in which languages are asked for, ``en`` and ``language:en``."""
    codes = [code for code in _linked(card, "language") if _is_tag(code)]
    return {form[:TAG_LENGTH] for code in codes for form in (code, f"language:{code}")}


def used_storage(hub: Hub, repo: Repository) -> int:
    """Return the bytes of all large files that a repository refers to or referred to."""
    query = (
        select(func.sum(Blob.size))
        .join(BlobGrant, BlobGrant.sha256 == Blob.sha256)
        .where(BlobGrant.repository_id == repo.id)
    )
    with hub.session() as session:
        return int(session.scalar(query) or 0)


HIDDEN = "\N{INFORMATION SEPARATOR ONE}"
"""Begins terms that no card can hold, because they are not tags."""
LINKED = f"{HIDDEN}linked:"


def linked_term(kind: str, name: str) -> str:
    """Return the term by which spaces that use a model or data set are found."""
    return f"{HIDDEN}{kind}:{name}"[:TAG_LENGTH]


def _is_tag(tag: str) -> bool:
    return not any(ord(letter) < 0x20 or "\ud800" <= letter <= "\udfff" for letter in tag)


class Files:
    """The files of a commit, found by walking its tree once."""

    def __init__(self, hub: Hub, repo: Repository, head: str) -> None:
        self.hub = hub
        self.repo = repo
        self.head = head
        git = hub.git.open(repo)
        self.names: dict[str, None] = {}
        for name in _walk(git, find_commit(git, head).tree):
            self.names[name] = None
            if len(self.names) >= MAX_NAMES:
                break

    def entry(self, path: str) -> TreeEntry | None:
        """Return the file at ``path``, None if there is none."""
        try:
            found = self.hub.git.entry(self.repo, self.head, path)
        except (EntryNotFound, BadInput):
            return None
        return found if found.type == "file" else None

    def text(self, path: str, limit: int) -> str | None:
        """Return a small file that git itself holds, as text."""
        entry = self.entry(path) if path in self.names else None
        if entry is None or entry.lfs is not None or entry.size > limit:
            return None
        return self.hub.git.read(self.repo, self.head, path).decode("utf-8", "replace")

    def json(self, path: str, limit: int = MAX_CONFIG) -> dict[str, Any]:
        """Return a small JSON object, empty if the file is none."""
        text = self.text(path, limit)
        try:
            found = json.loads(text) if text else {}
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def card(self) -> tuple[dict[str, Any], str]:
        """Return README.md's head and text."""
        content = self.text(README, MAX_CARD) or ""
        try:
            card = parse_card(content)
        except BadInput:
            # A card that cannot be read is shown as such, and no reason to refuse.
            return {}, content
        return card.data, card.text

    def reader(self, entry: TreeEntry) -> ReadAt | None:
        """Return what reads a file's bytes from one place to another, None without its bytes."""
        hub, lfs = self.hub, entry.lfs
        if lfs is None:
            data = hub.git.read(self.repo, self.head, entry.path)
            return lambda start, end: data[start:end]
        with hub.session() as session:
            if not hub.has_grant(session, self.repo, lfs.sha256):
                return None

        def read_at(start: int, end: int) -> bytes:
            end = min(end, lfs.size)
            return b"".join(hub.blobs.read_range(lfs.sha256, start, end)) if start < end else b""

        return read_at


def _walk(git: Any, tree: Any, prefix: str = "", depth: int = 0) -> Iterable[str]:
    for entry in tree:
        if entry.type == ObjectType.TREE:
            if depth < 64:
                yield from _walk(git, git[entry.id], f"{prefix}{entry.name}/", depth + 1)
        elif entry.type == ObjectType.BLOB:
            yield f"{prefix}{entry.name}"


def read_config(files: Files) -> dict[str, Any]:
    """Return what clients ask the hub for of a model's configuration files."""
    whole = files.json("config.json")
    found = {key: whole[key] for key in _CONFIG if key in whole}
    pretrained = found.pop("pretrained_cfg", None)
    if pretrained is not None:
        found["pretrained_cfg"] = {}
    tokenizer = files.json("tokenizer_config.json", 4 * MAX_CONFIG)
    kept = {key: _token(tokenizer[key]) for key in _TOKENS if key in tokenizer}
    template = tokenizer.get("chat_template")
    if not template:
        template = files.text("chat_template.jinja", MAX_TEMPLATE)
    if template and len(json.dumps(template)) <= MAX_TEMPLATE:
        kept["chat_template"] = template
    if kept:
        found["tokenizer_config"] = kept
    adapter = files.json("adapter_config.json")
    if adapter:
        found["peft"] = {key: adapter[key] for key in _PEFT if key in adapter}
    pipeline = files.json("model_index.json").get("_class_name")
    if isinstance(pipeline, str):
        found["diffusers"] = {"_class_name": pipeline[:200]}
    return found if len(json.dumps(found)) <= 4 * MAX_TEMPLATE else {}


def _token(value: Any) -> Any:
    """Reduce a token to its text; older tokenizers keep it with its flags."""
    return value.get("content") if isinstance(value, dict) else value


def _mask_token(config: Mapping[str, Any]) -> str | None:
    tokens = config.get("tokenizer_config")
    found = tokens.get("mask_token") if isinstance(tokens, dict) else None
    return found if isinstance(found, str) else None


def _weights(files: Files, before: Mapping[str, Any]) -> dict[str, Any]:
    """Read the tensors' numbers of the safetensors files, or a GGUF file's header."""
    known = before.get("weights")
    known = known if isinstance(known, dict) else {}
    weights: dict[str, dict[str, int]] = {}
    total: dict[str, int] = {}
    for path in _shards(files):
        entry = files.entry(path)
        if entry is None:
            continue
        counted = known.get(entry.etag)
        if counted is None:
            header = read_header(files, path)
            if header is None:
                continue
            counted = count_parameters(header)
        weights[entry.etag] = counted
        for dtype, number in counted.items():
            total[dtype] = total.get(dtype, 0) + number
    found: dict[str, Any] = {}
    if total and sum(total.values()) < 2**62:
        found["safetensors"] = {"parameters": total, "total": sum(total.values())}
        found["weights"] = weights
    ggufs = [name for name in files.names if name.endswith(".gguf")]
    if ggufs:
        entry = files.entry(min(ggufs))
        if entry is not None and (before.get("gguf") or {}).get("etag") == entry.etag:
            found["gguf"] = before["gguf"]
        elif entry is not None and (reader := files.reader(entry)) is not None:
            gguf = _safely(lambda: read_gguf(reader))
            if gguf is not None:
                found["gguf"] = {**gguf.summary(), "etag": entry.etag}
    return found


def read_header(files: Files, path: str) -> dict[str, Any] | None:
    """Return the header of a safetensors file, None if it is not one."""
    entry = files.entry(path)
    reader = files.reader(entry) if entry is not None else None
    if entry is None or reader is None:
        return None
    found: dict[str, Any] | None = _safely(lambda: read_safetensors(reader, entry.size))
    return found


def _safely(work: Any) -> Any:
    """Run ``work``; bytes that are missing or damaged say nothing."""
    try:
        return work()
    except (PlaitError, OSError):
        return None


def _shards(files: Files) -> list[str]:
    """List the safetensors files that make up the model, each tensor once."""
    for name in ("model.safetensors", "adapter_model.safetensors"):
        if name in files.names:
            return [name]
    for index in ("model.safetensors.index.json", "diffusion_pytorch_model.safetensors.index.json"):
        shards = shards_of(files.json(index, MAX_INDEX))
        if shards:
            return [name for name in shards if name in files.names][:MAX_SHARDS]
    roots = [n for n in files.names if "/" not in n and n.endswith(".safetensors")]
    return sorted(roots)[:MAX_SHARDS]


def shards_of(index: Mapping[str, Any]) -> list[str]:
    """List the files that a ``*.safetensors.index.json`` names, sorted."""
    weights = index.get("weight_map")
    values = weights.values() if isinstance(weights, dict) else []
    return sorted({value for value in values if isinstance(value, str)})


def _linked(card: Mapping[str, Any], key: str) -> list[str]:
    value = card.get(key)
    items = value if isinstance(value, list) else [value]
    return list(dict.fromkeys(i.strip() for i in items if isinstance(i, str) and i.strip()))[:200]
