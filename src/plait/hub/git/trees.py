# SPDX-License-Identifier: Apache-2.0
"""Building a git tree from a parent's tree and a list of operations."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Sequence
from typing import Any

from pygit2.enums import FileMode

from plait.errors import BadInput, EntryNotFound
from plait.hub.git.inspection import check_distinct, check_tree
from plait.hub.git.operations import (
    AddBytes,
    AddPointer,
    AddSpooled,
    CopyFile,
    Delete,
    DeleteFolder,
    Operation,
)
from plait.hub.git.pointers import format_pointer
from plait.hub.names import check_path

ATTRIBUTES = ".gitattributes"
LFS_PATTERNS = tuple(
    """
    *.7z *.arrow *.avro *.bin *.bz2 *.ckpt *.ftz *.gguf *.gz *.h5 *.joblib *.lfs.* *.lz4 *.mds
    *.mlmodel *.model *.msgpack *.npy *.npz *.onnx *.ot *.parquet *.pb *.pickle *.pkl *.pt *.pth
    *.rar *.safetensors saved_model/**/* *.tar.* *.tar *.tflite *.tgz *.wasm *.xz *.zip *.zst
    *tfevents*
    """.split()  # noqa: SIM905
)
"""What a new repository keeps outside git, as on the Hub."""
_LFS = "filter=lfs diff=lfs merge=lfs -text"

Leaf = tuple[int, Any]
"""Mode and object id."""


def initial_attributes() -> bytes:
    """Return the ``.gitattributes`` of a new repository."""
    return "".join(f"{pattern} {_LFS}\n" for pattern in LFS_PATTERNS).encode()


class _Folder:
    """A tree that is read from git only where an operation touches it."""

    def __init__(self, repository: Any, oid: Any = None) -> None:
        self.repository = repository
        self.oid = oid
        self._entries: dict[str, Leaf | _Folder] | None = None
        self._added: set[str] = set()

    @property
    def entries(self) -> dict[str, Leaf | _Folder]:
        if self._entries is None:
            self._entries = {}
            if self.oid is not None:
                for entry in self.repository[self.oid]:
                    mode = entry.filemode
                    self._entries[entry.name] = (
                        _Folder(self.repository, entry.id)
                        if mode == FileMode.TREE
                        else (int(mode), entry.id)
                    )
        return self._entries

    def write(self) -> Any:
        """Write what changed and return the tree's id, or None for a folder without files."""
        if self._entries is None:
            return self.oid
        builder = self.repository.TreeBuilder()
        names = []
        for name, entry in self._entries.items():
            if isinstance(entry, _Folder):
                oid = entry.write()
                if oid is None:
                    continue
                builder.insert(name, oid, FileMode.TREE)
            else:
                builder.insert(name, entry[1], FileMode(entry[0]))
            names.append(name)
        if self._added:
            check_distinct(names)
        return builder.write() if names else None

    def find(self, path: str) -> Leaf | _Folder | None:
        here: Leaf | _Folder | None = self
        for part in path.split("/") if path else []:
            if not isinstance(here, _Folder):
                return None
            here = here.entries.get(part)
        return here

    def put(self, path: str, entry: Leaf | _Folder) -> None:
        *folders, name = path.split("/")
        here = self
        for index, part in enumerate(folders):
            below = here.entries.get(part)
            if below is None:
                below = here.entries[part] = _Folder(self.repository)
                here._added.add(part)
            if not isinstance(below, _Folder):
                parent = "/".join(folders[: index + 1])
                raise BadInput(
                    f"'{path}' cannot be written: '{parent}' is a file. Delete it first."
                )
            here = below
        if (
            isinstance(there := here.entries.get(name), _Folder)
            and there.holds_files()
            and not isinstance(entry, _Folder)
        ):
            raise BadInput(f"'{path}' cannot be written: it is a folder. Delete it first.")
        if name not in here.entries:
            here._added.add(name)
        here.entries[name] = entry

    def holds_files(self) -> bool:
        return any(not isinstance(e, _Folder) or e.holds_files() for e in self.entries.values())

    def remove(self, path: str, *, folder: bool) -> None:
        *folders, name = path.split("/")
        parent = self.find("/".join(folders))
        entry = parent.entries.get(name) if isinstance(parent, _Folder) else None
        if entry is None or isinstance(entry, _Folder) != folder:
            what = "folder" if folder else "file"
            # "A file with this name doesn't exist" is the text that the Hub's clients look for.
            raise EntryNotFound(f"A {what} with this name doesn't exist: '{path}'.")
        assert isinstance(parent, _Folder)
        del parent.entries[name]


def build_tree(
    repository: Any,
    parent_tree: Any,
    operations: Sequence[Operation],
    commit_tree: Callable[[str], Any],
    blob_size: Callable[[str], int],
) -> Any:
    """Apply ``operations`` to a tree and return the new tree's id; no ref moves.

    Args:
        repository: an open pygit2 repository.
        parent_tree: the id of the tree to start from, or None for an empty one.
        operations: applied in order.
        commit_tree: gives the tree id of a revision, for copies.
        blob_size: gives the size of a stored blob whose operation names none.

    Raises:
        BadInput: a path is not allowed, a file and a folder would share a name, or two names
            would differ by case alone.
        TooLarge: there would be too many files.
        EntryNotFound: a file to delete or copy does not exist.
    """
    root = _Folder(repository, parent_tree)
    pointers: list[str] = []
    for operation in operations:
        path = check_path(operation.path.rstrip("/"))
        if isinstance(operation, AddBytes | AddSpooled):
            root.put(path, (int(FileMode.BLOB), repository.create_blob(operation.data)))
        elif isinstance(operation, AddPointer):
            size = operation.size if operation.size is not None else blob_size(operation.sha256)
            text = format_pointer(operation.sha256, size)
            root.put(path, (int(FileMode.BLOB), repository.create_blob(text)))
            pointers.append(path)
        elif isinstance(operation, Delete):
            root.remove(path, folder=False)
        elif isinstance(operation, DeleteFolder):
            root.remove(path, folder=True)
        else:
            _copy(repository, root, operation, path, commit_tree)
    _mark_pointers(repository, root, pointers)
    made = root.write() or repository.TreeBuilder().write()
    if any(isinstance(operation, CopyFile) for operation in operations):
        # Folders copied into folders double with every step.
        check_tree(repository, made)
    return made


def _copy(
    repository: Any,
    root: _Folder,
    operation: CopyFile,
    path: str,
    commit_tree: Callable[[str], Any],
) -> None:
    source = check_path(operation.source.rstrip("/"))
    tree = (
        root if operation.revision is None else _Folder(repository, commit_tree(operation.revision))
    )
    entry = tree.find(source)
    if entry is None:
        raise EntryNotFound(f"A file with this name doesn't exist: '{source}'.")
    if isinstance(entry, _Folder):
        # A copy of its own, so that a later operation changes only one of the two.
        entry = _Folder(repository, entry.write())
    root.put(path, entry)


def _mark_pointers(repository: Any, root: _Folder, paths: list[str]) -> None:
    """Name every pointer in ``.gitattributes``, without which git-lfs would show it as text."""
    if not paths:
        return
    existing = root.entries.get(ATTRIBUTES)
    text = ""
    if existing is not None:
        if isinstance(existing, _Folder):
            return
        text = repository[existing[1]].data.decode("utf-8", "replace")
    patterns = [
        line.split()[0]
        for line in text.splitlines()
        if "filter=lfs" in line.split() and not line.lstrip().startswith("#")
    ]
    missing = [path for path in paths if not any(_matches(path, p) for p in patterns)]
    if not missing:
        return
    if text and not text.endswith("\n"):
        text += "\n"
    text += "".join(f"{_quote(path)} {_LFS}\n" for path in sorted(set(missing)))
    root.put(ATTRIBUTES, (int(FileMode.BLOB), repository.create_blob(text.encode())))


def _matches(path: str, pattern: str) -> bool:
    if "/" not in pattern:
        return fnmatch.fnmatchcase(path.rsplit("/", 1)[-1], pattern)
    return fnmatch.fnmatchcase(path, pattern.lstrip("/").replace("**/", "*"))


def _quote(path: str) -> str:
    # Attribute patterns end at white space, which git writes as a class that matches it.
    escaped = "".join(f"[{c}]" if c in "*?[" else c for c in path)
    return "/" + escaped.replace(" ", "[[:space:]]")
