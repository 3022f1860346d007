"""Random rounds: agents edit offline, and their syncs, and the server, are killed at any step.

What an agent's database held when a sync of it began has to be somewhere at the end: live, in a sibling, or in a trash.
``make agents`` plays many (`tests.targets.agent_record`).
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path
from random import Random

from tests.agents import outside_delete, outside_write
from tests.targets.agent_server import TOKEN, Place
from tests.targets.agent_world import Replica

from trueup.api.agents import Rounds
from trueup.core.errors import TrueupError
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
        agents = Agents("agent", sys.argv[2], sys.argv[3], timeout_seconds=10.0, token=lambda: sys.argv[5])
        await sync(engine, agents)

anyio.run(main)
"""
"""A sync that is killed before or after its n-th transaction, whichever side or book it is of."""


class Game:
    """Some replicas of one remote, and what must not be lost."""

    def __init__(self, folder: Path, place: Place, *, replicas: int, seed: int) -> None:
        self.random = Random(seed)
        self.place = place
        folder.mkdir(exist_ok=True)
        self.replicas = [Replica(folder / f"r{n}", place.url, token=TOKEN) for n in range(replicas)]
        for replica in self.replicas:
            replica.folder.mkdir()
        self.precious: set[bytes] = set()
        self.own: dict[Path, set[bytes]] = {replica.folder: set() for replica in self.replicas}
        """What each agent wrote, and no sync of it that ended has shared: what waits for a person is not shared."""
        self.written = 0
        self.syncs = 0
        self.killed = 0
        self.broken = 0
        """Syncs that the death of the server ended."""
        self.siblings = 0

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
        below = f"{name}/" in replica.holds() or any(key.startswith(f"{name}/") for key in taken)
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

    def round(self) -> None:
        """Everybody edits, and somebody's sync is killed."""
        for replica in self.replicas:
            for _ in range(self.random.randint(0, 3)):
                self.edit(replica)
        for replica in self.random.sample(self.replicas, len(self.replicas)):
            self.begin_sync(replica)
            self.place.ready(self.random)
            if self.random.random() < 0.5:
                self.killed += killed_sync(replica, self.random.randint(1, 12))
            elif rounds := self.sync(replica):
                waiting = {item.key.split("/")[0] for item in rounds.last.plan.conflicts}
                self.own[replica.folder] = {one for one in self.own[replica.folder] if top_of(one) in waiting}

    def sync(self, replica: Replica) -> Rounds | None:
        """A sync that is not killed; None if the server was, and the sync did not come to its end."""
        found: list[Rounds] = []
        try:
            found.append(replica.sync())
        except* TrueupError as group:
            self.place.ready(None)  # a server that lives and yet failed is a fault
            if not self.place.kills:
                raise AssertionError("the sync failed, and nobody killed the server") from group
        whole = found and found[0].last.plan.complete and not failed(found[0])
        if not whole:
            self.broken += 1
        return found[0] if whole else None

    def begin_sync(self, replica: Replica) -> None:
        """Note what must not be lost from now on."""
        self.syncs += 1
        self.precious |= {data for key, (data, _) in replica.holds().items() if not key.endswith("/")}

    def end(self) -> None:
        """Sync all to the end, and look for everything."""
        self.place.ready(None)
        for _ in range(3):
            for replica in self.replicas:
                self.begin_sync(replica)
                assert not failed(replica.sync())
        kept = set().union(*(replica.trash() for replica in self.replicas))
        held = [replica.holds() for replica in self.replicas]
        live = {data for one in held for data, _ in one.values()}
        self.siblings = sum(".conflict-" in key for key in held[0])
        assert not self.precious - live - kept, self.precious - live - kept
        conflicts = {item.key for one in self.replicas for item in one.sync().last.plan.conflicts}
        for replica in self.replicas:
            replica.check()
        if not conflicts:
            first, *others = [replica.holds() for replica in self.replicas]
            assert all(other == first for other in others)


def failed(rounds: Rounds) -> list[str]:
    """What was not done, apart from what waits for a person."""
    return [one for one in rounds.troubles if not one.startswith("conflict: ")]


def top_of(version: bytes) -> str:
    """The first part of the name that a version was written under."""
    return version.decode().rpartition(" ")[2].split("/")[0]


def killed_sync(replica: Replica, step: int) -> bool:
    """Whether it was killed; a short one has ended before, and so has one whose server died."""
    replica.folder.mkdir(parents=True, exist_ok=True)
    words = [str(replica.folder / "state"), str(replica.database), replica.remote, str(step), TOKEN]
    done = subprocess.run(
        [sys.executable, "-c", DYING, *words], capture_output=True, text=True, timeout=600, check=False
    )
    said = done.stderr.strip().rpartition("\n")[2]
    assert done.returncode in (0, -signal.SIGKILL) or re.match(r"[| ]*trueup\.[\w.]+: ", said), done.stderr
    return done.returncode == -signal.SIGKILL
