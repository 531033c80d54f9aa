# SPDX-License-Identifier: Apache-2.0
"""Writing an ensemble as one model folder that transformers loads, members' weights streamed."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plait.errors import BadInput
from plait.fusion.outputs.choosing import Fit
from plait.fusion.outputs.members import Member
from plait.fusion.places import hash_folder
from plait.fusion.weights.safetensors import Entry, layout, read_header
from plait.modeling import ARCHITECTURES, FOLDER, register
from plait.pretrained import load_classifier, load_image_classifier, load_own

WEIGHTS = "model.safetensors"
BRIDGE = "modeling_plait.py"
_COPY = 8 * 2**20
_CODES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
}
_WITHOUT = ("auto_map", "dtype", "torch_dtype", "_name_or_path", "transformers_version")
_CLASS = "PlaitEnsembleForSequenceClassification"


@dataclass(frozen=True)
class Group:
    """Members that read alike: the part that gives them their inputs, and its place."""

    kind: str
    part: Any
    modalities: tuple[str, ...]
    max_length: int
    digest: str


def save(folder: Path, members: Sequence[Member], fit: Fit, max_length: int) -> None:
    """Write config.json, model.safetensors, what reads inputs, and the code for others.

    Members are opened one after the other; weights that are stored under the names that the model
    has are copied from file to file.

    Raises:
        BadInput: if a member cannot be loaded or its tokenizer not be saved.
    """
    register()
    groups: list[Group] = []
    numbers = []
    entries: dict[str, Entry | Any] = {}
    for place, member in enumerate(members):
        model, part = _open(member)
        group = _group(member, model, part, max_length, folder)
        known = [g.digest for g in groups]
        if group.digest not in known:
            groups.append(group)
        numbers.append([g.digest for g in groups].index(group.digest))
        for name, source in _sources(member, model).items():
            entries[f"member_{place}.{name}"] = source
        del model
    if fit.coefficients is not None and fit.intercepts is not None:
        entries["stacker.weight"] = _tensor(fit.coefficients)
        entries["stacker.bias"] = _tensor(fit.intercepts)
    config = _config(members, numbers, groups, fit)
    _write_parts(folder, config["groups"], groups, config["auto_map"]["AutoProcessor"])
    (folder / "config.json").write_text(
        json.dumps(config, indent=2, ensure_ascii=False) + "\n", "utf-8"
    )
    _write_weights(folder / WEIGHTS, entries)
    _write_code(folder, members, config)


def _open(member: Member) -> tuple[Any, Any]:
    if member.kind == "text":
        return load_classifier(member.folder, task=member.task)
    if member.kind == "image":
        return load_image_classifier(member.folder)
    return load_own(member.folder)


def _group(member: Member, model: Any, part: Any, max_length: int, folder: Path) -> Group:
    """Return what a member reads with; its digest is the same for members that read alike."""
    if member.kind == "text":
        longest = min(max_length, getattr(model.config, "max_position_embeddings", max_length))
        if part.pad_token is None:  # what our own padding fills with is masked, whatever it is
            part.pad_token = part.eos_token or part.convert_ids_to_tokens(0)
        part.model_max_length = longest
        return Group("tokenizer", part, ("text",), longest, _tokenizer_digest(part, longest))
    if member.kind == "image":
        values = json.dumps(part.to_dict(), sort_keys=True, default=str)
        return Group("image", part, ("image",), 0, _digest("image", values))
    trial = folder / ".part"
    part.save_pretrained(trial)
    digest = _digest(member.kind, json.dumps(hash_folder(trial), sort_keys=True))
    shutil.rmtree(trial)
    return Group(member.kind, part, tuple(model.config.modalities), 0, digest)


def _tokenizer_digest(tokenizer: Any, longest: int) -> str:
    if not getattr(tokenizer, "is_fast", False):
        return _digest("slow", json.dumps(sorted(tokenizer.get_vocab().items())), str(longest))
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    content.update(truncation=None, padding=None)
    settings = (tokenizer.pad_token_id, tokenizer.padding_side, longest)
    return _digest("fast", json.dumps(content, sort_keys=True), str(settings))


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _sources(member: Member, model: Any) -> dict[str, Entry | Any]:
    """Return where each weight of a member is: in a file, or a tensor if it is not there so."""
    wanted = model.state_dict()
    tied = set(getattr(model, "all_tied_weights_keys", None) or ())
    stored: dict[str, Entry] = {}
    for file in sorted(member.folder.glob("*.safetensors")):
        stored.update(read_header(file))
    same = member.task is None and set(stored) <= set(wanted)
    same = same and set(wanted) - set(stored) <= tied
    if same and all(stored[n].shape == tuple(wanted[n].shape) for n in stored):
        return dict(stored)
    return {name: tensor for name, tensor in wanted.items() if name not in tied}


def _config(
    members: Sequence[Member], numbers: Sequence[int], groups: Sequence[Group], fit: Fit
) -> dict[str, Any]:
    labels = members[0].labels
    pictures = all(g.modalities == ("image",) for g in groups)
    module = "ensemble" if _plain(members) else BRIDGE.removesuffix(".py")
    code = {
        "AutoConfig": f"{module}.PlaitEnsembleConfig",
        "AutoModelForSequenceClassification": f"{module}.{_CLASS}",
        "AutoModelForImageClassification": f"{module}.{_CLASS}",
        "AutoProcessor": f"{module}.PlaitEnsembleProcessor",
    }
    if not pictures:
        del code["AutoModelForImageClassification"]
    return {
        "architectures": [_CLASS],
        "auto_map": code,
        "model_type": "plait_ensemble",
        "dtype": "float32",
        "problem_type": "single_label_classification",
        "id2label": {str(i): label for i, label in enumerate(labels)},
        "label2id": {label: i for i, label in enumerate(labels)},
        "combine": fit.kind,
        "weights": fit.weights.tolist(),
        "temperatures": fit.temperatures.tolist(),
        "groups": _places(groups),
        "members": [
            {
                "name": member.name,
                "group": number,
                "columns": list(member.columns),
                "config": _member_config(member),
            }
            for member, number in zip(members, numbers, strict=True)
        ],
    }


def _member_config(member: Member) -> dict[str, Any]:
    found = {k: v for k, v in member.config.items() if k not in _WITHOUT}
    if member.task is not None:  # the top is the encoder's, the labels are the head's
        labels = dict(enumerate(member.labels))
        found["id2label"] = {str(i): label for i, label in labels.items()}
        found["label2id"] = {label: i for i, label in labels.items()}
    return found


def _places(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Give every group its folder and the end of its inputs' names.

    The first tokenizer and the first image processor lie at the top, as in other models, and their
    inputs keep their names.
    """
    taken: set[str] = set()
    found = []
    for number, group in enumerate(groups):
        top = group.kind in ("tokenizer", "image") and group.kind not in taken
        alone = len(groups) == 1 and group.kind != "plait_ensemble"
        taken.add(group.kind)
        found.append(
            {
                "kind": group.kind,
                "folder": "" if top else f"parts/{number}",
                "suffix": "" if top or alone else f"_{number}",
                "modalities": list(group.modalities),
                "max_length": group.max_length,
            }
        )
    return found


def _write_parts(
    folder: Path, places: Sequence[Mapping[str, Any]], groups: Sequence[Group], processor: str
) -> None:
    tokenizers = [p for p in places if p["kind"] == "tokenizer"]
    if len(tokenizers) > 1:
        first = next(g for g in groups if g.kind == "tokenizer")
        if not getattr(first.part, "is_fast", False):
            raise BadInput(
                "The first model's tokenizer has no form as tokenizer.json, so that it cannot go "
                "with others; name another model first, or save it with a fast tokenizer."
            )
    for place, group in zip(places, groups, strict=True):
        group.part.save_pretrained(folder / place["folder"])
    content = {
        "processor_class": "PlaitEnsembleProcessor",
        "auto_map": {"AutoProcessor": processor},
        "groups": list(places),
    }
    (folder / "processor_config.json").write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    if len(tokenizers) > 1:
        path = folder / "tokenizer_config.json"
        told = json.loads(path.read_text("utf-8"))
        told["tokenizer_class"] = "PlaitEnsembleTokenizer"
        told["auto_map"] = {"AutoTokenizer": [None, "ensemble.PlaitEnsembleTokenizer"]}
        told["ensemble_groups"] = [
            {name: place[name] for name in ("folder", "suffix", "max_length")}
            for place in tokenizers
        ]
        path.write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", "utf-8")


def _write_weights(path: Path, entries: Mapping[str, Entry | Any]) -> None:
    """Write a safetensors file, copying what lies in files piece by piece."""
    described = [
        (name, source.code, source.shape)
        if isinstance(source, Entry)
        else (name, _CODES[str(source.dtype).removeprefix("torch.")], tuple(source.shape))
        for name, source in entries.items()
    ]
    header, offsets, size = layout(described)
    with path.open("wb") as out:
        out.truncate(size)
        out.write(header)
        for name in sorted(entries, key=lambda n: offsets[n]):
            source = entries[name]
            out.seek(offsets[name])
            if isinstance(source, Entry):
                with source.path.open("rb") as file:
                    file.seek(source.offset)
                    left = source.nbytes
                    while left:
                        piece = file.read(min(left, _COPY))
                        if not piece:
                            raise BadInput(f"{source.path} ends early; fetch it again.")
                        out.write(piece)
                        left -= len(piece)
            elif source.numel():
                import torch

                flat = source.detach().contiguous().reshape(-1).view(torch.uint8)
                out.write(memoryview(flat.numpy()))


def _plain(members: Sequence[Member]) -> bool:
    """Whether transformers has all the members' classes."""
    return all(member.config["model_type"] not in _others() for member in members) and not any(
        kind in _others() for member in members for kind in _inner_types(member.config)
    )


def _others() -> set[str]:
    return set(ARCHITECTURES) - {"plait_ensemble"}


def _inner_types(config: Mapping[str, Any]) -> set[str]:
    """Return the architectures of all members inside a member."""
    found = set()
    for member in config.get("members") or ():
        inner = member.get("config") or {}
        found |= {str(inner.get("model_type"))} | _inner_types(inner)
    return found


def _write_code(folder: Path, members: Sequence[Member], config: Mapping[str, Any]) -> None:
    """Copy the modules that load the folder without Plait."""
    kinds = {str(s.config["model_type"]) for s in members}
    kinds |= {kind for s in members for kind in _inner_types(s.config)}
    files = list(ARCHITECTURES["plait_ensemble"].files())
    lines = []
    for kind in sorted(kinds & _others()):
        found = ARCHITECTURES[kind]
        files += found.files()
        lines += [
            f"from .{found.module} import {found.config}, {found.model}, {found.processor}",
            "",
            f'MEMBER_CLASSES["{kind}"] = ({found.config}, {found.model}, {found.processor})',
        ]
    for file in dict.fromkeys(files):
        shutil.copyfile(FOLDER / file, folder / file)
    if lines:
        imports = (
            "from .ensemble import MEMBER_CLASSES, PlaitEnsembleConfig, "
            f"{_CLASS}, PlaitEnsembleProcessor"
        )
        (folder / BRIDGE).write_text(
            "# SPDX-License-Identifier: Apache-2.0\n"
            '"""The ensemble, and the classes of members that transformers lacks."""\n\n'
            + "\n".join([imports, *lines])
            + "\n",
            "utf-8",
        )


def _tensor(values: Any) -> Any:
    import torch

    return torch.from_numpy(values).float()
