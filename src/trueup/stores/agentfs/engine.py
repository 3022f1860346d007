"""Calls of the sync engine in worker processes, and what its error texts mean."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from trueup.core.errors import StoreError, TimedOut
from trueup.stores.agentfs.faults import AGAIN, classified
from trueup.stores.agentfs.worker import TOKEN

HARD = 20
"""A call that takes so many times what one silence of the network may take is stopped."""
PROGRAM = Path(__file__).with_name("worker.py")


@dataclass(frozen=True, slots=True)
class Call:
    """What is asked of the engine."""

    do: str
    """``pull``, ``push``, ``checkpoint`` or ``stats``."""
    path: Path
    url: str
    token: str | None
    seconds: float
    """The longest silence of the network."""
    known_as: str = ""
    """The remote in messages; empty: its URL."""

    @property
    def remote(self) -> str:
        """What people know the remote as: a file that is served for a moment has another URL each time."""
        return self.known_as or self.url


def call(asked: Call) -> dict[str, Any]:
    """One call. Blocks.

    Returns:
        The engine's statistics, and for a pull whether anything came.

    Raises:
        StoreError: What went wrong, in the words of `classified`.
    """
    if find_spec("turso") is None:
        raise StoreError(
            "agents cannot be synced", why="pyturso is not installed", attempt="pip install 'trueup[agents]'"
        )
    request = {"do": asked.do, "path": str(asked.path), "url": asked.url, "seconds": asked.seconds}
    environment = {name: value for name, value in os.environ.items() if name != TOKEN}
    if asked.token is not None:
        environment[TOKEN] = asked.token
    try:
        done = subprocess.run(  # noqa: S603  # our own file
            [sys.executable, "-P", str(PROGRAM)],
            input=json.dumps(request),
            env=environment,
            capture_output=True,
            text=True,
            timeout=asked.seconds * HARD,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise TimedOut(
            f"{asked.remote} took too long",
            why=f"the sync engine was stopped after {asked.seconds * HARD:g} s of {asked.do}",
            attempt=AGAIN,
        ) from error
    return _answer(asked, done)


def _answer(asked: Call, done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        last = done.stderr.strip().splitlines()[-1:] or [""]
        raise StoreError(f"the sync engine crashed ({name}) at {asked.do}", why=last[0][:300], attempt=AGAIN)
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError as error:
        raise StoreError(
            f"the sync engine gave no answer to {asked.do}", why=done.stderr.strip()[-300:], attempt=AGAIN
        ) from error
    if "error" in answer:
        raise classified(asked.remote, str(answer["error"]))
    found: dict[str, Any] = answer["ok"]
    return found
