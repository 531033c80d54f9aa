# SPDX-License-Identifier: Apache-2.0
"""The models that are fused: a base with a head for each task, and one fine-tune for each task.

A task's head is a linear probe of the frozen base and stays as it is, as the zero-shot heads of
CLIP do in FusionBench: rows differ in their encoder alone. Whatever is made is kept in a folder
named by a hash of all that it depends on.
"""

from __future__ import annotations

import functools
import importlib.metadata
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fusion_quality import settings, splits
from fusion_quality.corpora import CORPORA, Text
from plait.demo import data as demo
from plait.heads import join_head, load_heads, split_head
from plait.pretrained import load_classifier, pad
from plait.training import fine_tune
from plait.training.privacy import Privacy
from plait.training.statistics import collect_statistics

STATISTICS = "plait_statistics.safetensors"


@dataclass(frozen=True)
class Statistics:
    """What an owner publishes of its training texts: the kind, of how many, how private."""

    kind: str
    texts: int = settings.STATISTICS_TEXTS
    epsilon: float | None = None
    diagonal: bool = False

    @property
    def folder(self) -> str:
        """The name of the folder that models with these statistics are in."""
        parts = [self.kind, "diagonal" if self.diagonal else ""]
        parts += [str(self.texts) if self.texts != settings.STATISTICS_TEXTS else ""]
        parts += ["" if self.epsilon is None else f"epsilon{self.epsilon:g}"]
        return "-".join(part for part in parts if part)


@dataclass(frozen=True)
class Suite:
    """All that one seed is measured with; model folders are made when they are asked for."""

    seed: int
    folder: Path
    key: str
    seen: dict[str, dict[str, list[Text]]]
    left_out: dict[str, dict[str, list[Text]]]

    def data(self, task: str) -> Path:
        """Return the folder of a task's data set."""
        return self.folder / "data" / task

    @property
    def base(self) -> Path:
        """Return the pretrained encoder with the probes of all seen tasks."""
        return _made(self.folder / "base", self._base)

    def tuned(self, task: str) -> Path:
        """Return the fine-tune of one task, with its head."""

        def make(out: Path) -> None:
            items = self.seen[task]["train"]
            start = join_head(self.base, task, out.with_name(f"{out.name}-start"))
            whole = out.with_name(f"{out.name}-whole")
            shutil.rmtree(whole, ignore_errors=True)
            found = fine_tune(
                start,
                [item.text for item in items],
                [item.label for item in items],
                whole,
                epochs=settings.EPOCHS,
                learning_rate=settings.LEARNING_RATE,
                batch_size=settings.BATCH,
                max_length=settings.MAX_LENGTH,
                freeze_head=True,
                seed=self.seed,
                threads=1,
            )
            split_head(whole, out, task)
            _note(out, found.cpu_seconds)
            shutil.rmtree(start)
            shutil.rmtree(whole)

        return _made(self.folder / "tuned" / task, make)

    def with_statistics(self, task: str, wanted: Statistics) -> Path:
        """Return the fine-tune with its owner's statistics beside its weights."""

        def make(out: Path) -> None:
            shutil.copytree(self.tuned(task), out)
            texts = [i.text for i in self.seen[task]["train"][: wanted.texts]]
            started = time.process_time()
            collect_statistics(
                out,
                texts,
                out / STATISTICS,
                kinds=(wanted.kind,),
                privacy=None
                if wanted.epsilon is None
                else Privacy(wanted.epsilon, random=np.random.default_rng(self.seed)),
                diagonal=wanted.diagonal,
                threads=1,
            )
            _note(out, time.process_time() - started)

        return _made(self.folder / wanted.folder / task, make)

    @property
    def multitask(self) -> Path:
        """Return one encoder that was trained on all seen tasks together."""
        return _made(self.folder / "multitask", self._multitask)

    @property
    def multitask_longer(self) -> Path:
        """Return one that was trained as long as fine-tuning and distillation together."""
        return _made(
            self.folder / "multitask-longer", lambda out: self._multitask(out, settings.LONGER)
        )

    def _base(self, out: Path) -> None:
        from sklearn.linear_model import LogisticRegression

        for task in settings.SEEN:
            items = self.seen[task]["train"]
            labels = sorted({item.label for item in items})
            model, tokenizer = load_classifier(demo.encoder_folder("minilm"), new_head=labels)
            found = features(model.base_model, tokenizer, [i.text for i in items], pooled=True)
            probe = LogisticRegression(max_iter=2000).fit(found, [i.label for i in items])
            weight, bias = probe.coef_, probe.intercept_
            if len(labels) == 2:
                weight, bias = np.concatenate([-weight, weight]) / 2, np.array([-bias, bias]) / 2
            _put(model.classifier.weight, weight)
            _put(model.classifier.bias, bias)
            whole, split = (out.with_name(f"{out.name}-{k}-{task}") for k in ("whole", "split"))
            model.save_pretrained(whole)
            tokenizer.save_pretrained(whole)
            split_head(whole, split, task)
            shutil.rmtree(whole)
            if not out.exists():
                split.rename(out)
            else:
                (split / "heads" / task).rename(out / "heads" / task)
                shutil.rmtree(split)

    def _multitask(self, out: Path, epochs: int = settings.EPOCHS) -> None:
        import torch

        started = time.process_time()
        torch.set_num_threads(1)
        models, tokenizer = load_heads(self.base)
        random = np.random.default_rng(self.seed)
        torch.manual_seed(self.seed)
        encoder = models[settings.SEEN[0]].base_model
        encoder.embeddings.requires_grad_(False)
        trained = [p for p in encoder.parameters() if p.requires_grad]
        batches: list[tuple[str, Any, Any]] = []
        for task in settings.SEEN:
            models[task].classifier.requires_grad_(False)
            models[task].train()
            items = self.seen[task]["train"]
            rows = _rows(tokenizer, [i.text for i in items])
            index = {label: i for i, label in models[task].config.id2label.items()}
            truth = torch.tensor([int(index[i.label]) for i in items])
            for _ in range(epochs):
                for chosen in _batches([len(r) for r in rows], random):
                    batches.append((task, pad(tokenizer, [rows[i] for i in chosen]), truth[chosen]))
        optimiser = torch.optim.AdamW(
            trained, lr=settings.LEARNING_RATE, weight_decay=0.01, fused=True
        )
        steps = len(batches)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimiser, lambda s: min((s + 1) / (0.1 * steps), (steps - s) / (0.9 * steps))
        )
        for number in random.permutation(steps):
            task, inputs, truth = batches[number]
            loss = torch.nn.functional.cross_entropy(models[task](**inputs).logits, truth)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimiser.step()
            schedule.step()
        shutil.copytree(self.base, out)
        encoder.save_pretrained(out)
        shutil.copyfile(self.base / "config.json", out / "config.json")
        _note(out, time.process_time() - started)


def build(seed: int) -> Suite:
    """Read the texts, deal them to splits with a seed, and write the data sets."""
    seen, left_out = (
        {task: splits.deal(task, _texts(task), sizes, seed) for task in tasks}
        for tasks, sizes in (
            (settings.SEEN, settings.SIZES),
            (settings.LEFT_OUT, settings.LEFT_OUT_SIZES),
        )
    )
    key = settings.digest(
        {t: {s: [(i.text, i.label) for i in v] for s, v in d.items()} for t, d in seen.items()},
        [settings.EPOCHS, settings.LEARNING_RATE, settings.BATCH, settings.MAX_LENGTH],
        [demo.ENCODERS["minilm"].sha256, seed],
        [importlib.metadata.version(package) for package in ("torch", "transformers")],
    )
    folder = settings.cache() / f"seed{seed}-{key}"
    suite = Suite(seed, folder, key, seen, left_out)
    for task, dealt in seen.items():
        splits.write(suite.data(task), dealt)
    return suite


@functools.cache
def _texts(task: str) -> list[Text]:
    return CORPORA[task]()


def cost(folder: Path) -> float:
    """Return the CPU-seconds that a model took to make."""
    return float(json.loads((folder / "cost.json").read_text())["cpu_seconds"])


def features(encoder: Any, tokenizer: Any, texts: list[str], *, pooled: bool) -> Any:
    """Return an encoder's features of texts [texts, width]: its pooler's, or the tokens' mean."""
    import torch

    rows = _rows(tokenizer, texts)
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    found = np.zeros((len(rows), encoder.config.hidden_size), np.float32)
    encoder.eval()
    with torch.inference_mode():
        for start in range(0, len(order), 32):
            chosen = order[start : start + 32]
            inputs = pad(tokenizer, [rows[i] for i in chosen])
            result = encoder(**inputs)
            if pooled:
                values = result.pooler_output
            else:
                mask = inputs["attention_mask"][..., None].float()
                values = (result.last_hidden_state * mask).sum(1) / mask.sum(1)
            found[chosen] = values.numpy()
    return found


def _made(out: Path, make: Callable[[Path], None]) -> Path:
    """Make a folder unless it is there; it appears when it is whole."""
    if out.exists():
        return out
    part = out.with_name(f".{out.name}")
    for old in out.parent.glob(f".{out.name}*") if out.parent.exists() else ():
        shutil.rmtree(old)
    part.parent.mkdir(parents=True, exist_ok=True)
    make(part)
    part.rename(out)
    return out


def _note(folder: Path, cpu_seconds: float) -> None:
    (folder / "cost.json").write_text(json.dumps({"cpu_seconds": round(cpu_seconds, 2)}))


def _rows(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    found = tokenizer(texts, truncation=True, max_length=settings.MAX_LENGTH)["input_ids"]
    return [list(row) for row in found]


def _batches(lengths: list[int], random: np.random.Generator) -> list[list[int]]:
    order = [int(i) for i in random.permutation(len(lengths))]
    pool = 8 * settings.BATCH
    found = []
    for start in range(0, len(order), pool):
        part = sorted(order[start : start + pool], key=lambda i: lengths[i])
        found += [part[i : i + settings.BATCH] for i in range(0, len(part), settings.BATCH)]
    return found


def _put(parameter: Any, values: Any) -> None:
    import torch

    with torch.no_grad():
        parameter.copy_(torch.from_numpy(np.asarray(values, np.float32)).reshape(parameter.shape))
