"""Reading weights to the end: their digests, what was found the last time, and what has become of it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass

from blake3 import blake3

from trueup.core.errors import PreconditionFailed
from trueup.core.model import Fingerprint, Token
from trueup.stores.weights.folder import File, Look

ALGORITHM = "blake3-files"
"""BLAKE3 over name and content's BLAKE3 of every file, in the order of the names."""

CHUNK = 1 << 20

FileId = tuple[str, int, int, int]
"""Path, size, modification time in nanoseconds, inode."""

Cache = MutableMapping[FileId, str]
"""Digests of files that were read already; a run that was killed goes on where it was."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What the weights are."""

    fingerprint: Fingerprint
    token: Token
    files: dict[str, tuple[int, str]]
    """Size and digest of each, by name."""
    differing: tuple[str, ...] = ()
    """Files that are not what was recorded the first time, or are not there any more; empty: all is as it was."""

    def document(self) -> str:
        """As it is remembered."""
        return json.dumps({"fingerprint": str(self.fingerprint), "token": self.token, "files": self.files})


@dataclass(frozen=True, slots=True)
class Remembered:
    """What an earlier look has found, and when that can be believed."""

    fingerprint: str
    token: Token
    files: dict[str, tuple[int, str]]
    bad: Token | None = None
    """The version that did not hold what was recorded."""
    why: str = ""

    @classmethod
    def parse(cls, text: str) -> Remembered:
        """Inverse of `Verified.document`, or of `spoilt`."""
        fields = json.loads(text)
        fields["files"] = {name: (size, digest) for name, (size, digest) in fields["files"].items()}
        return cls(**fields)

    def spoilt(self, found: Verified) -> str:
        """As it is remembered after other content was found."""
        why = f"{found.differing[0]} is not what was verified before"
        fields = {"fingerprint": self.fingerprint, "token": self.token, "files": self.files}
        return json.dumps({**fields, "bad": found.token, "why": why})

    def problem(self, seen: Look) -> str:
        """Why the folder is not what was verified, without reading it; empty if it may be."""
        token = seen.token
        if token == self.token:
            return ""
        if token == self.bad:
            return self.why
        sizes = {file.name: file.size for file in seen.files}
        for name, (size, _) in self.files.items():
            if name not in sizes:
                return f"{name} is not there, which was verified before"
            if sizes[name] != size:
                return f"{name} has {sizes[name]} bytes, {size} were verified before"
        return ""


def prove(seen: Look, cache: Cache, progress: Callable[[str, int], None]) -> Verified:
    """Read all files to the end.

    Args:
        seen: The folder.
        cache: Is asked before a file is read, and told afterwards.
        progress: Is told a file's name, and how many bytes more are done.

    Raises:
        PreconditionFailed: If a file changes while it is read.
        OSError: If one cannot be read.
    """
    whole = blake3()
    files: dict[str, tuple[int, str]] = {}
    folder = seen.path if os.path.isdir(seen.path) else os.path.dirname(seen.path)
    for file in seen.files:
        path = os.path.join(folder, file.name)
        identity = (path, file.size, file.modified_ns, file.inode)
        digest = cache.get(identity)
        if digest is None:
            digest = cache[identity] = _digest(path, file, progress)
        else:
            progress(file.name, file.size)
        name = os.fsencode(file.name)
        whole.update(len(name).to_bytes(8, "little") + name + bytes.fromhex(digest))
        files[file.name] = file.size, digest
    return Verified(Fingerprint(ALGORITHM, whole.hexdigest()), seen.token, files)


def _digest(path: str, file: File, progress: Callable[[str, int], None]) -> str:
    digest = blake3()
    with open(path, "rb", buffering=0) as opened:
        while chunk := opened.read(CHUNK):
            digest.update(chunk)
            progress(file.name, len(chunk))
        status = os.fstat(opened.fileno())
    if (status.st_size, status.st_mtime_ns, status.st_ino) != (file.size, file.modified_ns, file.inode):
        raise PreconditionFailed(f"{path} was changed while it was read")
    return digest.hexdigest()
