# SPDX-License-Identifier: Apache-2.0
"""Rows that say the same: exactly, or nearly (MinHash over runs of words)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from plait.errors import BadInput, MissingExtra

WORDS = 3
"""Words in a run; two texts are alike when they share most of their runs."""
PERMUTATIONS = 128
_WORD = re.compile(r"\w+")
# scripts without spaces are cut into characters, which then count as words
_UNSPACED = re.compile(r"([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff])")


@dataclass(frozen=True, order=True)
class Pair:
    """Two like texts, by their places, and how much they share (Jaccard index, 0 to 1)."""

    first: int
    second: int
    likeness: float


def exact_duplicates(texts: Sequence[str], among: Sequence[str] | None = None) -> list[Pair]:
    """Return the texts that are the same but for case, width and spaces.

    Args:
        texts: the texts to look for.
        among: where to look; default: among `texts` themselves, each pair once, the first kept.
    """
    found: list[Pair] = []
    seen: dict[str, int] = {}
    if among is None:
        for place, text in enumerate(texts):
            first = seen.setdefault(normalise(text), place)
            if first != place:
                found.append(Pair(first, place, 1.0))
        return found
    for place, text in enumerate(among):
        seen.setdefault(normalise(text), place)
    return [
        Pair(place, seen[name], 1.0)
        for place, name in enumerate(map(normalise, texts))
        if name in seen
    ]


def near_duplicates(
    texts: Sequence[str], among: Sequence[str] | None = None, *, threshold: float = 0.8
) -> list[Pair]:
    """Return the pairs of texts that share at least `threshold` of their runs of three words.

    Candidates come from MinHash with locality-sensitive hashing (Broder 1997; Indyk and Motwani
    1998), and each is then checked exactly, so that no pair is wrong; one that lies just above the
    threshold can be missed.

    Args:
        texts: the texts to look for.
        among: where to look; default: among `texts` themselves, each pair once.
        threshold: the least Jaccard index, above 0 and up to 1.

    Raises:
        BadInput: for a threshold that cannot be.
        MissingExtra: if datasketch is not installed.
    """
    if not 0 < threshold <= 1:
        raise BadInput(f"The threshold must be above 0 and at most 1, not {threshold}.")
    try:
        from datasketch import MinHash, MinHashLSH
    except ImportError:
        raise MissingExtra("datasketch", "data") from None
    asked = [shingles(text) for text in texts]
    there = asked if among is None else [shingles(text) for text in among]
    # a lower threshold for the candidates: those above the real one are then hardly ever missed
    index = MinHashLSH(threshold=max(0.1, threshold - 0.15), num_perm=PERMUTATIONS)
    hashes = MinHash.bulk([_encoded(runs) for runs in there], num_perm=PERMUTATIONS, seed=1)
    for place, made in enumerate(hashes):
        index.insert(place, made)
    queries = hashes
    if among is not None:
        queries = MinHash.bulk([_encoded(runs) for runs in asked], num_perm=PERMUTATIONS, seed=1)
    found = []
    for place, made in enumerate(queries):
        for other in index.query(made):
            if among is None and other <= place:
                continue
            likeness = jaccard(asked[place], there[other])
            if likeness >= threshold:
                found.append(Pair(place, int(other), likeness))
    return sorted(found)


def normalise(text: str) -> str:
    """Return a text without differences of case, width and spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def shingles(text: str) -> frozenset[str]:
    """Return a text's runs of three words; a shorter text is one run."""
    words = _WORD.findall(_UNSPACED.sub(r" \1 ", normalise(text)))
    if len(words) <= WORDS:
        return frozenset([" ".join(words)])
    return frozenset(" ".join(words[i : i + WORDS]) for i in range(len(words) - WORDS + 1))


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    """Return the share of runs that two sets have in common."""
    either = len(one | other)
    return len(one & other) / either if either else 1.0


def _encoded(runs: Iterable[str]) -> list[bytes]:
    return [run.encode() for run in sorted(runs)]
