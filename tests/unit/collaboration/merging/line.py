# SPDX-License-Identifier: Apache-2.0
"""A main as a line of states, and contributions that are merged into it and withdrawn again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plait.collaboration.merging.plan import Plan, State, make_plan, plan_without
from plait.lineage import Contribution, Lineage, Origin, Withdrawal


@dataclass
class Line(ABC):
    """A repository's main as a line of states; `land` says how a plan is carried out."""

    folder: Path
    states: list[State] = field(default_factory=list)
    contributions: dict[int, tuple[Contribution, int]] = field(default_factory=dict)
    """Each with the place of the state that it was made from."""

    def add(self, number: int, origin: Origin, at: int = 0) -> None:
        """Propose what lies at an origin, made from a state of main."""
        made = Contribution(number, "ann", "org", "t", origin.revision, dict(origin.files))
        self.contributions[number] = made, at

    def made_by(self, origin: Origin) -> Lineage | None:
        """Return the lineage of a state of main."""
        found = [one for one in self.states if one.weights.revision == origin.revision]
        return found[0].fused if found else None

    def is_ancestor(self, old: str, later: str) -> bool:
        """Tell whether a state was before another, or is it."""
        order = [one.weights.revision for one in self.states]
        return order.index(old) <= order.index(later)

    def merge(self, number: int) -> Any:
        """Merge a contribution; return what stands for the bytes of main then."""
        made, at = self.contributions[number]
        plan = make_plan(self.states[-1], self.states[at], made, self.is_ancestor, self.made_by)
        return self.land(plan)

    def withdraw(self, number: int) -> Any:
        """Withdraw one that main holds; return what stands for the bytes of main then."""
        lineage = self.states[-1].fused
        assert lineage is not None
        plan = plan_without(lineage, number, self.is_ancestor, self.made_by)
        return self.land(plan, (*lineage.withdrawn, Withdrawal(number, "0" * 40, "ann")))

    @abstractmethod
    def land(self, plan: Plan, withdrawn: tuple[Withdrawal, ...] = ()) -> Any:
        """Carry a plan out as the next state."""

    def gone(self, withdrawn: tuple[Withdrawal, ...]) -> tuple[Withdrawal, ...]:
        """Return what the next state says was withdrawn."""
        earlier = self.states[-1].lineage
        return withdrawn or (earlier.withdrawn if earlier is not None else ())
