# SPDX-License-Identifier: Apache-2.0
"""``python -m plait``: the command, where it is not on the path."""

from __future__ import annotations

from plait.cli.main import main

if __name__ == "__main__":
    main()
