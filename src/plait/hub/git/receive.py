# SPDX-License-Identifier: Apache-2.0
"""``git push``: what is sent is looked through before it counts, and the hub's rules hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pygit2
from pygit2.enums import ObjectType

from plait.errors import BadInput, Conflict, PlaitError, TooLarge
from plait.hub.database import Discussion, Repository
from plait.hub.git import command as gitcommand
from plait.hub.git.inspection import Inspection
from plait.hub.git.objects import info_of, raw_target
from plait.hub.git.pktline import FLUSH, Source, join, pack, read_lines, side_band
from plait.hub.git.quarantine import Quarantine
from plait.hub.git.store import MAIN, RefUpdate
from plait.hub.names import check_branch, check_tag, is_oid, pull_number
from plait.hub.permissions import Actor

if TYPE_CHECKING:
    from plait.hub.facade import Hub

PROPOSE = "refs/for/"
"""Pushing to ``refs/for/BRANCH`` opens a pull request for the branch."""
MAX_COMMANDS = 10_000
MAX_NOTED = 50
"""New commits of one push that are named in a pull request's discussion."""
_MAX_LINE = 1000
_NONE = "0" * 40
_CAPABILITIES = (
    "report-status delete-refs side-band-64k quiet atomic ofs-delta object-format=sha1 agent=plait"
)


def advertise(hub: Hub, repo: Repository) -> bytes:
    """Return the refs and abilities that ``git push`` asks for first."""
    git = hub.git.open(repo)
    rows = [(raw_target(git, name), name) for name in sorted(git.references)]
    found = [f"{oid} {name}" for oid, name in rows if oid is not None]
    first, *rest = found or [f"{_NONE} capabilities^{{}}"]
    lines = [f"{first}\0{_CAPABILITIES}", *rest]
    return pack(b"# service=git-receive-pack\n") + FLUSH + join(f"{x}\n".encode() for x in lines)


@dataclass(frozen=True)
class Request:
    """What a push asks for; the ids are those of the refs themselves."""

    updates: tuple[RefUpdate, ...]
    abilities: frozenset[str]

    @property
    def brings_objects(self) -> bool:
        """Whether a pack follows."""
        return any(update.new is not None for update in self.updates)


def read_request(source: Source) -> Request:
    """Read what comes before the pack.

    Raises:
        BadInput, TooLarge: it is not in git's format, or names too much.
    """
    updates: dict[str, RefUpdate] = {}
    abilities: frozenset[str] = frozenset()
    for number, line in enumerate(read_lines(source, MAX_COMMANDS)):
        if line.startswith(b"shallow "):
            # What a shallow clone lacks is here already, or the check for gaps says so.
            continue
        text, _, told = line.partition(b"\0")
        if not abilities:
            abilities = frozenset(told[:_MAX_LINE].decode("ascii", "replace").split())
        if len(text) > _MAX_LINE:
            raise TooLarge(f"Line {number + 1} of the push is longer than {_MAX_LINE} bytes.")
        update = _command(text)
        if update.ref in updates:
            raise BadInput(f"The push names {update.ref[:120]!a} twice.")
        updates[update.ref] = update
    if "object-format=sha256" in abilities:
        raise BadInput("This hub keeps repositories with SHA-1 ids. Clone it and push from there.")
    return Request(tuple(updates.values()), abilities)


def _command(text: bytes) -> RefUpdate:
    try:
        old, new, ref = text.decode().split(" ", 2)
    except ValueError:
        raise BadInput(f"{text[:80]!r} is not what git pushes.") from None
    if not is_oid(old) or not is_oid(new) or not ref.startswith("refs/") or old == new == _NONE:
        raise BadInput(f"{text[:80]!r} is not what git pushes.")
    return RefUpdate(ref, None if old == _NONE else old, None if new == _NONE else new)


@dataclass
class Report:
    """What became of a push: of each ref, and what the person should read."""

    refs: dict[str, PlaitError | None] = field(default_factory=dict)
    unpacked: str = "ok"
    notes: list[str] = field(default_factory=list)

    def refuse(self, error: PlaitError) -> None:
        """Say that nothing of the push happened."""
        for ref in self.refs:
            self.refs[ref] = error

    def encode(self, abilities: frozenset[str]) -> Iterator[bytes]:
        """Yield the answer in git's format."""
        lines = [f"unpack {self.unpacked}\n".encode()]
        for ref, error in self.refs.items():
            what = f"ok {ref}" if error is None else f"ng {ref} {_one_line(error.message)}"
            lines.append(f"{what}\n".encode())
        answer = join(lines) if "report-status" in abilities else b""
        if "side-band-64k" in abilities:
            for note in self.notes:
                yield from side_band(2, f"{note}\n".encode())
            yield from side_band(1, answer)
            yield FLUSH
        else:
            yield answer


def _one_line(text: str) -> str:
    return " ".join(text.split())[:400]


def receive(hub: Hub, actor: Actor, repo: Repository, source: Source) -> bytes:
    """Take a push and return the answer; what it may not do is refused ref by ref in it.

    Args:
        hub: the hub.
        actor: who pushes, and may at least propose something to ``repo``.
        repo: where.
        source: the request's body.

    Raises:
        BadInput, TooLarge: it is no push.
        Unsupported: the git program is missing.
    """
    request = read_request(source)
    gitcommand.program()
    if not request.updates:
        # git asks like this whether its password is right before it sends a large push.
        return b""
    report = Report({update.ref: None for update in request.updates})
    push = _Push(hub, actor, repo, request, report)
    try:
        push.run(source)
    except PlaitError as error:
        if error.status >= 500 and not isinstance(error, gitcommand.GitFailed):
            report.notes.append(error.message)
        report.refuse(error)
        _drain(source)
    return b"".join(report.encode(request.abilities))


def _drain(source: Source) -> None:
    """Read what git still wants to send: it looks at the answer only then."""
    try:
        while source.read(2**16):
            pass
    except PlaitError:
        return


class _Push:
    """One push on its way through the rules."""

    def __init__(
        self, hub: Hub, actor: Actor, repo: Repository, request: Request, report: Report
    ) -> None:
        self.hub, self.actor, self.repo = hub, actor, repo
        self.request, self.report = request, report
        self.pulls: dict[str, Discussion] = {}
        self.tips: dict[str, str] = {}
        """The commit that each new value of a ref stands for, by the ref's name."""

    def run(self, source: Source) -> None:
        for update in self.request.updates:
            try:
                self._allow(update)
            except PlaitError as error:
                self.report.refs[update.ref] = error
        refused = any(self.report.refs.values())
        if all(self.report.refs.values()) or (refused and "atomic" in self.request.abilities):
            for ref, reason in self.report.refs.items():
                if reason is None:
                    self.report.refs[ref] = Conflict("Another ref of the push was refused.")
            _drain(source)
            return
        with Quarantine(self.hub.git.path(self.repo)) as quarantine:
            if self.request.brings_objects:
                self._look_through(quarantine, source)
            self._land(quarantine)

    # -- who may move which ref -----------------------------------------------------------------

    def _allow(self, update: RefUpdate) -> None:
        """Refuse a ref that the actor may not move, whatever it should stand for."""
        hub, ref = self.hub, update.ref
        if ref.startswith("refs/heads/"):
            check_branch(ref.removeprefix("refs/heads/"))
            hub.repositories.require(self.actor, self.repo, "repo.write")
            if ref == MAIN and update.new is None:
                raise BadInput(f"Cannot delete {ref}")
            if update.new is None:
                hub.protection.require_steady(self.repo, ref, "deleted")
            hub.protection.require_push(self.actor, self.repo, ref)
        elif ref.startswith("refs/tags/"):
            check_tag(ref.removeprefix("refs/tags/"))
            hub.repositories.require(self.actor, self.repo, "repo.write")
        elif pull_number(ref) is not None:
            discussion = hub.commits.target(self.actor, self.repo, ref)[1]
            assert discussion is not None
            if update.new is None:
                raise BadInput(f"{ref} cannot be deleted. Close the pull request instead.")
            self.pulls[ref] = discussion
        elif ref.startswith(PROPOSE):
            branch = f"refs/heads/{check_branch(ref.removeprefix(PROPOSE))}"
            hub.repositories.require(self.actor, self.repo, "repo.propose")
            if update.new is None or update.old is not None:
                raise BadInput(f"Push a commit to {ref} to open a pull request.")
            hub.git.resolve(self.repo, branch)
        else:
            raise BadInput(
                "A hub keeps branches, tags and pull requests (refs/heads, refs/tags, refs/pr). "
                f"Push to refs/for/main to open a pull request, not to {ref[:80]!a}."
            )

    def _still_allowed(self, update: RefUpdate, git: Any) -> None:
        """Refuse what rewrites history that others build on; the repository is locked."""
        if update.old is None or update.new is None or not update.ref.startswith("refs/heads/"):
            return
        if update.old == update.new or git.descendant_of(update.new, update.old):
            return
        hub = self.hub
        hub.protection.require_steady(self.repo, update.ref, "rewritten")
        if update.ref != MAIN:
            return
        if hub.discussions.list(self.repo, pull_request=True, status="open", limit=1):
            raise Conflict(
                "A pull request is open. Merge or close it before you rewrite main's history."
            )

    # -- what it brings -------------------------------------------------------------------------

    def _look_through(self, quarantine: Quarantine, source: Source) -> None:
        """Unpack the objects aside and check every commit, folder and file that is new."""
        hub, repo = self.hub, self.repo
        try:
            quarantine.unpack(source, hub.settings.max_push)
        except PlaitError as error:
            self.report.unpacked = _one_line(error.message)
            raise
        wanted = {u.ref: u.new for u in self.request.updates if u.new is not None}
        git = quarantine.open()
        for ref, oid in wanted.items():
            if not git.odb.exists(pygit2.Oid(hex=oid)):
                raise BadInput(f"The push lacks the object {oid} that {ref[:120]!a} should be.")
        quarantine.check_connected(sorted(set(wanted.values())))
        for ref, oid in wanted.items():
            self.tips[ref] = _commit_of(git, ref, oid)
        inspection = Inspection(hub.settings.max_regular_file)
        inspection.inspect(git, sorted(set(self.tips.values())), _known(hub, repo))
        for guard in hub.git.guards:
            for oid in inspection.commits:
                guard(repo, git, git[pygit2.Oid(hex=oid)].tree)
        own = pygit2.Repository(str(hub.git.path(repo)))
        inspection.leftovers(git, quarantine.objects(), own.odb.exists)
        hub.commits.check_pointers(repo, inspection.pointers)

    # -- and what becomes of it -----------------------------------------------------------------

    def _land(self, quarantine: Quarantine) -> None:
        hub, repo, report = self.hub, self.repo, self.report
        git = quarantine.open()
        let_in = quarantine.let_in if self.request.brings_objects else _nothing
        left = [u for u in self.request.updates if report.refs[u.ref] is None]
        proposals = [u for u in left if u.ref.startswith(PROPOSE)]
        updates = [u for u in left if not u.ref.startswith(PROPOSE)]
        before = {u.ref: _peeled(git, u.old) for u in updates}
        if updates:
            report.refs.update(
                hub.git.push(
                    repo,
                    updates,
                    atomic="atomic" in self.request.abilities,
                    check=lambda update: self._still_allowed(update, git),
                    let_in=let_in,
                )
            )
        moved = [
            RefUpdate(u.ref, before[u.ref], self.tips.get(u.ref))
            for u in updates
            if report.refs[u.ref] is None
        ]
        for update in moved:
            if update.ref in self.pulls:
                self._note(update, self.pulls[update.ref])
        hub.references.moved(self.actor, repo, moved)
        if proposals and not moved:
            with hub.git.locked(repo):
                let_in()
        for update in proposals:
            self._propose(update)

    def _note(self, update: RefUpdate, discussion: Discussion) -> None:
        """Name a pull request's new commits in its discussion, oldest first."""
        if update.new is None:
            return
        git = self.hub.git.open(self.repo)
        walker = git.walk(pygit2.Oid(hex=update.new))
        if update.old is not None:
            walker.hide(pygit2.Oid(hex=update.old))
        base = self.hub.git.head(self.repo, discussion.base_ref)
        if base is not None:
            walker.hide(pygit2.Oid(hex=base))
        found = [info_of(commit) for _, commit in zip(range(MAX_NOTED), walker, strict=False)]
        for info in reversed(found):
            self.hub.discussions.note_commit(self.actor, discussion, info.oid, info.title)

    def _propose(self, update: RefUpdate) -> None:
        """Open a pull request with what was pushed, once."""
        hub, repo, oid = self.hub, self.repo, self.tips[update.ref]
        info = hub.git.commit_info(repo, oid)
        title = " ".join(info.title.split())[:400] or f"Changes {oid[:10]}"
        found = hub.discussions.list(repo, pull_request=True, status="open", limit=20)
        same = [
            d
            for d in found
            if d.author_id == self.actor.user_id
            and hub.git.head(repo, f"refs/pr/{d.number}") == oid
        ]
        discussion = (
            same[0]
            if same
            else hub.discussions.create(
                self.actor,
                repo,
                title,
                info.message[:10_000],
                True,
                status="open",
                base=update.ref.removeprefix(PROPOSE),
                head=oid,
            )
        )
        prefix = "" if repo.type == "model" else f"{repo.type}s/"
        address = f"{hub.settings.url}/{prefix}{repo.full_name}/discussions/{discussion.number}"
        self.report.notes.append(
            f"Pull request {discussion.number}: {address}\n"
            f"Push further commits to refs/pr/{discussion.number}."
        )


def _nothing() -> None:
    return None


def _known(hub: Hub, repo: Repository) -> list[str]:
    """Return the commits that the repository's refs stand for."""
    refs = hub.git.refs(repo)
    return sorted({ref.oid for ref in [*refs.branches, *refs.tags, *refs.pull_requests]})


def _peeled(git: Any, oid: str | None) -> str | None:
    if oid is None:
        return None
    try:
        return str(git[oid].peel(pygit2.Commit).id)
    except (KeyError, ValueError, pygit2.GitError):
        return oid


def _commit_of(git: Any, ref: str, oid: str) -> str:
    """Return the commit that a ref's new value stands for.

    Raises:
        BadInput: a branch would stand for something else, or a tag for no commit.
    """
    found = git[oid]
    if found.type == ObjectType.COMMIT:
        return oid
    if ref.startswith("refs/tags/") and found.type == ObjectType.TAG:
        commit = _peeled(git, oid)
        if commit is not None and git[commit].type == ObjectType.COMMIT:
            return commit
    raise BadInput(f"{ref[:120]!a} must stand for a commit.")
