"""The proxy itself: a thread with a loop, a port, and the connections through it."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Final, Self

from trueup.testing.proxy.exchange import Control, Exchange, Record
from trueup.testing.proxy.rules import Rule, Rules
from trueup.testing.proxy.wire import Broken, Head, Link, read_head

CONNECTIONS: Final = 512
"""So many clients at once; more are closed."""

LOGGED: Final = 200_000
"""So many requests the log holds; then it forgets the older half."""

SECONDS: Final = 10.0
"""How long the proxy may take to start, to stop, or to do as it is told."""

CONNECT_SECONDS: Final = 5.0
"""How long the server may take to accept a connection."""

Connect = Callable[[], Awaitable[Link]]
"""Gives the connection to the server."""


class FaultProxy(Control):
    """Stands in front of an S3 server on loopback, passes requests as they are, and breaks what its rules say.

    The server sees the host and port that the client has signed, and every header and body byte by byte, so signatures
    hold. One client connection is one connection to the server. Buckets are expected in the path.

    Use it as a context manager. What a hook raises, and what goes wrong inside, is raised at the end.

    It shares the global lock of this Python. A client that waits with the lock held, as OpenDAL's blocking lister does
    (0.47), waits for ever for a proxy in its own process: list in another process, as our store does. Starting,
    stopping, `wait`, `down` and `up` block; everything else may be called from a running loop.

    Args:
        upstream: ``host:port`` of the server, which speaks HTTP without TLS.
        rules: Rules in force from the beginning.
        tls: Makes the proxy speak HTTPS to its clients.
    """

    def __init__(self, upstream: str, rules: Iterable[Rule] = (), *, tls: ssl.SSLContext | None = None) -> None:
        host, _, port = upstream.removeprefix("http://").rstrip("/").rpartition(":")
        self._upstream = (host, int(port))
        self._rules = Rules(rules)
        self._tls = tls
        self._log: list[Record] = []
        self._errors: list[Exception] = []
        self._thread = threading.Thread(target=self._run, name="fault-proxy", daemon=True)
        self._started = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._port = 0

    # -- for tests, from any thread ------------------------------------------------------------------------------

    @property
    def address(self) -> str:
        """``host:port``."""
        return f"127.0.0.1:{self._port}"

    @property
    def endpoint(self) -> str:
        """``http://host:port``, or https."""
        return f"{'http' if self._tls is None else 'https'}://{self.address}"

    @property
    def log(self) -> tuple[Record, ...]:
        """What has arrived so far, and what became of it. A status is there before the client sees it."""
        return tuple(replace(record) for record in self._log[:])

    def forget(self) -> None:
        """Empty the log."""
        self._log.clear()

    def wait(self, until: Callable[[tuple[Record, ...]], object], *, seconds: float = SECONDS) -> tuple[Record, ...]:
        """Wait until the log satisfies somebody, and return it.

        Raises:
            TimeoutError: If it does not in this time.
        """
        end = time.monotonic() + seconds
        while not until(log := self.log):
            if time.monotonic() > end:
                raise TimeoutError(f"after {seconds} s the log of the proxy is still not what a test waits for")
            time.sleep(0.005)
        return log

    def add(self, rule: Rule) -> Rule:
        """Put a rule in force, after the others, from the next request on."""
        self._rules.add(rule)
        return rule

    def remove(self, rule: Rule) -> None:
        """Take this very rule out of force."""
        self._rules.remove(rule)

    @contextmanager
    def rule(self, rule: Rule) -> Iterator[Rule]:
        """A rule in force as long as the block runs."""
        self.add(rule)
        try:
            yield rule
        finally:
            self.remove(rule)

    def clear(self) -> None:
        """Take all rules out of force. What hangs is reset, soon."""
        self._rules.clear()
        loop = self._loop
        if loop is not None:
            loop.call_soon_threadsafe(self._release)

    def fired(self, rule: Rule) -> int:
        """How many requests this very rule was applied to."""
        return self._rules.fired(rule)

    def down(self) -> None:
        """Reset all connections and refuse new ones, as if the server had died."""
        self._call(self._stop_listening)

    def up(self) -> None:
        """Accept connections again, on the same port."""
        self._call(self._start_listening)

    def __enter__(self) -> Self:
        """Start."""
        self._thread.start()
        self._started.wait(SECONDS)
        if not self._port:
            raise RuntimeError("the fault proxy did not start") from (self._errors[0] if self._errors else None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop; raise what went wrong inside, unless something was raised already."""
        self._call(lambda: self._closing.set())
        self._thread.join(SECONDS)
        if error is None and self._thread.is_alive():
            raise TimeoutError("the fault proxy does not stop; a hook may be blocked")
        if error is None and self._errors:
            raise self._errors[0]

    # -- on the loop ---------------------------------------------------------------------------------------------

    def refuse(self, seconds: float | None) -> None:
        """As `Control.refuse`."""
        self._stop_listening()
        if seconds is not None:
            asyncio.get_running_loop().call_later(seconds, self._start_listening)

    def _call(self, work: Callable[[], None]) -> None:
        """Run this on the loop, and wait for it; not at all when the loop has ended."""
        loop, done = self._loop, threading.Event()

        def doing() -> None:
            try:
                work()
            finally:
                done.set()

        if loop is None:
            return
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(doing)
            if threading.current_thread() is not self._thread and not done.wait(SECONDS):
                raise TimeoutError("the fault proxy does not do as it is told")

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except Exception as error:  # noqa: BLE001 - the edge of a thread: `__exit__` raises it
            self._errors.append(error)
        finally:
            self._loop = None
            self._started.set()

    async def _main(self) -> None:
        self._closing = asyncio.Event()
        self.released = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._links: set[Link] = set()
        self._listening: socket.socket | None = None
        self._loop = asyncio.get_running_loop()
        # Holds the port while nobody listens: connections are refused, and nobody else gets it.
        with _bound(0) as holder:
            port = holder.getsockname()[1]
            async with asyncio.TaskGroup() as self._group:
                self._listening_port = port
                self._start_listening()
                self._port = port
                self._started.set()
                await self._closing.wait()
                self._release()
                self._stop_listening()

    def _release(self) -> None:
        self.released.set()
        self.released = asyncio.Event()

    def _start_listening(self) -> None:
        if self._listening is None and not self._closing.is_set():
            listening = self._listening = _bound(self._listening_port)
            listening.listen(CONNECTIONS)
            asyncio.get_running_loop().add_reader(listening, self._accept, listening)

    def _stop_listening(self) -> None:
        """At once: who is reset by it and connects again, is refused."""
        if self._listening is not None:
            asyncio.get_running_loop().remove_reader(self._listening)
            self._listening.close()
            self._listening = None
        for link in self._links:
            link.reset()
        current = asyncio.current_task()
        for task in self._tasks:
            if task is not current:
                task.cancel()

    def _accept(self, listening: socket.socket) -> None:
        try:
            accepted, _ = listening.accept()
        except OSError:
            return  # It went away before we looked.
        if len(self._tasks) >= CONNECTIONS:
            accepted.close()
            return
        accepted.setblocking(False)
        task = self._group.create_task(self._serve(accepted))
        self._tasks.add(task)
        task.add_done_callback(partial(self._served, accepted))

    def _served(self, accepted: socket.socket, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            accepted.close()  # It may not have begun.

    async def _serve(self, accepted: socket.socket) -> None:
        """One connection, from its first request to its last."""
        links: list[Link] = []
        try:
            links.append(await Link.accepted(accepted, self._tls))
            self._links.add(links[0])
            while await self._exchange(links):
                pass
        except (Broken, OSError):
            for link in links:
                link.reset()
        except Exception as error:  # noqa: BLE001 - the edge of a task: `__exit__` raises it
            self._errors.append(error)
        finally:
            self._links.difference_update(links)
            for link in links:
                link.close()

    async def _exchange(self, links: list[Link]) -> bool:
        """One request; whether another may follow. The first link is the client's, the last the server's."""
        client = links[0]
        head = await read_head(client.reader)
        if head is None:
            return False

        async def connect() -> Link:
            if len(links) > 1 and not links[-1].ended:
                return links[-1]
            async with asyncio.timeout(CONNECT_SECONDS):
                server = await Link.connected(*self._upstream)
            links.append(server)
            self._links.add(server)
            return server

        return await self._arrived(head, client, connect).run()

    def _arrived(self, head: Head, client: Link, connect: Connect) -> Exchange:
        method, target, *_ = head.start.split(" ")
        request, armed = self._rules.arrived(method, target, head.headers)
        record = Record(request)
        self._log.append(record)
        if len(self._log) > LOGGED:
            del self._log[: LOGGED // 2]
        return Exchange(
            request=request, head=head, client=client, armed=armed, connect=connect, proxy=self, record=record
        )


def _bound(port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind(("127.0.0.1", port))
    bound.setblocking(False)
    return bound
