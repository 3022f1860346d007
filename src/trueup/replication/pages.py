"""Pages of a database as the last commit left them, in the file or still in the log, and as messages to clients."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Final

from trueup.replication.refused import disk_faults
from trueup.replication.wire import PAGE_BYTES, page_head

_AT_ONCE: Final = 256
"""Pages that are read by one call of the system, where they lie side by side."""


class Files:
    """The files of one open database, beside SQLite's own hands on them.

    Closing any descriptor of a file frees all locks that the process holds on it, SQLite's too
    (https://www.sqlite.org/howtocorrupt.html, section 2.2): these are closed after SQLite has closed the database.
    The log itself is never locked.
    """

    def __init__(self, path: Path) -> None:
        self._descriptors: list[int] = []
        try:
            self._main = self._open(path)
            self.log = self._open(path.with_name(path.name + "-wal"))
            self.shared = self._open(path.with_name(path.name + "-shm"))
        except BaseException:
            self.close()
            raise
        self.in_log: dict[int, int] = {}
        """Where pages begin that are newer in the log than in the file."""

    def _open(self, path: Path) -> int:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._descriptors.append(descriptor)
        return descriptor

    def close(self) -> None:
        """Let go of them."""
        while self._descriptors:
            os.close(self._descriptors.pop())

    def pages(self) -> int:
        """How many the file has, without the log."""
        return os.fstat(self._main).st_size // PAGE_BYTES

    def stamp(self) -> str:
        """Size and time of the file: another one shows that somebody else has written to it."""
        status = os.fstat(self._main)
        return f"{status.st_size}:{status.st_mtime_ns}"

    def read(self, page: int) -> bytes:
        """One page."""
        at = self.in_log.get(page)
        return _read(self._main, page * PAGE_BYTES, 1) if at is None else _read(self.log, at, 1)

    def read_all(self, pages: Sequence[int]) -> Iterator[tuple[int, memoryview]]:
        """Many, in order of their numbers, with few calls."""
        for first, count in _runs(pages, self.in_log):
            at = self.in_log.get(first)
            raw = memoryview(_read(self._main, first * PAGE_BYTES, count) if at is None else _read(self.log, at, 1))
            for n in range(count):
                yield first + n, raw[n * PAGE_BYTES : (n + 1) * PAGE_BYTES]


def _runs(pages: Sequence[int], apart: Mapping[int, int]) -> Iterator[tuple[int, int]]:
    """First page and length of what lies side by side in the file; a page of the log is alone."""
    at = 0
    while at < len(pages):
        first, count = pages[at], 1
        while (
            first not in apart
            and count < _AT_ONCE
            and at + count < len(pages)
            and pages[at + count] == first + count
            and first + count not in apart
        ):
            count += 1
        yield first, count
        at += count


def _read(descriptor: int, at: int, count: int) -> bytes:
    raw = os.pread(descriptor, count * PAGE_BYTES, at)
    if len(raw) != count * PAGE_BYTES:
        raise OSError("a page of the database cannot be read whole")
    return raw


@dataclass(frozen=True, slots=True)
class Body:
    """Bytes of an answer, in memory or spooled to a file; read once, then closed."""

    source: IO[bytes]
    size: int

    def chunks(self, most: int = 1 << 20) -> Iterator[bytes]:
        """All of it, in parts of at most so many bytes; closes it at the end."""
        with self.source:
            while chunk := self.source.read(most):
                yield chunk


def spooled(parts: Iterable[bytes | memoryview], memory_bytes: int) -> Body:
    """Take all parts now, so that they may change afterwards.

    Raises:
        Refused: If there is no room for them.
    """
    spool = SpooledTemporaryFile(max_size=memory_bytes)  # noqa: SIM115  # closed by who reads it
    try:
        with disk_faults():
            for part in parts:
                spool.write(part)
            size = spool.tell()
            spool.seek(0)
    except BaseException:
        spool.close()
        raise
    return Body(spool, size)


def messages(pages: Iterable[tuple[int, memoryview | bytes]]) -> Iterator[bytes]:
    """Each page as a message; many of them at once."""
    parts: list[bytes | memoryview] = []
    for number, content in pages:
        parts += (page_head(number), content)
        if len(parts) >= 2 * _AT_ONCE:
            yield b"".join(parts)
            parts.clear()
    yield b"".join(parts)
