# SPDX-License-Identifier: Apache-2.0
"""Which drivers there are, and which takes a file.

A package adds a driver by an entry point of the group ``plait.merge_drivers``, whose value is the
driver's class; a program by `register`. Added ones are asked before the built-in ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.metadata import entry_points

from plait.collaboration.merging.drivers.base import Driver, Outcome, Work
from plait.collaboration.merging.drivers.card import CardDriver
from plait.collaboration.merging.drivers.graph import GraphDriver
from plait.collaboration.merging.drivers.table import TableDriver
from plait.collaboration.merging.drivers.text import TextDriver, WholeDriver
from plait.collaboration.merging.drivers.weights import AdapterDriver
from plait.errors import BadInput
from plait.recipes.parameters import hint

GROUP = "plait.merge_drivers"
_BUILT_IN: tuple[Driver, ...] = (
    CardDriver(),
    GraphDriver(),
    TableDriver(),
    AdapterDriver(),
    WholeDriver(),
    TextDriver(),
)
_added: list[Driver] = []


def register(driver: Driver) -> Driver:
    """Add a driver; it is asked before those that are there. One of its name is replaced."""
    _added[:] = [one for one in _added if one.name != driver.name]
    _added.insert(0, driver)
    return driver


def unregister(name: str) -> None:
    """Remove a driver that `register` added."""
    _added[:] = [one for one in _added if one.name != name]


def drivers() -> list[Driver]:
    """Return every driver, those that were added first."""
    return [*_added, *_installed(), *_BUILT_IN]


@cache
def _installed() -> tuple[Driver, ...]:
    return tuple(point.load()() for point in sorted(entry_points(group=GROUP)))


def chosen(work: Work, path: str) -> Driver:
    """Return the driver of a file: as `plait.yaml` says, else the first that claims it.

    Raises:
        BadInput: `plait.yaml` names a driver that there is not.
    """
    name = work.spec.driver(path)
    if name is not None:
        known = {driver.name: driver for driver in drivers()}
        if name not in known:
            raise BadInput(
                f"plait.yaml: merge.drivers names '{name}' for '{path}'{hint(name, list(known))} "
                f"There are: {', '.join(known)}."
            )
        return known[name]
    return next(driver for driver in drivers() if driver.claims(work, path))


def grouped(work: Work, paths: Sequence[str]) -> list[tuple[Driver, list[str]]]:
    """Return each driver with its files, in the order of the drivers.

    Files that the pull request alone changed, or not at all, are left to git, but for drivers that
    look at whole files.
    """
    listed: dict[str, tuple[Driver, list[str]]] = {}
    for path in paths:
        driver = chosen(work, path)
        listed.setdefault(driver.name, (driver, []))[1].append(path)
    order = [driver.name for driver in drivers()]
    return [listed[name] for name in sorted(listed, key=order.index)]


def merge_all(work: Work, paths: Sequence[str]) -> Outcome:
    """Merge files, each by its driver.

    Raises:
        Conflict, BadInput: a driver refuses what the pull request brings.
    """
    found = Outcome()
    for driver, own in grouped(work, paths):
        work.check()
        found += driver.merge(work, own)
    return found


def is_large(work: Work, paths: Sequence[str]) -> bool:
    """Tell whether merging these files is a job's work."""
    return any(driver.large(work, own) for driver, own in grouped(work, paths))
