"""Remotes for random rounds: a file of ours, a server of ours that is killed at any step, and the reference."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from tests.agents import tursodb
from tests.replication.dying import POINTS, arm

from trueup.replication import Databases, Replication
from trueup.testing.engines import free_ports

TOKEN = "letmein"
KINDS = ("file", "served", "reference")


class Place:
    """Where the agents meet.

    Args:
        url: Of the remote.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.kills = 0
        """How often its server was killed."""

    def ready(self, dice: Random | None) -> None:
        """Serve for the next sync, if it takes a server of ours; without dice it is not to die."""


class Served(Place):
    """A server of ours as a process of its own, which dies and comes back at the same address.

    Args:
        folder: Of its database.
    """

    def __init__(self, folder: Path) -> None:
        (self._port,) = free_ports(1)
        super().__init__(f"http://127.0.0.1:{self._port}/team")
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None
        self._armed = False

    def ready(self, dice: Random | None) -> None:
        """As `Place.ready`."""
        if self._process is not None and self._process.poll() == -signal.SIGKILL:
            self.kills += 1
        elif self._process is not None and not (self._armed and dice is None):
            return
        self.stop()
        self._armed = dice is not None and dice.random() < 0.5
        point, count = ("", 0) if dice is None or not self._armed else (dice.choice(list(POINTS)), dice.randint(1, 6))
        command = [
            sys.executable,
            "-m",
            "tests.targets.agent_server",
            str(self._folder),
            str(self._port),
            point,
            str(count),
        ]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "listening\n"

    def stop(self) -> None:
        """Kill it, whatever it does."""
        if self._process is not None:
            with self._process as process:
                process.kill()
            self._process = None


@contextmanager
def place_of(kind: str, folder: Path) -> Iterator[Place]:
    """One of `KINDS`."""
    if kind == "file":
        yield Place(f"file://{folder}/team/team.db")
    elif kind == "reference":
        with tursodb(folder / "server" / "team.db") as url:
            yield Place(url)
    else:
        (folder / "team").mkdir(parents=True)
        served = Served(folder / "team")
        try:
            yield served
        finally:
            served.stop()


async def _verify(token: str, _: str) -> bool:
    return token == TOKEN


def main() -> None:
    """Serve the databases of a folder on a port: FOLDER PORT POINT COUNT, the last two as in `dying`."""
    import uvicorn

    folder, port, point, count = sys.argv[1:]
    application: Any = Replication(Databases(Path(folder)), _verify)
    server = uvicorn.Server(uvicorn.Config(application, lifespan="off", log_level="critical"))
    with socket.create_server(("127.0.0.1", int(port))) as listener:
        if point:
            arm(point, int(count))
        sys.stdout.write("listening\n")
        sys.stdout.flush()
        asyncio.run(server.serve([listener]))


if __name__ == "__main__":
    main()
