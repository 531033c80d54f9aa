# SPDX-License-Identifier: Apache-2.0
"""What accounts, repositories, files and revisions may be called, checked here once."""

from __future__ import annotations

import re
import unicodedata

from plait.errors import BadInput

MAX_NAME = 96
MAX_PATH = 1024
MAX_SEGMENT = 255
MAX_DEPTH = 64
MAX_REVISION = 200

REPOSITORY_TYPES = ("model", "dataset", "space")

RESERVED_NAMESPACES = frozenset(
    """
    about account accounts activity api assets auth avatars badges blog buckets chat collections
    commit commits compare contact dataset datasets discussions docs enterprise explore favicon.ico
    healthz help hub info inference jobs join kernels lineage login logout metrics model models
    new none notifications null oauth organization organizations orgs papers plait pricing
    privacy pulls raw readyz resolve robots.txt search security sessions settings signin signout
    signup space spaces static status suggest support system tags tasks terms tokens tree undefined
    uploads user users v1 v2 webhooks zero-gpu
    """.split()  # noqa: SIM905
)
"""First path segments that the server uses itself, or may come to use."""

_NAME = re.compile(r"\A[A-Za-z0-9._-]+\Z")
_OID = re.compile(r"\A[0-9a-f]{40}\Z")
_SHORT_OID = re.compile(r"\A[0-9a-f]{7,40}\Z")
_PULL_REF = re.compile(r"\Arefs/pr/([1-9][0-9]{0,8})\Z")
_REF_FORBIDDEN = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//")
_WINDOWS_DEVICES = frozenset(
    ["con", "prn", "aux", "nul", "conin$", "conout$"]
    + [f"{device}{digit}" for device in ("com", "lpt") for digit in "123456789¹²³"]
)


def _show(text: str) -> str:
    """Quote a stranger's text for an error message, cut to a readable length."""
    shown = ascii(text[:80])
    return shown if len(text) <= 80 else f"{shown[:-1]}…'"


def check_name(name: str, what: str = "repository") -> str:
    """Return ``name`` if an account or repository may be called that.

    Raises:
        BadInput: it breaks one of the Hub's rules; the message says which.
    """
    shown = _show(name)
    if not name:
        raise BadInput(f"The {what} name is empty. Give it a name.")
    if len(name) > MAX_NAME:
        raise BadInput(f"The {what} name {shown} is longer than {MAX_NAME} characters.")
    if not _NAME.match(name):
        raise BadInput(
            f"The {what} name {shown} may hold only letters, digits, '-', '_' and '.' "
            "(A-Z, a-z, 0-9)."
        )
    if name[0] in "-." or name[-1] in "-.":
        raise BadInput(f"The {what} name {shown} may not start or end with '-' or '.'.")
    if "--" in name or ".." in name:
        raise BadInput(f"The {what} name {shown} may not contain '--' or '..'.")
    if name.lower().endswith((".git", ".ipynb")):
        raise BadInput(f"The {what} name {shown} may not end with '.git' or '.ipynb'.")
    return name


def check_namespace(name: str, what: str = "account") -> str:
    """Return ``name`` if a user or organisation may be called that.

    Raises:
        BadInput: it breaks a rule of names, or the server uses the word itself.
    """
    check_name(name, what)
    if name.lower() in RESERVED_NAMESPACES:
        raise BadInput(f"The {what} name {_show(name)} is reserved. Choose another.")
    return name


def check_text(text: str, what: str, limit: int) -> str:
    """Return a stranger's free text if it can be stored.

    Raises:
        BadInput: it is longer than ``limit`` characters, or holds what no database keeps.
    """
    if len(text) > limit:
        raise BadInput(f"{what} is longer than {limit} characters.")
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise BadInput(f"{what} holds a NUL or half a character. Send it as UTF-8 text.")
    return text


def check_repository_type(kind: str) -> str:
    """Return ``kind`` if it is ``model``, ``dataset`` or ``space``.

    Raises:
        BadInput: it is not.
    """
    if kind not in REPOSITORY_TYPES:
        raise BadInput(
            f"There is no repository type {_show(kind)}. Use 'model', 'dataset' or 'space'."
        )
    return kind


def split_repository(full_name: str) -> tuple[str, str]:
    """Split ``namespace/name`` and check both halves.

    Raises:
        BadInput: there are not exactly two parts, or one is not a name.
    """
    parts = full_name.split("/")
    if len(parts) != 2:
        raise BadInput(
            f"{_show(full_name)} does not name a repository. Write it as 'namespace/name'."
        )
    namespace, name = parts
    return check_name(namespace, "account"), check_name(name)


def check_path(path: str) -> str:
    """Return the path of a file in a repository in Unicode's NFC form.

    Raises:
        BadInput: the path is empty, absolute, too long, climbs out, or could not be checked out
            on every system; the message names it.
    """
    shown = _show(path)
    if not path:
        raise BadInput("A file's path is empty.")
    try:
        encoded = unicodedata.normalize("NFC", path)
        length = len(encoded.encode())
    except UnicodeEncodeError:
        raise BadInput(f"The path {shown} is not valid Unicode.") from None
    if length > MAX_PATH:
        raise BadInput(f"The path {shown} is longer than {MAX_PATH} bytes.")
    if encoded.startswith("/"):
        raise BadInput(f"The path {shown} is absolute. Paths start at the repository's root.")
    if "\\" in encoded:
        raise BadInput(f"The path {shown} contains a backslash. Separate folders with '/'.")
    if any(unicodedata.category(character) == "Cc" for character in encoded):
        raise BadInput(f"The path {shown} contains a control character.")
    segments = encoded.split("/")
    if len(segments) > MAX_DEPTH:
        raise BadInput(f"The path {shown} is more than {MAX_DEPTH} folders deep.")
    for segment in segments:
        _check_segment(segment, shown)
    return encoded


def _check_segment(segment: str, shown: str) -> None:
    if not segment:
        raise BadInput(f"The path {shown} has an empty part ('//' or a '/' at its end).")
    if segment in (".", ".."):
        raise BadInput(f"The path {shown} contains '{segment}'. Write the path without it.")
    if len(segment.encode()) > MAX_SEGMENT:
        raise BadInput(f"A part of the path {shown} is longer than {MAX_SEGMENT} bytes.")
    folded = _fold(segment)
    # git refuses these names on any system where they would reach its own folder.
    if folded == ".git" or folded.startswith((".git:", "git~")) or segment.lower() == ".git":
        raise BadInput(f"The path {shown} contains '.git', which is git's own.")
    stem = segment.split(".", 1)[0].split(":", 1)[0].rstrip(" ").lower()
    if stem in _WINDOWS_DEVICES:
        raise BadInput(f"The path {shown} contains {_show(segment)}, a device name on Windows.")


def _fold(segment: str) -> str:
    """Reduce a segment as HFS+ and NTFS do before they compare names."""
    kept = "".join(c for c in segment if unicodedata.category(c) != "Cf")
    return kept.rstrip(" .").lower()


def is_oid(text: str) -> bool:
    """Tell whether ``text`` is a full commit id (40 lowercase hex digits)."""
    return _OID.match(text) is not None


def is_short_oid(text: str) -> bool:
    """Tell whether ``text`` can abbreviate a commit id."""
    return _SHORT_OID.match(text) is not None


def pull_number(revision: str) -> int | None:
    """Return N of ``refs/pr/N``, or None for another revision."""
    match = _PULL_REF.match(revision)
    return int(match[1]) if match else None


def is_ref_name(name: str) -> bool:
    """Tell whether git would take ``name`` as the last part of a ref."""
    return (
        0 < len(name) <= MAX_REVISION
        and name.isprintable()
        and not _REF_FORBIDDEN.search(name)
        and not name.startswith(("/", "-"))
        and not name.endswith(("/", "."))
        and name != "@"
        and all(
            part and not part.startswith(".") and not part.endswith(".lock")
            for part in name.split("/")
        )
    )


def check_branch(name: str) -> str:
    """Return ``name`` if a branch may be called that.

    Raises:
        BadInput: git would refuse it, or it could be taken for a commit id or another ref.
    """
    # "Invalid reference for a branch" is the text that the Hub's clients look for.
    if not is_ref_name(name) or is_oid(name) or name.startswith("refs/") or name == "HEAD":
        raise BadInput(f"Invalid reference for a branch: {_show(name)}. Choose another name.")
    return name


def check_tag(name: str) -> str:
    """Return ``name`` if a tag may be called that.

    Raises:
        BadInput: as for branches.
    """
    if not is_ref_name(name) or is_oid(name) or name.startswith("refs/") or name == "HEAD":
        raise BadInput(f"Invalid reference for a tag: {_show(name)}. Choose another name.")
    return name
