# SPDX-License-Identifier: Apache-2.0
"""Webhooks: telling other machines what happens, signed, retried, and never inside a network."""

from __future__ import annotations

from plait.hub.webhooks.addresses import check_address
from plait.hub.webhooks.records import DeliveryPage, Webhooks
from plait.hub.webhooks.signatures import SIGNATURE_HEADER, sign_message, verify_message

__all__ = [
    "SIGNATURE_HEADER",
    "DeliveryPage",
    "Webhooks",
    "check_address",
    "sign_message",
    "verify_message",
]
