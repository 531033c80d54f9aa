# SPDX-License-Identifier: Apache-2.0
"""Bringing together what a merge fuses: the base and every contribution, in folders of the job."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from plait.collaboration.merging.changes import Sides, driver_of
from plait.collaboration.merging.material import (
    Material,
    Model,
    check_contribution,
    contribution_title,
    rebase,
    state_at,
)
from plait.collaboration.merging.origin import made_from
from plait.collaboration.merging.plan import make_plan
from plait.errors import BadInput
from plait.hub import Discussion, Repository
from plait.lineage import Contribution, Origin

if TYPE_CHECKING:
    from plait.collaboration.worker import JobContext


class Gathering:
    """The models of one repository's merge, written into a folder."""

    def __init__(
        self,
        context: JobContext,
        repo: Repository,
        discussion: Discussion,
        sides: Sides,
        folder: Path,
    ) -> None:
        self.context = context
        self.hub = context.hub
        self.repo = repo
        self.discussion = discussion
        self.sides = sides
        self.folder = folder
        self.made_from: Origin | None = None
        """The earlier state of main that the new weights were made from, if it is not the one
        that the pull request was opened on."""

    def gather(self) -> Material:
        """Put the base and every contribution into folders and check the new one."""
        hub, repo, sides = self.hub, self.repo, self.sides
        main = state_at(hub, repo, sides.main)
        fork = state_at(hub, repo, sides.fork)
        head = state_at(hub, repo, sides.head)
        new = self._contribution(head.weights)
        if not head.weights.files or head.weights.same_weights(fork.weights.files):
            raise BadInput(self._no_weights(head.weights))
        newest = self._model(new)
        self._no_pickles(newest)
        check_contribution(
            self.checkout(fork.weights, "fork"), newest.folder, newest.title.capitalize()
        )
        source = made_from(hub, repo, fork, newest.folder, self._checkout_state)
        if not source.weights.same_weights(fork.weights.files):
            self.made_from = source.weights
        plan = make_plan(
            main, source, new, lambda old, later: hub.git.is_ancestor(repo, old, later)
        )
        base = Model(self.checkout(plan.base, "base"), "the base", plan.base)
        models = [
            newest if one.number == new.number else self._model(one) for one in plan.contributions
        ]
        for place, one in enumerate(plan.contributions):
            if one.base is not None:
                models[place] = self._rebased(base, models[place], one.base)
        newest = next(model for model in models if model.number == new.number)
        return Material(plan, base, tuple(models), newest)

    def _model(self, one: Contribution) -> Model:
        origin = Origin(self.repo.full_name, one.revision, one.files)
        folder = self.checkout(origin, f"pull-{one.number}", own_support=True)
        return Model(folder, contribution_title(one), origin, one.number)

    def _checkout_state(self, weights: Origin) -> Path:
        return self.checkout(weights, f"state-{weights.revision[:12]}")

    def _contribution(self, weights: Origin) -> Contribution:
        author = self.discussion.author
        return Contribution(
            number=self.discussion.number,
            author=author.name if author else "deleted user",
            organisation=self._organisation(),
            title=self.discussion.title,
            revision=self.sides.head,
            files=dict(weights.files),
            licence=self.sides.licence(self.sides.head),
        )

    def _organisation(self) -> str:
        """Return for whom the author speaks: an organisation other than the repository's own."""
        author = self.discussion.author
        if author is None:
            return "deleted user"
        for organisation, role in self.hub.accounts.list_organizations(author):
            if organisation.id != self.repo.namespace_id and role != "read":
                return organisation.name
        return author.name

    def checkout(self, origin: Origin, name: str, own_support: bool = False) -> Path:
        """Write a model into a folder: its weights, and the files that say how to read them.

        Those files are main's but for a contribution, whose own are what is checked and judged.
        """
        folder = self.folder / name
        self.hub.commits.materialize(
            self.repo,
            origin.revision,
            folder,
            only=lambda path: (
                driver_of(path) == "weights" or (own_support and driver_of(path) == "model")
            ),
        )
        if not own_support:
            self.put_support(folder)
        return folder

    def put_support(self, folder: Path) -> None:
        """Write main's configuration and tokenizer into a model's folder."""
        self.hub.commits.materialize(
            self.repo, self.sides.main, folder, only=lambda path: driver_of(path) == "model"
        )

    def _rebased(self, base: Model, model: Model, own: Origin) -> Model:
        self.context.log(f"carrying {model.title} over to the new base")
        self.context.check()
        number = model.number
        own_base = self.checkout(own, f"base-of-{number}")
        target = self.folder / f"pull-{number}-rebased"
        rebase(base, model, own_base, target, self.context.cancelled)
        return replace(model, folder=target)

    def _no_weights(self, weights: Origin) -> str:
        number = self.discussion.number
        pickles = [p for p in self.sides.changed() if driver_of(p) == "pickle"]
        if pickles:
            return (
                f"Pull request {number} brings weights only as '{pickles[0]}', a pickle, which can "
                "run code and is never loaded. Save the model again with "
                "save_pretrained(..., safe_serialization=True) and upload model.safetensors."
            )
        if not weights.files:
            return (
                f"Pull request {number} removes the model's weights; close it, or add them again."
            )
        return f"Pull request {number} changes no weights that are fused (model.safetensors)."

    def _no_pickles(self, newest: Model) -> None:
        pickles = [p for p in self.sides.changed() if driver_of(p) == "pickle"]
        if pickles:
            self.context.log(
                f"{newest.title}: {', '.join(pickles[:5])} are pickles; they are not taken over"
            )
