"""Processes that list: started when they are first needed, and kept for the next listing."""

from __future__ import annotations

import atexit
import fcntl
import json
import marshal
import os
import struct
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from trueup.stores.object import lister

PIPE_BYTES = 1024 * 1024
"""Room for some ten thousand rows that a lister is ahead of its reader."""


class Process:
    """A lister at work or waiting for it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(  # noqa: S603  # ourselves
            [sys.executable, "-P", str(Path(lister.__file__))], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdin is not None  # noqa: S101  # they are pipes
        assert self._process.stdout is not None  # noqa: S101
        self._input, self._output = self._process.stdin, self._process.stdout
        with suppress(OSError, AttributeError):  # more than the system allows, or a system that does not know it
            fcntl.fcntl(self._output.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self.owner = os.getpid()
        self.environment = dict(os.environ)
        """What it knows about keys."""

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
        self._idle: list[Process] = []
        self._killed: list[Process] = []
        self._lock = threading.Lock()
        atexit.register(self.end)

    def take(self) -> Process:
        """One of them, or a new one."""
        self._bury(self._gone())
        with self._lock:
            self._idle = [process for process in self._idle if process.owner == os.getpid()]
            for process in reversed(self._idle):
                if process.environment == os.environ:
                    self._idle.remove(process)
                    return process
        return Process()

    def give(self, process: Process) -> None:
        """It is idle again."""
        with self._lock:
            self._idle.append(process)

    def kill(self, process: Process) -> None:
        """It is not wanted any more, and may be in the middle of something."""
        process.kill()
        with self._lock:
            self._killed.append(process)

    def end(self) -> None:
        """Stop those that are idle."""
        with self._lock:
            idle, self._idle = self._idle, []
        self._bury(idle + self._gone())

    def _gone(self) -> list[Process]:
        with self._lock:
            gone, self._killed = self._killed, []
        return gone

    def _bury(self, gone: list[Process]) -> None:
        for process in gone:
            if process.owner == os.getpid():
                process.bury()


processes = _Processes()
