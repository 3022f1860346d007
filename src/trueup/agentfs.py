"""Agent filesystems for programs: what `agentfs_pydantic` describes, over the engine of trueup.

The token of a remote never goes into an argument of a process; a push that fails is never swallowed; an error is
wrapped once; all figures are real. docs/agents.md says what else differs from the document.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import Literal

import anyio
import anyio.to_thread

from trueup import config as configuration
from trueup.api import Engine
from trueup.api import agent_binary as binaries
from trueup.api import agent_files as files
from trueup.api.agent_binary import Binary, Driver
from trueup.api.agent_words import CommandResult, FSOperations, InitOptions, SyncConfig, SyncError, SyncStats
from trueup.api.agents import Rounds, Select, pulls, pushes
from trueup.api.agents import sync as settle
from trueup.config import Config
from trueup.core.errors import TrueupError, UsageError
from trueup.core.report import Ending
from trueup.targets.agents import TOKEN, Agents

__all__ = [
    "AgentFSCLI",
    "CommandResult",
    "FSOperations",
    "InitOptions",
    "SyncConfig",
    "SyncError",
    "SyncManager",
    "SyncStats",
    "auto_sync",
]

PARTIAL = "remote does not support partial prefetch"


class AgentFSCLI:
    """Every operation as a command that has ended.

    Args:
        config: What is configured; None: what is found from the current folder upwards.
        state_dir: Where to remember; None: the configuration's.
        timeout: Seconds of silence after which a remote counts as gone.
        driver: What pulls and pushes: the engine of trueup, or the program ``agentfs``, which replicates rows as it
            does by itself, and makes the replica at the first pull or push.
    """

    def __init__(
        self,
        *,
        config: Config | None = None,
        state_dir: Path | None = None,
        timeout: float = 30.0,
        driver: Literal["trueup", "agentfs"] = "trueup",
    ) -> None:
        self.binary = Binary(timeout * binaries.CALLS_OF_A_SYNC)
        self._driver = Driver(self.binary) if driver == "agentfs" else None
        self._config = config
        self._state_dir = state_dir
        self._timeout = timeout

    async def init(self, id: str, options: InitOptions | None = None) -> CommandResult:  # noqa: A002  # the document's
        """Make an agent's database: ``./.agentfs/ID.db``, or a path."""
        force = options is not None and options.force

        def make() -> str:
            path = files.database_of(id)
            if force and path.exists():
                kept = files.replace_by_empty(path, unique=token_hex(4), now_s=int(time.time()))
                return f"made {path}; the old one is in {kept}"
            files.create(path, now_s=int(time.time()))
            return f"made {path}"

        async def work() -> str:
            return await anyio.to_thread.run_sync(make)

        return await _result(work)

    async def sync_pull(self, config: SyncConfig) -> CommandResult:
        """Bring what the remote has into the agent's database."""
        return await self._synced(config, "pull", pulls)

    async def sync_push(self, config: SyncConfig) -> CommandResult:
        """Bring what the agent has to the remote; what both have changed is settled, on both sides."""
        return await self._synced(config, "push", pushes)

    async def sync_checkpoint(self, config: SyncConfig) -> CommandResult:
        """Fold the write-ahead log into the agent's database."""
        if self._driver is not None:
            return await self._driven(self._driver, config, "checkpoint")

        async def work() -> str:
            async with self._engine() as engine:
                agent = await engine.agent(await self._target(config))
                return f"folded {await agent.checkpoint()} bytes"

        return await _result(work)

    async def sync_stats(self, config: SyncConfig) -> SyncStats:
        """How the agent stands. The remote is not asked.

        Raises:
            SyncError: If its database cannot be looked at.
        """
        if self._driver is not None:
            return await self._driven_stats(self._driver, config)
        try:
            async with self._engine() as engine:
                found = await (await engine.agent(await self._target(config))).stats()
        except* TrueupError as group:
            raise SyncError(f"Stats failed: {_said(group)}", "stats", config.remote_url) from group
        names = SyncStats.__dataclass_fields__
        return SyncStats(**{name: getattr(found, name) for name in names})

    async def _driven(self, driver: Driver, config: SyncConfig, operation: str) -> CommandResult:
        try:
            return await _by_program(driver, config, operation)
        except TrueupError as error:
            return CommandResult("", _sentence(error), error.exit_code, 0.0)

    async def _driven_stats(self, driver: Driver, config: SyncConfig) -> SyncStats:
        try:
            found = binaries.statistics(await _by_program(driver, config, "stats"))
            pushed = await anyio.to_thread.run_sync(binaries.pushed_rows, config.id_or_path, config.remote_url)
        except TrueupError as error:
            raise SyncError(f"Stats failed: {_sentence(error)}", "stats", config.remote_url) from error
        last = max(found["last_pull_unix_time"] or 0, found["last_push_unix_time"] or 0)
        return SyncStats(
            last_sync=datetime.fromtimestamp(last, UTC) if last else None,
            pending_changes=found["cdc_operations"],
            total_synced=pushed,
            pending_rows=found["cdc_operations"],
            sent_bytes=found["network_sent_bytes"],
            received_bytes=found["network_received_bytes"],
            revision=found["revision"] or "",
            wal_bytes=found["main_wal_size"],
        )

    async def _synced(self, config: SyncConfig, operation: str, select: Select) -> CommandResult:
        if self._driver is not None:
            return await self._driven(self._driver, config, operation)

        async def work() -> str:
            if config.partial_prefetch:
                raise UsageError(PARTIAL, why="what both sides hold is compared item by item")
            async with self._engine() as engine:
                target = await self._target(config)
                rounds = await settle(engine, target, select=select, command=f"agent {operation}")
            return _conclusion(rounds, operation)

        return await _result(work)

    async def _target(self, config: SyncConfig) -> Agents:
        database = await anyio.to_thread.run_sync(files.database_of, config.id_or_path)
        return Agents(
            config.id_or_path,
            str(database),
            config.remote_url,
            timeout_seconds=self._timeout,
            token=lambda: config.auth_token or os.environ.get(TOKEN),
        )

    @asynccontextmanager
    async def _engine(self) -> AsyncIterator[Engine]:
        found = self._config or await anyio.to_thread.run_sync(_configured)
        async with Engine(found, state_dir=self._state_dir) as engine:
            yield engine


class SyncManager:
    """Pulls, pushes and syncs one agent.

    Args:
        agent_id: The agent: an id, or a path.
        remote_url: ``file:///path/team.db``, ``http://``, ``https://`` or ``libsql://``.
        auth_token: The remote's token; None: ``TURSO_DB_AUTH_TOKEN`` of the environment.
        partial_prefetch: Refused by every pull and push: they compare whole databases.
        cli: What carries the operations out; None: an `AgentFSCLI`.
    """

    def __init__(
        self,
        agent_id: str,
        remote_url: str,
        *,
        auth_token: str | None = None,
        partial_prefetch: bool = False,
        cli: AgentFSCLI | None = None,
    ) -> None:
        self.agent_id = agent_id
        self.remote_url = remote_url
        self.auth_token = auth_token or os.getenv(TOKEN)
        self.partial_prefetch = partial_prefetch
        self.cli = cli or AgentFSCLI()
        self.last_error: SyncError | None = None
        """What went wrong when `auto_sync` pushed at the end."""
        self._config = SyncConfig(agent_id, remote_url, self.auth_token, partial_prefetch)

    async def pull(self) -> bool:
        """Bring what the remote has into the agent's database. What both have changed waits for a push.

        Raises:
            SyncError: If it fails; what was done before is recorded, and nothing is lost.
        """
        return self._checked(await self.cli.sync_pull(self._config), "pull")

    async def push(self) -> bool:
        """Bring what the agent has to the remote; what both have changed is settled.

        Raises:
            SyncError: If it fails; what was done before is recorded, and nothing is lost.
        """
        return self._checked(await self.cli.sync_push(self._config), "push")

    async def sync(self) -> bool:
        """Pull, then push.

        Raises:
            SyncError: If one of them fails.
        """
        return await self.pull() and await self.push()

    async def checkpoint(self) -> bool:
        """Fold the write-ahead log into the agent's database; whether that was possible."""
        return (await self.cli.sync_checkpoint(self._config)).success

    async def stats(self) -> SyncStats:
        """How the agent stands. The remote is not asked."""
        return await self.cli.sync_stats(self._config)

    def _checked(self, result: CommandResult, operation: str) -> bool:
        if not result.success:
            message = f"{operation.capitalize()} failed: {result.stderr.strip()}"
            raise SyncError(message, operation=operation, remote_url=self.remote_url)
        return True


@asynccontextmanager
async def auto_sync(
    agent_id: str,
    remote_url: str,
    *,
    auth_token: str | None = None,
    pull_on_enter: bool = True,
    push_on_exit: bool = True,
    cli: AgentFSCLI | None = None,
    strict: bool = False,
    push_on_error: bool = False,
) -> AsyncIterator[SyncManager]:
    """Pull at the beginning, push at the end.

    A push that fails warns, and is in `SyncManager.last_error`. If the body fails, its exception comes out, and nothing
    is pushed unless that is asked for: half of a change is nothing to share.

    Args:
        agent_id: The agent: an id, or a path.
        remote_url: The remote.
        auth_token: Its token.
        pull_on_enter: Whether to pull.
        push_on_exit: Whether to push.
        cli: What carries the operations out.
        strict: Whether a push that fails raises.
        push_on_error: Whether to push although the body has failed.

    Raises:
        SyncError: If the pull fails, or with `strict` the push.
    """
    manager = SyncManager(agent_id, remote_url, auth_token=auth_token, cli=cli)
    if pull_on_enter:
        await manager.pull()
    try:
        yield manager
    except BaseException:
        if push_on_exit and push_on_error:
            await _pushed(manager, strict=False)
        raise
    if push_on_exit:
        await _pushed(manager, strict=strict)


async def _pushed(manager: SyncManager, *, strict: bool) -> None:
    try:
        await manager.push()
    except SyncError as error:
        manager.last_error = error
        if strict:
            raise
        warnings.warn(f"{error}; the changes are still in the database", RuntimeWarning, stacklevel=4)


async def _by_program(driver: Driver, config: SyncConfig, operation: str) -> CommandResult:
    return await driver.sync(
        operation,
        config.id_or_path,
        config.remote_url,
        token=config.auth_token,
        partial_prefetch=config.partial_prefetch,
    )


async def _result(work: Callable[[], object]) -> CommandResult:
    began = time.monotonic()
    out, err, code = "", "", 0
    try:
        out = str(await work())  # type: ignore[misc]  # it is a coroutine function
    except* TrueupError as group:
        err, code = _said(group), _code(group)
    return CommandResult(out, err, code, time.monotonic() - began)


def _conclusion(rounds: Rounds, operation: str) -> str:
    """What was done, in a sentence.

    Raises:
        TrueupError: If something is left.
    """
    troubles = [] if rounds.last.ending is Ending.IN_SYNC and rounds.last.plan.complete else rounds.troubles
    if operation == "pull":
        troubles = [one for one in troubles if not one.startswith("conflict: ")]
    if troubles:
        raise TrueupError("; ".join(troubles[:5]))
    return f"{operation}ed {rounds.done} {'change' if rounds.done == 1 else 'changes'}"


def _said(group: BaseExceptionGroup[TrueupError]) -> str:
    return "; ".join(map(_sentence, _leaves(group)))


def _sentence(error: TrueupError) -> str:
    return f"{error} - try: {error.attempt}" if error.attempt else str(error)


def _code(group: BaseExceptionGroup[TrueupError]) -> int:
    return next((error.exit_code for error in _leaves(group)), 1)


def _leaves(group: BaseExceptionGroup[TrueupError]) -> list[TrueupError]:
    found: list[TrueupError] = []
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            found += _leaves(error)
        elif isinstance(error, TrueupError):
            found.append(error)
    return found


def _configured() -> Config:
    return configuration.load(Path.cwd(), env=os.environ)
