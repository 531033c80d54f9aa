# SPDX-License-Identifier: Apache-2.0
"""Running text classifiers: one model from its folder, or several as an output ensemble."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from plait.errors import BadInput
from plait.evaluation.tasks import Sample
from plait.pretrained import limited_threads, load_classifier, pad

Probabilities = NDArray[np.float32]
Progress = Callable[[int, int], None]
"""Called with the items done and the items in all; what it raises stops the work."""

BATCH = 32
MAX_LENGTH = 128


class Predictor(Protocol):
    """Anything that gives probabilities over the same labels."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the columns of what `predict` returns."""

    def predict(self, samples: Sequence[Sample], progress: Progress | None = None) -> Probabilities:
        """Return probabilities [samples, classes]."""


class TextClassifier:
    """A sequence classification model with its tokenizer, on the CPU, for prediction only."""

    modalities = frozenset({"text"})

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
        config = model.config
        self.max_length = min(max_length, getattr(config, "max_position_embeddings", max_length))
        self.labels: tuple[str, ...] = labels_of(config)

    @classmethod
    def load(
        cls, folder: Path, threads: int | None = None, *, max_length: int = MAX_LENGTH
    ) -> TextClassifier:
        """Load what ``save_pretrained`` wrote: configuration, safetensors weights, tokenizer.

        Nothing from the folder is executed: no pickle, no code of the repository's own.

        Raises:
            BadInput: if it is not a text classifier in safetensors with a tokenizer.
            MissingExtra: if torch or transformers is not installed.
        """
        model, tokenizer = load_classifier(folder, predicting=True)
        return cls(model, tokenizer, max_length=max_length, threads=threads)

    def predict(self, samples: Sequence[Sample], progress: Progress | None = None) -> Probabilities:
        """Return probabilities [samples, classes]; their order does not change them.

        Raises:
            BadInput: if the model gives something that is not a number.
        """
        return np.exp(self.log_probabilities(samples, progress))

    def log_probabilities(
        self, samples: Sequence[Sample], progress: Progress | None = None
    ) -> Probabilities:
        """Return the logarithms of probabilities [samples, classes]; raises as `predict`."""
        import torch

        encoded = self._encode([text_of(sample) for sample in samples])
        # batches of like lengths waste no work on padding; ties broken by place, so that runs agree
        order = sorted(range(len(encoded)), key=lambda i: (len(encoded[i]), i))
        out = np.zeros((len(encoded), len(self.labels)), dtype=np.float32)
        with torch.inference_mode(), limited_threads(self._threads):
            for start in range(0, len(order), BATCH):
                chosen = order[start : start + BATCH]
                batch = pad(self._tokenizer, [encoded[i] for i in chosen])
                logits = self._model(**batch).logits
                out[chosen] = torch.log_softmax(logits.float(), dim=-1).numpy()
                if progress is not None:
                    progress(min(start + BATCH, len(order)), len(order))
        return refuse_nan(out)

    def load_tensors(self, tensors: Iterable[tuple[str, NDArray[Any]]]) -> None:
        """Replace every weight, for judging a candidate without writing it to disk.

        Raises:
            BadInput: if a name is missing, unknown or given twice, or a shape differs; the model
                may then hold some of the new weights and must not be used.
        """
        replace_weights(self._model, tensors)

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        if not texts:
            return []
        encoded = self._tokenizer(list(texts), truncation=True, max_length=self.max_length)
        return [list(ids) for ids in encoded["input_ids"]]


class CachedPredictor:
    """A model that runs once over the same samples, for use alone and in an ensemble."""

    def __init__(self, model: Predictor) -> None:
        self.labels: tuple[str, ...] = model.labels
        self._model = model
        self._samples: tuple[Sample, ...] | None = None
        self._found: Probabilities | None = None

    def predict(self, samples: Sequence[Sample], progress: Progress | None = None) -> Probabilities:
        """Return probabilities [samples, classes], the last ones again if these are the same."""
        if self._found is None or self._samples != tuple(samples):
            self._found = self._model.predict(samples, progress)
            self._samples = tuple(samples)
        elif progress is not None:
            progress(len(samples), len(samples))
        return self._found.copy()


class OutputEnsemble:
    """Several models over one label space, in memory: the weighted mean of their probabilities.

    What a fusion writes of an ensemble (`plait.fusion.outputs`) combines with the same function.
    """

    def __init__(self, models: Sequence[Predictor], weights: Sequence[float] | None = None) -> None:
        if not models:
            raise BadInput("An ensemble needs at least one model.")
        shares = np.ones(len(models)) if weights is None else np.asarray(weights, dtype=float)
        if shares.shape != (len(models),) or not np.isfinite(shares).all() or (shares < 0).any():
            raise BadInput("An ensemble needs one weight for each model, none below zero.")
        if shares.sum() == 0:
            raise BadInput("An ensemble needs at least one weight above zero.")
        self.labels: tuple[str, ...] = models[0].labels
        for model in models:
            if sorted(model.labels) != sorted(self.labels):
                raise BadInput(
                    f"The models of an ensemble need the same labels; one has {list(self.labels)}, "
                    f"another {list(model.labels)}."
                )
        self._models = tuple(models)
        self._weights = shares

    def predict(self, samples: Sequence[Sample], progress: Progress | None = None) -> Probabilities:
        """Return the weighted mean of the models' probabilities [samples, classes]."""
        import torch

        from plait.modeling.ensemble import combine

        total = len(samples) * len(self._models)
        rows = []
        for number, model in enumerate(self._models):
            columns = [model.labels.index(label) for label in self.labels]
            step = offset(progress, number * len(samples), total)
            found = model.predict(samples, step)[:, columns].astype(np.float64)
            rows.append(torch.from_numpy(found).log())
        mean = combine(torch.stack(rows), torch.from_numpy(self._weights), "probabilities")
        made: Probabilities = mean.exp().numpy().astype(np.float32)
        return made


def replace_weights(model: Any, tensors: Iterable[tuple[str, NDArray[Any]]]) -> None:
    """Replace every weight of a torch module.

    Raises:
        BadInput: if a name is missing, unknown or given twice, or a shape differs; the module may
            then hold some of the new weights and must not be used.
    """
    import torch

    wanted = model.state_dict()
    tied = _tied_names(model)
    seen: set[str] = set()
    with torch.no_grad():
        for stored, array in tensors:
            name = _module_name(stored, wanted)
            if name not in wanted or name in seen:
                why = "was given twice" if name in seen else "is not a weight of this model"
                raise BadInput(f"Tensor '{name}' {why}.")
            target = wanted[name]
            if tuple(array.shape) != tuple(target.shape):
                raise BadInput(
                    f"Tensor '{name}' has shape {list(array.shape)} but the model needs "
                    f"{list(target.shape)}."
                )
            if not array.flags.writeable:
                array = array.copy()
            values = torch.from_numpy(array)
            target.copy_(values)
            if target.dtype != torch.float32 and not torch.equal(target.float(), values.float()):
                # Of a finer format than the weights that it replaces: kept as it is.
                model.get_parameter(name).data = values.float()
            seen.add(name)
    missing = sorted(set(wanted) - seen - tied)
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise BadInput(f"Tensor '{missing[0]}'{more} of the model was not given.")


def labels_of(config: Any) -> tuple[str, ...]:
    """Return the names of a model's classes, in order, from its configuration."""
    return tuple(str(config.id2label[i]) for i in range(config.num_labels))


class NotNumbers(BadInput):
    """A model gave NaN or infinity."""


def refuse_nan(out: Probabilities) -> Probabilities:
    """Return a model's output.

    Raises:
        NotNumbers: if it has values that are none.
    """
    if not np.isfinite(out).all():
        raise NotNumbers(
            "The model's output has values that are not numbers (NaN); its weights are damaged "
            "or overflow."
        )
    return out


def text_of(sample: Sample) -> str:
    """Return a sample's text.

    Raises:
        BadInput: if it has none.
    """
    text = sample if isinstance(sample, str) else sample.get("text")
    if not isinstance(text, str):
        raise BadInput("A model of texts was given an item without a text.")
    return text


def _module_name(stored: str, wanted: Mapping[str, Any]) -> str:
    """Give the name that a stored tensor has in the model.

    Checkpoints of the TensorFlow age call a layer norm's parameters gamma and beta; transformers
    reads them so, and writes them back so.
    """
    if stored in wanted:
        return stored
    for old, new in ((".gamma", ".weight"), (".beta", ".bias")):
        if stored.endswith(old) and stored.removesuffix(old) + new in wanted:
            return stored.removesuffix(old) + new
    return stored


def _tied_names(model: Any) -> set[str]:
    tied = getattr(model, "_tied_weights_keys", None) or ()
    return set(tied)


def offset(progress: Progress | None, before: int, total: int) -> Progress | None:
    """Return what counts a part's items on from those before it."""
    if progress is None:
        return None
    return lambda done, _: progress(before + done, total)
