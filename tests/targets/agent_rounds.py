"""Random rounds: agents edit offline, and their syncs are killed at any step.

By hand: ``python -m tests.targets.agent_rounds --seeds 40``.

What an agent's database held when a sync of it began has to be somewhere at the end: live, in a sibling, or in a trash.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from tests.agents import outside_delete, outside_write, tursodb
from tests.targets.agent_world import Replica

from trueup.core.model import Key

NAMES = ("a", "b", "notes/plan", "notes/todo", "notes/deep/x", "work", "work/y", "deep")
"""Few, so that they meet; two of them cannot be beside each other."""

DYING = """
import os, signal, sys
import anyio
from pathlib import Path
from trueup.api import Engine
from trueup.api.agents import sync
from trueup.engine.journal import Journal
from trueup.stores.agentfs.hrana import Remote
from trueup.stores.agentfs.local import LocalAgent
from trueup.targets.agents import Agents

left = int(sys.argv[4])

def dying(owner, name):
    whole = getattr(owner, name)
    def step(*args, **kwargs):
        for _ in range(2):
            global left
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            if _ == 0:
                answer = whole(*args, **kwargs)
        return answer
    setattr(owner, name, step)

dying(LocalAgent, "carry_out")
dying(Remote, "transactions")
dying(Journal, "record")

async def main():
    async with Engine(state_dir=Path(sys.argv[1])) as engine:
        await sync(engine, Agents("agent", sys.argv[2], sys.argv[3], timeout_seconds=10.0))

anyio.run(main)
"""
"""A sync that is killed before or after its n-th transaction, whichever side or book it is of."""


class Game:
    """Some replicas of one remote, and what must not be lost."""

    def __init__(self, folder: Path, remote: str, *, replicas: int, seed: int) -> None:
        self.random = Random(seed)
        folder.mkdir(exist_ok=True)
        self.replicas = [Replica(folder / f"r{n}", remote) for n in range(replicas)]
        for replica in self.replicas:
            replica.folder.mkdir()
        self.precious: set[bytes] = set()
        self.own: dict[Path, set[bytes]] = {replica.folder: set() for replica in self.replicas}
        """What each agent wrote, and no sync of it that ended has shared: what waits for a person is not shared."""
        self.written = 0
        self.killed = 0

    def edit(self, replica: Replica) -> None:
        """Let an agent write or delete something."""
        content = {key: data for key, (data, _) in replica.holds().items() if not key.endswith("/")}
        held = list(content)
        if held and self.random.random() < 0.25:
            gone = self.random.choice(held)
            self.give_up(replica, content[gone])
            outside_delete(replica.database, Key(gone))
            return
        name = self.random.choice(NAMES)
        taken = {key.rstrip("/") for key in replica.holds()}
        below = any(key.startswith(f"{name}/") for key in taken)
        if below or any(f"{name}/".startswith(f"{key}/") for key in held if key != name):
            return
        self.written += 1
        version = f"version {self.written} of {name}".encode()
        if name in content:
            self.give_up(replica, content[name])
        self.own[replica.folder].add(version)
        outside_write(replica.database, Key(name), version)

    def give_up(self, replica: Replica, version: bytes) -> None:
        """An agent replaces what it wrote itself, and no sync has ended since: that is its own affair."""
        if version in self.own[replica.folder]:
            self.precious.discard(version)

    def begin_sync(self, replica: Replica) -> None:
        """Note what must not be lost from now on."""
        self.precious |= {data for key, (data, _) in replica.holds().items() if not key.endswith("/")}

    def round(self) -> None:
        """Everybody edits, and somebody's sync is killed."""
        for replica in self.replicas:
            for _ in range(self.random.randint(0, 3)):
                self.edit(replica)
        for replica in self.random.sample(self.replicas, len(self.replicas)):
            self.begin_sync(replica)
            if self.random.random() < 0.5:
                self.killed += killed_sync(replica, self.random.randint(1, 12))
            else:
                plan = replica.sync().last.plan
                waiting = {item.key.split("/")[0] for item in plan.conflicts}
                self.own[replica.folder] = {one for one in self.own[replica.folder] if top_of(one) in waiting}

    def end(self) -> None:
        """Sync all to the end, and look for everything."""
        for _ in range(3):
            for replica in self.replicas:
                self.begin_sync(replica)
                replica.sync()
        kept = set().union(*(replica.trash() for replica in self.replicas))
        live = {data for replica in self.replicas for data, _ in replica.holds().values()}
        assert not self.precious - live - kept, self.precious - live - kept
        conflicts = {item.key for one in self.replicas for item in one.sync().last.plan.conflicts}
        for replica in self.replicas:
            replica.check()
        if not conflicts:
            first, *others = [replica.holds() for replica in self.replicas]
            assert all(other == first for other in others)


def top_of(version: bytes) -> str:
    """The first part of the name that a version was written under."""
    return version.decode().rpartition(" ")[2].split("/")[0]


def killed_sync(replica: Replica, step: int) -> bool:
    """Whether it was killed; a short one has ended before."""
    replica.folder.mkdir(parents=True, exist_ok=True)
    words = [str(replica.folder / "state"), str(replica.database), replica.remote, str(step)]
    done = subprocess.run(
        [sys.executable, "-c", DYING, *words], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0


@contextmanager
def remote_of(kind: str, folder: Path) -> Iterator[str]:
    """A remote of ours, or the reference."""
    if kind == "ours":
        yield f"file://{folder}/team/team.db"
        return
    with tursodb(folder / "server" / "team.db") as url:
        yield url


def main() -> None:
    """Play many."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--replicas", type=int, default=3)
    parser.add_argument("--remote", choices=["ours", "reference"], default="ours")
    wanted = parser.parse_args()
    versions = kills = 0
    for seed in range(wanted.first, wanted.first + wanted.seeds):
        with tempfile.TemporaryDirectory() as name, remote_of(wanted.remote, Path(name)) as remote:
            game = Game(Path(name), remote, replicas=wanted.replicas, seed=seed)
            for _ in range(wanted.rounds):
                game.round()
            game.end()
        versions, kills = versions + len(game.precious), kills + game.killed
        print(f"seed {seed}: {len(game.precious)} versions, {game.killed} kills, nothing lost", flush=True)  # noqa: T201
    print(f"{wanted.seeds * wanted.rounds} rounds, {versions} versions, {kills} kills: nothing lost")  # noqa: T201


if __name__ == "__main__":
    main()
