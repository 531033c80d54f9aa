# SPDX-License-Identifier: Apache-2.0
"""Make what is judged: two encoders, and emoji to be found by their other names.

Emoji have a name and, often, aliases that people type ("thumbsup" for "thumbs up", "tada" for
"party popper"); both are those of the package `emoji`. A query is an alias, the corpus all names.
Everything is written into `work/` beside this file, once.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

from plait.demo.data import encoder_folder
from plait.demo.packages import fetch_package

WORK = Path(__file__).parent / "work"
PACKAGE = (
    "emoji",
    "2.16.0",
    "emoji-2.16.0-py3-none-any.whl",
    "c4230d80640def9071599ff56b1b5950fe13a2a94c0da98c5deab12431b24330",
)
NAMES = "emoji/unicode_codes/emoji.json"
CANDIDATES = 20


def words(name: str) -> str:
    """Return a name like `:party_popper:` as words."""
    return name.strip(":").replace("_", " ").replace("-", " ").lower()


def read_emoji() -> list[tuple[str, list[str]]]:
    """Return the names of emoji and, of each, the aliases that are other words."""
    with zipfile.ZipFile(fetch_package(*PACKAGE)) as wheel:
        table = json.loads(wheel.read(NAMES))
    found: dict[str, list[str]] = {}
    for entry in table.values():
        name = words(entry["en"])
        if "skin tone" in name or name.startswith("flag"):
            continue  # many of one kind, told apart by what a name says anyway
        known = found.setdefault(name, [])
        for alias in map(words, entry.get("alias", [])):
            same = alias.replace(" ", "") == name.replace(" ", "")
            if not same and alias not in known and any(letter.isalpha() for letter in alias):
                known.append(alias)
    return sorted(found.items())


def write(path: Path, rows: list[dict[str, object]]) -> None:
    """Write JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")


def prepare(work: Path = WORK) -> None:
    """Write the two data sets and the encoders."""
    emoji = read_emoji()
    names = [name for name, _ in emoji]
    write(
        work / "emoji" / "data" / "corpus.jsonl",
        [{"id": name, "text": name} for name in names],
    )
    queries: list[dict[str, object]] = []
    ranked: list[dict[str, object]] = []
    for place, (name, aliases) in enumerate(emoji):
        # names that end alike (… face, … heart) are of one kind and not independent
        kind = name.split()[-1]
        others = [names[(place + 37 * (k + 1)) % len(names)] for k in range(CANDIDATES - 1)]
        for alias in aliases:
            queries.append({"text": alias, "relevant": [name], "document": kind})
            grades = [1] + [0] * (CANDIDATES - 1)
            candidates = [name, *others]
            ranked.append(
                {"text": alias, "candidates": candidates, "grades": grades, "document": kind}
            )
    write(work / "emoji" / "data" / "test.jsonl", queries)
    write(work / "emoji-candidates" / "data" / "test.jsonl", ranked)
    for encoder in ("minilm", "tiny"):
        if not (work / encoder).exists():
            shutil.copytree(encoder_folder(encoder), work / encoder)
    print(f"{len(names)} emoji, {len(queries)} queries, in {work}")


if __name__ == "__main__":
    prepare()
