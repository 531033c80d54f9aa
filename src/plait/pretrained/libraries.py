# SPDX-License-Identifier: Apache-2.0
"""torch and transformers, imported when they are needed, quiet, with so many threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from plait.errors import MissingExtra


def libraries() -> tuple[Any, Any]:
    """Return torch and transformers.

    Raises:
        MissingExtra: one of them is not installed.
    """
    try:
        import torch
        import transformers
    except ImportError as error:
        raise MissingExtra(error.name or "torch", "train") from None
    transformers.utils.logging.disable_progress_bar()
    return torch, transformers


@contextmanager
def quiet(transformers: Any) -> Iterator[None]:
    """Keep transformers' advice about missing weights off the terminal: they are checked here."""
    log = transformers.utils.logging
    before = log.get_verbosity()
    log.set_verbosity_error()
    try:
        yield
    finally:
        log.set_verbosity(before)


@contextmanager
def limited_threads(threads: int | None) -> Iterator[None]:
    """Let torch use so many threads inside, and as many as before afterwards."""
    import torch

    before = torch.get_num_threads()
    try:
        if threads is not None:
            torch.set_num_threads(threads)
        yield
    finally:
        torch.set_num_threads(before)
