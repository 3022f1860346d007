"""The program ``agentfs`` as a driver: its own sync, by its own arguments, of a replica that it has made itself.

``agentfs init ID --sync-remote-url URL [--sync-partial-prefetch true]`` makes a replica in ``./.agentfs/ID.db`` that
knows its remote, ``agentfs sync ID pull|push|stats|checkpoint`` works with it. It replicates rows: what docs/agents.md
says about raw pulls and pushes holds for it. Source: https://github.com/tursodatabase/agentfs, `MANUAL.md`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from trueup.api.agent_files import ID
from trueup.api.agent_words import CommandResult
from trueup.core.errors import StoreError, UsageError
from trueup.targets.agents import TOKEN

MISSING = 127
"""As shells say that a program is not there."""
TOO_LONG = 124
"""As `timeout` says that it stopped one."""
CALLS_OF_A_SYNC = 20
"""One silence of the network may take the given time, a whole call so many times that."""
_STATISTICS = (
    "cdc_operations",
    "main_wal_size",
    "last_pull_unix_time",
    "last_push_unix_time",
    "revision",
    "network_sent_bytes",
    "network_received_bytes",
)


class Binary:
    """The program ``agentfs``, where it is installed. Only the driver needs it.

    Args:
        timeout: Seconds after which it is stopped; None: never.
    """

    def __init__(self, timeout: float | None = None) -> None:
        self._timeout = timeout

    async def execute(self, args: Sequence[str], *, token: str | None = None) -> CommandResult:
        """Run it; 127 if it is not on PATH, 124 if it took too long.

        Args:
            args: Its arguments. A token never belongs there.
            token: Goes into its environment; None: what is there already.
        """
        began = time.monotonic()
        program = await anyio.to_thread.run_sync(shutil.which, "agentfs")
        if program is None:
            return CommandResult("", "agentfs is not on PATH", MISSING, time.monotonic() - began)
        environment = dict(os.environ) if token is None else {**os.environ, TOKEN: token}
        done: subprocess.CompletedProcess[bytes] | None = None
        with anyio.move_on_after(self._timeout):
            done = await anyio.run_process([program, *args], check=False, env=environment, stdin=subprocess.DEVNULL)
        if done is None:
            said = f"agentfs {' '.join(args)} took longer than {self._timeout:g} s, and was stopped"
            return CommandResult("", said, TOO_LONG, time.monotonic() - began)
        out, err = (text.decode("utf-8", "replace") for text in (done.stdout, done.stderr))
        return CommandResult(out, err, done.returncode, time.monotonic() - began)


class Driver:
    """Syncs an agent by the program.

    Args:
        binary: The program.
    """

    def __init__(self, binary: Binary) -> None:
        self._binary = binary

    async def sync(
        self, operation: str, agent: str, remote_url: str, *, token: str | None, partial_prefetch: bool
    ) -> CommandResult:
        """``agentfs sync AGENT OPERATION``; a replica that is not there yet is made first.

        Args:
            operation: ``pull``, ``push``, ``checkpoint`` or ``stats``.
            agent: An id, or the path of a replica.
            remote_url: The replica's remote.
            token: Its token.
            partial_prefetch: Whether a new replica begins with the first 128 KiB, and fetches what is read.

        Raises:
            UsageError: If the database is no replica, or one of another remote, or nothing that the program can reach.
            StoreError: If it cannot be seen what is there.
        """
        replica = await anyio.to_thread.run_sync(replica_of, agent, remote_url)
        if replica is None:
            made = await self._binary.execute(_beginning(agent, remote_url, partial_prefetch), token=token)
            if not made.success:
                return made
        return await self._binary.execute(["sync", agent, operation], token=token)


def _beginning(agent: str, remote_url: str, partial_prefetch: bool) -> list[str]:
    if not ID.fullmatch(agent):
        raise UsageError(
            f"there is no replica {agent}", why="agentfs makes one for an id only", attempt="give an id, as `helper`"
        )
    words = ["init", agent, "--sync-remote-url", remote_url]
    return [*words, "--sync-partial-prefetch", "true"] if partial_prefetch else words


def replica_of(agent: str, remote_url: str) -> Mapping[str, Any] | None:
    """What the replica says of itself; None if there is none yet.

    Raises:
        UsageError: If it is no replica, or one of another remote, or the remote is a file.
        StoreError: If its record cannot be read.
    """
    if remote_url.startswith("file://"):
        raise UsageError(
            f"agentfs cannot reach {remote_url}", why="it speaks with servers only", attempt="trueup serve, and its URL"
        )
    path = Path(".agentfs") / f"{agent}.db" if ID.fullmatch(agent) else Path(agent)
    if not path.exists():
        return None
    record = path.with_name(path.name + "-info")
    if not record.exists():
        raise UsageError(
            f"{path} is no replica",
            why="agentfs syncs only what it has made with a remote",
            attempt=f"trueup agent push {agent} --remote-url {remote_url}",
        )
    try:
        told: Mapping[str, Any] = json.loads(record.read_text())
        known = told["saved_configuration"]["remote_url"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{record} cannot be read", why=str(error), attempt=f"trueup agent adopt {path}") from error
    if known is not None and known.rstrip("/") != remote_url.rstrip("/"):
        raise UsageError(f"{path} is a replica of {known}", why=f"not of {remote_url}", attempt=f"--remote-url {known}")
    return told


def pushed_rows(agent: str, remote_url: str) -> int:
    """How many changes of rows the replica has pushed over all its history: the number of the last one."""
    told = replica_of(agent, remote_url) or {}
    return int(told.get("last_pushed_change_id_hint") or 0)


def statistics(result: CommandResult) -> Mapping[str, Any]:
    """What ``agentfs sync ID stats`` says: one line of JSON.

    Raises:
        StoreError: If it failed, or says something else.
    """
    if not result.success:
        raise StoreError("agentfs gave no statistics", why=result.stderr.strip()[-300:], attempt="agentfs --version")
    try:
        found = json.loads(result.stdout)
        return {name: found[name] for name in _STATISTICS}
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            "agentfs gave no statistics", why=f"it said {result.stdout[:100]!r}", attempt="agentfs --version"
        ) from error
