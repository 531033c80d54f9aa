# SPDX-License-Identifier: Apache-2.0
"""The demo: real models, real text, four organisations, one hub."""
