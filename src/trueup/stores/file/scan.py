"""List a folder in key order, batch by batch, in flat memory.

``os.scandir`` on directory descriptors: 200,000 files with stat cost less than half of what pathlib needs, and a link
swapped in for a directory is not followed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Generator
from dataclasses import dataclass, field

from trueup.core.model import DIRECTORY_TOKEN, OPAQUE_TOKEN, Kind, Row
from trueup.protocols import Filter
from trueup.stores.file.place import RESERVED, TEMPORARY, open_root, token_of

BATCH = 2048
"""Rows per batch: large enough to make the crossing into a thread cheap, small enough for flat memory."""

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
                elif not levels[-1].names:
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
    """One directory on the way down, its names sorted, the next at the end."""

    fd: int
    prefix: bytes
    path: str
    names: list[tuple[bytes, os.DirEntry[str]]] = field(default_factory=list)
    filtered: int = 0

    def read(self, scan: Scan) -> None:
        """Read the directory's names."""
        excludes = scan.filter.excludes if scan.filter is not None else None
        names = []
        with os.scandir(self.fd) as entries:
            for entry in entries:
                name = entry.name
                directory = entry.is_dir(follow_symlinks=False)
                if name.startswith(RESERVED) and self._reserved(scan, name):
                    continue
                if excludes is not None and excludes(self.path + name, directory=directory):
                    self.filtered += 1
                    continue
                raw = os.fsencode(name)
                names.append((raw + b"/" if directory else raw, entry))
        names.sort(reverse=True, key=_by_name)
        self.names = names

    def _reserved(self, scan: Scan, name: str) -> bool:
        if name.startswith(TEMPORARY):
            scan.leftovers.append(self.path + name)
            return True
        return name == RESERVED and not self.path

    def advance(self, scan: Scan, batch: list[Row]) -> _Level | None:
        """Add rows until a directory is to be entered (returned), the batch is full, or no name is left."""
        names, prefix, bounds = self.names, self.prefix, scan.filter
        while names and len(batch) < BATCH:
            raw, entry = names.pop()
            key = prefix + raw
            if raw[-1] == 47:  # "/"
                below = self._enter(scan, key, entry.name, batch)
                if below is not None:
                    return below
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # gone since it was listed
            except OSError as error:
                batch.append((key, OPAQUE_TOKEN, Kind.UNREADABLE, 0, 0, None, error.strerror or "unreadable"))
                continue
            mode = status.st_mode
            if not stat.S_ISREG(mode):
                batch.append((key, OPAQUE_TOKEN, Kind.SKIPPED, 0, 0, None, _what(mode)))
            elif bounds is not None and bounds.excludes_size(status.st_size):
                batch.append((key, OPAQUE_TOKEN, Kind.FILTERED, status.st_size, 0, None, "excluded by size"))
            else:
                size, modified = status.st_size, status.st_mtime_ns
                token = token_of(status)
                batch.append((key, token, Kind.FILE, size, modified, mode & 0o7777, ""))
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


def _by_name(pair: tuple[bytes, os.DirEntry[str]]) -> bytes:
    return pair[0]


def _what(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "symbolic link"
    if stat.S_ISFIFO(mode):
        return "named pipe"
    if stat.S_ISSOCK(mode):
        return "socket"
    return "device"
