# SPDX-License-Identifier: Apache-2.0
"""Training: each modality alone, the head over them, or all together; ended early by validation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from plait.errors import BadInput, Cancelled
from plait.fusion.features.options import BUILT_IN, FeatureRecipe
from plait.fusion.features.sources import BATCH, Source, Told

CLIP = 1.0
TOGETHER = 0.3
"""In combined training, how much slower all is trained together after each part alone."""


@dataclass
class Stage:
    """One stage of a training: its losses on validation items by epoch, and the epoch kept."""

    name: str
    losses: list[float] = field(default_factory=list)
    best: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "name": self.name,
            "epochs": len(self.losses),
            "best_epoch": self.best + 1,
            "validation_losses": [round(loss, 5) for loss in self.losses],
        }


class Learner:
    """A model in training, with its two sources of items."""

    def __init__(
        self,
        model: Any,
        recipe: FeatureRecipe,
        train: Source,
        validation: Source,
        *,
        seed: int,
        tell: Told | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> None:
        self.model = model
        self.recipe = recipe
        self.train = train
        self.validation = validation
        self.tell = tell
        self.cancelled = cancelled
        self.random = np.random.default_rng(seed)
        self.stages: list[Stage] = []
        self.tuned = {m.modality for m in recipe.members if m.tuned}
        self.fresh = {m.modality for m in recipe.members if m.model == BUILT_IN}
        """Encoders that start from nothing, and are trained as fast as the heads."""
        self.tokens = recipe["fusion"] == "attention"
        self.weights = self._class_weights() if recipe["balance_classes"] else None

    def run(self) -> list[Stage]:
        """Train as the recipe says, and return what each stage did.

        Raises:
            Cancelled: if `cancelled` said so.
            BadInput: if the loss is not a number, or a file cannot be read.
        """
        model, names = self.model, self.model.config.modalities
        model.requires_grad_(False)
        for name in names:
            self._remember(name)
        self._standardise()
        if self.recipe["training"] == "joint":
            self._fit("joint", names, [*self._heads(), *names], self.tuned, 1.0)
            return self.stages
        for name in names:
            self._alone(name)
        for name in sorted(self.tuned):
            self._remember(name)
        self._fit("fusion", names, self._heads(), set(), 1.0)
        if self.recipe["training"] == "combined":
            for name in sorted(self.tuned):
                self.train.forget(name)
                self.validation.forget(name)
            self._fit("together", names, [*self._heads(), *names], self.tuned, TOGETHER)
        return self.stages

    def _heads(self) -> list[str]:
        return ["fusion", "classifier", "token_projections"]

    def _remember(self, name: str) -> None:
        changes = name in self.tuned and not self.stages
        self.model.encoders[name].eval()
        for source in (self.train, self.validation):
            if changes:
                source.forget(name)
                source.prepare(name, tell=self.tell, cancelled=self.cancelled)
            else:
                source.remember(name, tokens=self.tokens, tell=self.tell, cancelled=self.cancelled)

    def _standardise(self) -> None:
        """Let every modality's vectors start with mean 0 and deviation 1 over training items."""
        import torch

        with torch.no_grad():
            for place, name in enumerate(self.model.config.modalities):
                there = [int(i) for i in self.train.present[:, place].nonzero()[:, 0]]
                if not there:
                    raise BadInput(f"No training item has {name}, which there is an encoder for.")
                parts = [
                    self.train.batch(there[i : i + BATCH], [name])[name][0]
                    for i in range(0, len(there), BATCH)
                ]
                self.model.scales[name].fit(torch.cat(parts))

    def _alone(self, name: str) -> None:
        """Train one modality's projection and its own head, and its encoder if that is tuned."""
        place = self.model.config.modalities.index(name)
        self._fit(
            f"{name} alone", [name], [name, f"single.{name}"], self.tuned & {name}, 1.0, place
        )

    def _fit(
        self,
        stage: str,
        names: Sequence[str],
        parts: Sequence[str],
        tuned: set[str],
        slower: float,
        single: int | None = None,
    ) -> None:
        import torch

        found = Stage(stage)
        self.stages.append(found)
        trained, groups = self._groups(parts, tuned, slower)
        optimiser = torch.optim.AdamW(groups, weight_decay=self.recipe["weight_decay"])
        places = self._places(self.train, single)
        kept = [p.detach().clone() for p in trained]
        lowest, epochs, size = math.inf, self.recipe["epochs"], self.recipe["batch_size"]
        for epoch in range(epochs):
            self._mode(tuned)
            order = [places[int(i)] for i in self.random.permutation(len(places))]
            for start in range(0, len(order), size):
                self._stop()
                loss = self._loss(self.train, order[start : start + size], names, single, True)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(trained, CLIP)
                optimiser.step()
            value = self._judge(names, single)
            found.losses.append(value)
            if self.tell is not None:
                self.tell(stage, epoch + 1, epochs)
            if value < lowest - 1e-5:
                lowest, found.best = value, epoch
                kept = [p.detach().clone() for p in trained]
            elif epoch - found.best >= self.recipe["patience"]:
                break
        with torch.no_grad():
            for parameter, best in zip(trained, kept, strict=True):
                parameter.copy_(best)
                parameter.requires_grad_(False)
        self.model.eval()

    def _groups(
        self, parts: Sequence[str], tuned: set[str], slower: float
    ) -> tuple[list[Any], list[dict[str, Any]]]:
        """Return all parameters that are trained, and as groups with their learning rates."""
        model = self.model
        heads: list[Any] = []
        for part in parts:
            for module in (
                [model.projections[part]]
                if part in model.config.modalities
                else [model.get_submodule(part)]
            ):
                heads += list(module.parameters())
        heads += [p for n in sorted(tuned & self.fresh) for p in model.encoders[n].parameters()]
        pretrained = [p for n in sorted(tuned - self.fresh) for p in model.encoders[n].parameters()]
        for parameter in [*heads, *pretrained]:
            parameter.requires_grad_(True)
        groups = [{"params": heads, "lr": self.recipe["learning_rate"] * slower}]
        if pretrained:
            rate = self.recipe["encoder_learning_rate"] * slower
            groups.append({"params": pretrained, "lr": rate})
        return [*heads, *pretrained], groups

    def _mode(self, tuned: set[str]) -> None:
        """Drop out in what is trained; frozen encoders and batch norms stay as in prediction."""
        import torch

        self.model.train()
        for name, encoder in self.model.encoders.items():
            encoder.train(name in tuned)
            for module in encoder.modules():
                if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                    module.eval()

    def _places(self, source: Source, single: int | None) -> list[int]:
        if single is None:
            return list(range(len(source)))
        return [int(i) for i in source.present[:, single].nonzero()[:, 0]]

    def _loss(
        self,
        source: Source,
        places: Sequence[int],
        names: Sequence[str],
        single: int | None,
        dropping: bool,
    ) -> Any:
        import torch

        encoded = source.batch(places, names)
        classes = source.classes[places]
        if single is not None:
            logits = self.model.single_logits(names[0], encoded[names[0]][0])
        else:
            mask = source.present[places]
            logits = self.model.fuse(encoded, self._drop(mask) if dropping else mask)
        loss = torch.nn.functional.cross_entropy(logits, classes, weight=self.weights)
        if not torch.isfinite(loss):
            raise BadInput(
                "The loss is not a number; use a lower learning_rate, or check that the encoders "
                "are not damaged."
            )
        return loss

    def _drop(self, mask: Any) -> Any:
        """Take modalities from some items, and never an item's last one."""
        import torch

        share = self.recipe["modality_dropout"]
        keep = torch.from_numpy(self.random.random(tuple(mask.shape)) >= share) & mask
        # who lost everything keeps one of what it had
        chance = torch.from_numpy(self.random.random(tuple(mask.shape))) * mask
        saved = torch.nn.functional.one_hot(chance.argmax(1), mask.shape[1]).bool() & mask
        return torch.where(keep.any(1, keepdim=True), keep, saved)

    def _judge(self, names: Sequence[str], single: int | None) -> float:
        import torch

        self.model.eval()
        places = self._places(self.validation, single)
        if not places:
            return math.inf
        total = 0.0
        with torch.no_grad():
            for start in range(0, len(places), 4 * BATCH):
                self._stop()
                chosen = places[start : start + 4 * BATCH]
                loss = self._loss(self.validation, chosen, names, single, False)
                total += float(loss) * len(chosen)
        return total / len(places)

    def _class_weights(self) -> Any:
        import torch

        count = self.model.config.num_labels
        often = torch.bincount(self.train.classes, minlength=count).float()
        present = torch.count_nonzero(often)
        return len(self.train.classes) / (present * often.clamp(min=1))

    def _stop(self) -> None:
        if self.cancelled is not None and self.cancelled():
            raise Cancelled("The fusion was cancelled; nothing was written.")
