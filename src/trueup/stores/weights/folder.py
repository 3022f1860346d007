"""One version's folder, looked at without reading its weights: which files, and whether anything is not whole."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field

from trueup.core.model import Token
from trueup.stores.weights import safetensors

MOST_FILES = 100_000
"""A folder with more is not what was pulled: the recorded path leads somewhere else."""

MOST_INDEX_BYTES = 64 << 20

UNFINISHED = (".incomplete", ".part")
"""How downloads are called that have not ended."""

WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf", ".onnx", ".h5", ".msgpack", ".npz", ".npy")
"""Files that hold weights are not empty; others may be."""

BOOKKEEPING = ".cache/huggingface"
"""Where ``huggingface_hub`` notes what it has downloaded, and keeps what it has not finished."""


class TooMany(OSError):
    """More files than a folder of weights holds."""


@dataclass(frozen=True, slots=True)
class File:
    """One file below the folder, links followed."""

    name: str
    size: int
    modified_ns: int
    changed_ns: int
    inode: int


@dataclass(slots=True)
class Look:
    """What a folder shows."""

    path: str
    files: list[File] = field(default_factory=list)
    """In the order of their names."""
    why: str = ""
    """Why it is not whole; empty: nothing was found."""

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def token(self) -> Token:
        """Version of the folder: names, sizes, times and inodes of its files."""
        told = "\0".join(f"{f.name}\0{f.size}\0{f.modified_ns}\0{f.changed_ns}\0{f.inode}" for f in self.files)
        return Token(hashlib.blake2b(os.fsencode(told), digest_size=16).hexdigest())


def look(path: str) -> Look | None:
    """What is at the path; None if nothing is.

    Raises:
        OSError: If it cannot all be seen.
    """
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        if os.path.islink(path):
            raise
        return None
    seen = Look(path)
    if not stat.S_ISDIR(status.st_mode):
        path, name = os.path.split(path)
        seen.files.append(_file(name, status))
    else:
        seen.files.extend(_files(seen))
        seen.files.sort(key=lambda file: os.fsencode(file.name))
    seen.why = seen.why or _emptiness(seen.files) or _damage(path, seen.files)
    return seen


def _files(seen: Look) -> Iterator[File]:
    """All files but the bookkeeping; notes on the way what has not ended, and links that lead nowhere."""
    below = [""]
    count = 0
    while below:
        prefix = below.pop()
        with os.scandir(os.path.join(seen.path, prefix)) as entries:
            for entry in entries:
                count += 1
                if count > MOST_FILES:
                    raise TooMany(None, f"holds more than {MOST_FILES} files")
                name = prefix + entry.name
                if entry.is_dir(follow_symlinks=False):
                    below.append(name + "/")
                    continue
                if entry.name.endswith(UNFINISHED):
                    seen.why = seen.why or f"the download of {name} was interrupted"
                if prefix.startswith(BOOKKEEPING):
                    continue
                file = _regular(seen, name, entry)
                if file is not None:
                    yield file


def _regular(seen: Look, name: str, entry: os.DirEntry[str]) -> File | None:
    """A file, links followed; None and a note for what is none. A link to a folder may be a ring: it is passed by."""
    try:
        status = entry.stat()
    except FileNotFoundError:
        if not entry.is_symlink():
            raise
        seen.why = seen.why or f"{name} is a link that leads nowhere"
        return None
    if stat.S_ISREG(status.st_mode):
        return _file(name, status)
    if not stat.S_ISDIR(status.st_mode):
        seen.why = seen.why or f"{name} is not a file"  # opened, a pipe would hang
    return None


def _file(name: str, status: os.stat_result) -> File:
    return File(name, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def _emptiness(files: list[File]) -> str:
    if not any(file.size for file in files):
        return "empty"
    return next((f"{file.name} is empty" for file in files if not file.size and file.name.endswith(WEIGHTS)), "")


def _damage(path: str, files: list[File]) -> str:
    for file in files:
        if file.name.endswith(".safetensors"):
            with open(os.path.join(path, file.name), "rb") as opened:
                problem = safetensors.problem(opened, file.size)
        elif file.name.endswith(".index.json"):
            problem = _index_problem(path, file, {other.name for other in files})
        else:
            continue
        if problem:
            return f"{file.name} {problem}"
    return ""


def _index_problem(path: str, file: File, names: set[str]) -> str | None:
    """Whether all shards are there that an index speaks of."""
    if file.size > MOST_INDEX_BYTES:
        return f"is too long for an index: {file.size} bytes"
    try:
        with open(os.path.join(path, file.name), "rb") as opened:
            index = json.load(opened)
        shards = set(index.get("weight_map", {}).values())
    except (ValueError, AttributeError, TypeError, RecursionError):
        return "is an index that cannot be read"
    folder = os.path.dirname(file.name)
    absent = sorted(shard for shard in map(str, shards) if os.path.join(folder, shard) not in names)
    if not absent:
        return None
    more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
    return f"speaks of {absent[0]}{more}, which is not there"
