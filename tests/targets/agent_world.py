"""Agents that work offline and meet at a remote: what scenarios and random rounds are played with."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import anyio
from tests.agents import opening

from trueup.api import Engine
from trueup.api.agents import Rounds, Select, sync
from trueup.core.strategy import Policy
from trueup.stores.agentfs import Beside, LocalAgent, look
from trueup.stores.agentfs.schema import Statement, beginning
from trueup.targets.agents import POLICY, Agents

EDITS = """
import asyncio, json, sys
from agentfs_sdk import AgentFS, AgentFSOptions

async def main():
    agent = await AgentFS.open(AgentFSOptions(path=sys.argv[1]))
    for verb, *words in json.load(sys.stdin):
        match verb:
            case "write": await agent.fs.write_file(words[0], words[1])
            case "remove": await agent.fs.rm(words[0])
            case "mkdir": await agent.fs.mkdir(words[0])
            case "rename": await agent.fs.rename(words[0], words[1])
            case "set": await agent.kv.set(words[0], words[1])
            case "delete": await agent.kv.delete(words[0])
            case "call": await agent.tools.record(words[0], words[1], words[1] + 1, {"n": words[2]}, {"ok": True})
            case "start": await agent.tools.start(words[0])
    await agent.close()

asyncio.run(main())
"""
"""What an agent does, by the SDK, in a process of its own."""


@dataclass
class Replica:
    """One machine: an agent's database, and the state of trueup there."""

    folder: Path
    remote: str
    policy: Policy = POLICY
    token: str | None = None

    @property
    def database(self) -> Path:
        return self.folder / "agent.db"

    @property
    def spec(self) -> Agents:
        return Agents(
            self.folder.name,
            str(self.database),
            self.remote,
            policy=self.policy,
            timeout_seconds=10.0,
            token=lambda: self.token,
        )

    def does(self, *edits: tuple[object, ...]) -> None:
        """Let the agent work."""
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-c", EDITS, str(self.database)]
        subprocess.run(command, input=json.dumps(edits), text=True, check=True, timeout=60)

    def sql(self, *statements: Statement) -> None:
        """Do what the Python SDK cannot: links, permission bits."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self.database, isolation_level=None)) as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("BEGIN IMMEDIATE")
            for sql, values in beginning(1_700_000_000):
                db.execute(sql, values)
            for sql, values in statements:
                db.execute(sql, values)
            db.execute("COMMIT")

    def sync(self, select: Select | None = None) -> Rounds:
        async def run() -> Rounds:
            async with Engine(state_dir=self.folder / "state") as engine:
                return await sync(engine, self.spec, select=select)

        return anyio.run(run)

    def holds(self) -> dict[str, tuple[bytes, int | None]]:
        """Every item: its content and mode."""
        store = LocalAgent(self.database, opening(), Beside(self.folder / "unused.db"))
        with store.reading(now=True) as db:
            if db is None:
                return {}
            found = look.listing(db, Nothing(), now_s=0)
            return {one.key: (look.bytes_of(db, one), one.mode) for one in found}

    def files(self) -> dict[str, str]:
        """Every file and pair, as text."""
        return {
            key: data.decode()
            for key, (data, _) in self.holds().items()
            if not key.endswith("/") and ":calls/" not in key
        }

    def trash(self) -> set[bytes]:
        """Contents of all versions in the trash of both sides."""
        found: set[bytes] = set()
        for path in self.folder.glob("state/agents/*/*.db"):
            beside = Beside(path)
            found |= {beside.read(one.handle) for one in beside.kept()}
        return found

    def check(self) -> None:
        """The database is whole, and no row belongs to nothing."""
        with closing(sqlite3.connect(self.database)) as db:
            links = "SELECT count(*) FROM fs_dentry d WHERE d.ino = i.ino"
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            for orphan in (
                "SELECT ino FROM fs_data WHERE ino NOT IN (SELECT ino FROM fs_inode)",
                "SELECT ino FROM fs_dentry WHERE ino NOT IN (SELECT ino FROM fs_inode)",
                "SELECT ino FROM fs_inode WHERE ino <> 1 AND ino NOT IN (SELECT ino FROM fs_dentry)",
                f"SELECT ino FROM fs_inode i WHERE ino <> 1 AND nlink <> ({links})",  # noqa: S608  # own text
            ):
                assert db.execute(orphan).fetchall() == [], orphan


class Nothing:
    """Remembers no digest, so that everything is read."""

    def known(self) -> dict[int, tuple[str, str]]:
        return {}

    def learn(self, found: dict[int, tuple[str, str]]) -> None:
        """It forgets."""


def settled(*replicas: Replica) -> None:
    """Sync all until nothing is left to do, and look whether all hold the same."""
    for _ in range(2):
        for replica in replicas:
            rounds = replica.sync()
            assert not rounds.troubles, rounds.troubles
    first, *others = replicas
    for replica in others:
        assert replica.holds() == first.holds()
    for replica in replicas:
        replica.check()


Make = Callable[..., Replica]
