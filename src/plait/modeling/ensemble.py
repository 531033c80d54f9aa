# SPDX-License-Identifier: Apache-2.0
"""Several classifiers over the same labels as one model: weighted averages of outputs, or stacking.

The configuration holds the members' configurations and how their outputs are combined, the weights
file all their weights. Members may be of different architectures and read different things; the
processor beside this module's model (or the tokenizer, where all read text) gives what each needs.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import (
    AutoConfig,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import SequenceClassifierOutput

from .ensemble_processing import MEMBER_CLASSES, PlaitEnsembleProcessor, PlaitEnsembleTokenizer

__all__ = [
    "COMBINATIONS",
    "MEMBER_CLASSES",
    "PlaitEnsembleConfig",
    "PlaitEnsembleForSequenceClassification",
    "PlaitEnsembleProcessor",
    "PlaitEnsembleTokenizer",
    "combine",
    "stack",
]

COMBINATIONS = ("probabilities", "logits", "stacking")
FLOOR = -30.0
"""Logarithms of probabilities below this all mean "surely not" to stacking."""
_NUMBERED = re.compile(r"_\d+$")


class PlaitEnsembleConfig(PretrainedConfig):  # type: ignore[misc]
    """What the ensemble is made of.

    Args:
        members: for each, {name, group, columns, config}: the number of its group, the column of
            its output for each of the ensemble's labels, and its own configuration.
        groups: for each kind of input, {kind, folder, suffix, modalities, max_length}: members of
            one group read the same inputs, whose names in `forward` end with `suffix`.
        combine: `probabilities`, `logits` or `stacking`.
        weights: one for each member, or for each member a list with one for each label.
        temperatures: what each member's logits are divided by.
    """

    model_type = "plait_ensemble"

    def __init__(
        self,
        members: Sequence[Mapping[str, Any]] = (),
        groups: Sequence[Mapping[str, Any]] = (),
        combine: str = "probabilities",
        weights: Sequence[Any] = (),
        temperatures: Sequence[float] = (),
        **kwargs: Any,
    ) -> None:
        self.members = [dict(member) for member in members]
        self.groups = [dict(group) for group in groups]
        self.combine = combine
        self.weights = list(weights) or [1.0] * len(self.members)
        self.temperatures = list(temperatures) or [1.0] * len(self.members)
        super().__init__(**kwargs)
        if combine not in COMBINATIONS:
            raise ValueError(f"'combine' must be one of {', '.join(COMBINATIONS)}.")
        count = {len(self.members), len(self.weights), len(self.temperatures)}
        if len(count) != 1:
            raise ValueError("An ensemble needs one weight and one temperature for each member.")
        if any(not 0 < t < float("inf") for t in self.temperatures):
            raise ValueError("An ensemble's temperatures must be above zero.")

    @property
    def modalities(self) -> tuple[str, ...]:
        """What an item may have: at least one of these."""
        found = {name for group in self.groups for name in group["modalities"]}
        return tuple(name for name in ("text", "image", "audio") if name in found)


class PlaitEnsembleForSequenceClassification(PreTrainedModel):  # type: ignore[misc]
    """The members, and the combination of their outputs."""

    config_class = PlaitEnsembleConfig
    main_input_name = "input_ids"
    _supports_sdpa = True

    def __init__(self, config: PlaitEnsembleConfig) -> None:
        super().__init__(config)
        # children of their own, not a list's: transformers ties the weights inside each
        for place, entry in enumerate(config.members):
            self.add_module(f"member_{place}", build_member(entry["config"]))
        self._accepted = [_accepted(member) for member in self.members]
        if config.combine == "stacking":
            width = len(config.members) * config.num_labels
            self.stacker = nn.Linear(width, config.num_labels)
        self.post_init()

    @property
    def members(self) -> list[Any]:
        """The members' models."""
        return [getattr(self, f"member_{place}") for place in range(len(self.config.members))]

    def forward(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        token_type_ids: Any = None,
        pixel_values: Any = None,
        group_mask: Any = None,
        labels: Any = None,
        **kwargs: Any,
    ) -> SequenceClassifierOutput:
        """Return logits [n, labels] whose softmax are the ensemble's probabilities.

        Args:
            input_ids: token ids [n, t] of the first tokenizer.
            attention_mask: [n, t].
            token_type_ids: [n, t], for members that read them.
            pixel_values: [n, 3, height, width] of the first image processor.
            group_mask: [n, groups], 0 where an item lacks what a group of members reads; the others
                answer for these. Default: all items have all that is given.
            labels: class numbers [n], for the loss.
            kwargs: the same for the other groups, with their suffix (`input_ids_1`).
        """
        kwargs |= {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "token_type_ids": token_type_ids,
            "pixel_values": pixel_values,
        }
        given = {name: value for name, value in kwargs.items() if torch.is_tensor(value)}
        found, absent = self._members_log_probabilities(given)
        if not any(rows is not None for rows in found):
            raise ValueError("The ensemble was given nothing that its members read.")
        first = next(rows for rows in found if rows is not None)
        groups = [entry["group"] for entry in self.config.members]
        present = None
        if absent or (group_mask is not None and not bool(group_mask.all())):
            present = first.new_ones(len(first), len(found), dtype=torch.bool)
            if group_mask is not None:
                present = group_mask[:, groups].bool()
            for place in absent:
                present[:, place] = False
        rows = torch.stack([torch.zeros_like(first) if r is None else r for r in found])
        logits = self.combine(rows, present)
        loss = None
        if labels is not None:
            loss = functional.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)

    def combine(self, log_probabilities: Any, present: Any = None) -> Any:
        """Return logits [n, labels] from the members' calibrated outputs [members, n, labels]."""
        if self.config.combine == "stacking":
            if present is not None and not bool(present.all()):
                raise ValueError("A stacked ensemble needs the outputs of all its members.")
            return stack(log_probabilities, self.stacker.weight, self.stacker.bias)
        weights = torch.tensor(self.config.weights, dtype=log_probabilities.dtype)
        return combine(
            log_probabilities, weights.to(log_probabilities.device), self.config.combine, present
        )

    def _members_log_probabilities(self, given: Mapping[str, Any]) -> tuple[list[Any], list[int]]:
        """Return each member's calibrated rows, and the places of those given nothing."""
        found: list[Any] = []
        absent = []
        for place, (member, entry) in enumerate(
            zip(self.members, self.config.members, strict=True)
        ):
            inputs = _inputs(given, self.config.groups[entry["group"]])
            accepted = self._accepted[place]
            if accepted is not None:
                inputs = {name: value for name, value in inputs.items() if name in accepted}
            if not inputs:
                found.append(None)
                absent.append(place)
                continue
            logits = member(**inputs).logits.float()[:, entry["columns"]]
            found.append(torch.log_softmax(logits / self.config.temperatures[place], dim=-1))
        return found, absent


def combine(log_probabilities: Any, weights: Any, kind: str, present: Any = None) -> Any:
    """Return the logarithms [n, classes] of what members' probabilities make together.

    `probabilities` averages them (a linear opinion pool), `logits` their logarithms (a logarithmic
    pool, which is averaging logits: the constants in which they differ cancel). Weights are divided
    by their sum over the members, and the result made to sum to 1.

    Args:
        log_probabilities: [members, n, classes].
        weights: [members], or for each class [members, classes]; none below zero.
        kind: `probabilities` or `logits`.
        present: [n, members], false where a member has no answer; the others' weights count.
    """
    shares = weights.reshape(len(weights), 1, -1).expand(
        -1, log_probabilities.shape[1], log_probabilities.shape[2]
    )
    if present is not None:
        there = present.T[..., None]
        shares = torch.where(there, shares, torch.zeros_like(shares))
        alone = shares.sum(0, keepdim=True) == 0  # all who answer have no weight: they count alike
        shares = torch.where(alone & there, torch.ones_like(shares), shares)
        log_probabilities = torch.where(
            there, log_probabilities, torch.zeros_like(log_probabilities)
        )
    shares = shares / shares.sum(0, keepdim=True)
    if kind == "logits":
        return torch.log_softmax((shares * log_probabilities).sum(0), dim=-1)
    return torch.log_softmax(torch.logsumexp(log_probabilities + shares.log(), dim=0), dim=-1)


def stack(log_probabilities: Any, coefficients: Any, intercepts: Any) -> Any:
    """Return logits [n, classes] of a linear model on all members' outputs.

    Args:
        log_probabilities: [members, n, classes].
        coefficients: [classes, members × classes].
        intercepts: [classes].
    """
    members, count, classes = log_probabilities.shape
    rows = log_probabilities.clamp(min=FLOOR).permute(1, 0, 2).reshape(count, members * classes)
    return functional.linear(rows, coefficients, intercepts)


def build_member(config: Mapping[str, Any]) -> Any:
    """Return a member with fresh weights, from its configuration; no code of a folder is run."""
    kind = config["model_type"]
    values = {k: v for k, v in config.items() if k not in ("model_type", "auto_map", "dtype")}
    if kind == PlaitEnsembleConfig.model_type:
        return PlaitEnsembleForSequenceClassification(PlaitEnsembleConfig(**values))
    if kind in MEMBER_CLASSES:
        config_class, model_class, _ = MEMBER_CLASSES[kind]
        return model_class(config_class(**values))
    made = AutoConfig.for_model(kind, **values)
    names = config.get("architectures") or ()
    pictures = any(str(name).endswith("ForImageClassification") for name in names)
    auto = AutoModelForImageClassification if pictures else AutoModelForSequenceClassification
    return auto.from_config(made, trust_remote_code=False)


def _accepted(member: Any) -> frozenset[str] | None:
    """Return the names of what a member's forward takes; None for anything."""
    if isinstance(member, PlaitEnsembleForSequenceClassification):
        return None
    return frozenset(inspect.signature(member.forward).parameters) - {"kwargs", "labels"}


def _inputs(given: Mapping[str, Any], group: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is meant for a group, under the names that its members know."""
    suffix = group["suffix"]
    if suffix:
        mine = {n.removesuffix(suffix): value for n, value in given.items() if n.endswith(suffix)}
    else:
        mine = {name: value for name, value in given.items() if not _NUMBERED.search(name)}
    if group["kind"] == "image":
        return {name: value for name, value in mine.items() if name == "pixel_values"}
    if group["kind"] == "tokenizer":  # some models of images take a mask, too, which is not this
        return {name: value for name, value in mine.items() if name != "pixel_values"}
    return mine
