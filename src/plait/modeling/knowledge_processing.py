# SPDX-License-Identifier: Apache-2.0
"""From texts to tokens and the entities that the texts name: the longest known name at each place.

Names are compared without case, at the borders of words. `names.json` beside the model has them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, ProcessorMixin

FILE = "processor_config.json"
NAMES = "names.json"
_WORD = re.compile(r"\w+|[^\w\s]")


class PlaitKnowledgeProcessor(ProcessorMixin):  # type: ignore[misc]
    """Gives tokens, and for each text the numbers and places of the entities that it names."""

    attributes: tuple[str, ...] = ()

    def __init__(
        self,
        tokenizer: Any,
        names: Mapping[str, int],
        max_length: int = 64,
        max_entities: int = 8,
    ) -> None:
        self.tokenizer = tokenizer
        self.names = dict(names)
        self.max_length = max_length
        self.max_entities = max_entities
        self._known: dict[tuple[str, ...], int] = {}
        for name, number in self.names.items():
            self._known.setdefault(tuple(_WORD.findall(name.casefold())), number)
        self._known.pop((), None)
        self._longest = max((len(words) for words in self._known), default=0)

    model_input_names = ("input_ids", "attention_mask", "entity_ids", "entity_spans")

    def link(self, text: str) -> list[tuple[int, int, int]]:
        """Return the entities that a text names: each one's number and where it starts and ends."""
        words = [(one.group().casefold(), one.start(), one.end()) for one in _WORD.finditer(text)]
        found, place = [], 0
        while place < len(words):
            for length in range(min(self._longest, len(words) - place), 0, -1):
                key = tuple(word for word, _, _ in words[place : place + length])
                if key in self._known:
                    end = words[place + length - 1][2]
                    found.append((self._known[key], words[place][1], end))
                    place += length
                    break
            else:
                place += 1
        return found[: self.max_entities]

    def __call__(self, text: Any = None, **kwargs: Any) -> dict[str, Any]:
        """Return `input_ids`, `attention_mask` [n, tokens], `entity_ids` [n, k] and their spans.

        An entity's number is 0 where a text names fewer than k; `entity_spans` [n, k, 2] are its
        first token and the one behind its last.

        Args:
            text: texts, or one.
            kwargs: ignored, for callers that pass `return_tensors="pt"`: there are no others.

        Raises:
            ValueError: a text is missing.
        """
        texts = [text] if isinstance(text, str) else list(text or ())
        if not texts or any(not isinstance(one, str) for one in texts):
            raise ValueError("Every item needs a text.")
        rows = self.tokenizer(
            texts,
            truncation=True,
            max_length=self.max_length,
            return_offsets_mapping=True,
        )
        return self.collate(
            [self.encoded(t, ids, offsets) for t, ids, offsets in
             zip(texts, rows["input_ids"], rows["offset_mapping"], strict=True)]
        )  # fmt: skip

    def encoded(
        self, text: str, ids: Sequence[int], offsets: Sequence[tuple[int, int]]
    ) -> tuple[list[int], list[tuple[int, int, int]]]:
        """Return a text's tokens and its entities as (number, first token, token behind)."""
        placed = []
        for number, start, end in self.link(text):
            inside = [i for i, (a, b) in enumerate(offsets) if a < end and b > start and b > a]
            if inside:
                placed.append((number, inside[0], inside[-1] + 1))
        return list(ids), placed

    def collate(
        self, rows: Sequence[tuple[Sequence[int], Sequence[tuple[int, int, int]]]]
    ) -> dict[str, Any]:
        """Return encoded texts as tensors."""
        longest = max(len(ids) for ids, _ in rows)
        most = max(1, *(len(placed) for _, placed in rows))
        fill = self.tokenizer.pad_token_id or 0
        made = {
            "input_ids": torch.full((len(rows), longest), fill),
            "attention_mask": torch.zeros(len(rows), longest, dtype=torch.long),
            "entity_ids": torch.zeros(len(rows), most, dtype=torch.long),
            "entity_spans": torch.zeros(len(rows), most, 2, dtype=torch.long),
        }
        for place, (ids, placed) in enumerate(rows):
            made["input_ids"][place, : len(ids)] = torch.tensor(list(ids))
            made["attention_mask"][place, : len(ids)] = 1
            for at, (number, start, end) in enumerate(placed):
                made["entity_ids"][place, at] = number
                made["entity_spans"][place, at, 0] = start
                made["entity_spans"][place, at, 1] = end
        return made

    def save_pretrained(self, save_directory: Any, **kwargs: Any) -> None:
        """Write the tokenizer, the names and the settings."""
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        self.tokenizer.save_pretrained(folder)
        content = {
            "processor_class": type(self).__name__,
            "auto_map": {"AutoProcessor": "knowledge_processing.PlaitKnowledgeProcessor"},
            "max_length": self.max_length,
            "max_entities": self.max_entities,
        }
        (folder / FILE).write_text(json.dumps(content, indent=2) + "\n", "utf-8")
        (folder / NAMES).write_text(json.dumps(self.names, ensure_ascii=False) + "\n", "utf-8")

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: Any, **kwargs: Any
    ) -> PlaitKnowledgeProcessor:
        """Read what `save_pretrained` wrote, from a folder or (by transformers' means) a hub."""
        from transformers.utils import cached_file

        place = str(pretrained_model_name_or_path)
        wanted = ("cache_dir", "force_download", "local_files_only", "token", "revision")
        options = {name: kwargs[name] for name in wanted if kwargs.get(name) is not None}
        read = {
            name: json.loads(Path(cached_file(place, name, **options)).read_text("utf-8"))
            for name in (FILE, NAMES)
        }
        if kwargs.get("trust_remote_code") is not None:  # else the tokenizer asks once more
            options["trust_remote_code"] = kwargs["trust_remote_code"]
        tokenizer = AutoTokenizer.from_pretrained(place, **options)
        settings = read[FILE]
        return cls(tokenizer, read[NAMES], settings["max_length"], settings["max_entities"])
