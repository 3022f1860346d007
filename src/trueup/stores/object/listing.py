"""Listings, by way of a process that waits for the pages."""

from __future__ import annotations

import atexit
import json
import marshal
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from trueup.core.errors import Unavailable
from trueup.core.model import OPAQUE_TOKEN, Key, Kind, Row, Token
from trueup.protocols import Filter
from trueup.stores.object import lister
from trueup.stores.object.connect import Place
from trueup.stores.object.errors import fault
from trueup.stores.object.names import ODD, RESERVED

Listed = tuple[bytes, str, int, int, bool]
"""As `lister` sends it: key, token, size, time in nanoseconds since the epoch, whether the key is odd."""

_RESERVED = f"{RESERVED}/".encode()
_DIRECTORIES = 10_000
"""How many verdicts about excluded directories are remembered at most."""


class _Process:
    """A lister at work or waiting for it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(  # noqa: S603  # ourselves
            [sys.executable, "-P", str(Path(lister.__file__))], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdin is not None  # noqa: S101  # they are pipes
        assert self._process.stdout is not None  # noqa: S101
        self._input, self._output = self._process.stdin, self._process.stdout
        self.owner = os.getpid()

    def ask(self, request: dict[str, object]) -> None:
        """Begin a listing."""
        frame = json.dumps(request).encode()
        self._input.write(struct.pack(">I", len(frame)) + frame)
        self._input.flush()

    def answer(self) -> tuple[Any, ...]:
        """The next frame; empty if the process has died."""
        header = self._output.read(4)
        frame = self._output.read(struct.unpack(">I", header)[0]) if len(header) == 4 else b""
        return marshal.loads(frame) if frame else ()  # noqa: S302  # our own process wrote it

    def kill(self) -> None:
        """Stop it, whatever it is doing; does not wait."""
        self._process.kill()

    def bury(self) -> None:
        """Wait for its end."""
        self._process.kill()
        self._process.wait()
        with suppress(OSError):
            self._input.close()
        self._output.close()


class _Processes:
    """Processes that wait for the next listing; starting one costs a tenth of a second."""

    def __init__(self) -> None:
        self._idle: list[_Process] = []
        self._killed: list[_Process] = []
        self._lock = threading.Lock()
        atexit.register(self.end)

    def take(self) -> _Process:
        """One of them, or a new one."""
        self._bury(self._gone())
        with self._lock:
            self._idle = [process for process in self._idle if process.owner == os.getpid()]
            if self._idle:
                return self._idle.pop()
        return _Process()

    def give(self, process: _Process) -> None:
        """It is idle again."""
        with self._lock:
            self._idle.append(process)

    def kill(self, process: _Process) -> None:
        """It is not wanted any more, and may be in the middle of something."""
        process.kill()
        with self._lock:
            self._killed.append(process)

    def end(self) -> None:
        """Stop those that are idle."""
        with self._lock:
            idle, self._idle = self._idle, []
        self._bury(idle + self._gone())

    def _gone(self) -> list[_Process]:
        with self._lock:
            gone, self._killed = self._killed, []
        return gone

    def _bury(self, gone: list[_Process]) -> None:
        for process in gone:
            if process.owner == os.getpid():
                process.bury()


_processes = _Processes()


class Pages:
    """Everything below a prefix of a place, in the service's order, page by page.

    `next` blocks; `close` does not, and may be called by another thread meanwhile.
    """

    def __init__(
        self, place: Place, below: str = "", *, limit: int = -1, recursive: bool = True, timeout_seconds: float = 60.0
    ) -> None:
        self._place = place
        self._request: dict[str, object] = {
            "scheme": place.scheme,
            "options": dict(place.options),
            "prefix": place.prefix + below,
            "odd": ODD.pattern,
            "limit": limit,
            "recursive": recursive,
            "timeout": timeout_seconds,
        }
        self._process: _Process | None = None
        self._lock = threading.Lock()
        self._ended = False
        self.ordered = True
        """Whether what came so far was in key order."""

    def next(self) -> list[Listed]:
        """The next page; empty at the end.

        Raises:
            StoreError: If the listing cannot begin, or breaks off.
        """
        try:
            answer = self._answer()
        except (BrokenPipeError, ValueError):  # it was killed, or its pipes are closed
            answer = ()
        if not answer:
            self.close()
            raise Unavailable(f"the list of {self._place.url} broke off", attempt="run the same command again")
        if answer[0] == lister.ROWS:
            self.ordered = answer[2]
            listed: list[Listed] = answer[1]
            return listed or self.next()
        self._whole()
        if answer[0] == lister.FAILED:
            place = self._place
            raise fault(answer[1], answer[2], what=f"a list of {place.url}", url=place.url, bucket=place.bucket)
        return []

    def _answer(self) -> tuple[Any, ...]:
        if self._ended:
            return (lister.END,)
        if self._process is None:
            process = _processes.take()
            process.ask(self._request)
            self._process = process
        return self._process.answer()

    def _whole(self) -> None:
        with self._lock:
            process, self._process, self._ended = self._process, None, True
        if process is not None:
            _processes.give(process)

    def close(self) -> None:
        """No more is wanted."""
        with self._lock:
            process, self._process, self._ended = self._process, None, True
        if process is not None:
            _processes.kill(process)

    def __iter__(self) -> Iterator[Listed]:
        """All that is listed."""
        try:
            while page := self.next():
                yield from page
        finally:
            self.close()


class Scan:
    """One pass over one place, as rows."""

    def __init__(self, place: Place, bounds: Filter | None, problem: Callable[[Key], str | None]) -> None:
        self._problem = problem
        self._filter = bounds
        self._excluded: dict[str, bool] = {}
        self.pages = Pages(place)
        self.slashed = 0
        """Names that end in a slash and hold bytes: they can be neither addressed nor shown."""

    def next(self) -> list[Row]:
        """Some rows; none at the end."""
        while page := self.pages.next():
            if rows := [row for one in page if (row := self._row(one)) is not None]:
                return rows
        return []

    def _row(self, listed: Listed) -> Row | None:
        raw, token, size, modified_ns, odd = listed
        if raw.startswith(_RESERVED):
            return None
        if odd and (raw.endswith(b"/") or self._problem(Key(raw.decode())) is not None):
            return self._opaque(raw, size)
        if self._filter is not None:
            if self._excludes(self._filter, raw.decode()):
                return None
            if self._filter.excludes_size(size):
                return (raw, OPAQUE_TOKEN, Kind.FILTERED, size, 0, None, "excluded by size")
        version = Token(token or f"~{size:x}-{modified_ns:x}")
        return (raw, version, Kind.FILE, size, modified_ns, None, "")

    def _opaque(self, raw: bytes, size: int) -> Row | None:
        """What cannot be addressed is shown, never taken for another object; other tools' folder markers are not."""
        if raw.endswith(b"/") and b"//" not in raw:
            self.slashed += size
            return None
        why = "empty name component" if raw.endswith(b"/") else self._problem(Key(raw.decode()))
        return (raw, OPAQUE_TOKEN, Kind.UNREADABLE, 0, 0, None, why or "")

    def _excludes(self, bounds: Filter, path: str) -> bool:
        directory = path.rpartition("/")[0]
        return (directory != "" and self._below_excluded(bounds, directory)) or bounds.excludes(path, directory=False)

    def _below_excluded(self, bounds: Filter, directory: str) -> bool:
        known = self._excluded.get(directory)
        if known is None:
            above = directory.rpartition("/")[0]
            known = (above != "" and self._below_excluded(bounds, above)) or bounds.excludes(directory, directory=True)
            if len(self._excluded) >= _DIRECTORIES:
                self._excluded.clear()
            self._excluded[directory] = known
        return known
