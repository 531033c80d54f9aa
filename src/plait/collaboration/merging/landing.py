# SPDX-License-Identifier: Apache-2.0
"""The landing commit: the fused weights, and what the repository says of them.

Blobs come first, then the commit, the branch last and by compare-and-swap: whoever looks sees main
as it was or the whole merge.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from plait import __version__
from plait.collaboration.merging.card import update_card
from plait.collaboration.merging.changes import (
    CARD,
    INDEX,
    RECIPE,
    Sides,
    driver_of,
    merge_paths,
    weight_files,
)
from plait.collaboration.merging.material import Material
from plait.collaboration.merging.search import Candidate
from plait.errors import Conflict
from plait.hub import (
    SYSTEM,
    AddBytes,
    AddPointer,
    Author,
    CopyFile,
    Delete,
    Discussion,
    Hub,
    Operation,
    Repository,
)
from plait.lineage import FILE as LINEAGE
from plait.lineage import Contribution, Lineage, Scores, TaskScore, dump_lineage

METRIC_TYPES = {"balanced_accuracy": "balanced_accuracy", "accuracy": "accuracy", "macro_f1": "f1"}


def store_weights(
    hub: Hub, repo: Repository, folder: Path, outputs: Mapping[str, str]
) -> list[Operation]:
    """Put the fused files into the blob store, for this repository; nothing is visible yet."""
    operations: list[Operation] = []
    for name, sha256 in sorted(outputs.items()):
        _, size = hub.blobs.write(folder / name, expected_sha256=sha256)
        with hub.session(write=True) as session:
            hub.grant_blob(session, repo, sha256, size)
        operations.append(AddPointer(name, sha256, size))
    index = folder / INDEX
    if index.is_file():
        operations.append(AddBytes(INDEX, index.read_bytes()))
    return operations


def plan_files(sides: Sides, weights: Sequence[Operation]) -> list[Operation]:
    """Return what the landing does to main's tree, but for the card and lineage.

    Weights are the fused ones; files that say how weights are read stay main's; a pickle or a file
    that the hub writes is not taken over; everything else is merged as git does.

    Raises:
        Conflict: main and the pull request contradict each other; the paths are named.
    """
    kinds: dict[str, list[str]] = {}
    for path in sides.changed():
        kinds.setdefault(driver_of(path, sides.repo.type), []).append(path)
    merged = merge_paths(sides, [*kinds.get("text", []), *kinds.get("card", [])])
    if merged.conflicts:
        named = ", ".join(merged.conflicts[:10])
        raise Conflict(
            f"The pull request and main both changed {named} in ways that contradict each other. "
            "Bring the pull request up to date with main and choose what holds, then merge again."
        )
    added = [
        CopyFile(path, path, revision=sides.head)
        for path in kinds.get("model", [])
        if path not in sides.at_main and path in sides.at_head
    ]
    written = {operation.path for operation in weights}
    before = weight_files(sides.at_main, lambda path: sides.read(sides.main, path))
    stale = [
        Delete(path) for path in (*before, INDEX) if path in sides.at_main and path not in written
    ]
    return [*merged.operations, *added, *stale, *weights]


def landing_message(discussion: Discussion, report: Mapping[str, Any]) -> str:
    """Write the commit's message: what was merged, how, and what the gate said."""
    merged = sorted(one["number"] for one in report["inputs"] if one["number"] is not None)
    numbers = ", ".join(f"#{number}" for number in merged)
    return (
        f"Merge pull request #{discussion.number}: {discussion.title}\n\n"
        f"Fused by {report['method']} from the base and {numbers}.\n{report['reason']}\n"
    )


def lineage_of(
    material: Material, candidate: Candidate, recipe: Mapping[str, Any], report: Mapping[str, Any]
) -> Lineage:
    """Write down what the candidate was made from."""
    contributions = tuple(
        Contribution(
            number=one.number,
            author=one.author,
            organisation=one.organisation,
            title=one.title,
            revision=one.revision,
            files=one.files,
            weight=candidate.weight,
            licence=one.licence,
            base=one.base,
        )
        for one in material.plan.contributions
    )
    return Lineage(
        base=material.plan.base,
        contributions=contributions,
        recipe=recipe,
        output=report["output"]["files"],
        software={"plait": __version__, "numpy": importlib.metadata.version("numpy")},
        evaluation=Scores(
            tasks={
                row["name"]: TaskScore(
                    row["metric"],
                    row["scores"]["candidate"],
                    (row["intervals"]["candidate"][0], row["intervals"]["candidate"][1]),
                    row["n"],
                )
                for row in report["tasks"]
            },
            average=report["average"]["scores"]["candidate"],
        ),
        created=datetime.now(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z"),
    )


def land(
    hub: Hub,
    repo: Repository,
    discussion: Discussion,
    sides: Sides,
    operations: Sequence[Operation],
    lineage: Lineage,
    report: Mapping[str, Any],
    base_model: str | None,
    author: str,
) -> str:
    """Move main to the landing commit and return its id.

    Raises:
        PreconditionFailed: main moved since ``sides`` was read; nothing is changed.
    """
    recipe = yaml.safe_dump(dict(lineage.recipe), sort_keys=False, allow_unicode=True, width=100)
    card = update_card(
        _card_text(sides, operations),
        {"base_model": base_model} if base_model else {},
        [_results(repo, report)],
        _section(repo, lineage, report),
    )
    update = hub.git.advance(
        repo,
        ref=discussion.base_ref,
        parent_oid=sides.main,
        parents=[sides.main, sides.head],
        expected=sides.main,
        operations=[
            *operations,
            AddBytes(CARD, card.encode()),
            AddBytes(LINEAGE, dump_lineage(lineage)),
            AddBytes(RECIPE, recipe.encode()),
        ],
        message=landing_message(discussion, report),
        author=Author(author),
    )
    hub.references.moved(SYSTEM, repo, [update])
    return str(update.new)


def _card_text(sides: Sides, operations: Sequence[Operation]) -> str:
    """Return the card as the merge of the two sides leaves it."""
    revision: str | None = sides.main if CARD in sides.at_main else None
    for operation in operations:
        if operation.path != CARD:
            continue
        if isinstance(operation, AddBytes):
            return operation.data.decode("utf-8", "replace")
        revision = sides.head if isinstance(operation, CopyFile) else None
    return sides.read(revision, CARD).decode("utf-8", "replace") if revision else ""


def _results(repo: Repository, report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the scores as a card's ``model-index`` entry."""
    return {
        "name": repo.name,
        "results": [
            {
                "task": {"type": "text-classification"},
                "dataset": {
                    "name": row["name"],
                    "type": row["name"],
                    "split": report["gate"]["split"],
                },
                "metrics": [
                    {
                        "type": METRIC_TYPES[row["metric"]],
                        "name": row["metric"],
                        "value": row["scores"]["candidate"],
                    }
                ],
            }
            for row in report["tasks"]
        ],
    }


def _section(repo: Repository, lineage: Lineage, report: Mapping[str, Any]) -> str:
    count = len(lineage.contributions)
    made = (
        f"The weights are a fusion of the base (`{lineage.base.revision[:10]}`) and "
        f"{count} contribution{'s' if count != 1 else ''}, by `{report['method']}`; "
        f"[{LINEAGE}]({LINEAGE}) names every input by hash and [{RECIPE}]({RECIPE}) is the recipe."
    )
    lines = [
        "## Merged from",
        "",
        made,
        "",
        "| contribution | by | licence | credit |",
        "|---|---|---|---:|",
    ]
    shares = {
        row["number"]: row["value"] for row in (report.get("credit") or {}).get("contributions", [])
    }
    for one in sorted(lineage.contributions, key=lambda one: one.number):
        value = shares.get(one.number)
        credit = "" if value is None else f"{value * 100:+.1f}".replace("-", "−")
        title = "".join(f"\\{c}" if c in "|[]<>*_`\\" else c for c in " ".join(one.title.split()))
        lines.append(
            f"| [#{one.number}](/{repo.full_name}/discussions/{one.number}) {title} | "
            f"{one.organisation} | {one.licence or 'not stated'} | {credit} |"
        )
    return "\n".join(lines)
