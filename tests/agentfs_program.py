"""A stand-in for the program ``agentfs``: its real arguments, messages and exit codes, over the real sync engine.

The program is written in Rust, and in no package registry. This one was written after `cli/src/parser.rs`,
`cli/src/cmd/init.rs` and `cli/src/cmd/sync.rs` of https://github.com/tursodatabase/agentfs; what pulls and pushes is
pyturso, and what makes the tables the SDK. What it does not know it refuses with 2, as the real one's parser does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(".agentfs")
PREFIX_BYTES = 128 * 1024
STATISTICS = (
    "cdc_operations", "main_wal_size", "revert_wal_size", "last_pull_unix_time", "last_push_unix_time", "revision",
    "network_sent_bytes", "network_received_bytes",
)  # fmt: skip


class Failed(Exception):
    """Ends the program with 1 and this message."""


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """As its parser reads them; the token is no argument."""
    parser = argparse.ArgumentParser(prog="agentfs", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    init = commands.add_parser("init", allow_abbrev=False)
    init.add_argument("id")
    init.add_argument("--force", action="store_true")
    init.add_argument("--sync-remote-url")
    init.add_argument("--sync-partial-prefetch", choices=["true", "false"])
    sync = commands.add_parser("sync", allow_abbrev=False)
    sync.add_argument("id_or_path")
    sync.add_argument("operation", choices=["pull", "push", "stats", "checkpoint"])
    return parser.parse_args(arguments)


def resolved(id_or_path: str) -> Path:
    """A path that is there, else an id."""
    if Path(id_or_path).exists():
        return Path(id_or_path)
    path = FOLDER / f"{id_or_path}.db"
    if not re.fullmatch(r"[A-Za-z0-9_-]+", id_or_path) or not path.exists():
        raise Failed(f"Agent '{id_or_path}' not found at '{path}'")
    return path


async def opened(path: Path, remote_url: Any, *, prefetch: str | None = None) -> Any:
    """The replica, its tables made; the remote of one that is there is in its record."""
    import turso.aio.sync
    from agentfs_sdk import AgentFS  # type: ignore[import-untyped]  # it has no types
    from turso.sync import PartialSyncOpts, PartialSyncPrefixBootstrap

    partial = None
    if prefetch is not None:
        beginning = PartialSyncPrefixBootstrap(length=PREFIX_BYTES)
        partial = PartialSyncOpts(bootstrap_strategy=beginning, segment_size=PREFIX_BYTES, prefetch=prefetch == "true")
    token = os.environ.get("TURSO_DB_AUTH_TOKEN")
    database = await turso.aio.sync.connect(str(path), remote_url, auth_token=token, partial_sync_experimental=partial)
    await AgentFS.open_with(database)
    await database.commit()
    return database


async def init(wanted: argparse.Namespace) -> None:
    """``agentfs init``."""
    path = FOLDER / f"{wanted.id}.db"
    if not re.fullmatch(r"[A-Za-z0-9_-]+", wanted.id):
        raise Failed(
            f"Invalid agent ID '{wanted.id}'. Agent IDs must contain only alphanumeric characters, hyphens, and "
            "underscores."
        )
    if path.exists() and not wanted.force:
        raise Failed(f"Agent '{wanted.id}' already exists at '{path}'. Use --force to overwrite.")
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob(f"{wanted.id}*"):
        old.unlink()  # so does the real one: whatever begins with the id
    if wanted.sync_remote_url is not None:
        database = await opened(path, wanted.sync_remote_url, prefetch=wanted.sync_partial_prefetch)
        await database.push()
        await database.close()
    else:
        from agentfs_sdk import AgentFS, AgentFSOptions

        await (await AgentFS.open(AgentFSOptions(path=str(path)))).close()
    print(f"Created agent filesystem: {path}", file=sys.stderr)  # noqa: T201
    print(f"Agent ID: {wanted.id}", file=sys.stderr)  # noqa: T201


async def sync(wanted: argparse.Namespace) -> None:
    """``agentfs sync``."""
    path = resolved(wanted.id_or_path)
    print(f"Using agent: {wanted.id_or_path}", file=sys.stderr)  # noqa: T201
    if not path.with_name(path.name + "-info").exists():
        raise Failed("db is not connected to the remote")
    database = await opened(path, None)
    if wanted.operation == "stats":
        stats = await database.stats()
        sys.stdout.write(json.dumps({name: getattr(stats, name) for name in STATISTICS}))
    else:
        await getattr(database, wanted.operation)()
        done = {
            "pull": "Remote data pulled to local db successfully",
            "push": "Local data pushed to remote db successfully",
            "checkpoint": "Local db checkpoined successfully",  # its own spelling
        }
        print(done[wanted.operation], file=sys.stderr)  # noqa: T201
    await database.close()


def main() -> None:
    wanted = parsed(sys.argv[1:])
    try:
        asyncio.run(init(wanted) if wanted.command == "init" else sync(wanted))
    except Exception as error:  # noqa: BLE001  # the edge of a process
        print(f"Error: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(1)


def install(folder: Path, *, log: Path | None = None) -> Path:
    """Put it into a folder, under its name; its arguments go into a file, one line each, if one is given."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "agentfs"
    noted = f'printf "%s\\n" "$*" >> "{log}"\n' if log is not None else ""
    program.write_text(f'#!/bin/sh\n{noted}exec "{sys.executable}" "{__file__}" "$@"\n')
    program.chmod(0o755)
    return program


if __name__ == "__main__":
    main()
