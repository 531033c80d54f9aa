# SPDX-License-Identifier: Apache-2.0
"""The pages: rendered on the server, readable without JavaScript, in two languages."""

from plait.web.app import add_pages

__all__ = ["add_pages"]
