# SPDX-License-Identifier: Apache-2.0
"""What a model is for and which library loads it, told from its files as the Hub tells it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from plait.cards import card_tags

MAX_ARXIV = 50

_FILES: Sequence[tuple[str, str]] = (
    ("model_index.json", "diffusers"),
    ("config_setfit.json", "setfit"),
    ("modules.json", "sentence-transformers"),
    ("adapter_config.json", "peft"),
    ("open_clip_config.json", "open_clip"),
    ("hyperparams.yaml", "speechbrain"),
    ("fasttext.bin", "fasttext"),
)
"""A file at the root and the library that writes it; the first that is there counts."""
_FORMATS: Sequence[tuple[re.Pattern[str], str]] = (
    (re.compile(r"(^|/)pytorch_model(-\d+-of-\d+)?\.bin$"), "pytorch"),
    (re.compile(r"(^|/)tf_model\.h5$"), "tf"),
    (re.compile(r"(^|/)flax_model\.msgpack$"), "jax"),
    (re.compile(r"(^|/)rust_model\.ot$"), "rust"),
    (re.compile(r"\.onnx$"), "onnx"),
    (re.compile(r"\.safetensors$"), "safetensors"),
    (re.compile(r"\.gguf$"), "gguf"),
    (re.compile(r"\.joblib$"), "joblib"),
    (re.compile(r"\.mlpackage/|\.mlmodel$"), "coreml"),
    (re.compile(r"\.tflite$"), "tflite"),
    (re.compile(r"openvino_model\.xml$"), "openvino"),
    (re.compile(r"tfevents"), "tensorboard"),
)
_TASKS: Sequence[tuple[str, str, str]] = (
    ("ForSequenceClassification", "text-classification", "AutoModelForSequenceClassification"),
    ("ForTokenClassification", "token-classification", "AutoModelForTokenClassification"),
    ("ForQuestionAnswering", "question-answering", "AutoModelForQuestionAnswering"),
    ("ForMaskedLM", "fill-mask", "AutoModelForMaskedLM"),
    ("ForMultipleChoice", "multiple-choice", "AutoModelForMultipleChoice"),
    ("ForCausalLM", "text-generation", "AutoModelForCausalLM"),
    ("LMHeadModel", "text-generation", "AutoModelForCausalLM"),
    ("ForSpeechSeq2Seq", "automatic-speech-recognition", "AutoModelForSpeechSeq2Seq"),
    ("ForCTC", "automatic-speech-recognition", "AutoModelForCTC"),
    ("ForAudioClassification", "audio-classification", "AutoModelForAudioClassification"),
    ("ForImageClassification", "image-classification", "AutoModelForImageClassification"),
    ("ForImageSegmentation", "image-segmentation", "AutoModelForImageSegmentation"),
    ("ForSemanticSegmentation", "image-segmentation", "AutoModelForSemanticSegmentation"),
    ("ForUniversalSegmentation", "image-segmentation", "AutoModelForUniversalSegmentation"),
    ("ForObjectDetection", "object-detection", "AutoModelForObjectDetection"),
    ("ForZeroShotObjectDetection", "zero-shot-object-detection",
     "AutoModelForZeroShotObjectDetection"),
    ("ForDepthEstimation", "depth-estimation", "AutoModelForDepthEstimation"),
    ("ForVideoClassification", "video-classification", "AutoModelForVideoClassification"),
    ("ForMaskGeneration", "mask-generation", "AutoModelForMaskGeneration"),
    ("ForVision2Seq", "image-to-text", "AutoModelForVision2Seq"),
    ("ForImageTextToText", "image-text-to-text", "AutoModelForImageTextToText"),
    ("ForConditionalGeneration", "text2text-generation", "AutoModelForSeq2SeqLM"),
    ("Model", "feature-extraction", "AutoModel"),
)  # fmt: skip
"""How the name of a Transformers architecture ends, its task and the class that loads it."""
_SPEECH = frozenset({"whisper", "speech_to_text", "speecht5", "moonshine"})
_SEEING = frozenset(
    {"llava", "llava_next", "paligemma", "qwen2_vl", "qwen2_5_vl", "mllama", "idefics3", "gemma3"}
)
_ARXIV = re.compile(r"arxiv\.org/(?:abs|pdf)/(\d{4}\.\d{4,5})|\barxiv:(\d{4}\.\d{4,5})\b", re.I)
RELATIONS = ("adapter", "merge", "quantized", "finetune")


@dataclass(frozen=True)
class ModelGuess:
    """What the files say of a model, where the card is silent."""

    library: str | None = None
    pipeline_tag: str | None = None
    tags: list[str] = field(default_factory=list)
    transformers: dict[str, str] | None = None
    """Which auto classes load it."""
    relation: str | None = None
    """What it is to its base models: one of `RELATIONS`."""
    base_models: list[str] = field(default_factory=list)


def guess_model(
    names: Collection[str], card: Mapping[str, Any], text: str, config: Mapping[str, Any]
) -> ModelGuess:
    """Tell a model's library, task and tags.

    Args:
        names: paths of the files.
        card: README.md's head.
        text: README.md's text.
        config: what was kept of its configuration files, as `facts.read_config` gives it.
    """
    library = _library(names, card, config)
    transformers, task = _transformers(config) if library == "transformers" else (None, None)
    if library == "sentence-transformers":
        task = "sentence-similarity"
    elif library == "peft" and isinstance(config.get("peft"), dict):
        task = {"CAUSAL_LM": "text-generation", "SEQ_CLS": "text-classification"}.get(
            str(config["peft"].get("task_type"))
        )
    given = card.get("pipeline_tag")
    task = given if isinstance(given, str) and given else task
    tags = card_tags(card)
    formats = [tag for pattern, tag in _FORMATS if any(map(pattern.search, names))]
    bases = base_models(card)
    quantized = config.get("quantization_config")
    relation = _relation(card, tags, library, formats, quantized) if bases else None
    found = [library, *formats, task, *tags, *_config_tags(config, quantized)]
    if isinstance(card.get("model-index"), list):
        found.append("model-index")
    found += [f"base_model:{relation}:{base}" for base in bases]
    found += arxiv_tags(text)
    kept = list(dict.fromkeys(tag for tag in found if tag))
    return ModelGuess(library, task, kept, transformers, relation, bases)


def base_models(card: Mapping[str, Any]) -> list[str]:
    """List the names of the models that a card says the model was made from."""
    given = card.get("base_model")
    items = given if isinstance(given, list) else [given]
    return list(dict.fromkeys(i.strip() for i in items if isinstance(i, str) and i.strip()))[:50]


def arxiv_tags(text: str) -> list[str]:
    """List the papers that a card's text links to, as ``arxiv:1706.03762``."""
    found = (match[1] or match[2] for match in _ARXIV.finditer(text))
    return [f"arxiv:{number}" for number in list(dict.fromkeys(found))[:MAX_ARXIV]]


def _library(
    names: Collection[str], card: Mapping[str, Any], config: Mapping[str, Any]
) -> str | None:
    given = card.get("library_name")
    if isinstance(given, str) and given.strip():
        return given.strip()
    for name, library in _FILES:
        if name in names:
            return library
    if config.get("model_type") or config.get("architectures"):
        return "transformers"
    if "config.json" in names and "pretrained_cfg" in config:
        return "timm"
    return None


def _transformers(config: Mapping[str, Any]) -> tuple[dict[str, str] | None, str | None]:
    architectures = config.get("architectures")
    first = architectures[0] if isinstance(architectures, list) and architectures else None
    if not isinstance(first, str):
        return None, None
    kind = config.get("model_type")
    for ending, task, auto in _TASKS:
        if not first.endswith(ending):
            continue
        if ending == "ForConditionalGeneration" and kind in _SPEECH:
            task, auto = "automatic-speech-recognition", "AutoModelForSpeechSeq2Seq"
        elif ending == "ForConditionalGeneration" and kind in _SEEING:
            task, auto = "image-text-to-text", "AutoModelForImageTextToText"
        found = {"auto_model": auto, "pipeline_tag": task}
        if "tokenizer_config" in config:
            found["processor"] = "AutoTokenizer"
        return found, task
    return None, None


def _relation(
    card: Mapping[str, Any],
    tags: Sequence[str],
    library: str | None,
    formats: Sequence[str],
    quantized: Any,
) -> str:
    given = card.get("base_model_relation")
    if given in RELATIONS:
        return str(given)
    if library == "peft" or "lora" in tags or "adapter" in tags:
        return "adapter"
    if "merge" in tags or "mergekit" in tags or len(base_models(card)) > 1:
        return "merge"
    if "gguf" in formats or isinstance(quantized, dict):
        return "quantized"
    return "finetune"


def _config_tags(config: Mapping[str, Any], quantized: Any) -> list[str]:
    found = []
    if isinstance(config.get("model_type"), str):
        found.append(config["model_type"][:100])
    if "auto_map" in config:
        found.append("custom_code")
    tokenizer = config.get("tokenizer_config")
    if isinstance(tokenizer, dict) and tokenizer.get("chat_template"):
        found.append("conversational")
    if isinstance(quantized, dict):
        if quantized.get("load_in_4bit") is True or quantized.get("bits") == 4:
            found.append("4-bit")
        elif quantized.get("load_in_8bit") is True or quantized.get("bits") == 8:
            found.append("8-bit")
        if isinstance(quantized.get("quant_method"), str):
            found.append(quantized["quant_method"][:40])
    return found
