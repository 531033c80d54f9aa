# SPDX-License-Identifier: Apache-2.0
"""Whether models are of one architecture, and the sentence that says why not."""

from __future__ import annotations

from collections.abc import Mapping

from plait.errors import BadInput
from plait.fusion.weights.checkpoints import Checkpoint


class Misfit(BadInput):
    """Models do not fit together, whatever else the recipe says of them."""


# settings that must be alike for weights of one shape to mean the same
SAME_CONFIG = (
    "model_type",
    "num_attention_heads",
    "num_key_value_heads",
    "n_head",
    "head_dim",
    "hidden_act",
)


def different(first: str, second: str, models: Mapping[str, Checkpoint], why: str) -> str:
    """Return the sentence that says that two models do not have the same architecture."""
    return (
        f"'{first}' ({models[first].architecture}) and '{second}' ({models[second].architecture}) "
        f"do not have the same architecture: {why}. Weights can be fused only between fine-tunes "
        "of one base; combine the outputs of these models instead."
    )


def other_vocabulary(
    first: str, second: str, name: str, shapes: tuple[tuple[int, ...], tuple[int, ...]]
) -> str:
    """Return the sentence about embeddings `name` of two models with different numbers of rows."""
    return (
        f"'{first}' and '{second}' have vocabularies of different sizes: '{name}' has the shape "
        f"{list(shapes[0])} in the first and {list(shapes[1])} in the second. Give "
        "'tokenizer_source: union', which keeps every token, or 'base'."
    )


def check_alike(models: Mapping[str, Checkpoint]) -> None:
    """Refuse models whose configurations say that equal shapes do not mean equal roles.

    Raises:
        Misfit: naming the two models and what differs.
    """
    references = list(models)
    first = references[0]
    for other in references[1:]:
        one, two = models[first].config, models[other].config
        for key in SAME_CONFIG:
            if key in one and key in two and one[key] != two[key]:
                raise Misfit(
                    different(
                        first, other, models, f"'{key}' is {one[key]!r:.60} and {two[key]!r:.60}"
                    )
                )
    labelled = [(r, m.config.get("label2id")) for r, m in models.items()]
    named = [(r, v) for r, v in labelled if isinstance(v, dict) and not any(map(_is_default, v))]
    for other, labels in named[1:]:
        if labels != named[0][1]:
            raise Misfit(
                f"'{named[0][0]}' and '{other}' number their labels differently "
                f"({named[0][1]!r:.100} and {labels!r:.100}); fine-tune them with the same labels."
            )


def _is_default(label: object) -> bool:
    return isinstance(label, str) and label.startswith("LABEL_")
