# SPDX-License-Identifier: Apache-2.0
"""Names and values as texts that can be compared: normalised, transliterated, as n-grams.

A name that normalises to nothing (all punctuation, or signs that are no letters) keeps its own
form, so that two of them are never equal by being empty.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from plait.errors import MissingExtra

_WORD = re.compile(r"\w+")
MAX_NAMES = 20
"""Names of one entity that are compared, main ones first."""


def normal(text: str) -> str:
    """Return a text in NFKC, case-folded, words alone."""
    return " ".join(_WORD.findall(unicodedata.normalize("NFKC", text).casefold()))


def forms(text: str) -> tuple[str, ...]:
    """Return the forms that a name is compared in: normalised, and transliterated to ASCII.

    Raises:
        MissingExtra: the transliteration is not installed.
    """
    try:
        from anyascii import anyascii
    except ImportError:
        raise MissingExtra("anyascii", "graph") from None
    own = normal(text)
    latin = normal(anyascii(text))
    return tuple(dict.fromkeys(one for one in (own, latin) if one)) or (f"\0{text}",)


@lru_cache(maxsize=65_536)
def script(character: str) -> str:
    """Return a letter's script by its Unicode name: LATIN, GREEK, CJK …; empty for no letter."""
    if not character.isalpha():
        return ""
    return unicodedata.name(character, "").partition(" ")[0]


def scripts(texts: Sequence[str]) -> frozenset[str]:
    """Return the scripts that texts are written in."""
    return frozenset(filter(None, (script(one) for text in texts for one in set(text))))


class Grams:
    """Character n-grams (2 to 4, within words) of two lists of texts, weighted by tf-idf."""

    def __init__(self, left: Sequence[str], right: Sequence[str]) -> None:
        try:
            from scipy.sparse import csr_matrix
            from sklearn.feature_extraction.text import TfidfVectorizer
        except ImportError:
            raise MissingExtra("scikit-learn", "graph") from None
        vectorizer = TfidfVectorizer(
            analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True, dtype=np.float32
        )
        vectorizer.fit([*left, *right, "a"])
        self._texts = (left, right)
        size = len(vectorizer.vocabulary_)
        self.left: Any = vectorizer.transform(left) if left else csr_matrix((0, size))
        self.right: Any = vectorizer.transform(right) if right else csr_matrix((0, size))

    def cosine(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Return the cosines of pairs of places; exactly 1 for equal texts."""
        found = np.empty(len(left), np.float32)
        for start in range(0, len(left), 200_000):
            part = slice(start, start + 200_000)
            held = self.left[left[part]].multiply(self.right[right[part]]).sum(1)
            found[part] = np.asarray(held).ravel()
        return np.minimum(found, 1.0)

    def likeness(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Return the mean of n-grams' cosine and of the share of letters that need no edit.

        N-grams weigh what is rare in a name, edits forgive another spelling of all of it.
        """
        try:
            from rapidfuzz import fuzz, process
        except ImportError:
            raise MissingExtra("rapidfuzz", "graph") from None
        ours = [self._texts[0][one] for one in left]
        theirs = [self._texts[1][one] for one in right]
        spelled = process.cpdist(ours, theirs, scorer=fuzz.ratio, dtype=np.float32) / 200.0
        spelled += (
            process.cpdist(ours, theirs, scorer=fuzz.token_set_ratio, dtype=np.float32) / 200.0
        )
        made: np.ndarray = (self.cosine(left, right) + spelled) / 2.0
        return made
