# SPDX-License-Identifier: Apache-2.0
"""Architectures of Plait's own, as transformers models: what fusions above the weights save.

Each module stands alone (torch and transformers, nothing of Plait): it is also written beside a
saved model, so that whoever has transformers and trusts the code can load it without Plait. Every
architecture has three classes: a configuration, a model whose `forward` gives `logits`, and a
processor, called as `processor(text=…, images=…, audio=…, return_tensors="pt")` with lists of one
length (only those that the model reads; `None` where an item lacks the modality; images and sounds
as paths of files), which gives what `forward` takes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Architecture:
    """Where an architecture's classes are: a module of this folder and their names there."""

    module: str
    config: str
    model: str
    processor: str

    def classes(self) -> tuple[Any, Any, Any]:
        """Import and return the configuration's class, the model's and the processor's."""
        module = import_module(f"{__name__}.{self.module}")
        return (
            getattr(module, self.config),
            getattr(module, self.model),
            getattr(module, self.processor),
        )

    def files(self) -> tuple[str, ...]:
        """Return the files that the module needs: what is written beside a saved model."""
        found: list[str] = []
        wanted = [self.module]
        while wanted:
            name = f"{wanted.pop(0)}.py"
            if name not in found:
                found.append(name)
                content = (FOLDER / name).read_text("utf-8")
                wanted += re.findall(r"^\s*from \.(\w+) import", content, re.MULTILINE)
        return tuple(found)


ARCHITECTURES = {
    "plait_ensemble": Architecture(
        "ensemble",
        "PlaitEnsembleConfig",
        "PlaitEnsembleForSequenceClassification",
        "PlaitEnsembleProcessor",
    ),
    "plait_knowledge": Architecture(
        "knowledge",
        "PlaitKnowledgeConfig",
        "PlaitKnowledgeForSequenceClassification",
        "PlaitKnowledgeProcessor",
    ),
    "plait_multimodal": Architecture(
        "multimodal",
        "PlaitMultimodalConfig",
        "PlaitMultimodalForSequenceClassification",
        "PlaitMultimodalProcessor",
    ),
}
"""Our architectures by `model_type`."""


def register() -> None:
    """Let transformers' Auto classes load our architectures without trusting a folder's code."""
    from transformers import (
        AutoConfig,
        AutoModelForImageClassification,
        AutoModelForSequenceClassification,
        AutoProcessor,
        AutoTokenizer,
    )

    from plait.modeling.ensemble import MEMBER_CLASSES, PlaitEnsembleConfig, PlaitEnsembleTokenizer

    for name, architecture in ARCHITECTURES.items():
        config, model, processor = architecture.classes()
        AutoConfig.register(name, config, exist_ok=True)
        AutoModelForSequenceClassification.register(config, model, exist_ok=True)
        AutoModelForImageClassification.register(config, model, exist_ok=True)
        AutoProcessor.register(config, processor, exist_ok=True)
        MEMBER_CLASSES[name] = (config, model, processor)
    AutoTokenizer.register(
        PlaitEnsembleConfig, tokenizer_class=PlaitEnsembleTokenizer, exist_ok=True
    )
