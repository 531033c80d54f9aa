# SPDX-License-Identifier: Apache-2.0
"""What predicts with a model folder, whatever kind of classifier lies in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from plait.errors import BadInput
from plait.evaluation.classifier import (
    BATCH,
    MAX_LENGTH,
    Predictor,
    Probabilities,
    Progress,
    TextClassifier,
    labels_of,
    refuse_nan,
)
from plait.evaluation.headed import HeadedClassifier
from plait.evaluation.tasks import Sample
from plait.modeling import ARCHITECTURES
from plait.pretrained import (
    head_names,
    limited_threads,
    load_image_classifier,
    load_own,
    open_image,
    read_config,
)

MODALITIES = {"text": "text", "image": "images", "audio": "audio"}
"""What a sample calls a modality, and the processors' argument for it."""


class ImageClassifier:
    """A transformers image classifier with its image processor, on the CPU."""

    modalities = frozenset({"image"})

    def __init__(self, model: Any, processor: Any, *, threads: int | None = None) -> None:
        self._model = model.eval()
        self._processor = processor
        self._threads = threads
        self.labels: tuple[str, ...] = labels_of(model.config)

    @classmethod
    def load(cls, folder: Path, threads: int | None = None) -> ImageClassifier:
        """Load what ``save_pretrained`` wrote of a model and its image processor.

        Raises:
            BadInput: if it is not an image classifier in safetensors with an image processor.
            MissingExtra: if torch, transformers or pillow is not installed.
        """
        model, processor = load_image_classifier(folder)
        return cls(model, processor, threads=threads)

    def predict(self, samples: Sequence[Sample], progress: Progress | None = None) -> Probabilities:
        """Return probabilities [samples, classes] of samples with an image.

        Raises:
            BadInput: if one has none, or the model gives something that is not a number.
        """
        return np.exp(self.log_probabilities(samples, progress))

    def log_probabilities(
        self, samples: Sequence[Sample], progress: Progress | None = None
    ) -> Probabilities:
        """Return the logarithms of probabilities [samples, classes]; raises as `predict`."""
        import torch

        out = np.zeros((len(samples), len(self.labels)), dtype=np.float32)
        with torch.inference_mode(), limited_threads(self._threads):
            for start in range(0, len(samples), BATCH):
                images = [open_image(_file(s, "image")) for s in samples[start : start + BATCH]]
                inputs = self._processor(images, return_tensors="pt")
                logits = self._model(pixel_values=inputs["pixel_values"]).logits
                out[start : start + BATCH] = torch.log_softmax(logits.float(), dim=-1).numpy()
                if progress is not None:
                    progress(min(start + BATCH, len(samples)), len(samples))
        return refuse_nan(out)


class OwnModel:
    """A model of Plait's own architectures (an ensemble, a fusion of modalities)."""

    def __init__(self, model: Any, processor: Any, *, threads: int | None = None) -> None:
        self._model = model.eval()
        self._processor = processor
        self._threads = threads
        self.labels: tuple[str, ...] = labels_of(model.config)
        self.modalities: frozenset[str] = frozenset(getattr(model.config, "modalities", ("text",)))

    @classmethod
    def load(cls, folder: Path, threads: int | None = None) -> OwnModel:
        """Load a folder with our own classes, never with code that lies in it.

        Raises:
            BadInput: if it is not a whole model of ours.
            MissingExtra: if torch or transformers is not installed.
        """
        model, processor = load_own(folder)
        return cls(model, processor, threads=threads)

    def predict(self, samples: Sequence[Sample], progress: Progress | None = None) -> Probabilities:
        """Return probabilities [samples, classes].

        Raises:
            BadInput: if an item has none of the model's modalities, or an output is not a number.
        """
        return np.exp(self.log_probabilities(samples, progress))

    def log_probabilities(
        self, samples: Sequence[Sample], progress: Progress | None = None
    ) -> Probabilities:
        """Return the logarithms of probabilities [samples, classes]; raises as `predict`."""
        import torch

        parts = [{"text": s} if isinstance(s, str) else dict(s) for s in samples]
        for part in parts:
            if not self.modalities & part.keys():
                raise BadInput(
                    f"The model reads {' and '.join(sorted(self.modalities))}, and an item has "
                    f"only {' and '.join(sorted(part)) or 'nothing'}."
                )
        # items with the same modalities, and texts of like lengths, go together
        order = sorted(
            range(len(parts)),
            key=lambda i: (sorted(parts[i]), len(parts[i].get("text") or ""), i),
        )
        out = np.zeros((len(parts), len(self.labels)), dtype=np.float32)
        with torch.inference_mode(), limited_threads(self._threads):
            for start in range(0, len(order), BATCH):
                chosen = order[start : start + BATCH]
                columns = self._columns([parts[i] for i in chosen])
                logits = self._model(**self._processor(**columns, return_tensors="pt")).logits
                out[chosen] = torch.log_softmax(logits.float(), dim=-1).numpy()
                if progress is not None:
                    progress(min(start + BATCH, len(order)), len(order))
        return refuse_nan(out)

    def _columns(self, parts: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
        columns = {}
        for name in sorted(self.modalities):
            values = [part.get(name) for part in parts]
            columns[MODALITIES[name]] = [str(v) if isinstance(v, Path) else v for v in values]
        return columns


def load_predictor(
    folder: Path | str,
    *,
    task: str | None = None,
    threads: int | None = None,
    max_length: int = MAX_LENGTH,
) -> Predictor:
    """Load what predicts with a model folder: text, images, several heads, or a model of ours.

    Args:
        folder: a model folder in safetensors; nothing from it is executed.
        task: whose head to use where the folder has several; without it, what is returned gives
            them by `for_task`.
        threads: how many torch may use (default: as many as it likes).
        max_length: the most tokens of a text.

    Raises:
        BadInput: if the folder is no classifier that Plait can run.
        MissingExtra: if a package is not installed.
    """
    folder = Path(folder)
    config = read_config(folder)
    if config["model_type"] in ARCHITECTURES:
        return OwnModel.load(folder, threads)
    if head_names(folder):
        headed = HeadedClassifier.load(folder, threads, max_length=max_length)
        return headed if task is None else headed.for_task(task)
    if is_image_classifier(config):
        return ImageClassifier.load(folder, threads)
    return TextClassifier.load(folder, threads, max_length=max_length)


def is_image_classifier(config: dict[str, Any]) -> bool:
    """Tell whether a model's configuration is an image classifier's."""
    names = config.get("architectures")
    return isinstance(names, list) and any(
        isinstance(name, str) and name.endswith("ForImageClassification") for name in names
    )


def _file(sample: Sample, modality: str) -> Path:
    found = None if isinstance(sample, str) else sample.get(modality)
    if not isinstance(found, str | Path):
        raise BadInput(f"A model of {modality}s was given an item without one.")
    return Path(found)
