"""The one crossing into threads.

Thousands of small files make thousands of crossings, so this one is bare: a queue, a future, and one wake-up of the
event loop for all results that have come together. `anyio.to_thread` costs five times as much per call; it serves where
the event loop is not asyncio's.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

import anyio.to_thread

T = TypeVar("T")

IDLE_SECONDS = 10.0
"""A thread that has nothing to do for so long ends."""


class ThreadPool:
    """Runs blocking functions in daemon threads, made as they are needed.

    A cancelled caller does not wait: a hung file system must not hang the run, nor the end of the process. What an
    abandoned thread may still do is harmless, because every write is a compare-and-swap.

    Args:
        most: Threads at once; further calls wait for one.
    """

    def __init__(self, most: int = 64) -> None:
        self._most = most
        self._calls: SimpleQueue[_Call] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0
        self._waiting = 0
        """Calls that no thread has begun; also one that was taken by a thread which still counts as idle."""
        self._mailboxes: dict[asyncio.AbstractEventLoop, _Mailbox] = {}

    async def __call__(self, function: Callable[..., T], /, *args: object) -> T:
        """As `trueup.protocols.Threads`."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return await anyio.to_thread.run_sync(function, *args, abandon_on_cancel=True)
        future: asyncio.Future[T] = loop.create_future()
        self._calls.put(_Call(self._mailbox(loop), future, function, args))
        with self._lock:
            self._waiting += 1
            if self._waiting > self._idle and self._threads < self._most:
                self._threads += 1
                threading.Thread(target=self._work, name="trueup", daemon=True).start()
        return await future

    def _mailbox(self, loop: asyncio.AbstractEventLoop) -> _Mailbox:
        mailbox = self._mailboxes.get(loop)
        if mailbox is None:
            self._mailboxes = {known: box for known, box in self._mailboxes.items() if not known.is_closed()}
            mailbox = self._mailboxes[loop] = _Mailbox(loop)
        return mailbox

    def _work(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
            try:
                call = self._calls.get(timeout=IDLE_SECONDS)
            except Empty:
                call = None
            with self._lock:
                self._idle -= 1
                self._waiting -= call is not None
                # Under the lock: a caller that put its call before looks at the number of idle threads after.
                if call is None and self._calls.empty():
                    self._threads -= 1
                    return
            if call is not None:
                call.run()
                del call


class _Call:
    __slots__ = ("_args", "_function", "_future", "_mailbox")

    def __init__(
        self, mailbox: _Mailbox, future: asyncio.Future[Any], function: Callable[..., Any], args: tuple[object, ...]
    ) -> None:
        self._mailbox = mailbox
        self._future = future
        self._function = function
        self._args = args

    def run(self) -> None:
        try:
            result = self._function(*self._args)
        except BaseException as error:  # noqa: BLE001  # the edge of a thread: the caller gets it, whatever it is
            self._mailbox.post(self._future, None, error)
        else:
            self._mailbox.post(self._future, result, None)


class _Mailbox:
    """Results on their way to one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._letters: deque[tuple[asyncio.Future[Any], Any, BaseException | None]] = deque()
        self._woken = False

    def post(self, future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
        """Leave a result; wake the loop unless it has been woken for an earlier one."""
        self._letters.append((future, result, error))
        if not self._woken:
            self._woken = True
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self._woken = False  # before the box is emptied: what comes now wakes again
        while self._letters:
            future, result, error = self._letters.popleft()
            if future.done():
                continue  # its caller was cancelled
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)
