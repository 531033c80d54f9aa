# SPDX-License-Identifier: Apache-2.0
"""The ecosystem's names of tasks, libraries and licences, by which filters sort tags."""

from __future__ import annotations

from collections.abc import Mapping

TASKS = frozenset(
    """
    any-to-any audio-classification audio-text-to-text audio-to-audio automatic-speech-recognition
    depth-estimation document-question-answering feature-extraction fill-mask graph-ml
    image-classification image-feature-extraction image-segmentation image-text-to-text
    image-to-3d image-to-image image-to-text image-to-video keypoint-detection mask-generation
    multiple-choice object-detection question-answering reinforcement-learning robotics
    sentence-similarity summarization table-question-answering table-to-text tabular-classification
    tabular-regression tabular-to-text text-classification text-generation text-ranking
    text-retrieval text-to-3d text-to-audio text-to-image text-to-speech text-to-video
    text2text-generation time-series-forecasting token-classification translation
    unconditional-image-generation video-classification video-text-to-text
    visual-document-retrieval visual-question-answering voice-activity-detection
    zero-shot-classification zero-shot-image-classification zero-shot-object-detection
    """.split()  # noqa: SIM905
)
LIBRARIES = frozenset(
    """
    adapter-transformers allennlp asteroid coreml datasets diffusers espnet fairseq fastai fasttext
    flair gguf gradio jax joblib keras mergekit mlx nemo onnx open_clip openvino optimum
    paddlepaddle peft pyannote-audio pytorch rust safetensors sentence-transformers setfit sklearn
    spacy span-marker speechbrain stable-baselines3 stanza tensorboard tensorflowtts tf tflite timm
    transformers transformers.js trl unity-sentis
    """.split()  # noqa: SIM905
)
LANGUAGES: Mapping[str, str] = {
    "ar": "العربية", "bg": "Български", "bn": "বাংলা", "ca": "Català", "cs": "Čeština",
    "da": "Dansk", "de": "Deutsch", "el": "Ελληνικά", "en": "English", "es": "Español",
    "et": "Eesti", "eu": "Euskara", "fa": "فارسی", "fi": "Suomi", "fr": "Français",
    "gl": "Galego", "he": "עברית", "hi": "हिन्दी", "hr": "Hrvatski", "hu": "Magyar",
    "id": "Bahasa Indonesia", "is": "Íslenska", "it": "Italiano", "ja": "日本語", "ko": "한국어",
    "lt": "Lietuvių", "lv": "Latviešu", "ms": "Bahasa Melayu", "nb": "Norsk bokmål",
    "nl": "Nederlands", "no": "Norsk", "pl": "Polski", "pt": "Português", "ro": "Română",
    "ru": "Русский", "sk": "Slovenčina", "sl": "Slovenščina", "sr": "Српски", "sv": "Svenska",
    "sw": "Kiswahili", "ta": "தமிழ்", "te": "తెలుగు", "th": "ไทย", "tr": "Türkçe",
    "uk": "Українська", "ur": "اردو", "vi": "Tiếng Việt", "zh": "中文",
    "multilingual": "multilingual",
}  # fmt: skip
"""Language codes as cards write them, each named in itself."""
LICENSES = (
    "apache-2.0", "mit", "bsd-3-clause", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0",
    "cc0-1.0", "gpl-3.0", "agpl-3.0", "lgpl-3.0", "mpl-2.0", "openrail", "llama3", "gemma", "other",
)  # fmt: skip
"""Licences offered for a new repository, in the ecosystem's names."""
