# SPDX-License-Identifier: Apache-2.0
"""Differential privacy for sums over texts: clipped contributions and Gaussian noise.

The guarantee is for adding or removing one text: with probability 1 - delta, nobody who sees the
result can tell by more than a factor e^epsilon whether the text was among those summed up. The
noise comes from the operating system's randomness and is never seeded: who knows the noise can take
it away. It is drawn in floating point, whose gaps are not hidden (Mironov 2012).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from plait.errors import BadInput, MissingExtra

EXACT = "exact: no guarantee"


@dataclass(frozen=True)
class Privacy:
    """What is asked for: (epsilon, delta), for one text more or less."""

    epsilon: float
    delta: float = 1e-5
    random: np.random.Generator = field(default_factory=np.random.default_rng)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.epsilon) and 0 < self.epsilon <= 1000):
            raise BadInput(f"epsilon must be above 0 and at most 1000, not {self.epsilon:g}.")
        if not 0 < self.delta < 1:
            raise BadInput(f"delta must be between 0 and 1, not {self.delta:g}.")

    def __str__(self) -> str:
        return (
            f"({self.epsilon:g}, {self.delta:g})-differential privacy for one text added or "
            "removed (analytic Gaussian mechanism)"
        )


def noise_for(epsilon: float, delta: float) -> float:
    """Return the least deviation of Gaussian noise that hides a difference of length 1.

    Balle and Wang 2018, The analytic Gaussian mechanism, arXiv:1805.06530, theorem 8: noise of
    deviation s gives (epsilon, delta) if and only if
    Phi(1/2s - epsilon s) - e^epsilon Phi(-1/2s - epsilon s) is at most delta.

    Raises:
        MissingExtra: if scipy is not installed.
    """
    try:
        from scipy.special import log_ndtr
    except ImportError:
        raise MissingExtra("scipy", "train") from None

    def leak(deviation: float) -> float:
        half, slope = 1 / (2 * deviation), epsilon * deviation
        first = math.exp(float(log_ndtr(half - slope)))
        return first - math.exp(epsilon + float(log_ndtr(-half - slope)))

    low = high = 1.0
    while leak(high) > delta:
        high *= 2
    while leak(low) <= delta:
        low /= 2
    for _ in range(100):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if leak(middle) > delta else (low, middle)
    return high


class Clipped:
    """A sum of contributions, each at most 1 long after its parts were divided by public scales.

    Args:
        scales: what each part is divided by, so that all parts count alike; it must not depend on
            the texts.
    """

    def __init__(self, scales: dict[str, float]) -> None:
        self._length = math.sqrt(len(scales))
        self._scales = scales
        self.sums: dict[str, Any] = {}
        self.clipped = 0

    def add(self, parts: dict[str, Any]) -> None:
        """Add one text's parts (torch tensors), made shorter if they are too long together."""
        square = sum(float(v.square().sum()) / self._scales[n] ** 2 for n, v in parts.items())
        # float32 may have summed a little too little
        factor = min(1.0, self._length / max(math.sqrt(square) * (1 + 1e-5), 1e-30))
        self.clipped += factor < 1
        for name, values in parts.items():
            if name not in self.sums:
                self.sums[name] = values.double() * factor
            else:
                self.sums[name].add_(values, alpha=factor)

    def add_products(self, parts: dict[str, Any]) -> None:
        """Add the parts XᵀX of several texts, each of which is made shorter if it is too long.

        Args:
            parts: X by name, [texts, rows, width]. A part is never made by itself: it is as long as
                XXᵀ, which is small, and the sum of parts is one product.
        """
        square: Any = 0.0
        for name, values in parts.items():
            inner = (values @ values.mT).double()
            square = square + inner.square().sum((1, 2)) / self._scales[name] ** 2
        lengths = square.sqrt() * (1 + 1e-5)  # float32 may have summed a little too little
        factors = (self._length / lengths.clamp(min=1e-30)).clamp(max=1.0)
        self.clipped += int((factors < 1).sum())
        for name, values in parts.items():
            cut = values * factors[:, None, None].to(values.dtype)
            found = (cut.flatten(0, 1).T @ values.flatten(0, 1)).double()
            self.sums[name] = self.sums[name].add_(found) if name in self.sums else found

    def noised(self, deviation: float, random: np.random.Generator) -> dict[str, Any]:
        """Return the sums with noise; `deviation` is of noise for contributions of length 1.

        Matrices of inner products (names that begin with `gram.`) get symmetric noise: one triangle
        says all.
        """
        import torch

        found = {}
        for name, values in self.sums.items():
            size = deviation * self._length * self._scales[name]
            drawn = torch.from_numpy(random.standard_normal(tuple(values.shape)))
            if name.startswith("gram.") and values.dim() == 2:
                upper = torch.triu(drawn, 1)
                # an entry off the diagonal counts twice in a matrix's length
                drawn = torch.diag(torch.diag(drawn)) + (upper + upper.T) / math.sqrt(2)
            found[name] = values + size * drawn
        return found


def nearest_positive(matrix: Any) -> Any:
    """Return the symmetric matrix without negative eigenvalues that is nearest to another.

    What is done to a noised sum costs no privacy.
    """
    import torch

    sizes, vectors = torch.linalg.eigh(matrix)
    return (vectors * sizes.clamp(min=0)) @ vectors.T
