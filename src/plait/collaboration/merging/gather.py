# SPDX-License-Identifier: Apache-2.0
"""Bringing together what a merge fuses: the base and every contribution, in folders of the job."""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from plait.collaboration.merging.changes import (
    ADAPTER,
    INDEX,
    SINGLE,
    Sides,
    adapter_files,
    driver_of,
    files,
)
from plait.collaboration.merging.drivers.tokenizer import WORDS, united
from plait.collaboration.merging.history import is_ancestor, made_by
from plait.collaboration.merging.material import (
    Material,
    Model,
    check_contribution,
    contribution_title,
    named,
    parse_config,
    rebase,
)
from plait.collaboration.merging.origin import made_from
from plait.collaboration.merging.plan import Plan, State, make_plan
from plait.collaboration.merging.statements import describe_contribution
from plait.collaboration.merging.states import state_at
from plait.errors import BadInput, PlaitError
from plait.fusion.verification import put_adapter
from plait.fusion.weights.vocabulary import read_vocabulary
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
        self._written: dict[str, Path] = {}
        """Weights that lie in the job's folder, by hash: they are linked, not written again."""
        self.made_from: Origin | None = None
        """The earlier state of main that the new weights were made from, if it is not the one
        that the pull request was opened on."""

    def gather(self) -> Material:
        """Put the base and every contribution into folders and check the new one."""
        hub, repo = self.hub, self.repo
        main = state_at(hub, repo, self.sides.main)
        source, new, newest = self.proposal()
        plan = make_plan(main, source, new, is_ancestor(hub, repo), made_by(hub, repo))
        return self.material(plan, newest)

    def proposal(self) -> tuple[State, Contribution, Model]:
        """Check what the pull request brings; return what it was made from, and it.

        Raises:
            BadInput: it brings no weights, or none that fit.
        """
        hub, repo, sides = self.hub, self.repo, self.sides
        fork = state_at(hub, repo, sides.fork)
        head = state_at(hub, repo, sides.head, sides.at_fork)
        adapter = adapter_files(sides)
        if adapter and head.weights.same_weights(fork.weights.files):
            return self._adapter(fork, replace(head.weights, files=adapter))
        new = self._contribution(head.weights)
        if not head.weights.files or head.weights.same_weights(fork.weights.files):
            raise BadInput(self._no_weights(head.weights))
        newest = self.model(new)
        self._no_pickles(newest)
        check_contribution(
            self.checkout(fork.weights, f"fork-{fork.weights.revision[:12]}"),
            newest.folder,
            newest.title.capitalize(),
        )
        source = made_from(hub, repo, fork, newest.folder, self._checkout_state, head.weights.files)
        if not source.weights.same_weights(fork.weights.files):
            self.made_from = source.weights
        return source, new, newest

    def material(self, plan: Plan, newest: Model) -> Material:
        """Put the models of a plan into folders, carried over to its base where they need it.

        ``newest`` is the model that the change is about; it may be none of the plan's.
        """
        base = Model(self.checkout(plan.base, "base"), "the base", plan.base)
        models = [
            newest if one.number == newest.number else self.model(one, one.base or plan.base)
            for one in plan.contributions
        ]
        for place, one in enumerate(plan.contributions):
            if one.base is not None:
                models[place] = self._rebased(base, models[place], one.base)
        newest = next((model for model in models if model.number == newest.number), newest)
        return united(Material(plan, base, tuple(models), newest), self.folder, self.context)

    def _adapter(self, fork: State, weights: Origin) -> tuple[State, Contribution, Model]:
        """Check a LoRA adapter, which is a contribution as the model that it makes."""
        new = self._contribution(weights)
        source = self._trained_on(fork, weights)
        newest = self.model(new, source.weights)
        check_contribution(
            self.checkout(source.weights, f"fork-{source.weights.revision[:12]}"),
            newest.folder,
            newest.title.capitalize(),
        )
        return source, new, newest

    def _trained_on(self, fork: State, adapter: Origin) -> State:
        """Return the commit that an adapter's configuration names, else where it was proposed."""
        content = self.hub.git.read(self.repo, adapter.revision, ADAPTER[0])
        revision = parse_config(content, "The adapter", ADAPTER[0]).get("revision")
        if not isinstance(revision, str) or not re.fullmatch(r"[0-9a-f]{40}", revision):
            return fork
        try:
            if not self.hub.git.is_ancestor(self.repo, revision, self.sides.main):
                return fork
        except PlaitError:
            return fork
        state = state_at(self.hub, self.repo, revision)
        return state if state.weights.files else fork

    def model(self, one: Contribution, own: Origin | None = None) -> Model:
        """Write a contribution into a folder, with the files that it was proposed with.

        ``own`` is what it was made from; a LoRA adapter is put on it.
        """
        origin = Origin(self.repo.full_name, one.revision, one.files)
        if ADAPTER[1] in one.files:
            folder = self.folder / f"pull-{one.number}"
            files = self.folder / f"adapter-{one.number}"
            self.hub.commits.materialize(self.repo, one.revision, files, only=ADAPTER.__contains__)
            base = self.checkout(own or one.base or self._root(), f"under-{one.number}")
            title = contribution_title(one)
            with named({files: f"{title}'s adapter", base: "the base"}):
                put_adapter(base, files, folder, cancelled=self.context.cancelled)
            return Model(folder, title, origin, one.number)
        folder = self.checkout(origin, f"pull-{one.number}", own_support=True)
        return Model(folder, contribution_title(one), origin, one.number)

    def _root(self) -> Origin:
        """Return the base of what main is."""
        main = state_at(self.hub, self.repo, self.sides.main)
        return main.fused.base if main.fused is not None else main.weights

    def _checkout_state(self, weights: Origin) -> Path:
        return self.checkout(weights, f"state-{weights.revision[:12]}")

    def _contribution(self, weights: Origin) -> Contribution:
        return describe_contribution(self.sides, self.discussion, weights.files)

    def checkout(self, origin: Origin, name: str, own_support: bool = False) -> Path:
        """Write a model into a folder: its weights, and the files that say how to read them.

        Those files are main's but for a contribution, whose own are what is checked and judged.
        """
        folder = self.folder / name
        # The same weights are often several things at once: base, main, what was forked from.
        there = {p: self._written[sha] for p, sha in origin.files.items() if sha in self._written}
        self.hub.commits.materialize(
            self.repo,
            origin.revision,
            folder,
            only=lambda path: (
                (path in origin.files and path not in there)
                or (path == INDEX and SINGLE not in origin.files)
                or (own_support and driver_of(path) == "model")
            ),
        )
        for path, sha in origin.files.items():
            if path in there:
                if there[path] != folder / path:
                    (folder / path).unlink(missing_ok=True)
                    os.link(there[path], folder / path)
            elif (folder / path).is_file():
                self._written[sha] = folder / path
        if not own_support:
            self.put_support(folder)
            if self.other_words(origin):
                # Tokens came to main since: these weights have rows for their own alone.
                self.hub.commits.materialize(
                    self.repo, origin.revision, folder, only=lambda p: driver_of(p) == "model"
                )
        return folder

    def other_words(self, origin: Origin) -> bool:
        """Tell whether main's vocabulary is not that of a commit, because tokens were added."""
        if origin.revision == self.sides.main:
            return False
        entries = files(self.hub, self.repo, origin.revision)
        if all(
            (entries[name].oid if name in entries else None)
            == (self.sides.at_main[name].oid if name in self.sides.at_main else None)
            for name in WORDS
        ):
            return False
        found = []
        for oid in (origin.revision, self.sides.main):
            with tempfile.TemporaryDirectory(dir=self.folder) as place:
                self.hub.commits.materialize(self.repo, oid, Path(place), only=WORDS.__contains__)
                found.append(read_vocabulary(Path(place)))
        own, mains = found
        return own is not None and mains is not None and own.tokens != mains.tokens

    def finish(self, material: Material, out: Path) -> None:
        """Write the configuration and tokenizer that fused weights need into their folder."""
        if material.union:
            return  # the fusion wrote those of all models together
        if self.other_words(material.base.origin):
            self.hub.commits.materialize(
                self.repo,
                material.base.origin.revision,
                out,
                only=lambda path: driver_of(path) == "model",
            )
        else:
            self.put_support(out)

    def own_support(self, material: Material) -> bool:
        """Tell whether fused weights need another tokenizer than main has."""
        return material.union or self.other_words(material.base.origin)

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
