# SPDX-License-Identifier: Apache-2.0
"""Repositories of a LoRA adapter alone: what main is combined from, and combining it again.

As of whole models, main is made from the originals: one base, and every contribution since. The
contributions are combined with each other, without the base, which they were trained from; a base
that some of them were not made from (put at main by hand, or a later state) is one more version.
What is combined is a set, ordered by content, so the order of merging does not matter, and taking
a contribution out gives what never having merged it would have given.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plait import __version__
from plait.errors import BadInput
from plait.lineage import Contribution, Lineage, Origin, Withdrawal
from plait.recipes.project import ProjectSpec

if TYPE_CHECKING:
    from plait.collaboration.merging.plan import Plan
    from plait.hub import Hub, Repository

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
USUAL = "svd"
AS_IT_IS = "passthrough"
"""The recipe's method where one adapter alone is left."""


@dataclass(frozen=True)
class Combined:
    """The bytes of main's adapter, and how they were made."""

    weights: bytes
    config: bytes
    recipe: Mapping[str, Any]
    inputs: tuple[Origin, ...]
    """The distinct adapters that were combined, by content."""

    @property
    def output(self) -> dict[str, str]:
        """Return the two files' SHA-256."""
        return {
            CONFIG: hashlib.sha256(self.config).hexdigest(),
            WEIGHTS: hashlib.sha256(self.weights).hexdigest(),
        }


def holds_adapter(files: Mapping[str, str]) -> bool:
    """Tell whether a model's files are an adapter's."""
    return WEIGHTS in files


def inputs_of(plan: Plan) -> tuple[Origin, ...]:
    """Return what a plan combines: of equal adapters one, ordered by content."""
    name = plan.base.repository
    found = [Origin(name, one.revision, one.files) for one in plan.contributions]
    if not found or any(one.base is not None for one in plan.contributions):
        found.append(plan.base)
    distinct: dict[tuple[tuple[str, str], ...], Origin] = {}
    for one in found:
        key = tuple(sorted(one.files.items()))
        # Of equal ones the name is the same in whatever order they were merged.
        if key not in distinct or one.revision < distinct[key].revision:
            distinct[key] = one
    return tuple(distinct[key] for key in sorted(distinct))


def combine_at(
    hub: Hub,
    repo: Repository,
    plan: Plan,
    project: ProjectSpec,
    check: Callable[[], None] = lambda: None,
) -> Combined:
    """Combine a plan's adapters, which lie in a repository of the hub.

    Raises:
        BadInput: one of them cannot be combined with the others.
    """

    def fetch(one: Origin, folder: Path) -> None:
        hub.commits.materialize(repo, one.revision, folder, only=(CONFIG, WEIGHTS).__contains__)

    return combine(plan, project, fetch, hub.settings.work_dir, check)


def combine(
    plan: Plan,
    project: ProjectSpec,
    fetch: Callable[[Origin, Path], None],
    work: Path,
    check: Callable[[], None] = lambda: None,
) -> Combined:
    """Combine a plan's adapters, as main's `plait.yaml` says or by `svd` with equal weights.

    Args:
        plan: what main is made from.
        project: of main.
        fetch: puts an adapter's two files into a folder.
        work: where folders are made and removed again.
        check: raises if it was cancelled.

    Raises:
        BadInput: one of them cannot be combined with the others.
    """
    from plait.fusion.weights import fuse

    inputs = inputs_of(plan)
    with tempfile.TemporaryDirectory(dir=work) as name:
        place = Path(name)
        folders: dict[str, Path] = {}
        for one in inputs:
            check()
            folder = folders[_reference(one)] = place / f"adapter-{one.revision[:12]}"
            fetch(one, folder)
        if len(inputs) == 1:
            alone = folders[_reference(inputs[0])]
            models = [{"model": _reference(inputs[0])}]
            recipe: dict[str, Any] = {"merge_method": AS_IT_IS, "models": models}
            return Combined(*_read(alone), recipe, inputs)
        recipe = _recipe(inputs, project)

        def cancelled() -> bool:
            check()
            return False

        try:
            fuse(recipe, place / "combined", resolve=folders.__getitem__, cancelled=cancelled)
        except BadInput as error:
            told = error.message.replace(f"{place}/", "")
            for one in inputs:
                told = told.replace(_reference(one), f"adapter-{one.revision[:12]}")
            raise BadInput(told) from None
        return Combined(*_read(place / "combined"), recipe, inputs)


def lineage_of(
    plan: Plan, made: Combined, withdrawn: Sequence[Withdrawal] = (), created: str = ""
) -> Lineage:
    """Write down what main's adapter was combined from."""
    weights = {row["model"]: row.get("parameters", {}).get("weight") for row in _models(made)}

    def weight(one: Contribution) -> float | None:
        own = next(i for i in made.inputs if i.same_weights(one.files))
        found = weights[_reference(own)]
        return float(found) if isinstance(found, int | float) else None

    return Lineage(
        base=plan.base,
        contributions=tuple(replace(one, weight=weight(one)) for one in plan.contributions),
        recipe=made.recipe,
        output=made.output,
        software={"plait": __version__, "numpy": importlib.metadata.version("numpy")},
        created=created,
        withdrawn=tuple(withdrawn),
    )


def _recipe(inputs: Sequence[Origin], project: ProjectSpec) -> dict[str, Any]:
    chosen = project.fusion.method != "search"
    parameters = dict(project.fusion.parameters) if chosen else {}
    weight = parameters.pop("weight", 1 / len(inputs))
    return {
        "merge_method": project.fusion.method if chosen else USUAL,
        "dialect": "peft",
        "models": [{"model": _reference(one), "parameters": {"weight": weight}} for one in inputs],
        "parameters": parameters,
    }


def _models(made: Combined) -> list[dict[str, Any]]:
    return list(made.recipe["models"])


def _reference(one: Origin) -> str:
    return f"{one.repository}@{one.revision}"


def _read(folder: Path) -> tuple[bytes, bytes]:
    return (folder / WEIGHTS).read_bytes(), (folder / CONFIG).read_bytes()
