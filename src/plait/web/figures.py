# SPDX-License-Identifier: Apache-2.0
"""How the pages write scores, differences, sizes and times."""

from __future__ import annotations

import math

MINUS = "\u2212"
NONE = "–"


def percent(value: float | None) -> str:
    """Write a score (0..1) in percent with one decimal, without the sign."""
    return f"{100 * value:.1f}" if value is not None and math.isfinite(value) else NONE


def axis(value: float) -> str:
    """Write a score on an axis: in percent, as short as it can be."""
    return f"{100 * value:.4g}"


def points(value: float | None) -> str:
    """Write a difference of scores in percentage points, always with its sign."""
    if value is None or not math.isfinite(value):
        return NONE
    shown = f"{abs(100 * value):.1f}"
    if float(shown) == 0:
        return "0.0"
    return f"{'+' if value > 0 else MINUS}{shown}"


def interval(low: float | None, high: float | None) -> str:
    """Write an interval of scores in percent."""
    return NONE if low is None or high is None else f"{percent(low)} – {percent(high)}"


def points_interval(low: float | None, high: float | None) -> str:
    """Write an interval of differences in percentage points."""
    return NONE if low is None or high is None else f"{points(low)} … {points(high)}"


def decimal(value: float | None, digits: int = 3) -> str:
    """Write a plain number with at most ``digits`` significant digits after the point."""
    if value is None or not math.isfinite(value):
        return NONE
    if value != 0 and abs(value) < 10**-digits:
        return f"{value:.1e}"
    return f"{value:.{digits}f}".rstrip("0").rstrip(".").replace("-", MINUS) or "0"


def probability(value: float | None) -> str:
    """Write a p-value."""
    if value is None or not math.isfinite(value):
        return NONE
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def size(count: int) -> str:
    """Write a number of bytes."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if amount < 1000 or unit == "TB":
            return f"{count} B" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{count} B"


def seconds(value: float | None) -> str:
    """Write a duration."""
    if value is None or not math.isfinite(value):
        return NONE
    if value < 10:
        return f"{value:.1f} s"
    if value < 120:
        return f"{value:.0f} s"
    if value < 7200:
        return f"{int(value // 60)} min {int(value % 60)} s"
    return f"{int(value // 3600)} h {int(value % 3600 // 60)} min"


def quantity(value: int) -> str:
    """Write a large count shortly: 22.7 M."""
    for limit, unit in ((10**9, " G"), (10**6, " M"), (10**3, " k")):
        if value >= limit:
            return f"{value / limit:.1f}{unit}"
    return str(value)


def parameter_text(value: object) -> str:
    """Write a method's parameter: numbers short, lists and mappings on one line."""
    if isinstance(value, bool) or value is None:
        return str(value).lower() if value is not None else NONE
    if isinstance(value, int | float):
        return decimal(float(value), 4)
    if isinstance(value, dict):
        return ", ".join(f"{key} {parameter_text(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(parameter_text(item) for item in value)
    return str(value)
