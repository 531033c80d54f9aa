# SPDX-License-Identifier: Apache-2.0
"""Prompts of a telephone exchange: a recording, the name of its file, and what it is for.

From Debian's asterisk-core-sounds-en-wav (human recordings, 8 kHz; CC BY-SA 3.0). There is no
transcript; the text is the file's own name, and the label the part of the system that the name's
beginning stands for, which is taken out. So "7" is a number, an ordinal and a month, "a" a letter
and a word of the spelling alphabet, and only the recording tells which; "muted" and "newuser" are
told apart by their names more easily than by their sound.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from plait.demo.modalities import Pair
from plait.demo.packages import cache_folder, file_sha256
from plait.errors import PlaitError

PACKAGE = "asterisk-core-sounds-en-wav"
VERSION = "1.6.1-1"
ARCHIVE = f"{PACKAGE}_{VERSION}_all.deb"
ARCHIVE_SHA256 = "2be3ea287d83299d143815fa804f11179a75b7affd4a758b98b55f5afc18a35d"
SOUNDS = "usr/share/asterisk/sounds/en_US_f_Allison"
MAX_SOUND = 4_000_000

KINDS: tuple[tuple[str, str], ...] = (
    (r"digits/h-(.+)", "ordinal"),
    (r"digits/(?:day|mon)-(.+)", "calendar"),
    (r"digits/(today|tomorrow|yesterday)", "calendar"),
    (r"digits/(\d+|hundred|thousand|million|billion|oh)", "number"),
    (r"letters/(?:ascii)?(.+)", "letter"),
    (r"phonetic/(.+)_p", "spelling"),
    (r"conf(?:bridge)?-(.+)", "conference"),
    (r"vm-(.+)", "voicemail"),
)


def speech_pairs(work: Path, cache: Path | None = None) -> list[Pair]:
    """Unpack the prompts into `work` and return those whose label is known.

    Raises:
        PlaitError: if the package cannot be had (`apt-get download`) or not be opened.
    """
    archive = fetch_deb(cache)
    work.mkdir(parents=True, exist_ok=True)
    if shutil.which("dpkg-deb") is None:
        raise PlaitError("dpkg-deb, which opens Debian's packages, is not installed.")
    done = subprocess.run(
        ["dpkg-deb", "--extract", str(archive), str(work)], capture_output=True, check=False
    )
    folder = work / SOUNDS
    if done.returncode != 0 or not folder.is_dir():
        raise PlaitError(f"{archive} cannot be opened; delete it.")
    pairs: dict[str, Pair] = {}
    for file in sorted(folder.rglob("*.wav")):
        name = file.relative_to(folder).with_suffix("").as_posix()
        found = kind_of(name)
        if found is None or not 44 < file.stat().st_size < MAX_SOUND:
            continue
        label, text = found
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        pairs.setdefault(digest, Pair(label, text.lower(), text=text, audio=file))
    return list(pairs.values())


def kind_of(name: str) -> tuple[str, str] | None:
    """Return (label, text) of a prompt's name without its ending, None if it has no label."""
    for pattern, label in KINDS:
        if found := re.fullmatch(pattern, name):
            return label, " ".join(re.split(r"[-_/]", found[1]))
    return None


def fetch_deb(cache: Path | None = None) -> Path:
    """Return Debian's package, downloaded once into a cache folder with apt.

    Raises:
        PlaitError: saying what to do, if it cannot be had.
    """
    cache = cache or cache_folder()
    archive = cache / ARCHIVE
    if archive.is_file() and file_sha256(archive) == ARCHIVE_SHA256:
        return archive
    cache.mkdir(parents=True, exist_ok=True)
    told = "apt-get is not installed"
    if shutil.which("apt-get"):
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            done = subprocess.run(
                ["apt-get", "download", f"{PACKAGE}={VERSION}"],
                cwd=folder,
                capture_output=True,
                text=True,
                check=False,
            )
            loaded = Path(folder) / ARCHIVE
            if loaded.is_file() and file_sha256(loaded) == ARCHIVE_SHA256:
                loaded.replace(archive)
                return archive
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            told = lines[-1] if lines else "it gave another file"
    raise PlaitError(
        f"Debian's package {PACKAGE} {VERSION} could not be downloaded ({told}). Put {ARCHIVE} "
        f"into {cache} by hand."
    )
