"""The server's parts, put together: state, runs, who may ask, schedules."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import anyio
from anyio.abc import TaskGroup
from filelock import FileLock, Timeout

from trueup.api import Engine
from trueup.config import Config
from trueup.core.errors import Locked
from trueup.engine.ambient import Ambient
from trueup.engine.listening import FOLDER
from trueup.engine.schedules import Schedules
from trueup.engine.served import Ledger, ServedRun
from trueup.engine.state import State
from trueup.engine.tokens import CODE_SECONDS, EVERYTHING, Kind, Tokens
from trueup.web.access import Access
from trueup.web.agents import Agents
from trueup.web.board import Board
from trueup.web.metrics import Metrics
from trueup.web.runs import Runs
from trueup.web.scheduler import Scheduler
from trueup.web.targets import Named, find
from trueup.web.telling import Teller

T = TypeVar("T")

LOCAL = "this machine"
"""Whose the token is that the command line finds there."""
DRAIN_SECONDS = 30.0
"""How long runs may finish what is under way, when the server stops."""


@dataclass(frozen=True, slots=True)
class Options:
    """How the server is reached."""

    host: str = "127.0.0.1"
    port: int = 8000
    allowed_hosts: tuple[str, ...] = ()
    """Names beside those of loopback."""
    behind_proxy: bool = False
    """Whether something in front decides on the port in addresses, and on TLS."""

    @property
    def hosts(self) -> frozenset[str]:
        """Every name under which it may be asked."""
        return frozenset({"127.0.0.1", "localhost", "[::1]", *self.allowed_hosts})

    @property
    def cookie(self) -> str:
        """Browsers send a cookie to every port of a machine."""
        return f"trueup_{self.port}"

    @property
    def address(self) -> str:
        """Where it is, from this machine."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104  # a comparison
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"


@dataclass(slots=True)
class Service:
    """Everything that requests need.

    Args:
        config: What is configured.
        options: How it is reached.
        ambient: Clock, threads, names.
    """

    config: Config
    options: Options
    ambient: Ambient = field(default_factory=Ambient)
    keeps_time: bool = True
    """Whether schedules are begun; a test looks at them itself."""
    state: State = field(init=False)
    ledger: Ledger = field(init=False)
    tokens: Tokens = field(init=False)
    access: Access = field(init=False)
    board: Board = field(init=False)
    runs: Runs = field(init=False)
    metrics: Metrics = field(init=False)
    schedules: Schedules = field(init=False)
    agents: Agents = field(init=False)
    _tasks: TaskGroup = field(init=False)
    _teller: Teller = field(init=False)
    streams: int = 0
    """Event streams that are open."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open the state, take runs; at the end, finish what is under way.

        Raises:
            Locked: If another server uses the same state.
        """
        lock = await self.threads(self._lock)
        try:
            self.state = await self.threads(State, self.config.state_dir)
            self._put_together()
            await self.threads(self.ledger.interrupt, self.ambient.clock.now_ns())
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                self.runs.serve(tasks)
                if self.keeps_time:
                    tasks.start_soon(Scheduler(self.schedules, self.runs, self._named, self.ambient).serve)
                try:
                    yield
                finally:
                    with anyio.CancelScope(shield=True):
                        await self._finish()
                    tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await self.threads(self._close, lock)

    def _put_together(self) -> None:
        self.ledger = Ledger(self.state)
        self.tokens = Tokens(self.state)
        self.access = Access(self.tokens, self.ambient, self.options.cookie)
        self.board = Board(self.ledger, self.ambient)
        self.schedules = Schedules(self.state)
        self.agents = Agents(self.config.state_dir, self.tokens, self.ambient, self.access.throttle)
        self._teller = Teller(list(self.config.notify.values()), self.schedules, self.ambient)
        self.metrics = Metrics(lambda: self.runs.active, lambda: self.streams)
        self.runs = Runs(self.config, self.ledger, self.board, self.ambient, ended=self._ended)

    async def threads(self, function: Callable[..., T], /, *args: object) -> T:
        """Call what blocks."""
        return await self.ambient.threads(function, *args)

    def engine(self) -> Engine:
        """An engine for one request: ``async with service.engine() as engine``."""
        return Engine(self.config, ambient=self.ambient)

    def begin_stop(self) -> None:
        """End the streams, begin nothing new, and finish what is under way."""
        self.runs.drain()
        self.board.close()
        self.agents.stop()

    async def _finish(self) -> None:
        self.begin_stop()
        with anyio.move_on_after(DRAIN_SECONDS):
            await self.runs.idle()
            return
        self.runs.stop()

    def _ended(self, run: ServedRun) -> None:
        self.metrics.ended(run)
        self._tasks.start_soon(self._teller.ended, run)

    async def _named(self, target_id: str) -> Named:
        async with self.engine() as engine:
            return find(engine, target_id)

    # -- the command line of this machine --------------------------------------------------------------------------

    def login_link(self) -> str:
        """A link that opens one session, once. Blocks."""
        now_ns = self.ambient.clock.now_ns()
        _, code = self.tokens.create(Kind.CODE, "page", EVERYTHING, now_ns=now_ns, seconds=CODE_SECONDS)
        return f"{self.options.address}/login?code={code}"

    def announce(self) -> Path:
        """Leave a token for the command line of this machine, for its owner only. Blocks."""
        folder = self.config.state_dir / FOLDER
        folder.mkdir(mode=0o700, exist_ok=True)
        path = folder / f"{self.options.port}.json"
        now_ns = self.ambient.clock.now_ns()
        name = f"{LOCAL} {self.options.port}"
        self.tokens.revoke(name)
        _, secret = self.tokens.create(Kind.TOKEN, name, EVERYTHING, now_ns=now_ns)
        document = {"address": self.options.address, "token": secret, "pid": os.getpid()}
        write_private(path, json.dumps(document))
        return path

    def retract(self) -> None:
        """Take that token back. Blocks."""
        with suppress(FileNotFoundError):
            (self.config.state_dir / FOLDER / f"{self.options.port}.json").unlink()
        self.tokens.revoke(f"{LOCAL} {self.options.port}")

    def _lock(self) -> FileLock:
        directory = self.config.state_dir
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = FileLock(directory / "serve.lock", timeout=0, mode=0o600, thread_local=False)
        try:
            lock.acquire()
        except Timeout as error:
            raise Locked(
                "another server uses this state", why=str(directory), attempt="stop it, or set another TRUEUP_STATE"
            ) from error
        return lock

    def _close(self, lock: Any) -> None:
        if hasattr(self, "agents"):
            self.agents.close()
        if hasattr(self, "state"):
            self.state.close()
        lock.release()


def write_private(path: Path, text: str) -> None:
    """Write a file that nobody else can read, not even for a moment; it takes the old one's place at once."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    temporary.replace(path)
