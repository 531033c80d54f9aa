# SPDX-License-Identifier: Apache-2.0
"""Training a classifier to tell true sentences about entities from false ones.

Plainly, with vectors of the entities in its attention, or with the graph's rules in its loss; all
take the same steps over the same questions, so that they can be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from plait.errors import BadInput
from plait.evaluation.metrics import Floats
from plait.graphs.knowledge.masked import MAX_LENGTH
from plait.graphs.knowledge.questions import LABELS, Material, Question, drawn_anew
from plait.graphs.knowledge.rules import WEIGHT, Pairs, Rule, penalty
from plait.graphs.knowledge.vectors import EntityVectors
from plait.modeling import ARCHITECTURES, FOLDER
from plait.pretrained import limited_threads, load_classifier
from plait.training.loop import Progress, optimise

ARCHITECTURE = "plait_knowledge"


@dataclass(frozen=True)
class Settings:
    """How a judge is trained."""

    steps: int = 600
    freeze_embeddings: bool = True
    """Words keep their vectors: names that training never asks about stay comparable."""
    batch_size: int = 32
    learning_rate: float = 3e-4
    rules_weight: float = WEIGHT
    attention_speed: float = 3.0
    """The learning rate of the attention to entities, in those of the encoder: it is new."""
    looks: int = 10
    """How often the validation questions are asked: the weights of the best look are kept."""
    seed: int = 0
    threads: int | None = None


@dataclass
class Judge:
    """A classifier of sentences, false or true, and what makes its inputs."""

    model: Any
    processor: Any

    def probabilities(self, texts: Sequence[str]) -> Floats:
        """Return how likely each sentence is true [texts]."""
        import torch

        self.model.eval()
        found = []
        with torch.inference_mode():
            for start in range(0, len(texts), 64):
                inputs = self.processor(text=list(texts[start : start + 64]))
                logits = self.model(**inputs).logits
                found.append(torch.softmax(logits, dim=-1)[:, 1].numpy())
        made: Floats = np.concatenate(found).astype(np.float64)
        return made

    def loss(self, asked: Sequence[Question]) -> float:
        """Return the mean loss of questions: minus the logarithm of what is right, in nats."""
        sure = np.clip(self.probabilities([one.text for one in asked]), 1e-7, 1 - 1e-7)
        true = np.array([one.true for one in asked], dtype=bool)
        return float(-np.log(np.where(true, sure, 1 - sure)).mean())

    def right(self, asked: Sequence[Question]) -> Floats:
        """Return 1 for each question that is answered rightly, else 0."""
        sure = self.probabilities([one.text for one in asked])
        true = np.array([one.true for one in asked], dtype=bool)
        made: Floats = ((sure > 0.5) == true).astype(np.float64)
        return made

    def save(self, folder: Path) -> None:
        """Write the judge as a folder that stock transformers loads."""
        if self.model.config.model_type != ARCHITECTURE:
            self.model.save_pretrained(folder)
            self.processor.tokenizer.save_pretrained(folder)
            return
        found = ARCHITECTURES[ARCHITECTURE]
        self.model.config.auto_map = {
            "AutoConfig": f"{found.module}.{found.config}",
            "AutoModel": f"{found.module}.{found.model}",
            "AutoModelForSequenceClassification": f"{found.module}.{found.model}",
            "AutoProcessor": f"{found.module}.{found.processor}",
        }
        self.model.config.architectures = [found.model]
        self.model.save_pretrained(folder)
        self.processor.save_pretrained(folder)
        for name in found.files():
            (folder / name).write_bytes((FOLDER / name).read_bytes())


def plain(base: Path, seed: int = 0) -> Judge:
    """Return a model with a fresh head, which reads text alone.

    Raises:
        BadInput: the folder is no text encoder.
    """
    from plait.modeling.knowledge import PlaitKnowledgeProcessor

    model, tokenizer = load_classifier(Path(base), new_head=LABELS, seed=seed)
    inner = PlaitKnowledgeProcessor(tokenizer, {}, MAX_LENGTH)
    return Judge(model, _TextAlone(inner))


def with_entities(base: Path, held: Material, vectors: EntityVectors, seed: int = 0) -> Judge:
    """Return a model with a fresh head whose tokens attend to embeddings of the entities named.

    It begins by saying what `plain` of the same seed says. Vectors are standardised.

    Raises:
        BadInput: the folder is no text encoder whose layers are known.
    """
    import torch

    from plait.modeling.knowledge import (
        PlaitKnowledgeConfig,
        PlaitKnowledgeForSequenceClassification,
        PlaitKnowledgeProcessor,
    )

    inner, tokenizer = load_classifier(Path(base), new_head=LABELS, seed=seed)
    number = {name: place for place, name in enumerate(vectors.entities)}
    names: dict[str, int] = {}
    for place, identifier in enumerate(held.entities):
        if identifier in number:
            names.setdefault(held.names[place], number[identifier] + 1)
    wide = vectors.values
    wide = (wide - wide.mean(axis=0)) / (wide.std(axis=0) + 1e-6)
    config = PlaitKnowledgeConfig(
        inner.config.to_dict(),
        len(wide),
        wide.shape[1],
        num_labels=len(LABELS),
        id2label=dict(enumerate(LABELS)),
        label2id={name: place for place, name in enumerate(LABELS)},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            model = PlaitKnowledgeForSequenceClassification(config)
        except (ValueError, AttributeError) as error:
            raise BadInput(f"{Path(base).name} takes no attention to entities: {error}") from None
    model.classifier.load_state_dict(inner.state_dict())
    model.vectors[1:] = torch.from_numpy(wide)
    return Judge(model, PlaitKnowledgeProcessor(tokenizer, names, MAX_LENGTH))


def train(
    judge: Judge,
    held: Material,
    settings: Settings,
    *,
    rules: Sequence[Rule] = (),
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> dict[str, Any]:
    """Train a judge in place on the training questions, and keep its best look at validation.

    All settings of one number of steps take as many: a look that is no better ends nothing.

    Args:
        rules: added to the loss, over pairs that are drawn beside each batch.

    Returns:
        The mean `loss` of training; of each look the `steps` done and the validation's loss; the
        steps of the `best`.

    Raises:
        Cancelled: if `cancelled` says so.
    """
    import torch

    random = np.random.default_rng(settings.seed)
    asked = drawn_anew(held, settings.steps * settings.batch_size, random)
    truth = torch.tensor([int(one.true) for one in asked])
    pairs = Pairs(held, rules, np.random.default_rng(settings.seed + 1)) if rules else None
    watch = _Watch(judge, held.validation, max(1, settings.steps // max(1, settings.looks)))

    def loss(batch: list[int]) -> Any:
        texts = [asked[i].text for i in batch]
        logits = judge.model(**judge.processor(text=texts)).logits
        found = torch.nn.functional.cross_entropy(logits, truth[batch])
        drawn = pairs.draw(settings.batch_size // 2) if pairs is not None else []
        if drawn:
            texts = [one[0] for one in drawn] + [one[1] for one in drawn]
            said = torch.log_softmax(judge.model(**judge.processor(text=texts)).logits, dim=-1)
            half = len(drawn)
            broken = penalty(said[:half], said[half:], [one[2] for one in drawn])
            found = found + settings.rules_weight * broken
        return found

    with limited_threads(settings.threads), torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        if settings.freeze_embeddings:
            ours = judge.model.config.model_type == ARCHITECTURE
            encoder = judge.model.classifier if ours else judge.model
            encoder.get_input_embeddings().weight.requires_grad_(False)
        judge.model.train()
        losses, _ = optimise(
            list(judge.model.parameters()),
            [len(one.text) for one in asked],
            loss,
            epochs=1,
            learning_rate=settings.learning_rate,
            batch_size=settings.batch_size,
            random=random,
            progress=progress,
            cancelled=cancelled,
            after_step=watch.look,
            faster=list(getattr(judge.model, "attentions", torch.nn.Module()).parameters()),
            times=settings.attention_speed,
        )
        watch.restore()
    return {"loss": losses[0], "looks": watch.looks, "best": watch.best}


class _Watch:
    """Looks at the validation questions while a judge is trained, and keeps its best weights."""

    def __init__(self, judge: Judge, asked: Sequence[Question], every: int) -> None:
        self.judge, self.asked, self.every = judge, asked, every
        self.looks: list[tuple[int, float]] = []
        self.best = 0
        self._state: dict[str, Any] = {}

    def look(self, done: int) -> None:
        """After a step."""
        if done % self.every:
            return
        found = self.judge.loss(self.asked)
        if not self.looks or found < min(one for _, one in self.looks):
            self.best = done
            self._state = {
                name: held.detach().clone()
                for name, held in self.judge.model.named_parameters()
                if held.requires_grad
            }
        self.looks.append((done, found))
        self.judge.model.train()

    def restore(self) -> None:
        """Put the best weights back."""
        if self._state:
            self.judge.model.load_state_dict(self._state, strict=False)
        self.judge.model.eval()


class _TextAlone:
    """A processor without entities: tokens and their mask."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.tokenizer = inner.tokenizer

    def __call__(self, text: Any) -> dict[str, Any]:
        made = self.inner(text=text)
        return {name: made[name] for name in ("input_ids", "attention_mask")}
