# SPDX-License-Identifier: Apache-2.0
"""Metrics of generated texts against references, for one answer each."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

from plait.evaluation.metrics.sums import CHRF_BETA, CHRF_ORDER

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = set(string.punctuation)
_WORDS = re.compile(r"[a-z0-9]+")


def normalised(text: str) -> str:
    """Return a text as SQuAD 1.1 compares answers: lower case, no punctuation, no articles."""
    text = "".join(letter for letter in text.lower() if letter not in _PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", text).split())


def exact_match(answer: str, references: Sequence[str]) -> float:
    """Return 1 if the answer is one of the references, normalised."""
    return float(any(normalised(answer) == normalised(one) for one in references))


def token_f1(answer: str, references: Sequence[str]) -> float:
    """Return the best F1 of the words that an answer and a reference share, normalised."""
    return max(_overlap(normalised(answer).split(), normalised(one).split()) for one in references)


def _overlap(answer: list[str], reference: list[str]) -> float:
    shared = sum((Counter(answer) & Counter(reference)).values())
    if shared == 0:
        return 0.0
    return 2 * shared / (len(answer) + len(reference))


def rouge_l(answer: str, references: Sequence[str]) -> float:
    """Return the best F1 of the longest common subsequence of words (letters a-z and digits)."""
    words = _WORDS.findall(answer.lower())
    best = 0.0
    for one in references:
        other = _WORDS.findall(one.lower())
        common = _longest_common(words, other)
        best = max(best, 2 * common / (len(words) + len(other)) if common else 0.0)
    return best


def _longest_common(first: Sequence[str], second: Sequence[str]) -> int:
    row = [0] * (len(second) + 1)
    for one in first:
        before = 0
        for place, other in enumerate(second, start=1):
            keep = row[place]
            row[place] = before + 1 if one == other else max(row[place], row[place - 1])
            before = keep
    return row[-1]


def chrf_counts(answer: str, references: Sequence[str]) -> tuple[int, ...]:
    """Return how many n-grams of letters answer and reference have, and share, for n of 1 to 6.

    Of several references, the one by which the answer alone would score best.
    """
    mine = _grams(answer)
    found = []
    for reference in references:
        other = _grams(reference)
        counts: list[int] = []
        for one, two in zip(mine, other, strict=True):
            # as sacreBLEU: where a reference is too short for n-grams, none of the answer's count
            counts += [one.total() if two else 0, two.total(), (one & two).total()]
        found.append(tuple(counts))
    return max(found, key=_chrf)


def _grams(text: str) -> list[Counter[str]]:
    letters = "".join(text.split())
    return [
        Counter(letters[k : k + n] for k in range(len(letters) - n + 1))
        for n in range(1, CHRF_ORDER + 1)
    ]


def _chrf(counts: tuple[int, ...]) -> float:
    parts = [counts[k : k + 3] for k in range(0, len(counts), 3)]
    there = [(both / mine, both / theirs) for mine, theirs, both in parts if mine and theirs]
    if not there:
        return 0.0
    precision, recall = (sum(part) / len(there) for part in zip(*there, strict=True))
    factor = CHRF_BETA**2
    below = factor * precision + recall
    return (1 + factor) * precision * recall / below if below else 0.0
