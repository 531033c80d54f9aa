# SPDX-License-Identifier: Apache-2.0
"""Which of many contributions to merge together, without trying every subset.

With n contributions there are 2^n subsets. Here some of them are measured on validation items:

1. none, all, and each contribution alone;
2. in the order of what each gives alone, how many of the best to take: by halving the step;
3. leaving one out, and halves of those whose leaving helped (as group testing does), until nothing
   helps any more;
4. taking back in, the cheapest first, everything that does not clearly harm: nobody is left out for
   noise.

A set is scored by the mean over tasks; what a protected task loses beyond its margin against main
counts against it. The number of measured sets grows like n, not like 2^n.

What may not be merged together is told beforehand: `Search.rank` measures each alone, and
`Search.keep` goes on with those that the caller lets in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

CLEARLY = 0.002
"""How much better, in the metric's unit, a set must be for somebody to be left out for it."""
PASSES = 6
"""How often step 3 is repeated at most."""

T = TypeVar("T")
Coalition = frozenset[int]
Scores = Mapping[str, float]
"""Score by task."""
Ask = Callable[[Sequence[Coalition]], Sequence[Scores]]
"""Measures sets, in any order or at the same time; each is asked for once."""


@dataclass(frozen=True)
class Selection:
    """The chosen set, and what is known of the others."""

    chosen: Coalition
    scores: Scores
    """Of the chosen set, on the items that it was chosen by."""
    none: Scores
    """Of main without any of them."""
    costs: Mapping[int, Scores]
    """For each that was left out, what taking it in would change, by task."""
    asked: int
    """Different sets that were measured."""
    others: tuple[Coalition, ...] = ()
    """Other sets that were measured and do better than main, the best first."""


def select(
    players: Iterable[int],
    ask: Ask,
    *,
    margins: Mapping[str, float] | None = None,
    clearly: float = CLEARLY,
    most: int | None = None,
) -> Selection:
    """Choose which contributions to merge together.

    Args:
        players: numbers of the contributions.
        ask: measures sets of them, merged into main.
        margins: what each protected task may lose against main, in the metric's unit.
        clearly: see `CLEARLY`.
        most: sets that may be measured before the search ends with what it has.
    """
    return Search(players, ask, margins=margins, clearly=clearly, most=most).run()


class Search:
    """A search for the set to merge together; see `select` for the arguments."""

    def __init__(
        self,
        players: Iterable[int],
        ask: Ask,
        *,
        margins: Mapping[str, float] | None = None,
        clearly: float = CLEARLY,
        most: int | None = None,
    ) -> None:
        self.players = sorted(set(players))
        self.ask = ask
        self.margins = margins or {}
        self.clearly = clearly
        self.most = most
        self.table: dict[Coalition, Scores] = {}

    def rank(self) -> list[int]:
        """Return the contributions by what each gives alone, the best first."""
        self.measure([frozenset(), *(frozenset({player}) for player in self.players)])
        return sorted(self.players, key=lambda one: (-self.value(frozenset({one})), one))

    def keep(self, players: Iterable[int]) -> None:
        """Go on with these contributions alone."""
        self.players = sorted(set(players))
        kept = frozenset(self.players)
        self.table = {one: scores for one, scores in self.table.items() if one <= kept}

    def run(self) -> Selection:
        """Choose the set."""
        everybody = frozenset(self.players)
        alone = {player: frozenset({player}) for player in self.players}
        self.measure([frozenset(), everybody, *alone.values()])
        ranked = sorted(self.players, key=lambda one: (-self.value(alone[one]), one))
        best = self.prefix(ranked)
        for _ in range(PASSES):
            smaller = self.leave_out(best)
            if smaller == best:
                break
            best = smaller
        return self.told(self.take_in(best))

    def told(self, chosen: Coalition) -> Selection:
        """Say of a measured set what is known of it and of the others."""
        outside = sorted(frozenset(self.players) - chosen)
        self.measure([chosen | {one} for one in outside])
        found, none = self.table[chosen], self.value(frozenset())
        costs = {
            one: {name: scores[name] - found[name] for name in found}
            for one in outside
            if (scores := self.table.get(chosen | {one})) is not None
        }
        others = [one for one in self.table if one != chosen and self.value(one) > none]
        others.sort(key=lambda one: (-self.value(one), -len(one), sorted(one)))
        return Selection(
            chosen, found, self.table[frozenset()], costs, len(self.table), tuple(others)
        )

    # -- steps ----------------------------------------------------------------------------------

    def prefix(self, ranked: Sequence[int]) -> Coalition:
        """Return how many of the best single ones do best together, by halving the step."""
        count = len(ranked)
        place, step = count, count // 2
        while step >= 1 and not self.spent():
            near = [k for k in (place - step, place + step) if 0 <= k <= count]
            self.measure([frozenset(ranked[:k]) for k in near])
            place = self.better([place, *near], lambda k: frozenset(ranked[:k]))
            step //= 2
        chosen = frozenset(ranked[:place])
        return self.better([frozenset(ranked), chosen], lambda one: one)

    def leave_out(self, best: Coalition) -> Coalition:
        """Return the set without those whose leaving helps clearly, together or in halves."""
        inside = sorted(best)
        self.measure([best - {one} for one in inside])
        helped = [
            one
            for one in inside
            if best - {one} in self.table and self.value(best - {one}) > self.value(best)
        ]
        helped.sort(key=lambda one: (-self.value(best - {one}), one))
        tried = [best, *(best - {one} for one in helped[:1])]
        # All of them at once, or the half that helps most, and half of that.
        size = len(helped)
        while size > 1:
            group = best - frozenset(helped[:size])
            self.measure([group])
            if group in self.table:
                tried.append(group)
            size //= 2
        return self.better(tried, lambda one: one)

    def take_in(self, best: Coalition) -> Coalition:
        """Return the set with all that do not clearly harm it; also those that help."""
        top = self.value(best)
        while not self.spent():
            outside = sorted(frozenset(self.players) - best)
            self.measure([best | {one} for one in outside])
            open_ = [one for one in outside if best | {one} in self.table]
            open_ = [one for one in open_ if self.value(best | {one}) >= top - self.clearly]
            if not open_:
                break
            one = max(open_, key=lambda one: (self.value(best | {one}), -one))
            best = best | {one}
            top = max(top, self.value(best))
        return best

    # -- measuring ------------------------------------------------------------------------------

    def measure(self, coalitions: Iterable[Coalition]) -> None:
        """Measure the sets that are not known; nothing more once the budget is spent."""
        wanted = [one for one in dict.fromkeys(coalitions) if one not in self.table]
        if self.most is not None:
            # What every other step needs comes first: none, all, and each alone.
            wanted = wanted[: max(0, self.most - len(self.table))] if self.table else wanted
        if wanted:
            self.table.update(zip(wanted, map(dict, self.ask(wanted)), strict=True))

    def spent(self) -> bool:
        """Tell whether no more sets may be measured."""
        return self.most is not None and len(self.table) >= self.most

    def value(self, coalition: Coalition) -> float:
        """Return a measured set's mean score, less what protected tasks lose beyond margins."""
        scores, main = self.table[coalition], self.table[frozenset()]
        lost = sum(
            max(0.0, main[name] - scores[name] - margin)
            for name, margin in self.margins.items()
            if name in scores
        )
        return sum(scores.values()) / len(scores) - lost

    def better(self, options: Sequence[T], coalition: Callable[[T], Coalition]) -> T:
        """Return the best option; of almost equal ones the one with most contributions."""
        known = [one for one in options if coalition(one) in self.table]
        top = max(self.value(coalition(one)) for one in known)
        near = [one for one in known if self.value(coalition(one)) >= top - self.clearly]
        return max(near, key=lambda one: (len(coalition(one)), self.value(coalition(one))))
