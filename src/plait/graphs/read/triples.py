# SPDX-License-Identifier: Apache-2.0
"""Tags become mentions, mentions triples; and triples are counted against the true ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from plait.errors import BadInput
from plait.evaluation import bootstrap
from plait.evaluation.measures import Additive
from plait.evaluation.metrics import Floats
from plait.evaluation.metrics.counts import micro_f1, micro_precision, micro_recall
from plait.graphs.read.examples import LABELS, TYPED, Example, Triple, ordered
from plait.graphs.read.phrases import NEAR, SCALES, Phrases, number_of
from plait.recipes.graph import ENTITY

RESAMPLES = 2_000
FAR = 12.0
"""Tokens of distance that a predicate's certainty outweighs."""
AGAIN = 6.0
"""Tokens of distance that it costs to take words for the predicate of a second list."""
CLAUSE = 6.0
"""Tokens of distance that a new clause counts."""
BREAKS = frozenset({";", "while", "whereas", "but", "although", "."})
LISTING = frozenset({",", "and", "or", "as", "well", "the", "&", "both", "、", "和"})
LEAST = 0.1
NEVER = 1e6
LONGEST = 8
"""Tokens of a known name."""


@dataclass(frozen=True)
class Mention:
    """Some tokens with one tag."""

    kind: str
    start: int
    end: int
    text: str
    probability: float = 1.0
    """The least of the tokens' probabilities of their tags."""
    predicates: Mapping[str, float] | None = None
    """Of words that say a predicate, how probable each is; None: the tagger does not tell."""
    other: float = 0.0
    """How probable it is that a subject is an object, or an object a subject."""


@dataclass(frozen=True)
class Found:
    """A triple in the words of a sentence."""

    subject: Mention
    predicate: str
    said: str
    """The words that say the predicate."""
    object: Mention
    sure: tuple[float, float, float, float]
    """The tagger's probabilities of subject, predicate's words and object, and how well the words
    say this predicate; `calibrating` makes one probability of them."""

    @property
    def probability(self) -> float:
        """The product of the three mentions' probabilities: not calibrated."""
        return math.prod(self.sure[:3])

    def triple(self, symmetric: Collection[str] = ()) -> Triple:
        """Return its words, in one order where the predicate has no direction."""
        return ordered((self.subject.text, self.predicate, self.object.text), symmetric)


@dataclass(frozen=True)
class Reading:
    """What a tagger made of a sentence: of each token a tag of `LABELS`, and how sure it is."""

    tags: tuple[str, ...]
    probabilities: tuple[float, ...] | None = None
    predicates: Mapping[str, Floats] | None = None
    """Of each predicate, the probability of its tags at each token."""
    ends: Mapping[str, Floats] | None = None
    """The probability of being in a subject (S), and in an object (O), at each token."""


def mentions(tokens: Sequence[str], reading: Reading) -> list[Mention]:
    """Return the runs of tokens with one tag, as conlleval finds them in BIO tags."""
    found: list[Mention] = []
    start, kind = 0, ""

    def close(end: int) -> None:
        if not kind:
            return
        sure = reading.probabilities
        least = float(min(sure[start:end])) if sure is not None else 1.0
        shares = None
        if kind == "P" and reading.predicates is not None:
            sums = {name: float(one[start:end].sum()) for name, one in reading.predicates.items()}
            total = max(sum(sums.values()), 1e-9)
            shares = {name: one / total for name, one in sums.items()}
        text = " ".join(tokens[start:end])
        other = 0.0
        if kind != "P" and reading.ends is not None:
            other = float(reading.ends["O" if kind == "S" else "S"][start:end].min())
        found.append(Mention(kind, start, end, text, least, shares, other))

    for place, tag in enumerate(reading.tags):
        letter, _, name = tag.partition("-")
        if letter == "I" and name == kind:
            continue
        close(place)
        start, kind = place, name
    close(len(reading.tags))
    return found


def assemble(
    tokens: Sequence[str],
    found: Sequence[Mention],
    phrases: Phrases,
    is_entity: Callable[[str], bool | None] = lambda text: None,
) -> list[Found]:
    """Put mentions together: objects go with the words that say a predicate of their kind and
    stand nearest, each such words with one object or list of objects before any with two, and
    with the subject that stands nearest to both.

    A predicate is what the tagger takes the words for, else what `Phrases` does; an object that
    is none of its datatype rules it out.
    """
    from scipy.optimize import linear_sum_assignment

    found = balanced(snapped(tokens, found, is_entity), is_entity)
    subjects = [one for one in found if one.kind == "S"]
    said = [one for one in found if one.kind == "P"]
    lists = _lists(tokens, found)
    if not subjects or not said or not lists:
        return []
    costs = np.full((len(lists), 2 * len(said)), NEVER)
    chosen: dict[tuple[int, int], tuple[str, float]] = {}
    for row, objects in enumerate(lists):
        for column, word in enumerate(said):
            name, score = _predicate(tokens, word, objects, phrases, is_entity)
            if not name:
                continue
            chosen[row, column] = name, score
            near = min(_distance(tokens, word, one) for one in objects)
            crossed = sum(
                any(_apart(one, other, word) for other in objects)
                for one in (*subjects, *said) if one is not word
            )  # fmt: skip
            cost = near + 2.0 * crossed - FAR * score
            costs[row, column] = cost
            costs[row, column + len(said)] = cost + AGAIN
    made = []
    for row, column in zip(*linear_sum_assignment(costs), strict=True):
        if costs[row, column] >= NEVER:
            continue
        word = said[column % len(said)]
        name, fits = chosen[row, column % len(said)]
        objects = lists[row]
        subject = min(
            subjects,
            key=lambda one: (
                _distance(tokens, one, word)
                + 0.5 * min(_distance(tokens, one, other) for other in objects)
                + 4.0 * any(_apart(one, each, word) for each in subjects if each is not one),
                one.start,
            ),
        )
        swapped = phrases.datatypes.get(name, "string") != ENTITY and len(objects) == 1
        if swapped and is_entity(objects[0].text) and is_entity(subject.text) is False:
            # Of a literal and an entity the entity is the subject.
            subject, objects = objects[0], [subject]
        for other in objects:
            if (subject.text, subject.start) != (other.text, other.start):
                sure = (subject.probability, word.probability, other.probability, fits)
                made.append(Found(subject, name, word.text, other, sure))
    return made


def snapped(
    tokens: Sequence[str],
    found: Sequence[Mention],
    is_entity: Callable[[str], bool | None],
) -> list[Mention]:
    """Return mentions whose ends are those of a known name, where a tagger cut one short.

    A mention that is a known name itself stays; so does one that touches none. Numbers take their
    "million" along, and a subject without a capital, where letters have any, is no name.
    """
    held = [one for one in found if one.kind == "P"]
    rest = sorted((one for one in found if one.kind != "P"), key=lambda one: one.start)
    taken = {place for one in held for place in range(one.start, one.end)}
    done: set[int] = set()
    for one in rest:
        if one.start in done or (one.kind == "S" and not _named(one.text, is_entity)):
            continue
        if one.text[:1].isdigit() and one.end < len(tokens) and tokens[one.end] in SCALES:
            one = replace(one, end=one.end + 1, text=f"{one.text} {tokens[one.end]}")
        span = (
            None
            if one.text[:1].isdigit() or is_entity(one.text)
            else _known(tokens, one, taken, is_entity)
        )
        if span is None:
            held.append(one)
            done |= set(range(one.start, one.end))
            continue
        held.append(replace(one, start=span[0], end=span[1], text=" ".join(tokens[slice(*span)])))
        done |= set(range(*span))
    return sorted(held, key=lambda one: one.start)


def balanced(found: Sequence[Mention], is_entity: Callable[[str], bool | None]) -> list[Mention]:
    """Return mentions among which is a subject and an object, where words say a predicate.

    Where all ends are of one kind, one is taken for the other, as no fact lacks either
    (constraints on what is inferred: Roth and Yih 2004): for a subject a known entity if there is
    one, for an object none if there is one, then the likeliest.
    """
    ends = [one for one in found if one.kind != "P"]
    kinds = {one.kind for one in ends}
    if len(ends) < 2 or len(kinds) == 2 or len(ends) == len(found):
        return list(found)
    wanted = ({"S", "O"} - kinds).pop()
    can = [one for one in ends if wanted == "O" or number_of(one.text) is None]
    if not can:
        return list(found)
    entity = wanted == "S"
    best = max(can, key=lambda one: (bool(is_entity(one.text)) == entity, one.other, -one.start))
    turned = replace(best, kind=wanted, probability=best.other, other=best.probability)
    return [turned if one is best else one for one in found]


def _named(text: str, is_entity: Callable[[str], bool | None]) -> bool:
    return text.lower() != text or text.upper() == text or bool(is_entity(text))


def _known(
    tokens: Sequence[str],
    one: Mention,
    taken: set[int],
    is_entity: Callable[[str], bool | None],
) -> tuple[int, int] | None:
    """Return the longest known name that a mention is a part of, or that it ends beyond."""
    for length in range(LONGEST, 0, -1):
        for start in range(max(0, one.end - length), min(one.end, len(tokens) - length + 1)):
            span = range(start, start + length)
            if start > one.start + 1 or taken & set(span) or span.stop <= one.start:
                continue
            edges = tokens[start][:1].isalnum() and tokens[span.stop - 1][:1].isalnum()
            if edges and is_entity(" ".join(tokens[start : span.stop])):
                return start, span.stop
    return None


def _predicate(
    tokens: Sequence[str],
    word: Mention,
    objects: Sequence[Mention],
    phrases: Phrases,
    is_entity: Callable[[str], bool | None],
) -> tuple[str, float]:
    """Return the predicate of some words with some objects, and how well it fits."""
    text = objects[0].text
    entity = is_entity(text)
    if word.predicates is None:
        near = " ".join(_around(tokens, word, objects[0]))
        return phrases.predicate(word.text, near, text, entity=entity)
    scored = {
        name: share * phrases.fit(name, text, entity) for name, share in word.predicates.items()
    }
    best = max(scored, key=scored.__getitem__)
    return (best, scored[best]) if scored[best] >= LEAST else ("", 0.0)


def _lists(tokens: Sequence[str], found: Sequence[Mention]) -> list[list[Mention]]:
    """Return objects in lists: those between which only commas and "and" stand are one."""
    made: list[list[Mention]] = []
    before: Mention | None = None
    for one in sorted(found, key=lambda each: each.start):
        between = tokens[before.end : one.start] if before else ()
        listed = {word.casefold() for word in between} <= LISTING and len(between) <= 4
        if (
            one.kind == "O"
            and before is not None
            and before.kind == "O"
            and listed
            and ((number_of(one.text) is None) == (number_of(before.text) is None))
        ):
            made[-1].append(one)
        elif one.kind == "O":
            made.append([one])
        before = one
    return made


def _distance(tokens: Sequence[str], a: Mention, b: Mention) -> float:
    """Return how far two mentions stand apart; a new clause between them is a long way."""
    first, last = (a, b) if a.start <= b.start else (b, a)
    between = tokens[first.end : last.start]
    return len(between) + CLAUSE * sum(word.casefold() in BREAKS for word in between)


def decode(probabilities: Floats, labels: Sequence[str], caution: float = 1.0) -> Reading:
    """Return the likeliest tags that make a sequence (Viterbi): ``I-X`` only behind ``X``.

    Whether some words say a predicate is decided over all predicates together, before which.

    Args:
        probabilities: of each token's tags, [tokens, labels].
        labels: a tagger's, as `examples.labels_of` gives them.
        caution: what the probability of no tag is multiplied with before tags are chosen.
    """
    count = len(probabilities)
    if not count:
        return Reading((), (), None)
    table = np.zeros((count, len(LABELS)))
    predicates: dict[str, Floats] = {}
    for place, label in enumerate(labels):
        tag, _, predicate = label.partition(TYPED)
        table[:, _PLACE[tag]] += probabilities[:, place]
        if predicate:
            held = predicates.setdefault(predicate, np.zeros(count))
            held += probabilities[:, place]
    logs = np.log(np.maximum(table, 1e-12))
    logs[:, 0] += np.log(caution)
    best = logs[0] + _FIRST
    back = np.zeros((count, len(LABELS)), dtype=np.int64)
    for place in range(1, count):
        scores = best[:, None] + _STEP
        back[place] = scores.argmax(axis=0)
        best = scores.max(axis=0) + logs[place]
    chosen = [int(best.argmax())]
    for place in range(count - 1, 0, -1):
        chosen.append(int(back[place, chosen[-1]]))
    chosen.reverse()
    return Reading(
        tuple(LABELS[one] for one in chosen),
        tuple(float(table[place, one]) for place, one in enumerate(chosen)),
        predicates or None,
        {kind: table[:, [_PLACE[f"B-{kind}"], _PLACE[f"I-{kind}"]]].sum(axis=1) for kind in "SO"},
    )


_PLACE = {name: place for place, name in enumerate(LABELS)}
_STEP = np.array(
    [[-1e9 if b[0] == "I" and a[2:] != b[2:] else 0.0 for b in LABELS] for a in LABELS]
)
_FIRST = np.array([-1e9 if one[0] == "I" else 0.0 for one in LABELS])


def typed_reading(tags: Sequence[str], typed: Sequence[str]) -> Reading:
    """Return a reading of tags that are true, with the predicates that they name."""
    named = sorted({one.partition(TYPED)[2] for one in typed} - {""})
    shares = {
        name: np.array([float(one.partition(TYPED)[2] == name) for one in typed]) for name in named
    }
    return Reading(tuple(tags), None, shares or None)


def read_all(
    tagger: Any, sentences: Sequence[Sequence[str]], progress: Any = None
) -> list[Reading]:
    """Return what a tagger makes of sentences.

    Args:
        tagger: gives probabilities, as `plait.evaluation.runners.TokenTagger`, or tags alone; its
            `caution`, if it has one, is `decode`'s.
        sentences: words.
        progress: called with the sentences done and all.

    Raises:
        BadInput: the tagger gives other tags.
    """
    labels = list(getattr(tagger, "labels", LABELS))
    unknown = [one for one in labels if one.partition(TYPED)[0] not in _PLACE]
    if unknown:
        raise BadInput(
            f"The model is no tagger of graphs: it gives the tag '{unknown[0][:60]}', where "
            "S, P and O are wanted. Train one with 'plait graph train-tagger'."
        )
    if hasattr(tagger, "probabilities"):
        found = tagger.probabilities(sentences, progress)
        caution = float(getattr(tagger, "caution", 1.0))
        return [decode(table, labels, caution) for table in found]
    return [Reading(tuple(row)) for row in tagger.tag(sentences, progress)]


@dataclass(frozen=True)
class TripleScores:
    """Exact triples found: subject, predicate and object all as they should be."""

    precision: float
    recall: float
    f1: float
    precision_interval: tuple[float, float]
    recall_interval: tuple[float, float]
    f1_interval: tuple[float, float]
    """95%, by bootstrap over groups of sentences."""
    true: int
    found: int
    right: int
    sentences: int
    clean: int
    """Sentences of which neither more nor less was found than is true."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in vars(self).items()
        }


def score_triples(
    true: Sequence[Collection[Any]],
    found: Sequence[Collection[Any]],
    groups: Sequence[str] | None = None,
    *,
    seed: int = 0,
) -> TripleScores:
    """Count the triples of sentences, each once, with intervals by bootstrap over groups."""
    rows = np.zeros((len(true), 3, 1))
    for place, (right, given) in enumerate(zip(true, found, strict=True)):
        right, given = set(right), set(given)
        rows[place, :, 0] = len(right), len(given), len(right & given)
    names = list(groups) if groups is not None else [str(k) for k in range(len(true))]
    number = {name: k for k, name in enumerate(dict.fromkeys(names))}
    table = np.zeros((len(number), 3, 1))
    np.add.at(table, [number[name] for name in names], rows)
    total = table.sum(axis=0)
    values: dict[str, tuple[float, tuple[float, float]]] = {}
    for name, metric in (
        ("precision", micro_precision), ("recall", micro_recall), ("f1", micro_f1),
    ):  # fmt: skip
        line = 1 if name == "precision" else 0
        measure = Additive(table[:, None], metric, 1.0 / max(1.0, float(total[line, 0])))
        sample = bootstrap.resample(measure, resamples=RESAMPLES, seed=seed, key=name)
        values[name] = (
            float(measure.estimate()[0]),
            bootstrap.interval([sample], lambda scores: scores[..., 0], bounds=(0.0, 1.0)),
        )
    counts = [int(one) for one in total[:, 0]]
    clean = int(np.sum((rows[:, 0] == rows[:, 2]) & (rows[:, 1] == rows[:, 2])))
    return TripleScores(
        precision=values["precision"][0],
        recall=values["recall"][0],
        f1=values["f1"][0],
        precision_interval=values["precision"][1],
        recall_interval=values["recall"][1],
        f1_interval=values["f1"][1],
        true=counts[0],
        found=counts[1],
        right=counts[2],
        sentences=len(true),
        clean=clean,
    )


def found_in(
    examples: Sequence[Example],
    readings: Sequence[Reading],
    phrases: Phrases,
    symmetric: Collection[str] = (),
    is_entity: Callable[[str], bool | None] = lambda text: None,
) -> list[frozenset[Triple]]:
    """Return the triples that readings say of each sentence."""
    held = facts_in(examples, readings, phrases, is_entity)
    return [frozenset(each.triple(symmetric) for each in row) for row in held]


def facts_in(
    examples: Sequence[Example],
    readings: Sequence[Reading],
    phrases: Phrases,
    is_entity: Callable[[str], bool | None] = lambda text: None,
) -> list[list[Found]]:
    """Return what readings say of each sentence, with how sure they are."""
    return [
        assemble(one.tokens, mentions(one.tokens, reading), phrases, is_entity)
        for one, reading in zip(examples, readings, strict=True)
    ]


def _apart(one: Mention, a: Mention, b: Mention) -> bool:
    return min(a.end, b.end) <= one.start and one.end <= max(a.start, b.start)


def _around(tokens: Sequence[str], word: Mention, other: Mention) -> list[str]:
    places: set[int] = set()
    for one in (word, other):
        places |= set(range(max(0, one.start - NEAR), min(len(tokens), one.end + NEAR)))
    places -= set(range(word.start, word.end)) | set(range(other.start, other.end))
    return [tokens[k] for k in sorted(places)]
