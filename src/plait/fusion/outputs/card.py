# SPDX-License-Identifier: Apache-2.0
"""The card of an ensemble: its members, their weights, and how it does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from plait.cards import dump_card
from plait.fusion.datasets import repositories
from plait.fusion.outputs.choosing import Fit
from plait.fusion.outputs.curve import PLOT
from plait.fusion.outputs.members import Member
from plait.fusion.outputs.options import Settings
from plait.fusion.provenance import sources_head
from plait.fusion.results import REPORT

_CARD = "README.md"


def write_card(
    folder: Path,
    settings: Settings,
    members: Sequence[Member],
    fit: Fit,
    search: Mapping[str, Any],
    results: Mapping[str, Any],
) -> None:
    """Write README.md into an ensemble's folder."""
    recipe = settings.recipe
    gain = search["gain"]
    found = search["out_of_fold"]
    lines = [
        "",
        "# Output ensemble",
        "",
        _sentence(members, fit),
        "",
        *_members(settings, members, fit, search),
        "",
        (
            f"Chosen on {search['items']:,} validation items of {search['documents']:,} documents "
            f"by cross-validation (rule: {search['rule']}). Outside the folds the ensemble scores "
            f"{_percent(found['score'])} ({', '.join(search['metrics'])}), equal weights "
            f"{_percent(found['equal_weights'])}: a gain of {_points(gain)}. Over "
            f"{search['gain_over_best_member']['over']}, the best member alone, it gains "
            f"{_points(search['gain_over_best_member'])}. `{REPORT}` has the recipe, the search "
            "and the hashes of everything."
        ),
        "",
    ]
    if (folder / PLOT).is_file():
        lines += [f"![Score over the members' shares]({PLOT})", ""]
    lines += _test(results)
    lines += _use(folder, members)
    text_only = all(member.kind == "text" for member in members)
    pictures = all(member.kind == "image" for member in members)
    head: dict[str, Any] = {
        "library_name": "transformers",
        "pipeline_tag": "image-classification" if pictures else "text-classification",
        "tags": ["plait", "ensemble"],
        "datasets": repositories((s.dataset for s in recipe.tasks), recipe.folder),
    }
    if not (text_only or pictures):
        del head["pipeline_tag"]
    used = zip(recipe.models, members, strict=True)
    head |= sources_head({m.model: member.folder for m, member in used}, recipe.folder)
    kept = {name: value for name, value in head.items() if value}
    (folder / _CARD).write_text(dump_card(kept, "\n".join(lines)), "utf-8")


def _sentence(members: Sequence[Member], fit: Fit) -> str:
    names = ", ".join(f"`{member.name}`" for member in members)
    if fit.coefficients is not None:
        return (
            f"A logistic regression on the outputs of {names} (stacking, {fit.rule}). "
            "All of them are in this folder."
        )
    if len(members) == 2 and fit.weights.ndim == 1:
        alpha = float(fit.weights[0] / fit.weights.sum())
        return (
            f"α · `{members[0].name}` + (1 − α) · `{members[1].name}` with α = {alpha:.3f}, over "
            f"their {fit.kind}. Both are in this folder."
        )
    return f"A weighted average of the {fit.kind} of {names}. All of them are in this folder."


def _members(
    settings: Settings, members: Sequence[Member], fit: Fit, search: Mapping[str, Any]
) -> list[str]:
    stacked = fit.coefficients is not None
    per_class = fit.weights.ndim == 2
    heads = (
        ["weight"] if not per_class else [f"weight of {label}" for label in members[0].labels[:8]]
    )
    if stacked:
        heads = []
    known = repositories((m.model for m in settings.recipe.models), settings.recipe.folder)
    columns = ["member", "model", "architecture", *heads, "temperature", "alone"]
    rows = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    for place, (member, source) in enumerate(zip(members, settings.recipe.models, strict=True)):
        weights = fit.weights[place][: len(heads)] if per_class else [fit.weights[place]]
        cells = [
            member.name,
            f"`{source.model if source.model in known else Path(source.model).name}`",
            str(member.config["model_type"]),
            *([] if stacked else [f"{w:.3f}" for w in weights]),
            f"{fit.temperatures[place]:.2f}",
            _percent(search["out_of_fold"]["members"][member.name]),
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def _test(results: Mapping[str, Any]) -> list[str]:
    test = results.get("test")
    if not test:
        return ["It was not scored on a test split.", ""]
    names = list(test["members"])
    rows = [
        f"| test | n | ensemble | 95% | equal weights | {' | '.join(names)} |",
        "|" + "---|" * (5 + len(names)),
    ]
    for task, found in test["tasks"].items():
        low, high = found["interval"]
        cells = [
            task,
            f"{found['n']:,}",
            _percent(found["score"]),
            f"{_percent(low)} to {_percent(high)}",
            _percent(test["equal_weights"]["tasks"][task]["score"]),
            *(_percent(test["members"][name]["tasks"][task]["score"]) for name in names),
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return [*rows, ""]


def _use(folder: Path, members: Sequence[Member]) -> list[str]:
    """Say how it is called, by what its members read."""
    kinds = {member.kind for member in members}
    what, call = "AutoProcessor", 'processor(text=["…"], images=["….png"])'
    if kinds == {"text"}:
        what = "AutoTokenizer"
        call = 'processor(["…"], padding=True, truncation=True, return_tensors="pt")'
    elif kinds == {"image"}:
        what, call = "AutoImageProcessor", 'processor(image, return_tensors="pt")'
        if (folder / "parts").is_dir():
            what, call = "AutoProcessor", 'processor(images=["….png"])'
    return [
        "```python",
        f"from transformers import AutoModelForSequenceClassification, {what}",
        "",
        'name = "this/repository"  # its code is run: or call `plait.modeling.register()` instead',
        f"processor = {what}.from_pretrained(name, trust_remote_code=True)",
        "model = AutoModelForSequenceClassification.from_pretrained(name, trust_remote_code=True)",
        f"model(**{call}).logits.softmax(-1)",
        "```",
        "",
    ]


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _points(gain: Mapping[str, Any]) -> str:
    return (
        f"{100 * gain['effect']:+.1f} points (95%: {100 * gain['low']:+.1f} to "
        f"{100 * gain['high']:+.1f})"
    )
