# SPDX-License-Identifier: Apache-2.0
"""The table of licences: what each asks of whoever shares something made from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml


@dataclass(frozen=True)
class Terms:
    """What a licence asks, by the name that cards give it (`table.yaml` explains each field)."""

    id: str
    name: str
    url: str
    spdx: str | None = None
    attribution: bool = False
    changes: bool = True
    commercial: bool = True
    share_alike: bool = False
    into: tuple[str, ...] = ()
    restricts: str | None = None
    notices: tuple[str, ...] = ()
    unclear: str | None = None

    @property
    def free(self) -> bool:
        """Whether the result may be under any licence, source and notices kept."""
        return (
            self.changes
            and self.commercial
            and not self.share_alike
            and self.restricts is None
            and self.unclear is None
        )

    def allows(self, other: str) -> bool:
        """Whether a result of something under this share-alike licence may be under `other`."""
        return other == self.id or other in self.into


@cache
def table() -> Mapping[str, Terms]:
    """Return every licence that Plait knows, by its name on cards."""
    text = files("plait.licences").joinpath("table.yaml").read_text("utf-8")
    found = {}
    for name, entry in yaml.safe_load(text).items():
        entry |= {key: tuple(entry[key]) for key in ("into", "notices") if key in entry}
        found[name] = Terms(id=name, **entry)
    return found
