# SPDX-License-Identifier: Apache-2.0
"""The driver of repositories that hold a LoRA adapter alone: adapters are merged with each other.

The result is combined from the originals (`plait.collaboration.merging.adapters`): every adapter
that was proposed over the same base and merged since, and the new one. Their changes B A are
averaged and brought to the largest rank there is by a singular value decomposition, or combined as
`plait.yaml` says; so the order of merging does not matter. `lineage.json` says what it was made
from. Whole models are not merged here: those are fused and judged.
"""

from __future__ import annotations

from collections.abc import Sequence

from plait.collaboration.merging.adapters import CONFIG, WEIGHTS, combine_at, lineage_of
from plait.collaboration.merging.drivers.base import Outcome, Work, one_sided, settle_whole
from plait.collaboration.merging.drivers.contamination import project_of
from plait.errors import Conflict
from plait.hub.git.operations import AddBytes
from plait.lineage import FILE as LINEAGE
from plait.lineage import Contribution, dump_lineage
from plait.recipes.project import ProjectSpec


class AdapterDriver:
    """Combines the LoRA adapters of contributions."""

    name = "adapter"
    whole = True

    def claims(self, work: Work, path: str) -> bool:
        """Take an adapter's files, in a model repository without whole weights."""
        return path in (CONFIG, WEIGHTS) and is_adapter_repository(work)

    def large(self, work: Work, paths: Sequence[str]) -> bool:
        """Tell that combining adapters is a job's work."""
        return bool(paths)

    def merge(self, work: Work, paths: Sequence[str]) -> Outcome:
        """Combine the adapters.

        Raises:
            Conflict: `plait.yaml` asks for the model to be judged, which an adapter alone is not.
            BadInput: an adapter cannot be combined with the others.
        """
        from plait.collaboration.merging.history import is_ancestor, made_by
        from plait.collaboration.merging.landing import moment
        from plait.collaboration.merging.plan import make_plan
        from plait.collaboration.merging.states import state_at

        sides = work.sides
        if not all(path in sides.at_head for path in (CONFIG, WEIGHTS)):
            found = Outcome()
            for path in paths:
                alone = one_sided(work, path)
                reason = "one side removed the adapter"
                found += (
                    Outcome(alone)
                    if alone is not None
                    else settle_whole(work, path, self.name, reason, text=False)
                )
            return found
        project = project_of(work)
        refuse_tasks(project)
        hub, repo = sides.hub, sides.repo
        main = state_at(hub, repo, sides.main)
        plan = make_plan(
            main,
            state_at(hub, repo, sides.fork),
            _contribution(work),
            is_ancestor(hub, repo),
            made_by(hub, repo),
        )
        made = combine_at(hub, repo, plan, project, work.check)
        assert work.store is not None
        operations = [work.store(WEIGHTS, made.weights), AddBytes(CONFIG, made.config)]
        if work.number is not None:
            withdrawn = main.lineage.withdrawn if main.lineage is not None else ()
            document = lineage_of(plan, made, withdrawn, moment())
            operations.append(AddBytes(LINEAGE, dump_lineage(document)))
        count = len(made.inputs)
        text = (
            "the pull request's adapter, as it is"
            if count == 1
            else f"{count} adapters combined by {made.recipe['merge_method']}, from the originals"
        )
        note = {
            "path": WEIGHTS,
            "driver": self.name,
            "text": text,
            "revisions": [one.revision for one in made.inputs],
        }
        return Outcome(tuple(operations), notes=(note,))


def refuse_tasks(project: ProjectSpec) -> None:
    """Refuse to merge adapters where `plait.yaml` asks for what is merged to be judged.

    Raises:
        Conflict: it names tasks.
    """
    if project.tasks:
        raise Conflict(
            "This repository holds a LoRA adapter alone, and its plait.yaml names tasks: an "
            "adapter is not judged without its base. Propose it to its base model's "
            "repository, where it is fused and judged, or take 'tasks' out of plait.yaml."
        )


def is_adapter_repository(work: Work) -> bool:
    """Tell whether main holds an adapter and no whole model."""
    sides = work.sides
    whole = [
        path
        for path in sides.at_main
        if "/" not in path and path.endswith(".safetensors") and path != WEIGHTS
    ]
    return sides.repo.type == "model" and WEIGHTS in sides.at_main and not whole


def _contribution(work: Work) -> Contribution:
    """Describe what the pull request brings; without its number nothing of it is written down."""
    from plait.collaboration.merging.statements import describe_contribution
    from plait.collaboration.merging.states import adapter_at

    sides = work.sides
    files = adapter_at(sides.hub, sides.repo, sides.head)
    if work.number is None:
        return Contribution(0, "", "", "", sides.head, files)
    return describe_contribution(sides, sides.hub.discussions.get(sides.repo, work.number), files)
