# SPDX-License-Identifier: Apache-2.0
"""The ``plait`` command; each module holds the commands of one noun."""
