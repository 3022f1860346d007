"""What `trueup.agentfs` speaks in: configurations, statistics, results, errors, and the files of an agent."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import anyio
import anyio.to_thread

from trueup.api import agent_files as files
from trueup.core.model import Key
from trueup.engine.ambient import Ambient
from trueup.protocols import Opening, document
from trueup.stores.agentfs import Beside, LocalAgent


@dataclass(frozen=True)
class SyncConfig:
    """Which agent, and which remote."""

    id_or_path: str
    remote_url: str
    auth_token: str | None = field(default=None, repr=False)
    partial_prefetch: bool = False


@dataclass(frozen=True)
class SyncStats:
    """How an agent stands; `trueup.api.agent_files.AgentStats` says what each number means.

    With the driver ``agentfs`` all of them count rows, as the program does.
    """

    last_sync: datetime | None
    pending_changes: int
    total_synced: int
    pending_rows: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0
    revision: str = ""
    wal_bytes: int = 0


class SyncError(Exception):
    """A sync operation failed.

    Args:
        message: What, and why.
        operation: ``pull``, ``push``, ``checkpoint`` or ``stats``.
        remote_url: The remote.
    """

    def __init__(self, message: str, operation: str | None = None, remote_url: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.operation = operation
        self.remote_url = remote_url


@dataclass(frozen=True)
class InitOptions:
    """How an agent's database is made."""

    force: bool = False
    """Whether one that is there is replaced; it is kept beside the new one."""


@dataclass(frozen=True)
class CommandResult:
    """What a command said, and how it ended."""

    stdout: str
    stderr: str
    return_code: int
    duration: float
    """Seconds."""

    @property
    def success(self) -> bool:
        """Whether it did what it was to do."""
        return self.return_code == 0


class FSOperations:
    """Files of an agent, each operation by itself: nothing stays open.

    Args:
        agent_id: The agent: an id, or a path.
    """

    def __init__(self, agent_id: str) -> None:
        self.agent_id = agent_id

    async def write(self, path: str, content: str | bytes) -> None:
        """Write a file, and make the directories above.

        Raises:
            TrueupError: If the database is in use, or no file can have that name.
        """
        store, key = await self._store(), _key(path)
        entry = await store.stat(key)
        text = content if isinstance(content, str) else content.decode("utf-8", "surrogateescape")
        await store.write(key, document(text), expect=None if entry is None else entry.token, trash=None)

    async def read(self, path: str) -> str:
        """Read a file as text.

        Raises:
            FileNotFoundError: If it is not there.
        """
        store, key = await self._store(), _key(path)
        entry = await store.stat(key)
        if entry is None:
            raise FileNotFoundError(path)
        data: bytes = await anyio.to_thread.run_sync(store.bytes_of, key, entry.token)
        return data.decode()

    async def _store(self) -> LocalAgent:
        ambient = Ambient()
        opening = Opening(ambient.clock, ambient.threads, ambient.unique)
        database = await anyio.to_thread.run_sync(files.database_of, self.agent_id)
        return LocalAgent(database, opening, Beside(database.with_name(".unused")))


def _key(path: str) -> Key:
    key = path.strip("/")
    return Key(":" + key if key.startswith(":") else key)
