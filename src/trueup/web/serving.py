"""Bind, serve, stop: uvicorn around the application."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import cast

import anyio
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from trueup.config import Config
from trueup.core.errors import StoreError, UsageError
from trueup.engine.ambient import Ambient
from trueup.engine.state import State
from trueup.engine.tokens import Kind, Tokens
from trueup.web.app import create_app
from trueup.web.service import DRAIN_SECONDS, Options, Service

LOOPBACK = ("127.0.0.1", "::1", "localhost")
HEAD_SECONDS = 10.0
"""For a request's first line and headers to arrive; a client that sends byte after byte is cut off."""
MOST_CONNECTIONS = 500
MOST_HEAD_BYTES = 64 * 1024

Announce = Callable[[str, str], None]
"""Is told the address, and a link that logs in once."""


def check_options(options: Options, config: Config, now_ns: int) -> None:
    """Refuse to be reachable from elsewhere unless it was made safe. Blocks.

    Raises:
        UsageError: If a name under which it may be asked is missing, or nobody has a token.
    """
    if options.host in LOOPBACK:
        return
    if not options.allowed_hosts:
        raise UsageError(
            f"{options.host} can be reached from elsewhere",
            why="the server has to know the names under which it may be asked, against DNS rebinding",
            attempt="--allowed-host NAME, with TLS in front: --behind-proxy",
        )
    state = State(config.state_dir)
    try:
        tokens = [one for one in Tokens(state).listed(now_ns=now_ns) if one.kind is Kind.TOKEN]
    finally:
        state.close()
    if not tokens:
        raise UsageError(
            f"{options.host} can be reached from elsewhere, and nobody has a token",
            why="without authentication it is not bound there",
            attempt="trueup token create NAME --scope read",
        )


def bind(options: Options) -> socket.socket:
    """A socket that listens; port 0 takes a free one.

    Raises:
        StoreError: If the port is taken, or may not be used.
    """
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Connections inherit it; asyncio sets it only where the protocol was named. Without it an answer's body waits for
    # the acknowledgement of its head, up to 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        listener.bind((options.host, options.port))
    except (OSError, OverflowError) as error:
        listener.close()
        why = str(getattr(error, "strerror", "") or error)
        raise StoreError(
            f"{options.host} port {options.port} cannot be used", why=why, attempt="another --port"
        ) from error
    return listener


def serve(config: Config, options: Options, announce: Announce) -> None:
    """Serve until a signal comes.

    Args:
        config: What is configured.
        options: How the server is reached.
        announce: Is told the address, and a link that logs in once, when it serves.

    Raises:
        UsageError: If it must not be bound there.
        StoreError: If the port cannot be used.
        Locked: If another server uses the same state.
    """
    ambient = Ambient()
    check_options(options, config, ambient.clock.now_ns())
    listener = bind(options)
    port = listener.getsockname()[1]
    options = Options(options.host, port, options.allowed_hosts, options.behind_proxy)
    service = Service(config, options, ambient)
    anyio.run(_serve, service, listener, announce)


async def _serve(service: Service, listener: socket.socket, announce: Announce) -> None:
    async with service.running():
        await service.threads(service.announce)
        try:
            await Server(service, announce).serve(sockets=[listener])
        finally:
            with anyio.CancelScope(shield=True):
                await service.threads(service.retract)


class Server(uvicorn.Server):
    """Uvicorn, which ends streams and runs before it waits for connections.

    Args:
        service: Is open.
        announce: Is told the address, and a link that logs in once, when it serves.
    """

    def __init__(self, service: Service, announce: Announce) -> None:
        super().__init__(
            uvicorn.Config(
                create_app(service),
                http=Protocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                limit_concurrency=MOST_CONNECTIONS,
                h11_max_incomplete_event_size=MOST_HEAD_BYTES,
                timeout_graceful_shutdown=int(DRAIN_SECONDS),
            )
        )
        self._service = service
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve, then say so."""
        await super().startup(sockets)
        link = await self._service.threads(self._service.login_link)
        self._announce(self._service.options.address, link)

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Hear SIGINT and SIGTERM: the first lets what is under way finish, the second stops it."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        heard = (signal.SIGINT, signal.SIGTERM)
        for number in heard:
            loop.add_signal_handler(number, self.stop)
        try:
            yield
        finally:
            for number in heard:
                loop.remove_signal_handler(number)

    def stop(self) -> None:
        """Stop: the first time in good order."""
        if self.should_exit:
            self._service.runs.stop()
        self.should_exit = True
        self._service.begin_stop()


class Protocol(H11Protocol):
    """HTTP/1.1, where the head of each request has to arrive in time."""

    _head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as its base
        """Wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._wait_no_more()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """A part of a request; time runs from its first byte until its head is whole."""
        before = cast("RequestResponseCycle | None", self.cycle)  # there is none before the first request
        if before is None or before.response_complete:
            self._wait()
        super().data_received(data)
        if self.cycle is not before:
            self._wait_no_more()

    def _wait(self) -> None:
        if self._head is None:
            self._head = self.loop.call_later(HEAD_SECONDS, self._late)

    def _wait_no_more(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _late(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()
