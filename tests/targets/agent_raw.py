"""The same rounds by the sync engine alone, for comparison: agents that write into replicas, and pull and push.

A program: FOLDER URL REPLICAS ROUNDS SEED, because the engine can end its process. Prints what became of the versions.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import turso.aio.sync
from agentfs_sdk import AgentFS  # type: ignore[import-untyped]  # it has no types

NAMES = ("a", "b", "notes/plan", "notes/todo", "notes/deep/x", "work", "deep")


@dataclass
class Fates:
    """What became of what agents wrote."""

    versions: int = 0
    """Of which nobody has deleted or replaced one that they saw."""
    lost: int = 0
    """Of these, held by no replica at the end."""
    mixed: int = 0
    """Files at the end that hold what nobody wrote."""
    unequal: int = 0
    """Whether the replicas differ at the end."""
    errors: int = 0
    """Operations that failed."""
    said: list[str] = field(default_factory=list)
    """Of each."""


class Raw:
    """Replicas of the engine, open all the time."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.replicas: list[tuple[Any, AgentFS]] = []
        self.precious: set[str] = set()
        self.written: set[str] = set()
        self.fates = Fates()

    async def begin(self, folder: Path, url: str, replicas: int) -> None:
        """Make the replicas, one after the other: the first one makes the tables, all others have them."""
        for n in range(replicas):
            database = await turso.aio.sync.connect(str(folder / f"raw{n}.db"), remote_url=url)
            await database.pull()
            agent = await AgentFS.open_with(database)
            await database.commit()
            await database.push()
            self.replicas.append((database, agent))

    async def edit(self, agent: AgentFS) -> None:
        """Write or delete something; what was seen and replaced is the agent's own affair."""
        held = await contents(agent)
        if held and self.random.random() < 0.25:
            name = self.random.choice(sorted(held))
            await agent.fs.rm(f"/{name}")
            self.precious.discard(held[name])
            return
        name = self.random.choice(NAMES)
        version = f"version {len(self.written) + 1} of {name}"
        self.written.add(version)
        await agent.fs.write_file(f"/{name}", version)
        self.precious.discard(held.get(name, ""))
        self.precious.add(version)

    async def tried(self, work: Any) -> None:
        """Count what fails, and go on."""
        try:
            await work
        except Exception as error:  # noqa: BLE001  # whatever the engine says
            self.fates.errors += 1
            self.fates.said.append(f"{type(error).__name__}: {error}"[:200])

    async def sync(self, database: Any) -> None:
        """As its users do: pull, then push."""
        await self.tried(database.pull())
        await self.tried(database.push())

    async def play(self, rounds: int) -> None:
        """Everybody edits, everybody syncs; at the end three times."""
        for _ in range(rounds):
            for database, agent in self.replicas:
                for _ in range(self.random.randint(0, 3)):
                    await self.tried(self.edit(agent))
                await self.tried(database.commit())
            for database, _ in self.random.sample(self.replicas, len(self.replicas)):
                await self.sync(database)
        for _ in range(3):
            for database, _ in self.replicas:
                await self.sync(database)

    async def judged(self) -> Fates:
        """What is there at the end."""
        views = [await contents(agent) for _, agent in self.replicas]
        live = {text for view in views for text in view.values()}
        self.fates.versions = len(self.precious)
        self.fates.lost = len(self.precious - live)
        self.fates.mixed = len(live - self.written)
        self.fates.unequal = int(any(view != views[0] for view in views))
        return self.fates


async def contents(agent: AgentFS) -> dict[str, str]:
    """What the SDK reads, by path."""
    found: dict[str, str] = {}
    folders = [""]
    while folders:
        folder = folders.pop()
        for name in await agent.fs.readdir(folder or "/"):
            path = f"{folder}/{name}"
            if (await agent.fs.stat(path)).is_directory():
                folders.append(path)
            else:
                found[path[1:]] = str(await agent.fs.read_file(path))
    return found


async def main() -> None:
    folder, url, replicas, rounds, seed = sys.argv[1:]
    raw = Raw(int(seed))
    await raw.begin(Path(folder), url, int(replicas))
    await raw.play(int(rounds))
    sys.stdout.write(json.dumps(asdict(await raw.judged())))


if __name__ == "__main__":
    asyncio.run(main())
