# SPDX-License-Identifier: Apache-2.0
"""Keeping the store whole: garbage, checks, backups."""
