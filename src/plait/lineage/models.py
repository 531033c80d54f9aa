# SPDX-License-Identifier: Apache-2.0
"""A lineage as a list of models with what is common to every export."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from plait.licences import choices, table
from plait.lineage.document import Contribution, Lineage, Origin


@dataclass(frozen=True)
class Subject:
    """The revision that a lineage is about, and where it is."""

    repository: str
    revision: str
    endpoint: str
    licence: str | None = None
    kind: str = "model"
    """``model`` or ``dataset``."""


@dataclass(frozen=True)
class Made:
    """A model in a lineage: an input or the result."""

    role: str
    """`result`, `base` or `contribution`."""
    repository: str
    revision: str
    files: Mapping[str, str]
    licence: str | None
    title: str
    author: str | None = None
    organisation: str | None = None
    number: int | None = None

    @property
    def name(self) -> str:
        """How identifiers call it."""
        return f"{self.role}-{self.number}" if self.number is not None else self.role


def models_of(lineage: Lineage, subject: Subject) -> tuple[Made, list[Made]]:
    """Return the result, and all that it was made from: the base first."""
    result = Made(
        "result",
        subject.repository,
        subject.revision,
        lineage.output,
        subject.licence,
        subject.repository,
    )
    base = _made("base", lineage.base, "base")
    own = [
        Made(
            "contribution",
            lineage.base.repository,
            one.revision,
            one.files,
            one.licence,
            one.title,
            one.author,
            one.organisation,
            one.number,
        )
        for one in lineage.contributions
    ]
    origins = _other_bases(lineage.contributions)
    others = [_made("origin", origin, "the base of a contribution") for origin in origins]
    numbered = [
        Made(o.role, o.repository, o.revision, o.files, o.licence, o.title, number=n)
        for n, o in enumerate(others, start=1)
    ]
    return result, [base, *own, *numbered]


def address(subject: Subject, repository: str, revision: str) -> str:
    """Return the page of a repository's revision, which is of the subject's kind."""
    kind = "" if subject.kind == "model" else f"{subject.kind}s/"
    return f"{subject.endpoint.rstrip('/')}/{kind}{repository}/tree/{revision}"


def spdx_expression(licence: str | None) -> str | None:
    """Return a stated licence as an SPDX expression, if all of its names are SPDX's."""
    if licence is None:
        return None
    known = table().get(licence.lower())
    if known is not None:
        return known.spdx
    try:
        named = {name for choice in choices(licence) for name in choice}
    except Exception:  # what cannot be read is no expression
        return None
    return licence if all(n in table() and table()[n].spdx for n in named) else None


def digest_of(*parts: str) -> str:
    """Return a short name that depends on the parts alone, so that exports can be compared."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _made(role: str, origin: Origin, title: str) -> Made:
    return Made(role, origin.repository, origin.revision, origin.files, None, title)


def _other_bases(contributions: tuple[Contribution, ...]) -> list[Origin]:
    found: dict[str, Origin] = {}
    for one in contributions:
        if one.base is not None:
            found.setdefault(one.base.revision, one.base)
    return list(found.values())
