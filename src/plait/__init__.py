# SPDX-License-Identifier: Apache-2.0
"""Plait: a Hugging-Face-compatible hub where a pull request's merge really merges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plait.evaluation import evaluate
    from plait.fusion import fuse

__version__ = "0.1.0"
__all__ = ["__version__", "evaluate", "fuse"]

_LAZY = {"fuse": "plait.fusion", "evaluate": "plait.evaluation"}


def __getattr__(name: str) -> Any:
    """Import an engine only when it is asked for, so that ``import plait`` stays light."""
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'plait' has no attribute {name!r}")
