# SPDX-License-Identifier: Apache-2.0
"""Ways through a relation: circles in it, and what can be reached."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from plait.errors import TooLarge

MAX_STEPS = 20_000_000
"""Steps that are taken to find what can be reached."""


def cycles(after: Mapping[str, Sequence[str]]) -> Iterator[list[str]]:
    """Yield one shortest circle for each set of nodes that all lead to one another.

    Args:
        after: of each node those that it leads to.
    """
    for found in sorted(components(after), key=min):
        start = min(found)
        if len(found) == 1 and start not in after.get(start, ()):
            continue
        yield _circle(after, start, found)


def components(after: Mapping[str, Sequence[str]]) -> Iterator[set[str]]:
    """Yield strongly connected components (Tarjan, SIAM Journal on Computing 1, 1972)."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    on_stack: set[str] = set()
    for root in sorted(after):
        if root in number:
            continue
        work: list[tuple[str, Iterator[str]]] = []
        _enter(root, number, low, stack, on_stack)
        work.append((root, iter(after.get(root, ()))))
        while work:
            node, following = work[-1]
            for other in following:
                if other not in number:
                    _enter(other, number, low, stack, on_stack)
                    work.append((other, iter(after.get(other, ()))))
                    break
                if other in on_stack:
                    low[node] = min(low[node], number[other])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == number[node]:
                    found = set()
                    while node not in found:
                        found.add(stack.pop())
                    on_stack -= found
                    yield found


def _enter(
    node: str, number: dict[str, int], low: dict[str, int], stack: list[str], on_stack: set[str]
) -> None:
    number[node] = low[node] = len(number)
    stack.append(node)
    on_stack.add(node)


def _circle(after: Mapping[str, Sequence[str]], start: str, within: set[str]) -> list[str]:
    before: dict[str, str] = {}
    front = [start]
    while start not in before:
        reached = []
        for one in front:
            for other in after.get(one, ()):
                if other in within and other not in before:
                    before[other] = one
                    reached.append(other)
        front = reached
    way = [before[start]]
    while way[-1] != start:
        way.append(before[way[-1]])
    return way[::-1]


def reaches(
    after: Mapping[str, Sequence[str]], pairs: Iterable[tuple[str, str]]
) -> set[tuple[str, str]]:
    """Return the pairs whose second can be reached from their first, in one step or more.

    Raises:
        TooLarge: it takes more than `MAX_STEPS`.
    """
    wanted: dict[str, set[str]] = defaultdict(set)
    for a, b in pairs:
        wanted[a].add(b)
    found = set()
    steps = 0
    for start, ends in wanted.items():
        seen: set[str] = set()
        front = [start]
        while front and not ends <= seen:
            reached = []
            for one in front:
                for other in after.get(one, ()):
                    steps += 1
                    if other not in seen:
                        seen.add(other)
                        reached.append(other)
            if steps > MAX_STEPS:
                raise TooLarge(
                    f"Following a transitive predicate takes more than {MAX_STEPS:,} steps; take "
                    "`disjoint` from it, or make the graph smaller."
                )
            front = reached
        found |= {(start, end) for end in ends & seen}
    return found
