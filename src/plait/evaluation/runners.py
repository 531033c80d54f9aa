# SPDX-License-Identifier: Apache-2.0
"""Running transformers models that are not classifiers: taggers, regressors, encoders, generators.

As everywhere, only safetensors are read, and no code that lies in a model's folder runs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.errors import BadInput
from plait.evaluation.classifier import BATCH, MAX_LENGTH, Progress
from plait.pretrained import limited_threads, load_model, pad, read_config

MAX_POOLING_BYTES = 1_000_000
MAX_CONTEXT = 1024
Floats = NDArray[np.float64]


class _Runner:
    """A model with its tokenizer, on the CPU, for prediction only."""

    auto = "AutoModel"
    needs_head = True

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        max_length: int = MAX_LENGTH,
        threads: int | None = None,
    ) -> None:
        self._model = model.eval()
        self._tokenizer = tokenizer
        self._threads = threads
        most = getattr(model.config, "max_position_embeddings", None) or max_length
        if model.config.model_type in ("roberta", "xlm-roberta", "camembert"):
            most -= 2  # their positions begin behind that of padding
        self.max_length = min(max_length, most)

    @classmethod
    def load(cls, folder: Path, threads: int | None = None) -> Any:
        """Load what ``save_pretrained`` wrote: configuration, safetensors weights, tokenizer.

        Raises:
            BadInput: if it is no such model, in safetensors, with a tokenizer.
            MissingExtra: if torch or transformers is not installed.
        """
        model, tokenizer = load_model(folder, cls.auto, needs_head=cls.needs_head)
        return cls(model, tokenizer, threads=threads)

    def _batches(
        self,
        rows: Sequence[Any],
        length: Callable[[Any], int],
        run: Callable[[list[int]], None],
        progress: Progress | None,
        size: int = BATCH,
    ) -> None:
        """Run rows in batches of like lengths; ties by place, so that runs agree."""
        import torch

        order = sorted(range(len(rows)), key=lambda i: (length(rows[i]), i))
        with torch.inference_mode(), limited_threads(self._threads):
            for start in range(0, len(order), size):
                run(order[start : start + size])
                if progress is not None:
                    progress(min(start + size, len(order)), len(order))

    def _encode(self, texts: Sequence[Any]) -> list[dict[str, list[int]]]:
        """Return the token ids (and kinds of tokens, of pairs) of texts or pairs of texts."""
        made = []
        for text in texts:
            parts = (text,) if isinstance(text, str) else tuple(text)
            found = self._tokenizer(*parts, truncation=True, max_length=self.max_length)
            kinds = found.get("token_type_ids") if len(parts) == 2 else None
            row = {"input_ids": list(found["input_ids"])}
            if kinds is not None:
                row["token_type_ids"] = list(kinds)
            made.append(row)
        return made

    def _padded(self, rows: Sequence[dict[str, list[int]]]) -> dict[str, Any]:
        import torch

        batch = pad(self._tokenizer, [row["input_ids"] for row in rows])
        if "token_type_ids" in rows[0]:
            kinds = torch.zeros_like(batch["input_ids"])
            for place, row in enumerate(rows):
                kinds[place, : len(row["token_type_ids"])] = torch.tensor(row["token_type_ids"])
            batch["token_type_ids"] = kinds
        return batch


class TokenTagger(_Runner):
    """A token classification model: each token gets the tag of its first piece."""

    auto = "AutoModelForTokenClassification"

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the tags."""
        config = self._model.config
        return tuple(str(config.id2label[i]) for i in range(config.num_labels))

    def tag(
        self, sentences: Sequence[Sequence[str]], progress: Progress | None = None
    ) -> list[list[str]]:
        """Return a tag for each token; sentences too long for the model are read in pieces."""
        labels = self.labels
        out = [["" for _ in sentence] for sentence in sentences]

        def put(place: int, number: int, logits: Any) -> None:
            out[place][number] = labels[int(logits.argmax())]

        self._read(sentences, put, progress)
        return out

    def probabilities(
        self, sentences: Sequence[Sequence[str]], progress: Progress | None = None
    ) -> list[Floats]:
        """Return each sentence's probabilities of tags, [tokens, labels]."""
        out = [np.zeros((len(sentence), len(self.labels))) for sentence in sentences]

        def put(place: int, number: int, logits: Any) -> None:
            out[place][number] = logits.softmax(-1).numpy()

        self._read(sentences, put, progress)
        return out

    def _read(
        self,
        sentences: Sequence[Sequence[str]],
        put: Callable[[int, int, Any], None],
        progress: Progress | None,
    ) -> None:
        """Hand the logits of every token to `put`, with the numbers of sentence and token."""
        pieces = [self._pieces(sentence) for sentence in sentences]
        before, after = self._around()
        room = self.max_length - len(before) - len(after)
        windows: list[tuple[int, int, list[int], list[int]]] = []
        for place, words in enumerate(pieces):
            start = 0
            ids: list[int] = []
            firsts: list[int] = []
            for number, word in enumerate(words):
                word = word[:room]
                if len(ids) + len(word) > room:
                    windows.append((place, start, ids, firsts))
                    start, ids, firsts = number, [], []
                firsts.append(len(ids))
                ids = ids + word
            windows.append((place, start, ids, firsts))

        def run(chosen: list[int]) -> None:
            rows = [[*before, *windows[k][2], *after] for k in chosen]
            logits = self._model(**pad(self._tokenizer, rows)).logits.float()
            if not logits.isfinite().all():
                raise BadInput("The model's output has values that are not numbers (NaN).")
            for line, k in zip(logits, chosen, strict=True):
                place, start, _, firsts = windows[k]
                for number, first in enumerate(firsts):
                    put(place, start + number, line[len(before) + first])

        self._batches(windows, lambda window: len(window[2]), run, progress)

    def _pieces(self, sentence: Sequence[str]) -> list[list[int]]:
        """Return the ids of each token's pieces, never none."""
        unknown = self._tokenizer.unk_token_id or 0
        found = self._tokenizer(list(sentence), is_split_into_words=True, add_special_tokens=False)
        words: list[list[int]] = [[] for _ in sentence]
        for identity, word in zip(found["input_ids"], found.word_ids(), strict=True):
            if word is not None:
                words[word].append(identity)
        return [word or [unknown] for word in words]

    def _around(self) -> tuple[list[int], list[int]]:
        """Return the special tokens that stand before and behind a sentence."""
        alone = list(self._tokenizer("a", add_special_tokens=False)["input_ids"])
        whole = list(self._tokenizer("a")["input_ids"])
        for start in range(len(whole) - len(alone) + 1):
            if whole[start : start + len(alone)] == alone:
                return whole[:start], whole[start + len(alone) :]
        return [], []


class Regressor(_Runner):
    """A sequence classification model with one output: a number for a text, or a pair of texts."""

    auto = "AutoModelForSequenceClassification"

    def __init__(self, model: Any, tokenizer: Any, **options: Any) -> None:
        super().__init__(model, tokenizer, **options)
        if model.config.num_labels != 1:
            raise BadInput(
                f"A regression needs a model with one output; this one has "
                f"{model.config.num_labels} labels."
            )

    def values(self, samples: Sequence[Any], progress: Progress | None = None) -> Floats:
        """Return the number of each sample, a text or a pair of texts, [samples]."""
        encoded = self._encode(samples)
        out = np.zeros(len(encoded))

        def run(chosen: list[int]) -> None:
            batch = self._padded([encoded[k] for k in chosen])
            out[chosen] = self._model(**batch).logits.float()[:, 0].numpy()

        self._batches(encoded, lambda row: len(row["input_ids"]), run, progress)
        return out


class SentenceEncoder(_Runner):
    """An encoder whose tokens are pooled to one vector, as its `1_Pooling/config.json` says."""

    needs_head = False

    def __init__(self, model: Any, tokenizer: Any, *, first: bool = False, **options: Any) -> None:
        super().__init__(model, tokenizer, **options)
        self._first = first
        self._prompts: dict[str, str] = {}

    @classmethod
    def load(cls, folder: Path, threads: int | None = None) -> SentenceEncoder:
        """Load an encoder, with the pooling and prompts of sentence-transformers if it has them.

        Raises:
            BadInput: if it is no encoder in safetensors with a tokenizer, or pools otherwise than
                by the mean or the first token.
            MissingExtra: if torch or transformers is not installed.
        """
        folder = Path(folder)
        pooling = _small_json(folder / "1_Pooling" / "config.json")
        on = {key for key, value in pooling.items() if key.startswith("pooling_mode_") and value}
        named = pooling.get("pooling_mode")
        first = on == {"pooling_mode_cls_token"} or named == "cls"
        if not first and not (on <= {"pooling_mode_mean_tokens"} and named in (None, "mean")):
            raise BadInput(
                f"{folder.name} pools its tokens by {named or ', '.join(sorted(on))}; Plait knows "
                "the mean and the first token."
            )
        model, tokenizer = load_model(folder, cls.auto, needs_head=cls.needs_head)
        made = cls(model, tokenizer, first=first, threads=threads)
        prompts = _small_json(folder / "config_sentence_transformers.json").get("prompts")
        if isinstance(prompts, dict):
            for kind in ("query", "document"):
                if isinstance(prompts.get(kind), str):
                    made._prompts[kind] = prompts[kind]
        return made

    def encode(
        self, texts: Sequence[str], kind: str = "document", progress: Progress | None = None
    ) -> NDArray[np.float32]:
        """Return vectors [texts, width]; `kind` is query or document, where the model tells."""
        prompt = self._prompts.get(kind, "")
        encoded = self._encode([prompt + text for text in texts])
        out = np.zeros((len(encoded), self._model.config.hidden_size), dtype=np.float32)

        def run(chosen: list[int]) -> None:
            batch = self._padded([encoded[k] for k in chosen])
            states = self._model(**batch).last_hidden_state.float()
            if self._first:
                out[chosen] = states[:, 0].numpy()
                return
            mask = batch["attention_mask"][:, :, None].float()
            out[chosen] = ((states * mask).sum(1) / mask.sum(1)).numpy()

        self._batches(encoded, lambda row: len(row["input_ids"]), run, progress)
        return out


class LanguageModel(_Runner):
    """A causal language model: answers to prompts, and how likely texts are."""

    auto = "AutoModelForCausalLM"

    def __init__(self, model: Any, tokenizer: Any, **options: Any) -> None:
        options.setdefault("max_length", MAX_CONTEXT)
        super().__init__(model, tokenizer, **options)

    @property
    def model(self) -> Any:
        """The model itself, for the harness."""
        return self._model

    @property
    def tokenizer(self) -> Any:
        """Its tokenizer."""
        return self._tokenizer

    def generate(
        self, prompts: Sequence[str], max_new_tokens: int, progress: Progress | None = None
    ) -> list[str]:
        """Return the greedy continuation of each prompt; of one too long, its end is read."""
        import torch

        room = self.max_length - max_new_tokens
        if room < 1:
            raise BadInput(
                f"The model reads {self.max_length} tokens; with {max_new_tokens} to answer none "
                "are left for the prompt. Lower max_new_tokens."
            )
        encoded = [self._tokenizer(text)["input_ids"][-room:] for text in prompts]
        fill = self._tokenizer.pad_token_id
        fill = self._tokenizer.eos_token_id if fill is None else fill
        out = [""] * len(prompts)

        def run(chosen: list[int]) -> None:
            longest = max(1, *(len(encoded[k]) for k in chosen))
            ids = torch.full((len(chosen), longest), fill or 0)
            mask = torch.zeros_like(ids)
            for line, k in enumerate(chosen):
                row = encoded[k] or [self.begin]
                ids[line, longest - len(row) :] = torch.tensor(row)
                mask[line, longest - len(row) :] = 1
            made = self._model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=max_new_tokens,
                do_sample=False,
                num_beams=1,
                pad_token_id=fill or 0,
            )
            for line, k in enumerate(chosen):
                out[k] = self._tokenizer.decode(made[line, longest:], skip_special_tokens=True)

        self._batches(encoded, len, run, progress, size=8)
        return out

    def likelihoods(self, texts: Sequence[str], progress: Progress | None = None) -> Floats:
        """Return each text's negative log-likelihood and tokens, [texts, 2].

        A text longer than the model reads is taken in windows that do not overlap. Where the
        tokenizer has a first token, every token is predicted; else the text's first is not.
        """
        import torch

        windows: list[tuple[int, list[int]]] = []
        begin = self._tokenizer.bos_token_id
        room = self.max_length - 1
        for place, text in enumerate(texts):
            ids = list(self._tokenizer(text, add_special_tokens=False)["input_ids"])
            head = [] if begin is None else [begin]
            for start in range(0, max(1, len(ids)), room):
                part = ids[start : start + room]
                windows.append((place, (head if start == 0 else ids[start - 1 : start]) + part))
        out = np.zeros((len(texts), 2))

        def run(chosen: list[int]) -> None:
            batch = pad(self._tokenizer, [windows[k][1] for k in chosen])
            logits = self._model(**batch).logits.float()[:, :-1]
            wanted, mask = batch["input_ids"][:, 1:], batch["attention_mask"][:, 1:]
            loss = torch.nn.functional.cross_entropy(
                logits.transpose(1, 2), wanted, reduction="none"
            )
            for line, k in enumerate(chosen):
                out[windows[k][0]] += [float((loss * mask)[line].sum()), float(mask[line].sum())]

        usable = [window for window in windows if len(window[1]) > 1]
        windows = usable
        self._batches(windows, lambda window: len(window[1]), run, progress, size=8)
        return out

    @property
    def begin(self) -> int:
        """The token that stands before a text where nothing else does."""
        has = self._tokenizer
        for one in (has.bos_token_id, has.eos_token_id, has.cls_token_id):
            if one is not None:
                return int(one)
        return 0


def has_one_output(folder: Path) -> bool:
    """Tell whether a folder's model is a sequence classifier with one output."""
    config = read_config(Path(folder))
    names = config.get("architectures")
    classifier = isinstance(names, list) and any(
        isinstance(name, str) and name.endswith("ForSequenceClassification") for name in names
    )
    labels = config.get("id2label")
    return classifier and isinstance(labels, dict) and len(labels) == 1


def _small_json(file: Path) -> dict[str, Any]:
    """Return a small JSON file's mapping; nothing where there is none."""
    try:
        if file.stat().st_size > MAX_POOLING_BYTES:
            raise BadInput(f"{file.name} is larger than {MAX_POOLING_BYTES:,} bytes.")
        found = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError):
        raise BadInput(f"{file.parent.name}/{file.name} is not JSON.") from None
    return found if isinstance(found, dict) else {}
