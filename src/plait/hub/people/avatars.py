# SPDX-License-Identifier: Apache-2.0
"""A picture for every account, drawn from its name alone."""

from __future__ import annotations

import hashlib

_HUES = (12, 36, 88, 142, 172, 200, 222, 256, 286, 330)


def draw_avatar(name: str) -> str:
    """Return an SVG of the name's first letters on a colour of its own.

    The same name gives the same picture, whether or not there is such an account.
    """
    key = name.lower()
    digest = hashlib.sha256(key.encode()).digest()
    hue = _HUES[digest[0] % len(_HUES)]
    words = [word for word in key.replace("_", "-").replace(".", "-").split("-") if word]
    letters = "".join(word[0] for word in words[:2]).upper() or "?"
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64" width="64" height="64">'
        f'<rect width="64" height="64" fill="hsl({hue},45%,32%)"/>'
        '<text x="32" y="33" fill="#fff" font-family="system-ui,sans-serif" font-size="28" '
        'font-weight="600" text-anchor="middle" dominant-baseline="central">'
        f"{''.join(letter for letter in letters if letter.isalnum()) or '?'}</text></svg>\n"
    )
