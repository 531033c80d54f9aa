# SPDX-License-Identifier: Apache-2.0
"""What a merge fuses: one base, and every contribution made over it, from the originals.

``main = fuse(base, {c1 … cn})``. Merging the n-th contribution fuses all n again, so the order of
merging does not matter. A contribution made from a later fused ``main`` starts a new base there:
what that ``main`` held is then part of the base, and only what came after remains a contribution.
One that was made over another base than the plan's is carried over by its difference:
``base + (contribution - its own base)``.

What is fused is a set: the same weights proposed twice count once. A contribution that was
withdrawn stays out: neither does a plan without it hold it, nor does a later base bring it back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from plait.errors import Conflict, NotFound
from plait.lineage import Contribution, Lineage, Origin


@dataclass(frozen=True)
class State:
    """The model at one commit: its weights, and its lineage where it has one that fits them."""

    weights: Origin
    lineage: Lineage | None

    @property
    def fused(self) -> Lineage | None:
        """The lineage, if these weights are really its output and not put there by hand since."""
        if self.lineage is None:
            return None
        output = sorted(self.lineage.output.values())
        return self.lineage if output == sorted(self.weights.files.values()) else None


@dataclass(frozen=True)
class Plan:
    """The base, and the contributions in an order that does not depend on when they came."""

    base: Origin
    contributions: tuple[Contribution, ...]

    def distinct(self, places: Sequence[int] | None = None) -> list[int]:
        """Return the places of the contributions that are fused: of equal ones the first alone.

        ``places`` are those to choose among; all of them if left out.
        """
        seen: dict[tuple[object, ...], int] = {}
        for place in range(len(self.contributions)) if places is None else sorted(places):
            one = self.contributions[place]
            own = tuple(sorted(one.base.files.values())) if one.base is not None else ()
            seen.setdefault((*sorted(one.files.values()), own), place)
        return list(seen.values())


IsAncestor = Callable[[str, str], bool]
"""Whether the first commit is an ancestor of the second, or the same."""
MadeBy = Callable[[Origin], Lineage | None]
"""The lineage of weights at a commit, if they were fused."""


def unknown_origin(origin: Origin) -> Lineage | None:
    """Say of no weights that they were fused."""
    return None


def make_plan(
    main: State,
    fork: State,
    new: Contribution,
    is_ancestor: IsAncestor,
    made_by: MadeBy = unknown_origin,
) -> Plan:
    """Decide what the merge of ``new`` into ``main`` fuses.

    Args:
        main: the model at the branch's head.
        fork: the model at the merge base of the branch and the pull request.
        new: the pull request's contribution.
        is_ancestor: whether the first commit is an ancestor of the second, or the same.
        made_by: the lineage of earlier states, for what a base itself was fused from.

    Raises:
        Conflict: ``main`` holds a contribution of this number already.
    """
    lineage = main.fused
    if lineage is None:
        # Nothing was fused yet, or the weights were replaced by hand: they are the base.
        same = main.weights.same_weights(fork.weights.files)
        base = fork.weights if same else main.weights
        return _plan(base, (), _over(base, new, fork.weights))
    if lineage.contribution(new.number) is not None:
        raise Conflict(f"main holds the contribution of pull request {new.number} already.")
    if lineage.base.same_weights(fork.weights.files):
        return _plan(lineage.base, lineage.contributions, new)
    later = is_ancestor(lineage.base.revision, fork.weights.revision)
    # A state that holds what was withdrawn since can be nobody's base any more.
    if not later or not _held(fork.fused, made_by) <= set(everything(lineage, made_by)[0]):
        return _plan(lineage.base, lineage.contributions, _over(lineage.base, new, fork.weights))
    absorbed = fork.fused
    known = {one.number for one in absorbed.contributions} if absorbed is not None else set()
    remaining = tuple(
        _over(fork.weights, one, one.base or lineage.base)
        for one in lineage.contributions
        if one.number not in known
    )
    return _plan(fork.weights, remaining, new)


def plan_without(
    lineage: Lineage, number: int, is_ancestor: IsAncestor, made_by: MadeBy = unknown_origin
) -> Plan:
    """Decide what main is without a contribution: what it would be had it never been merged.

    The base is the latest state that a remaining contribution was made from and that does not hold
    the withdrawn one. Contributions that were made from a state with it are carried over by their
    difference; without any contribution the first base alone is left.

    Raises:
        NotFound: main was not fused from such a contribution.
    """
    found, root = everything(lineage, made_by)
    if number not in found:
        raise NotFound(f"main was not fused from a contribution of pull request {number}.")
    left = {key: one for key, one in found.items() if key != number}
    base = root
    for one in left.values():
        own = one.base
        if own is None or own.same_weights(base.files):
            continue
        if is_ancestor(base.revision, own.revision) and (_held(made_by(own), made_by) <= set(left)):
            base = own
    inside = _held(made_by(base), made_by)
    outside = [_over(base, one, one.base or root) for key, one in left.items() if key not in inside]
    return _sorted(base, outside)


def everything(
    lineage: Lineage, made_by: MadeBy = unknown_origin
) -> tuple[dict[int, Contribution], Origin]:
    """Return all contributions that a model holds, also inside its base, and the first base.

    Each names the base that it was made from.
    """
    found: dict[int, Contribution] = {}
    at: Lineage | None = lineage
    root, seen = lineage.base, set[str]()
    while at is not None and at.base.revision not in seen:
        for one in at.contributions:
            found.setdefault(one.number, replace(one, base=one.base or at.base))
        root = at.base
        seen.add(root.revision)
        at = made_by(root)
    return found, root


def _held(lineage: Lineage | None, made_by: MadeBy) -> set[int]:
    return set(everything(lineage, made_by)[0]) if lineage is not None else set()


def _over(base: Origin, one: Contribution, own: Origin) -> Contribution:
    return replace(one, base=None if base.same_weights(own.files) else own)


def _plan(base: Origin, earlier: tuple[Contribution, ...], new: Contribution) -> Plan:
    return _sorted(base, (*earlier, new))


def _sorted(base: Origin, contributions: Iterable[Contribution]) -> Plan:
    cleared = (replace(one, weight=None) for one in contributions)
    return Plan(base, tuple(sorted(cleared, key=lambda one: one.key)))
