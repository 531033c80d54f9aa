# SPDX-License-Identifier: Apache-2.0
"""Passwords: which are good enough, and how they are kept."""

from __future__ import annotations

import threading
import unicodedata
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from plait.errors import BadInput

SHORTEST = 10
LONGEST = 256

_HASHER = PasswordHasher()
"""Argon2id with the parameters of RFC 9106 for little memory: 64 MiB, three passes."""
_AT_ONCE = threading.BoundedSemaphore(3)
"""Each takes 64 MiB: a crowd at the door must not take all memory."""

_COMMON = frozenset(
    """
    password passwort motdepasse contrasena passw0rd p@ssword p@ssw0rd pass administrator admin
    changeme letmein welcome iloveyou sunshine princess football baseball basketball superman
    batman trustno1 dragon monkey shadow master michael jennifer jordan hunter ranger harley
    qwerty qwertyuiop qwertyui qwert asdfgh asdfghjkl zxcvbn zxcvbnm azerty azertyuiop qazwsx
    qazwsxedc 1q2w3e 1q2w3e4r 1q2w3e4r5t 1qaz2wsx zaq12wsx abc abcd abcdef abcdefg abcdefgh
    abcdefghij abcdefghijklmnopqrstuvwxyz secret topsecret default guest login root toor test
    testing user username access hello helloworld whatever internet computer samsung google
    huggingface hugging plait hub model models transformer transformers machinelearning
    deeplearning woaini woaini1314 5201314 asdasd asd zxc qwe mynoob charlie donald liverpool
    chelsea arsenal starwars pokemon pokemon123 naruto summer winter spring autumn january
    correcthorsebatterystaple
    """.split()  # noqa: SIM905
)
"""What is left of the passwords that everybody tries first, without digits and signs around."""
_ROWS = (
    "01234567890123456789",
    "abcdefghijklmnopqrstuvwxyz",
    "qwertyuiopasdfghjklzxcvbnm",
    "azertyuiopqsdfghjklmwxcvbn",
    "1q2w3e4r5t6y7u8i9o0p",
    "1qaz2wsx3edc4rfv5tgb6yhn",
)


def check_password(password: str, name: str = "") -> str:
    """Return a new password in the form that is kept if it is good enough.

    Raises:
        BadInput: it is too short or too long, or among the first that anybody would try.
    """
    password = _normal(password)
    if len(password) < SHORTEST:
        raise BadInput(f"The password is too short: use at least {SHORTEST} characters.")
    if len(password) > LONGEST:
        raise BadInput(f"The password is too long: use at most {LONGEST} characters.")
    if is_common(password) or (name and name.lower() in password.lower()[: len(name) + 4]):
        raise BadInput(
            "This password is among the first that anybody would try. "
            "Use several unrelated words, or let a password manager make one."
        )
    return password


def is_common(password: str) -> bool:
    """Tell whether a password is a well-known one, perhaps with digits and signs around it."""
    text = password.lower()
    core = text.strip("0123456789!@#$%^&*()-_=+.,?~ ")
    if core in _COMMON or text in _COMMON or (not core and len(set(text)) <= 4):
        return True
    if len(set(text)) <= 2 or text in (text + text)[1:-1]:
        return True
    return any(text in row * 2 or text in (row * 2)[::-1] for row in _ROWS)


def hash_password(password: str) -> str:
    """Return what is kept of a password."""
    with _AT_ONCE:
        return _HASHER.hash(_normal(password))


def verify_password(kept: str | None, password: str) -> bool:
    """Tell whether this is the password; without one it takes as long to say no."""
    if len(password) > 4 * LONGEST:
        return False
    try:
        with _AT_ONCE:
            return _HASHER.verify(kept or _nobody(), _normal(password)) and kept is not None
    except (Argon2Error, InvalidHashError):
        return False


def needs_rehash(kept: str) -> bool:
    """Tell whether a hash was made with other parameters than those of now."""
    return _HASHER.check_needs_rehash(kept)


@cache
def _nobody() -> str:
    """Return a hash that no password has; verified where there is no account, for the time."""
    return _HASHER.hash("\0nobody")


def _normal(password: str) -> str:
    """Bring what keyboards write in several ways into one form (NIST SP 800-63B)."""
    return unicodedata.normalize("NFKC", password.encode("utf-8", "replace").decode())
