# SPDX-License-Identifier: Apache-2.0
"""Statistics of a model on data that stay at home, which fusion can use instead of the data.

`gram`: the inner products of the inputs of each linear layer, per token, for RegMean (Jin et al.
2023). `fisher`: the expected squared gradient of the log-likelihood for each weight, per text (of a
language model per token), for Fisher-weighted averaging (Matena and Raffel 2022). Labels are not
needed: the expectation is over the model's own predictions. The file says how many texts were read,
and what it promises about them: nothing, unless `privacy` is given.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from plait.errors import BadInput
from plait.pretrained import (
    head_names,
    limited_threads,
    load_classifier,
    load_model,
    pad,
    read_config,
)
from plait.recipes.fusion import hint
from plait.training.privacy import EXACT, Clipped, Privacy, nearest_positive, noise_for

KINDS = ("gram", "fisher")
BATCH = 16
MAX_TOKENS = 256
MAX_TEXTS = 100_000
MOST_NUMBERS = 64_000_000
"""Numbers of texts' inputs to layers that are in memory at a time."""
MADE_UP = 32
"""Texts of random words by which contributions are measured: they tell nothing of real ones."""

See = Callable[[str, Any, Any], None]
"""Take a layer's name, its inputs [texts, tokens, width] (or [texts, width]), and the mask."""


def collect_statistics(
    folder: Path,
    texts: Sequence[str],
    out: Path,
    *,
    kinds: Sequence[str] = ("gram",),
    privacy: Privacy | None = None,
    diagonal: bool = False,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Compute a model's statistics on texts and write them as one safetensors file.

    Args:
        folder: a text classifier as for fine-tuning, or a causal language model.
        texts: what the model is used on; some hundreds are enough.
        out: the file to write; it appears when it is whole.
        kinds: "gram", "fisher" or both.
        privacy: how private each text must be; None: the statistics are exact.
        diagonal: of "gram", only the diagonal: less to hide, and less to learn from.
        threads: how many threads torch may use.
        progress: called with how many texts are done, and of how many.

    Returns:
        How many tensors were written.

    Raises:
        BadInput: for no texts, too many, texts of too few tokens, an unknown kind, or a model that
            is neither.
        MissingExtra: if torch or transformers is not installed.
    """
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown or not kinds:
        asked = f"not '{unknown[0][:60]}'{hint(unknown[0], KINDS)}" if unknown else "none is named."
        raise BadInput(f"Statistics are of the kinds {' and '.join(KINDS)}; {asked}")
    if not texts or len(texts) > MAX_TEXTS:
        raise BadInput(f"Statistics need 1 to {MAX_TEXTS:,} texts, not {len(texts):,}.")
    speaks = _is_language_model(folder)
    model, tokenizer = (
        load_model(folder, "AutoModelForCausalLM") if speaks else load_classifier(folder)
    )
    rows = tokenizer(list(texts), truncation=True, max_length=MAX_TOKENS)["input_ids"]
    if speaks:
        # a language model says nothing of what has nothing before it
        rows = [row for row in rows if len(row) > 1]
        if not rows:
            raise BadInput("No text has two tokens or more, as a language model's statistics need.")
    total = len(rows) * len(kinds)
    done = 0

    def tell(count: int) -> None:
        nonlocal done
        done += count
        if progress:
            progress(done, total)

    # of a folder with heads the tensors are the encoder's, by its own names; heads are not fused
    start = f"{model.base_model_prefix}." if head_names(folder) else ""
    reader = (_Speaker if speaks else _Reader)(model.eval(), tokenizer, start, diagonal)
    if "gram" in kinds and not reader.linear:
        raise BadInput(
            f"{Path(folder).name} ({type(model).__name__}) has no linear layers of torch's own, "
            "whose inputs 'gram' is about; use the kind fisher."
        )
    found: dict[str, Any] = {}
    with limited_threads(threads):
        if privacy is not None:
            deviation = noise_for(privacy.epsilon, privacy.delta) * len(kinds) ** 0.5
            for kind in kinds:
                found |= _hidden(reader, kind, rows, deviation, privacy.random, tell)
        else:
            if "gram" in kinds:
                found |= _grams(reader, rows, tell)
            if "fisher" in kinds:
                found |= _mean(reader.fishers(rows), len(rows), tell)
    named = {}
    for full, values in found.items():
        kind, name = full.split(".", 1)
        named[f"{kind}.{name.removeprefix(start)}"] = values.float()
    told = {"texts": str(len(rows)), "kinds": ", ".join(kinds), "privacy": EXACT}
    if privacy is not None:
        told |= {
            "privacy": str(privacy),
            "epsilon": f"{privacy.epsilon:g}",
            "delta": f"{privacy.delta:g}",
            "clipping": "each text's part is cut at the length that texts of random words have",
        }
    _write(named, out, told)
    return len(named)


class _Reader:
    """A classifier, and what single texts do in it: inner products and squared gradients."""

    def __init__(self, model: Any, tokenizer: Any, start: str, diagonal: bool) -> None:
        import torch

        self.model, self.tokenizer, self.diagonal = model, tokenizer, diagonal
        # a head that shares the embeddings' tensor is not a tensor of the file
        shared = getattr(model.get_input_embeddings(), "weight", None)
        self.linear = {
            name: module
            for name, module in model.named_modules()
            if isinstance(module, torch.nn.Linear)
            and name.startswith(start)
            and module.weight is not shared
        }
        self.weights = {n: p for n, p in model.named_parameters() if n.startswith(start)}
        self.same: dict[str, str] = {}
        """Layers that read what another reads (keys and values, what queries do), and which."""

    @contextmanager
    def hooked(self, see: See) -> Iterator[Callable[[dict[str, Any]], None]]:
        """Give a function that reads a batch; `see` is called with each layer's inputs."""
        import torch

        mask: Any = None
        seen: dict[int, tuple[str, Any]] = {}

        def hook(name: str) -> Callable[[Any, Any], None]:
            def look(module: Any, inputs: Any) -> None:
                values = inputs[0].detach()
                other = seen.setdefault(id(inputs[0]), (name, inputs[0]))[0]
                if other != name:
                    self.same[name] = other
                    return
                see(name, values, mask)

            return look

        def read(batch: dict[str, Any]) -> None:
            nonlocal mask
            mask = batch["attention_mask"]
            seen.clear()
            with torch.inference_mode():
                self.model(**batch)
            seen.clear()

        handles = [m.register_forward_pre_hook(hook(n)) for n, m in self.linear.items()]
        try:
            yield read
        finally:
            for handle in handles:
                handle.remove()

    def product(self, values: Any) -> Any:
        """Return XᵀX, or its diagonal's numbers; of several X if there are three dimensions."""
        return values.square().sum(-2) if self.diagonal else values.mT @ values

    def matrices(self, found: dict[str, Any]) -> dict[str, Any]:
        """Return inner products as matrices, those of layers that read what another reads too."""
        import torch

        if self.diagonal:
            found = {name: torch.diag(values) for name, values in found.items()}
        more = {f"gram.{n}.weight": found[f"gram.{o}.weight"] for n, o in self.same.items()}
        return found | {name: values.clone() for name, values in more.items()}

    def inputs(self, rows: Sequence[list[int]]) -> Iterator[dict[str, Any]]:
        """Yield batches: X [texts, tokens, width] of each layer that reads its own.

        X is divided by the root of each text's tokens, so that XᵀX is a mean over these.
        """
        found: dict[str, Any] = {}

        def see(name: str, values: Any, mask: Any) -> None:
            if values.dim() == 3 and values.shape[:2] == mask.shape:
                inner = values * mask[..., None]
                counts = mask.sum(1)
            else:
                inner = values.reshape(len(mask), -1, values.shape[-1])
                counts = mask.new_full((len(mask),), inner.shape[1])
            found[f"gram.{name}.weight"] = inner / counts[:, None, None].sqrt()

        width = sum(module.in_features for module in self.linear.values())
        longest = max(map(len, rows), default=1)
        step = max(1, min(BATCH, MOST_NUMBERS // max(width * longest, 1)))
        with self.hooked(see) as read:
            for start in range(0, len(rows), step):
                found.clear()
                read(pad(self.tokenizer, list(rows[start : start + step])))
                yield dict(found)

    def fishers(self, rows: Sequence[list[int]]) -> Iterator[dict[str, Any]]:
        """Yield each text's squared gradients of log p(class), averaged as the model predicts."""
        import torch

        parameters = list(self.weights.values())
        for row in rows:
            logs = torch.log_softmax(self.model(**pad(self.tokenizer, [row])).logits[0].float(), -1)
            found = {f"fisher.{n}": torch.zeros_like(p) for n, p in self.weights.items()}
            for number, log in enumerate(logs):
                slopes = torch.autograd.grad(
                    log, parameters, retain_graph=number + 1 < len(logs), allow_unused=True
                )
                for total, slope in zip(found.values(), slopes, strict=True):
                    if slope is not None:
                        total.addcmul_(slope, slope, value=float(log.detach().exp()))
            yield found

    def made_up(self) -> list[list[int]]:
        """Return token ids of texts of random words, the same for every data set."""
        random = np.random.default_rng(0)
        special = set(self.tokenizer.all_special_ids)
        words = np.array(sorted(set(self.tokenizer.get_vocab().values()) - special) or [0])
        most = min(64, getattr(self.model.config, "max_position_embeddings", None) or 64)
        begin, end = self.tokenizer.cls_token_id, self.tokenizer.sep_token_id
        made = []
        for length in random.integers(4, max(most - 2, 5), MADE_UP):
            inner = [int(i) for i in random.choice(words, int(length))]
            made.append([i for i in (begin, *inner, end) if i is not None])
        return made


class _Speaker(_Reader):
    """A causal language model, and what single texts do in it."""

    def fishers(self, rows: Sequence[list[int]]) -> Iterator[dict[str, Any]]:
        """Yield each text's squared gradients of log p(tokens), per token.

        At each place a token is drawn as the model predicts it there. Gradients of independent
        draws have a mean of nothing, so that the square of their sum is, on average, the sum of
        their squares: one pass backwards for a text instead of one for each token and word.
        """
        import torch

        parameters = list(self.weights.values())
        for number, row in enumerate(rows):
            draw = torch.Generator().manual_seed(number)
            logits = self.model(**pad(self.tokenizer, [row])).logits[0, :-1].float()
            logs = torch.log_softmax(logits, -1)
            drawn = torch.multinomial(logs.detach().exp(), 1, generator=draw)
            slopes = torch.autograd.grad(logs.gather(1, drawn).sum(), parameters, allow_unused=True)
            yield {
                f"fisher.{name}": torch.zeros_like(values)
                if slope is None
                else slope.square() / len(drawn)
                for (name, values), slope in zip(self.weights.items(), slopes, strict=True)
            }


def _is_language_model(folder: Path) -> bool:
    names = read_config(Path(folder)).get("architectures") or []
    return any(str(name).endswith(("ForCausalLM", "LMHeadModel")) for name in names)


def _grams(reader: _Reader, rows: list[list[int]], tell: Callable[[int], None]) -> dict[str, Any]:
    """Sum up XᵀX of every linear layer's inputs, without padding, and divide by the rows of X."""
    sums: dict[str, Any] = {}
    counts: dict[str, int] = {}

    def see(name: str, values: Any, mask: Any) -> None:
        if values.dim() == 3 and values.shape[:2] == mask.shape:
            values = values[mask.bool()]
        values = values.reshape(-1, values.shape[-1]).double()
        sums[name] = sums.get(name, 0) + reader.product(values)
        counts[name] = counts.get(name, 0) + len(values)

    with reader.hooked(see) as read:
        for start in range(0, len(rows), BATCH):
            batch = pad(reader.tokenizer, rows[start : start + BATCH])
            read(batch)
            tell(len(batch["input_ids"]))
    return reader.matrices({f"gram.{n}.weight": s / max(counts[n], 1) for n, s in sums.items()})


def _mean(
    parts: Iterator[dict[str, Any]], count: int, tell: Callable[[int], None]
) -> dict[str, Any]:
    sums: dict[str, Any] = {}
    for part in parts:
        for name, values in part.items():
            sums[name] = sums[name] + values if name in sums else values
        tell(1)
    return {name: values / count for name, values in sums.items()}


def _hidden(
    reader: _Reader,
    kind: str,
    rows: list[list[int]],
    deviation: float,
    random: np.random.Generator,
    tell: Callable[[int], None],
) -> dict[str, Any]:
    """Average each text's part, cut at a public length, with noise."""
    summed = Clipped(_public_scales(reader, kind))
    if kind == "fisher":
        for part in reader.fishers(rows):
            summed.add(part)
            tell(1)
    else:
        for batch in reader.inputs(rows):
            if reader.diagonal:
                each = {n: reader.product(values) for n, values in batch.items()}
                for place in range(len(next(iter(each.values())))):
                    summed.add({n: values[place] for n, values in each.items()})
            else:
                summed.add_products(batch)
            tell(len(next(iter(batch.values()))))
    noised = {n: v / len(rows) for n, v in summed.noised(deviation, random).items()}
    if kind == "fisher":
        return {n: v.clamp(min=0) for n, v in noised.items()}
    if reader.diagonal:
        return reader.matrices({n: v.clamp(min=0) for n, v in noised.items()})
    return reader.matrices({n: nearest_positive(v) for n, v in noised.items()})


def _public_scales(reader: _Reader, kind: str) -> dict[str, float]:
    """Return what each part is divided by: how long it is of texts of random words."""
    rows = reader.made_up()
    lengths: dict[str, list[float]] = {}
    if kind == "fisher":
        for part in reader.fishers(rows):
            for name, values in part.items():
                lengths.setdefault(name, []).append(float(values.double().norm()))
        whole = np.median(np.linalg.norm(list(lengths.values()), axis=0))
        return dict.fromkeys(lengths, max(float(whole), 1e-30) / len(lengths) ** 0.5)
    for batch in reader.inputs(rows):
        for name, values in batch.items():
            if reader.diagonal:
                found = reader.product(values).double().norm(dim=1)
            else:  # XᵀX is as long as XXᵀ
                found = (values @ values.mT).double().flatten(1).norm(dim=1)
            lengths.setdefault(name, []).extend(float(v) for v in found)
    # layers count alike, whatever the size of their inputs
    return {n: max(float(np.median(v)), 1e-12) for n, v in lengths.items()}


def _write(found: dict[str, Any], out: Path, told: dict[str, str]) -> None:
    from safetensors.torch import save_file

    partial = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        save_file({n: t.contiguous() for n, t in found.items()}, partial, metadata=told)
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
