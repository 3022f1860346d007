"""Pages of a database as the last commit left them, in the file or still in the log, and as messages to clients."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Final

from trueup.replication.wire import PAGE_BYTES, page_head

_AT_ONCE: Final = 256
"""Pages that are read by one call of the system, where they lie side by side."""
_TAKEN_BYTES: Final = 1 << 20
"""Of what was taken, so much at once."""


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
        """Many, in order of their numbers, with few calls; each call when it is wanted."""
        left = iter(pages)
        for raw in self.read_runs(pages):
            for at in range(0, len(raw), PAGE_BYTES):
                yield next(left), raw[at : at + PAGE_BYTES]

    def read_runs(self, pages: Sequence[int]) -> Iterator[memoryview]:
        """The same without their numbers, as they lie side by side."""
        in_log = self.in_log
        for first, count in _runs(pages, in_log):
            at = in_log.get(first)
            yield memoryview(_read(self._main, first * PAGE_BYTES, count) if at is None else _read(self.log, at, 1))


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


class Body:
    """Bytes of an answer, read while they are sent: most answers are gone before anybody writes.

    Who is about to write, or to close the files, first takes what is left (`take`).

    Args:
        parts: What it consists of; each is read when it is wanted.
        size: Of all of them together.
        guard: Held while a part is read.
        memory_bytes: What is left is kept in memory up to this size, and in a temporary file beyond it.
    """

    def __init__(
        self, parts: Iterator[bytes | memoryview], size: int, guard: AbstractContextManager[object], memory_bytes: int
    ) -> None:
        self.size = size
        self._parts = parts
        self._guard = guard
        self._memory_bytes = memory_bytes
        self._taken: IO[bytes] | None = None
        self._failed: OSError | None = None
        self._closed = False

    def chunks(self) -> Iterator[bytes | memoryview]:
        """All of it, in parts; closes it at the end.

        Raises:
            OSError: If the disk fails, or had no room for what was left. The answer is cut off then.
        """
        with closing(self):
            while chunk := self._next():
                yield chunk

    def check(self) -> None:
        """Whether taking it went well.

        Raises:
            OSError: If it did not.
        """
        if self._failed is not None:
            raise self._failed

    def _next(self) -> bytes | memoryview:
        with self._guard:
            self.check()
            if self._taken is None:
                return next(self._parts, b"")
            return self._taken.read(_TAKEN_BYTES)

    def take(self) -> None:
        """Read what is left, so that the files may change. The caller holds the guard.

        A fault of the disk is for who reads the answer; the caller goes on.

        Raises:
            Refused: If pages of an old revision are gone.
        """
        if self._closed or self._taken is not None or self._failed is not None:
            return
        taken = SpooledTemporaryFile(max_size=self._memory_bytes)  # noqa: SIM115  # closed by `close`
        try:
            for part in self._parts:
                taken.write(part)
            taken.seek(0)
        except BaseException as error:
            taken.close()
            if not isinstance(error, OSError):
                self._closed = True
                raise
            self._failed = error
        else:
            self._taken = taken

    def close(self) -> None:
        """Nothing more is wanted of it."""
        with self._guard:
            self._closed = True
            self._parts = iter(())
            if self._taken is not None:
                self._taken.close()
                self._taken = None


def messages_bytes(pages: Sequence[int]) -> int:
    """How many bytes `messages` makes of pages whose numbers are in order."""
    total = first = 0
    for bits in range(7, 36, 7):
        beyond = bisect_left(pages, 1 << bits)
        total += (beyond - first) * (len(page_head((1 << bits) - 1)) + PAGE_BYTES)
        first = beyond
    return total


def messages(pages: Iterable[tuple[int, memoryview | bytes]]) -> Iterator[bytes]:
    """Each page as a message; many of them at once."""
    parts: list[bytes | memoryview] = []
    for number, content in pages:
        parts += (page_head(number), content)
        if len(parts) >= 2 * _AT_ONCE:
            yield b"".join(parts)
            parts.clear()
    if parts:
        yield b"".join(parts)
