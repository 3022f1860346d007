"""Runs of the whole engine over a world, as processes that can be counted and killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import Any

from tests.engine.real_tree import World

POLICY = ("--conflict", "backup_both", "--deletes", "propagate", "--max-delete", "50%")

# Runs the engine and prints a dot for every item that is done: whoever counts them knows when to kill.
COUNTED = """
import sys
from pathlib import Path
import anyio
from trueup.api import Engine
from trueup.core.check import Limits
from trueup.core.errors import Locked
from trueup.core.report import exit_code
from trueup.core.strategy import Conflict, Deletes, Policy
from trueup.targets.folders import Folders

def told(progress):
    sys.stdout.write("x" if progress.phase == "execute" else ".")
    sys.stdout.flush()

async def main(local, remote, state):
    policy = Policy(conflict=Conflict.BACKUP_BOTH, deletes=Deletes.PROPAGATE)
    spec = Folders("local", (local,), remote, policy=policy, limits=Limits(delete_share=0.5))
    async with Engine(state_dir=Path(state), on_progress=told) as engine:
        try:
            return exit_code(await engine.run(spec))
        except Locked as locked:
            return locked.exit_code

sys.exit(anyio.run(main, *sys.argv[1:]))
"""


def command(world: World, *words: str) -> tuple[int, Any]:
    """Run the command; its exit code and its answer."""
    result = subprocess.run(
        [sys.executable, "-m", "trueup", *words, "--json"],
        env={**os.environ, **world.env, "TRUEUP_STATE": str(world.state)},
        cwd=world.base,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout, result.stderr
    return result.returncode, json.loads(result.stdout)


def sync(world: World, *flags: str) -> tuple[int, Any]:
    """One run over both folders; its exit code and the plan's items that change something."""
    code, answer = command(world, "sync", "folder", *world.places, "--yes", *POLICY, *flags)
    report = answer["results"][0]["report"]["report"]
    items = report["plan"]["items"]
    # Files younger than two seconds are not believed; later, that they agree is remembered, and nothing else is done.
    return code, [item for item in items if any(step["verb"] != "adopt" for step in item["steps"])]


def begin(world: World, output: int = subprocess.DEVNULL, *, program: str = COUNTED) -> subprocess.Popen[bytes]:
    """A run as a process of its own, which tells of every item."""
    arguments = [sys.executable, "-c", program, *world.places, str(world.state)]
    environment = {**os.environ, **world.env}
    return subprocess.Popen(arguments, stdout=output, start_new_session=True, env=environment)


def kill_one(world: World, *, mark: str, count: int) -> None:
    """Begin a run, and kill it once it has told of so many events."""
    process = begin(world, subprocess.PIPE)
    assert process.stdout is not None
    descriptor, seen = process.stdout.fileno(), 0
    wanted = count if mark == "x" else count % 7 + 1
    while seen < wanted:
        events = os.read(descriptor, 64)
        assert events, f"the run ended with {process.wait()} before it could be killed"
        seen += events.count(mark.encode())
    process.send_signal(signal.SIGKILL)
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL
