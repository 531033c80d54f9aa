# SPDX-License-Identifier: Apache-2.0
"""Templates: sentences with places for subject and object, and the words that say the predicate.

``The [capital of] {subject} is {object}.`` Brackets stand around the words that are tagged as the
predicate; a template without them has its longest run of words between or beside the places
tagged. ``(a|b|)`` is one of several wordings: the template stays one, so that all its wordings are
in one split.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from plait.errors import BadInput
from plait.graphs.read.builtin import ALIASES, GENERIC, TEMPLATES
from plait.recipes.graph import GraphFile, Predicate

MAX_WORDINGS = 256
"""Wordings of one template."""
MAX_CHARACTERS = 1_000
_CHOICE = re.compile(r"\(([^()]*\|[^()]*)\)")
_PART = re.compile(r"(\{subject\}|\{object\}|\[[^\[\]]*\])")


@dataclass(frozen=True)
class Template:
    """One template of a predicate."""

    predicate: str
    text: str

    @cached_property
    def wordings(self) -> tuple[tuple[str, ...], ...]:
        """Every wording, in parts: ``{subject}``, ``{object}``, ``[predicate]`` or plain words."""
        split = _CHOICE.split(self.text)
        choices = [[part] if k % 2 == 0 else part.split("|") for k, part in enumerate(split)]
        return tuple(
            dict.fromkeys(_parts("".join(chosen)) for chosen in itertools.product(*choices))
        )

    @cached_property
    def phrases(self) -> tuple[str, ...]:
        """The words that say the predicate, in every wording."""
        return tuple(
            dict.fromkeys(
                " ".join(part[1:-1] for part in parts if part.startswith("["))
                for parts in self.wordings
            )
        )


def parse(predicate: str, text: str) -> Template:
    """Read a template.

    Raises:
        BadInput: saying what is wrong with it.
    """
    where = f"The template '{text[:80]}' of {predicate}"
    if len(text) > MAX_CHARACTERS:
        raise BadInput(f"{where} has more than {MAX_CHARACTERS:,} characters.")
    wordings = 1
    for choice in _CHOICE.findall(text):
        wordings *= choice.count("|") + 1
    if wordings > MAX_WORDINGS:
        raise BadInput(f"{where} has {wordings:,} wordings; at most {MAX_WORDINGS} are made.")
    made = Template(predicate, " ".join(text.split()))
    for parts in made.wordings:
        for place in ("{subject}", "{object}"):
            if parts.count(place) != 1:
                raise BadInput(f"{where} must hold {place} once.")
        for part in parts:
            if part in ("{subject}", "{object}") or part.startswith("["):
                continue
            if any(sign in part for sign in "[]{}"):
                raise BadInput(
                    f"{where} has a bracket too many: only {{subject}}, {{object}} and [words of "
                    "the predicate] are known."
                )
        if not any(part.startswith("[") and part.strip("[] ") for part in parts):
            raise BadInput(
                f"{where} has no word that says the predicate; put brackets around it, as in "
                "'The [capital of] {subject} is {object}.'"
            )
    return made


def templates_of(
    file: GraphFile, predicates: Sequence[str], more: Mapping[str, Sequence[str]] | None = None
) -> dict[str, list[Template]]:
    """Return the templates of some predicates: those of ``graph.yaml``, ours, and further ones.

    A predicate of which nothing is known gets sentences made of its label.

    Raises:
        BadInput: a template is none.
    """
    found = {}
    for predicate in predicates:
        known = file.predicates.get(predicate)
        texts = [*(known.templates if known else ()), *(more or {}).get(predicate, ())]
        key = key_of(predicate)
        texts += TEMPLATES.get(ALIASES.get(key, key), ())
        if not texts or (key not in TEMPLATES and key not in ALIASES and len(texts) < 4):
            label = label_of(predicate, known)
            texts += [one.replace("LABEL", label) for one in GENERIC]
        found[predicate] = [parse(predicate, one) for one in dict.fromkeys(texts)]
    return found


def label_of(predicate: str, known: Predicate | None = None) -> str:
    """Return a predicate's name in words: its label, else the end of its identifier."""
    if known is not None and known.label:
        for language in ("en", *sorted(known.label)):
            if language in known.label:
                return re.sub(r"[\[\]{}()|]", " ", known.label[language]).strip() or "relation"
    return key_of(predicate)


def key_of(predicate: str) -> str:
    """Return the end of a predicate's identifier as words: ``…/officialLanguage`` has two."""
    end = re.split(r"[/#:]", predicate.rstrip("/#:"))[-1]
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", end)
    return re.sub(r"[\W_]+", " ", words).strip().casefold() or "relation"


def _parts(text: str) -> tuple[str, ...]:
    text = re.sub(r"\[\s*([^\[\]]*?)\s*\]", r"[\1]", text)  # a choice of nothing leaves a space
    parts = [part for part in _PART.split(" ".join(text.split())) if part]
    if not any(part.startswith("[") for part in parts):
        plain = [k for k, part in enumerate(parts) if not part.startswith("{")]
        best = max(plain, key=lambda k: (len(re.findall(r"\w+", parts[k])), -k), default=None)
        if best is not None:
            held = parts[best]
            words = re.search(r"\w.*\w|\w", held)
            if words:
                start, end = words.span()
                cut = (held[:start], f"[{held[start:end]}]", held[end:])
                parts[best : best + 1] = [one for one in cut if one]
    return tuple(parts)
