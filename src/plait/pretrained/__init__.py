# SPDX-License-Identifier: Apache-2.0
"""Reading transformers models from folders, for the engines that run them: no pickle, no code."""

from plait.pretrained.classifiers import (
    HEAD,
    HEADS,
    check_task_name,
    head_names,
    load_classifier,
    load_heads,
    load_image_classifier,
)
from plait.pretrained.folders import PICKLES, VOCABULARIES, read_config
from plait.pretrained.inputs import open_image, pad
from plait.pretrained.libraries import limited_threads
from plait.pretrained.models import load_encoder, load_model, load_own, load_weights

__all__ = [
    "HEAD", "HEADS", "PICKLES", "VOCABULARIES", "check_task_name", "head_names", "limited_threads",
    "load_classifier", "load_encoder", "load_heads", "load_image_classifier", "load_model",
    "load_own", "load_weights", "open_image", "pad", "read_config",
]  # fmt: skip
