# SPDX-License-Identifier: Apache-2.0
"""Number formats of tensors: their sizes, and conversion to and from what numpy calculates in.

numpy has no bfloat16: it is held as uint16, the upper half of a float32, and rounded to nearest,
ties to even, as hardware does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]
else:
    Array = np.ndarray  # numpy.typing takes a tenth of the whole start to import

# safetensors' name of a format -> the numpy type that holds its bytes
STORAGE: dict[str, np.dtype[Any]] = {
    "BF16": np.dtype("<u2"),
    "F16": np.dtype("<f2"),
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
    "BOOL": np.dtype("?"),
    "U8": np.dtype("u1"),
    "I8": np.dtype("i1"),
    "U16": np.dtype("<u2"),
    "I16": np.dtype("<i2"),
    "U32": np.dtype("<u4"),
    "I32": np.dtype("<i4"),
    "U64": np.dtype("<u8"),
    "I64": np.dtype("<i8"),
    "C64": np.dtype("<c8"),
    "F8_E4M3": np.dtype("u1"),
    "F8_E5M2": np.dtype("u1"),
    "F8_E8M0": np.dtype("u1"),
}
FLOATS = ("F16", "BF16", "F32", "F64")
CODES = {"float16": "F16", "bfloat16": "BF16", "float32": "F32", "float64": "F64"}
NAMES = {code: name for name, code in CODES.items()}

# the largest magnitude that still rounds to a finite number
LIMITS = {
    "F16": 65519.996,
    "BF16": 3.3961775292304957e38,
    "F32": float(np.finfo(np.float32).max),
    "F64": float(np.finfo(np.float64).max),
}


def promote(codes: set[str]) -> str:
    """Return the smallest float format that holds every one of `codes` without loss."""
    if len(codes) == 1:
        return next(iter(codes))
    if "F64" in codes:
        return "F64"
    return "F32"


def decode(raw: Array, code: str, out: Array) -> None:
    """Write the values stored in `raw` (format `code`) into the float array `out`, exactly."""
    if code == "BF16" and out.dtype == np.float32:
        np.left_shift(raw, 16, out=out.view(np.uint32), dtype=np.uint32, casting="unsafe")
    elif code == "BF16":
        out[:] = (raw.astype(np.uint32) << np.uint32(16)).view(np.float32)
    else:
        np.copyto(out, raw, casting="unsafe")


def encode(values: Array, code: str, out: Array, spare: Array) -> None:
    """Round `values` into `out`, the storage of format `code`; `spare` (uint32, same size) is used.

    Values must be finite and within `LIMITS[code]`.
    """
    if code != "BF16":
        np.copyto(out, values, casting="unsafe")
        return
    single = values if values.dtype == np.float32 else _round_to_odd(values)
    bits = single.view(np.uint32)
    np.right_shift(bits, 16, out=spare)
    np.bitwise_and(spare, 1, out=spare)
    np.add(spare, 0x7FFF, out=spare)
    np.add(spare, bits, out=spare)
    # a shift and a narrowing are half the price of every second half-word
    np.right_shift(spare, 16, out=spare)
    np.copyto(out, spare, casting="unsafe")


def round_to(values: Array, code: str, spare: Array) -> None:
    """Round float32 `values` in place to what format `code` can hold."""
    if code == "BF16":
        bits = values.view(np.uint32)
        np.right_shift(bits, 16, out=spare)
        np.bitwise_and(spare, 1, out=spare)
        np.add(spare, 0x7FFF, out=spare)
        np.add(bits, spare, out=bits)
        np.bitwise_and(bits, 0xFFFF0000, out=bits)
    elif code == "F16":
        with np.errstate(over="ignore"):  # an overflow is found, and named, by the caller's check
            values[:] = values.astype(np.float16)


def round_scalar(value: float, code: str) -> float:
    """Return `value` as format `code` would hold it."""
    if code == "BF16":
        array = np.array([value], np.float32)
        round_to(array, code, np.empty(1, np.uint32))
        return float(array[0])
    return float(np.asarray(value).astype(STORAGE[code]))


def all_finite(values: Array) -> bool:
    """Tell whether `values` hold neither NaN nor infinity: their extremes tell."""
    if not values.size:
        return True
    most, least = np.maximum.reduce(values), np.minimum.reduce(values)
    return bool(np.isfinite(most) and np.isfinite(least))


def stored_finite(raw: Array, code: str, spare: Array) -> bool | None:
    """Tell whether stored bfloat16 holds neither NaN nor infinity; None: of other formats unknown.

    Both have all bits of the exponent set. `spare` is a buffer of the same kind and size.
    """
    if code != "BF16" or not raw.size:
        return None
    np.bitwise_and(raw, 0x7FFF, out=spare)
    return bool(np.maximum.reduce(spare) < 0x7F80)


def _round_to_odd(values: Array) -> Array:
    """Return float64 `values` as float32, rounded so that a second rounding cannot go wrong."""
    single = values.astype(np.float32)
    wide = single.astype(np.float64)
    bits = single.view(np.uint32)
    inexact = wide != values
    away = inexact & (np.abs(wide) > np.abs(values))
    bits[away] -= 1  # now truncated toward zero
    bits[inexact] |= 1
    return single
