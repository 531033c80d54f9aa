# SPDX-License-Identifier: Apache-2.0
"""Hidden test sets: files that go in and never come out, and how often they may be asked.

A data set names its hidden splits in ``plait.yaml`` at main (``evaluation: {hidden: [test]}``).
Their files are not part of the repository: they lie in a table of the database that no route,
clone, copy, viewer or export reads, and only the hub's jobs take them out, into their own folders.
Nobody downloads them, not their owners either; owners replace or remove them. Whoever runs the
machine can read its database and is trusted not to.

So that nothing of them lies open by mistake, a commit that has a path of a hidden split is refused
on every way into the repository, and a split that any commit ever held cannot be hidden any more.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pygit2
from pygit2.enums import SortMode
from sqlalchemy import delete, func, or_, select
from sqlalchemy.orm import Session

from plait.errors import BadInput, EntryNotFound, NotFound, TooLarge, TooManyRequests
from plait.hub.database import HiddenFile, HiddenQuestion, Repository, now
from plait.hub.git.objects import MAIN, ref_commit
from plait.hub.permissions import Actor
from plait.recipes.project import FILE as PROJECT
from plait.recipes.project import MAX_CHARACTERS, parse_project
from plait.recipes.questions import EvaluationSpec

if TYPE_CHECKING:
    from plait.hub.facade import Hub

MAX_FILE = 64 * 2**20
"""Bytes of one hidden file."""
MAX_TOTAL = 256 * 2**20
"""Bytes of all hidden files of one data set."""
SUFFIXES = ("jsonl", "parquet", "csv")
FOLDER = "data"

_PART = re.compile(r"([A-Za-z0-9][A-Za-z0-9_-]{0,63}?)(-[0-9]{1,5}-of-[0-9]{1,5})?\.(\w+)")


@dataclass(frozen=True)
class Asker:
    """For whom a job judges a model: its user, whose model it is, and the job itself."""

    user_id: int | None
    namespace_id: int
    repository_id: int
    job_id: int | None
    task: str = ""
    """Which of the model's tasks: each reads the items in its own way and is a question."""
    candidate: int = 1
    """Which of several candidates that one job judges: each is a question."""

    @property
    def question(self) -> str:
        """What of a job is counted once."""
        return self.task if self.candidate == 1 else f"{self.task[:88]} #{self.candidate}"


@dataclass(frozen=True)
class Asked:
    """How often a hidden split was asked within the present period."""

    count: int
    limit: int
    period: str
    again: datetime | None
    """When the oldest question within the period falls out of it, if the limit is reached."""

    @property
    def left(self) -> int:
        """Questions that may still be asked."""
        return max(0, self.limit - self.count)


def belongs(path: str, split: str) -> bool:
    """Tell whether a path of a data set is, or could be read as, a file of this split."""
    name = path.lower()
    prefix = f"{FOLDER}/{split.lower()}"
    return name == prefix or name.startswith((f"{prefix}.", f"{prefix}-", f"{prefix}/"))


class Hidden:
    """The hidden files of one hub's data sets."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    # -- what a data set says -------------------------------------------------------------------

    def settings(self, dataset: Repository | int) -> EvaluationSpec:
        """Return what the data set's ``plait.yaml`` at main says; the defaults if it says nothing.

        A file that cannot be read is taken to say nothing: what is hidden already stays so.
        """
        return _declared(self._hub.git.open(dataset))

    def splits(self, dataset: Repository) -> tuple[str, ...]:
        """Return the splits that are hidden: those declared, and those that have hidden files."""
        if dataset.type != "dataset":
            return ()
        with self._hub.session() as session:
            stored = session.scalars(
                select(HiddenFile.split).where(HiddenFile.repository_id == dataset.id).distinct()
            ).all()
        return tuple(sorted({*stored, *self.settings(dataset).hidden}))

    def is_hidden(self, dataset: Repository, split: str) -> bool:
        """Tell whether a split is hidden."""
        return split.lower() in {name.lower() for name in self.splits(dataset)}

    def files(self, dataset: Repository, split: str | None = None) -> list[HiddenFile]:
        """List the hidden files, without their content, by path."""
        query = select(HiddenFile).where(HiddenFile.repository_id == dataset.id)
        if split is not None:
            query = query.where(func.lower(HiddenFile.split) == split.lower())
        with self._hub.session() as session:
            return list(session.scalars(query.order_by(HiddenFile.path)))

    # -- putting in and taking away -------------------------------------------------------------

    def put(self, actor: Actor, dataset: Repository, name: str, content: bytes) -> HiddenFile:
        """Store a hidden file, in place of one of that name.

        Args:
            actor: must be able to write to the data set.
            dataset: its ``plait.yaml`` must name the split as hidden.
            name: ``SPLIT.jsonl``, ``.parquet`` or ``.csv``, or ``SPLIT-00000-of-00002.parquet``.
            content: the file.

        Raises:
            BadInput: the name is none of a hidden split, the file is empty, or a commit holds, or
                once held, a file of the split in the open.
            TooLarge: it is larger than hidden files may be.
        """
        hub = self._hub
        hub.repositories.require(actor, dataset, "repo.write")
        split = self._split_of(dataset, name)
        if not content:
            raise BadInput(f"'{name}' is empty.")
        if len(content) > MAX_FILE:
            raise TooLarge(f"'{name}' has more than {MAX_FILE:,} bytes; split it into parts.")
        self._never_open(dataset, split)
        path = f"{FOLDER}/{name}"
        with hub.session(write=True) as session:
            session.execute(
                delete(HiddenFile).where(
                    HiddenFile.repository_id == dataset.id, HiddenFile.path == path
                )
            )
            total = session.scalar(
                select(func.sum(HiddenFile.size)).where(HiddenFile.repository_id == dataset.id)
            )
            if (total or 0) + len(content) > MAX_TOTAL:
                raise TooLarge(f"A data set may have {MAX_TOTAL:,} bytes of hidden files.")
            made = HiddenFile(
                repository_id=dataset.id,
                split=split,
                path=path,
                size=len(content),
                sha256=hashlib.sha256(content).hexdigest(),
                content=content,
                user_id=actor.user_id,
            )
            session.add(made)
            hub.events.record(session, actor, "hidden.put", repo=dataset, path=path)
        return made

    def remove(self, actor: Actor, dataset: Repository, name: str) -> None:
        """Remove a hidden file for good.

        Raises:
            NotFound: there is none of that name.
        """
        hub = self._hub
        hub.repositories.require(actor, dataset, "repo.write")
        path = f"{FOLDER}/{name}"
        with hub.session(write=True) as session:
            gone = session.scalar(
                select(HiddenFile.id).where(
                    HiddenFile.repository_id == dataset.id, HiddenFile.path == path
                )
            )
            if gone is None:
                raise NotFound(f"'{dataset.full_name}' has no hidden file '{name[:120]}'.")
            session.execute(delete(HiddenFile).where(HiddenFile.id == gone))
            hub.events.record(session, actor, "hidden.remove", repo=dataset, path=path)

    def _split_of(self, dataset: Repository, name: str) -> str:
        if dataset.type != "dataset":
            raise BadInput("Only data sets have hidden files.")
        match = _PART.fullmatch(name)
        if match is None or match[3] not in SUFFIXES:
            raise BadInput(
                f"A hidden file is called after its split, like test.jsonl, test.parquet or "
                f"test-00000-of-00002.parquet, not {name[:80]!a}."
            )
        declared = self.settings(dataset).hidden
        if match[1] not in declared:
            listed = ", ".join(declared) or "none"
            raise BadInput(
                f"{PROJECT} at main does not name '{match[1]}' as hidden (it names {listed}). "
                f"Add 'evaluation: {{hidden: [{match[1]}]}}' to it first."
            )
        return match[1]

    def _never_open(self, dataset: Repository, split: str) -> None:
        """Refuse to call hidden what anybody may have downloaded already."""
        git = self._hub.git.open(dataset)
        walker = git.walk(None, SortMode.NONE)
        for name in git.references:
            oid = ref_commit(git, name)
            if oid is not None:
                walker.push(pygit2.Oid(hex=oid))
        seen: set[Any] = set()
        for commit in walker:
            path = _open_path(git, commit.tree, (split,), seen)
            if path is not None:
                raise BadInput(
                    f"Commit {str(commit.id)[:10]} holds '{path}' in the open, so the split "
                    f"'{split}' is hidden from nobody. Use a new name and new items for a hidden "
                    "split, or a new data set."
                )

    # -- keeping the doors shut -----------------------------------------------------------------

    def guard(self, repo: Repository | int, git: Any, tree: Any) -> None:
        """Refuse a tree that has a path of a hidden split; every new commit comes by here.

        Raises:
            BadInput: it has one; the message says where such a file goes.
        """
        number = repo if isinstance(repo, int) else repo.id
        with self._hub.session() as session:
            kind = session.scalar(select(Repository.type).where(Repository.id == number))
            if kind != "dataset":
                return
            stored = session.scalars(
                select(HiddenFile.split).where(HiddenFile.repository_id == number).distinct()
            ).all()
        splits = {*stored, *_declared(git).hidden}
        path = _open_path(git, tree, tuple(splits), set()) if splits else None
        if path is not None:
            raise BadInput(
                f"'{path}' belongs to a hidden split and must not be committed, where everybody "
                "who may read the data set could download it. Take it out of the commit and store "
                f"it with `plait hidden put REPO {path.rsplit('/', 1)[-1]}`."
            )

    # -- for jobs -------------------------------------------------------------------------------

    def materialize(self, dataset: Repository, split: str, folder: Path) -> list[tuple[str, str]]:
        """Write a hidden split's files into a job's folder; return each path and SHA-256.

        Raises:
            EntryNotFound: there are none.
        """
        with self._hub.session() as session:
            rows = session.execute(
                select(HiddenFile.path, HiddenFile.sha256, HiddenFile.content)
                .where(
                    HiddenFile.repository_id == dataset.id,
                    func.lower(HiddenFile.split) == split.lower(),
                )
                .order_by(HiddenFile.path)
            ).all()
        if not rows:
            raise EntryNotFound(f"The hidden split '{split}' has no files; its owner puts them in.")
        for row in rows:
            target = folder / row.path
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            target.touch(mode=0o600)
            target.write_bytes(row.content)
        return [(row.path, row.sha256) for row in rows]

    def ask(self, dataset: Repository, split: str, asker: Asker) -> None:
        """Count a question, or refuse it; a job that is taken up again is counted once.

        Those who could ask each other's questions share a limit: a user asks for all models that
        they may merge into, an organisation for all of its members.

        Raises:
            TooManyRequests: the user or the organisation has asked as often as the owner allows.
        """
        limit, split = self.settings(dataset).limit, split.lower()
        with self._hub.session(write=True) as session:
            if asker.job_id is not None and session.scalar(
                select(HiddenQuestion.id).where(
                    HiddenQuestion.dataset_id == dataset.id,
                    HiddenQuestion.split == split,
                    HiddenQuestion.job_id == asker.job_id,
                    HiddenQuestion.task == asker.question,
                )
            ):
                return
            for who in _sides(asker):
                asked = _asked(session, dataset, split, who, limit.span)
                if len(asked) >= limit.count:
                    again = asked[-limit.count] + limit.span
                    raise TooManyRequests(
                        f"The hidden split '{split}' may judge models {limit} for one "
                        f"{'organisation' if 'namespace_id' in who else 'user'}; that is used up. "
                        f"Ask again after {again:%Y-%m-%d %H:%M} UTC.",
                        retry_after=max(1, round((again - now()).total_seconds())),
                        limit=limit.count,
                        window=round(limit.span.total_seconds()),
                    )
            session.add(
                HiddenQuestion(
                    dataset_id=dataset.id,
                    split=split,
                    job_id=asker.job_id,
                    task=asker.question,
                    user_id=asker.user_id,
                    namespace_id=asker.namespace_id,
                    repository_id=asker.repository_id,
                )
            )

    def asked(
        self,
        dataset: Repository,
        split: str,
        user_id: int | None = None,
        namespace_id: int | None = None,
    ) -> Asked:
        """Say how many questions of a user, or for an organisation, count at present.

        Neither of them given: those of everybody, for the owner.
        """
        limit, split = self.settings(dataset).limit, split.lower()
        who = {"user_id": user_id, "namespace_id": namespace_id}
        with self._hub.session() as session:
            found = _asked(session, dataset, split, {k: v for k, v in who.items() if v}, limit.span)
        full = len(found) >= limit.count
        return Asked(
            len(found),
            limit.count,
            limit.period,
            found[-limit.count] + limit.span if full else None,
        )


def _sides(asker: Asker) -> list[dict[str, int]]:
    found = [{"namespace_id": asker.namespace_id}]
    return found if asker.user_id is None else [{"user_id": asker.user_id}, *found]


def _asked(
    session: Session, dataset: Repository, split: str, who: dict[str, Any], span: timedelta
) -> list[datetime]:
    """Return when the questions that count were asked, oldest first."""
    query = select(HiddenQuestion.created_at).where(
        HiddenQuestion.dataset_id == dataset.id,
        HiddenQuestion.split == split,
        HiddenQuestion.created_at > now() - span,
    )
    if who:
        query = query.where(or_(*(getattr(HiddenQuestion, k) == v for k, v in who.items())))
    return list(session.scalars(query.order_by(HiddenQuestion.created_at)))


def _declared(git: Any) -> EvaluationSpec:
    """Read a data set's main without its record: this is asked within writes."""
    head = ref_commit(git, MAIN)
    if head is None:
        return EvaluationSpec()
    try:
        entry = git[pygit2.Oid(hex=head)].tree[PROJECT]
        if git.odb.read_header(entry.id)[1] > 4 * MAX_CHARACTERS:
            return EvaluationSpec()
        return parse_project(bytes(git[entry.id].data)).evaluation
    except (KeyError, AttributeError, ValueError, BadInput):
        return EvaluationSpec()


def _open_path(git: Any, tree: Any, splits: tuple[str, ...], seen: set[Any]) -> str | None:
    """Return a path of one of the splits that a tree has, if any."""
    if isinstance(tree, str):
        tree = git[pygit2.Oid(hex=tree)]
    if tree.id in seen:
        return None
    seen.add(tree.id)
    for entry in tree:
        if entry.name.lower() != FOLDER:
            continue
        folder = git[entry.id]
        if folder.id in seen or not hasattr(folder, "__iter__"):
            continue
        seen.add(folder.id)
        for part in folder:
            path = f"{entry.name}/{part.name}"
            if any(belongs(path, split) for split in splits):
                return path
    return None
