# SPDX-License-Identifier: Apache-2.0
"""What a fusion method is: its parameters, and a function over blocks of a tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

from plait.errors import BadInput
from plait.fusion.weights.numbers import Array, round_scalar, round_to
from plait.recipes.parameters import hint

Value = float | bool | str


@dataclass(frozen=True)
class Parameter:
    """A parameter of a method: its kind, default (None: must be given), bounds or known words."""

    name: str
    default: Value | None
    help: str
    per_model: bool = False
    low: float | None = None
    high: float | None = None
    words: tuple[str, ...] = ()

    @property
    def is_flag(self) -> bool:
        """Whether the value is true or false rather than a number."""
        return isinstance(self.default, bool)

    def checked(self, found: float | bool | str) -> Value:
        """Return a recipe's value as the method reads it.

        Raises:
            BadInput: if it is of the wrong kind, out of bounds, or no known word.
        """
        key, low, high = self.name, self.low, self.high
        if self.words:
            if found in self.words:
                return str(found)
            raise BadInput(
                f"'{key}' must be one of {', '.join(self.words)}, not '{found!s:.60}'"
                f"{hint(str(found), self.words)}"
            )
        if self.is_flag:
            if isinstance(found, bool) or found in (0, 1):
                return bool(found)
            raise BadInput(f"'{key}' must be true or false, not {found!r:.60}.")
        if isinstance(found, bool | str):
            raise BadInput(f"'{key}' must be a number, not {found!r:.60}.")
        if (low is not None and found < low) or (high is not None and found > high):
            raise BadInput(f"'{key}' is {found} but must be from {low:g} to {high:g}.")
        return float(found)


@dataclass
class Block:
    """A run of elements of one tensor, flat, from every model.

    `base` and `models` are float arrays that the method may overwrite (they are scratch of the
    engine), `models` without the base. `settings` has one mapping of per-model parameters for each
    model, `options` the global ones, `state` what the method's `prepare` returned. `keys` name the
    content of each model, for random draws that do not depend on order. `statistics` are what each
    model's owner published of its data about these elements, or about the tensor. `rows` is what
    `multiply_add.weighted_sum` takes, where the method asked for it.
    """

    tensor: str
    start: int
    total: int
    shape: tuple[int, ...]
    base: Array | None
    models: Sequence[Array]
    settings: Sequence[Mapping[str, Value]]
    options: Mapping[str, Value]
    keys: Sequence[bytes]
    arithmetic: str
    state: Any
    statistics: Sequence[Array | None]
    spare: Callable[[str, Any], Array]
    rows: Array | None = None

    def weights(self) -> list[float]:
        """Return each model's weight as the arithmetic's format holds it."""
        return [round_scalar(float(s["weight"]), self.arithmetic) for s in self.settings]

    def scratch(self, name: str) -> Array:
        """Return a float array of the block's size to write into, the same for the same name."""
        first = self.models[0]
        return self.spare(name, first.dtype)[: first.size]

    def mask(self, name: str) -> Array:
        """Return a boolean array of the block's size to write into."""
        return self.spare(name, np.dtype(bool))[: self.models[0].size]

    def round(self, values: Array) -> None:
        """Round `values` in place to the arithmetic's format; nothing to do for float32."""
        if self.arithmetic in ("BF16", "F16"):
            round_to(
                values, self.arithmetic, self.spare("round", np.dtype(np.uint32))[: values.size]
            )


class Sweep(Protocol):
    """A tensor that can be gone through more than once, block by block.

    `state` is what the method's `survey` returned.
    """

    state: Any
    total: int
    shape: tuple[int, ...]
    settings: Sequence[Mapping[str, Value]]
    options: Mapping[str, Value]

    @property
    def arithmetic_bytes(self) -> int:
        """Bytes of a float that blocks hold: 4 or 8."""
        ...

    def blocks(self, models: Sequence[int] | None = None) -> Iterator[Block]:
        """Yield the blocks in order, with only the models of the given places (default: all)."""
        ...


Each = Callable[[Callable[[Sweep], Any]], Iterator[Any]]
"""Call a function with every tensor's sweep, on several threads; yield what it gives, in order."""


@dataclass(frozen=True)
class Method:
    """A way of fusing.

    `combine(block, out)` writes the fused values of a block. `prepare(sweep)` may go through the
    whole tensor first; what it returns is the blocks' `state`. With `whole` a block is always a
    whole tensor, for methods whose arithmetic is not element by element; `unit(shape, options)`
    says how many elements (a row) must lie in one block. `check(settings, options)` refuses
    parameters that do not go together. `base` says what `base_model` is: needed, one of the models
    that are interpolated, used if it is given, or only a donor of configuration. `random` methods
    draw by the content of their models, which are hashed first. Of several `dialects` the first is
    the default. `statistics` names what is read beside each model's weights.
    `survey(each, options)` may go through all tensors before any is made (a threshold for the whole
    model); what it returns is the blocks' `state`, unless `prepare`, which sees it as the sweep's,
    returns another. `learns` names what a method learns from texts of the recipe's tasks first: see
    `plait.fusion.weights.learning`. With `rows` float32 blocks have theirs.
    With `shows_unfinite` NaN and infinity of any input show in what is made, so that inputs are
    looked through only where they did.
    """

    name: str
    title: str
    paper: str
    parameters: tuple[Parameter, ...]
    combine: Callable[[Block, Array], None]
    prepare: Callable[[Sweep], Any] | None = None
    needs_prepare: Callable[[Sequence[Mapping[str, Value]], Mapping[str, Value]], bool] = field(
        default=lambda settings, options: True
    )
    base: Literal["required", "unused", "member", "optional"] = "unused"
    models: tuple[int, int | None] = (1, None)
    whole: bool = False
    unit: Callable[[Sequence[int], Mapping[str, Value]], int] | None = None
    check: Callable[[Sequence[Mapping[str, Value]], Mapping[str, Value]], None] | None = None
    random: bool = False
    dialects: tuple[str, ...] = ("mergekit",)
    statistics: str | None = None
    survey: Callable[[Each, Mapping[str, Value]], Any] | None = None
    learns: Literal["gram", "weight"] | None = None
    rows: bool = False
    shows_unfinite: bool = False

    def parameter(self, name: str) -> Parameter | None:
        """Return the description of a parameter, or None."""
        return next((p for p in self.parameters if p.name == name), None)


WEIGHT = Parameter("weight", None, "share of this model", per_model=True, low=-1e6, high=1e6)
LAMBDA = Parameter("lambda", 1.0, "factor on the sum of all changes", low=-1e6, high=1e6)
DENSITY = Parameter(
    "density", 1.0, "share of a model's changes that is kept", per_model=True, low=0.0, high=1.0
)


def normalize(default: bool) -> Parameter:
    """Return the `normalize` parameter with a method's own default."""
    return Parameter("normalize", default, "divide by the sum of the weights")


def rescale(default: bool) -> Parameter:
    """Return the `rescale` parameter with a method's own default."""
    return Parameter("rescale", default, "scale what is kept to the size of what there was")
