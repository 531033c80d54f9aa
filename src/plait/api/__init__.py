# SPDX-License-Identifier: Apache-2.0
"""The Hub's wire protocol, as the stock clients speak it, and Plait's own routes."""

from __future__ import annotations

from plait.api.app import create_api

__all__ = ["create_api"]
