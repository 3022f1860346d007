"""The row of agents: one unmodified client, our remote, and the reference."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from ground import Bench, job, run
from measure import Command, Cost, middle, once
from table import Line, Result, at_most, told

from trueup.testing.engines import Missing

sys.path.append(str(Path(__file__).parents[1]))  # the reference is a server of the tests

from tests.tursodb import SyncServer

FILES = 300
"""Of 100 KiB: 30 MiB."""


def remote(bench: Bench) -> Result:
    """An agent's first push, a pull by who began when there was nothing, and a fresh copy."""
    files, room = bench.size(FILES), bench.room("agents")
    costs: dict[str, list[Cost]] = {}
    notes: tuple[str, ...] = ()
    servers: dict[str, Callable[[Path], object]] = {"trueup": _ours, "tursodb --sync-server": _reference}
    for turn in range(bench.repeats + 1):
        for name in list(servers):
            try:
                found = _turn(servers[name], room / "turn", files)
            except Missing:
                del servers[name]
                notes = (f"{name} is not installed: not compared. Try: make turso",)
                continue
            if turn:  # the first round warms the caches
                for verb, cost in found.items():
                    costs.setdefault(f"{verb}, {name}", []).append(cost)
    medians = {name: middle(found) for name, found in costs.items()}
    goals = [_goal(medians, verb, limit) for verb, limit in (("push", 0.6), ("pull", 0.5), ("clone", 0.5))]
    return Result(
        "agents",
        f"an agent of {files} files of 100 KiB: its first push, a pull and a clone of it",
        "The AgentFS SDK writes the files; `turso.sync` of pyturso pushes them to an empty remote; one replica that"
        " was there before pulls them, and another is cloned. Server and client are processes of their own, and the same"
        " client talks to both; what the server costs shows in the time only. Interleaved; the file of our remote is"
        " checked after each turn.",
        [Line(name, cost) for name, cost in medians.items()],
        goals,
        notes,
    )


def _goal(medians: dict[str, Cost], verb: str, limit: float) -> object:
    ours, theirs = medians[f"{verb}, trueup"], medians.get(f"{verb}, tursodb --sync-server")
    if theirs is None:
        return told(f"time to {verb}", f"{ours.wall_seconds:.2f} s")
    return at_most(f"time to {verb}, against tursodb", ours.wall_seconds / theirs.wall_seconds, limit, "x")


def _turn(begin: Callable[[Path], object], folder: Path, files: int) -> dict[str, Cost]:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    with begin(folder) as (url, token):  # type: ignore[attr-defined]
        run(Command(job("agent", "begin", folder / "b.db", url, token)))
        run(Command(job("agent", "write", folder / "a.db", url, token, files)))
        found = {
            "push": once(Command(job("agent", "push", folder / "a.db", url, token))),
            "pull": once(Command(job("agent", "pull", folder / "b.db", url, token))),
            "clone": once(Command(job("agent", "clone", folder / "c.db", url, token))),
        }
    if (folder / "team.db").exists():
        with closing(sqlite3.connect(folder / "team.db")) as database:
            assert database.execute("SELECT count(*) FROM fs_data").fetchone()[0] >= files * 25
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    return found


@contextmanager
def _ours(folder: Path) -> Iterator[tuple[str, str]]:
    command = job("agent", "serve", folder / "team.db")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip(), process.stdout.readline().strip()
        process.communicate()


@contextmanager
def _reference(folder: Path) -> Iterator[tuple[str, str]]:
    with SyncServer(folder / "reference") as server:
        yield server.endpoint, "unread"


ROWS: dict[str, Callable[[Bench], Result]] = {"agents": remote}
