"""List a folder in key order, batch by batch, in flat memory.

``os.scandir`` on directory descriptors: 200,000 files with stat cost less than half of what pathlib needs, and a link
swapped in for a directory is not followed.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field

from trueup.core.model import DIRECTORY_TOKEN, OPAQUE_TOKEN, Kind, Row, key_from_bytes
from trueup.protocols import Filter
from trueup.stores.file.place import RESERVED, TEMPORARY, open_root, token_of

BATCH = 2048
"""Rows per batch: large enough to make the crossing into a thread cheap, small enough for flat memory."""

_FILE = Kind.FILE  # a look-up in an enumeration costs as much as the rest of the tuple
_SLASH = ord("/")
_SPEAKS_UTF8 = sys.getfilesystemencoding() == "utf-8"
"""Whether a key's bytes are the name's bytes on disk, as they are nearly everywhere."""
_CHILD = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(slots=True)
class Scan:
    """One pass over one root."""

    root: str
    filter: Filter | None = None
    leftovers: list[str] = field(default_factory=list)
    """Temporary files of killed runs, relative to the root."""

    def batches(self) -> Generator[list[Row]]:
        """The rows in key order.

        Raises:
            OSError: If the root cannot be listed; directories below that cannot are rows of kind UNREADABLE.
        """
        batch: list[Row] = []
        levels: list[_Level] = [_Level(open_root(self.root), b"", "")]
        try:
            levels[0].read(self)
            while levels:
                below = levels[-1].advance(self, batch)
                if below is not None:
                    levels.append(below)
                elif levels[-1].ended:
                    os.close(levels.pop().fd)
                if len(batch) >= BATCH:
                    yield batch
                    batch = []
            if batch:
                yield batch
        finally:
            for level in levels:
                os.close(level.fd)


@dataclass(slots=True)
class _Level:
    """One directory on the way down, and the names in it that are still to come, in order."""

    fd: int
    prefix: bytes
    path: str
    names: Iterator[bytes] = field(default_factory=lambda: iter(()))
    """Folders with a slash behind. Only the names: a flat folder of a million files takes 70 MB so."""
    ended: bool = False
    filtered: int = 0

    def read(self, scan: Scan) -> None:
        """Read the directory's names.

        Most directories hold nothing that is reserved or excluded. All names of one are asked about, and encoded, in
        one go: 0.4 microseconds a name, one by one 1.9.
        """
        with os.scandir(self.fd) as entries:
            found = list(entries)
        joined = "\0".join(["", *[entry.name for entry in found], ""])
        chosen = scan.filter
        if "\0" + RESERVED in joined or not (chosen is None or chosen.excludes_none(joined)):
            found = [entry for entry in found if self._belongs(scan, entry)]
            joined = "\0".join(["", *[entry.name for entry in found], ""])
        raw = joined.encode("utf-8", "surrogateescape").split(b"\0")[1:-1]  # as `key_bytes` does
        folders = {entry.name for entry in found if entry.is_dir(follow_symlinks=False)}
        if folders:
            raw = [name + b"/" if entry.name in folders else name for name, entry in zip(raw, found, strict=True)]
        raw.sort()
        self.names = iter(raw)

    def _belongs(self, scan: Scan, entry: os.DirEntry[str]) -> bool:
        name, chosen = entry.name, scan.filter
        if name.startswith(RESERVED) and self._reserved(scan, name):
            return False
        if chosen is not None and chosen.excludes(self.path + name, directory=entry.is_dir(follow_symlinks=False)):
            self.filtered += 1
            return False
        return True

    def _reserved(self, scan: Scan, name: str) -> bool:
        if name.startswith(TEMPORARY):
            scan.leftovers.append(self.path + name)
            return True
        return name == RESERVED and not self.path

    def advance(self, scan: Scan, batch: list[Row]) -> _Level | None:
        """Add rows until a directory is to be entered (returned), the batch is full, or no name is left."""
        fd, prefix, append, room = self.fd, self.prefix, batch.append, BATCH - len(batch)
        bounds = scan.filter if scan.filter is not None and scan.filter.sized else None
        for raw in self.names:
            key = prefix + raw
            if raw[-1] == _SLASH:
                below = self._enter(scan, key, key_from_bytes(raw[:-1]), batch)
                if below is not None:
                    return below
                continue
            try:
                status = os.stat(raw if _SPEAKS_UTF8 else key_from_bytes(raw), dir_fd=fd, follow_symlinks=False)
            except FileNotFoundError:
                continue  # gone since it was listed
            except OSError as error:
                append((key, OPAQUE_TOKEN, Kind.UNREADABLE, 0, 0, None, error.strerror or "unreadable"))
                continue
            mode, size = status.st_mode, status.st_size
            if not stat.S_ISREG(mode):
                append((key, OPAQUE_TOKEN, Kind.SKIPPED, 0, 0, None, _what(mode)))
            elif bounds is not None and bounds.excludes_size(size):
                append((key, OPAQUE_TOKEN, Kind.FILTERED, size, 0, None, "excluded by size"))
            else:
                append((key, token_of(status), _FILE, size, status.st_mtime_ns, mode & 0o7777, ""))
            room -= 1
            if room <= 0:
                return None
        self.ended = True
        return None

    def _enter(self, scan: Scan, key: bytes, name: str, batch: list[Row]) -> _Level | None:
        try:
            fd = os.open(name, _CHILD, dir_fd=self.fd)
        except FileNotFoundError:
            return None
        except OSError as error:
            batch.append((key, OPAQUE_TOKEN, Kind.UNREADABLE, 0, 0, None, error.strerror or "unreadable"))
            return None
        level = _Level(fd, key, f"{self.path}{name}/")
        try:
            level.read(scan)
            status = os.fstat(fd)
        except OSError as error:
            os.close(fd)
            batch.append((key, OPAQUE_TOKEN, Kind.UNREADABLE, 0, 0, None, error.strerror or "unreadable"))
            return None
        row = (key, DIRECTORY_TOKEN, Kind.DIRECTORY, level.filtered, status.st_mtime_ns, status.st_mode & 0o7777, "")
        batch.append(row)
        return level


def _what(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "symbolic link"
    if stat.S_ISFIFO(mode):
        return "named pipe"
    if stat.S_ISSOCK(mode):
        return "socket"
    return "device"
