"""The rows of agents: one unmodified client, our remote, and the reference; and a sync of a large agent."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from statistics import median

from ground import Bench, job, run, run_trueup
from measure import Command, Cost, environment, middle, once
from table import Goal, Line, Result, at_most, told

from trueup.testing.engines import Missing

sys.path.append(str(Path(__file__).parents[1]))  # the reference is a server of the tests

from tests.tursodb import SyncServer

OURS, THEIRS = "trueup", "tursodb --sync-server"
FILES = 300
"""Of 100 KiB: 30 MiB."""
LARGE_FILES = 4096
"""Of 256 KiB: 1 GiB."""
Server = Callable[[Path], AbstractContextManager[tuple[str, str]]]
"""Serves an empty database in a folder, and tells its address and token."""


def remote(bench: Bench) -> Result:
    """An agent's first push, a pull by who began when there was nothing, and a fresh copy."""
    files, room = bench.size(FILES), bench.room("agents")
    costs: dict[str, list[Cost]] = {}
    alone: dict[str, list[float]] = {}
    notes: tuple[str, ...] = ()
    servers: dict[str, Server] = {OURS: _ours, THEIRS: _reference}
    for turn in range(bench.repeats + 1):
        for name in list(servers):
            try:
                found = _turn(servers[name], room / "turn", files)
            except Missing:
                del servers[name]
                notes = (f"{name} is not installed: not compared. Try: make turso",)
                continue
            if turn:  # the first round warms the caches
                for verb, (cost, seconds) in found.items():
                    costs.setdefault(f"{verb}, {name}", []).append(cost)
                    alone.setdefault(f"{verb}, {name}", []).append(seconds)
    return Result(
        "agents",
        f"an agent of {files} files of 100 KiB: its first push, a pull and a clone of it",
        "The AgentFS SDK writes the files; `turso.sync` of pyturso pushes them to an empty remote; one replica that"
        " was there before pulls them, and another is cloned. Server and client are processes of their own, and the"
        " same client talks to both; what the server costs shows in the time only. The lines are whole processes of the"
        " client, the ratios are of what they do, without the start of the interpreter. Interleaved; the file of our"
        " remote is checked after each turn.",
        [Line(name, middle(found)) for name, found in costs.items()],
        [_goal(alone, verb, limit) for verb, limit in (("push", 0.6), ("pull", 0.5), ("clone", 0.5))],
        notes,
    )


def _goal(alone: Mapping[str, Sequence[float]], verb: str, limit: float) -> Goal:
    ours, theirs = median(alone[f"{verb}, {OURS}"]), alone.get(f"{verb}, {THEIRS}")
    if theirs is None:
        return told(f"time to {verb}", f"{ours:.2f} s")
    return at_most(f"time to {verb}, {ours:.2f} s, against tursodb", ours / median(theirs), limit, "x")


def _turn(begin: Server, folder: Path, files: int) -> dict[str, tuple[Cost, float]]:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    replicas = {"push": folder / "a.db", "pull": folder / "b.db", "clone": folder / "c.db"}
    found = {}
    with begin(folder) as (url, token):
        run(Command(job("agent", "begin", replicas["pull"], url, token)))
        run(Command(job("agent", "write", replicas["push"], url, token, files)))
        for verb, path in replicas.items():
            cost = once(Command(job("agent", verb, path, url, token)))
            found[verb] = cost, float(Path(f"{path}.seconds").read_text())
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


def large(bench: Bench) -> Result:
    """One file is changed on each side of an agent of 1 GiB."""
    room, files = bench.room("agents-large"), bench.size(LARGE_FILES)
    one, two, team = room / "one.db", room / "two.db", room / "team.db"
    run(Command(job("agent_large", "make", one, files)))
    for copy in (two, team):
        shutil.copyfile(one, copy)

    def sync(path: Path) -> Command:
        return run_trueup("agent", "sync", path, "--remote-url", f"file://{team}", "--yes", state=_state(path))

    costs: list[Cost] = []
    moved: list[int] = []
    for turn in range(bench.repeats + 2):  # the first makes the mirrors, the second warms the caches
        for path, name in ((two, "theirs"), (one, "ours")):
            run(Command(job("agent_large", "edit", path, name)))
        run(sync(two))
        before = _moved(one, team)
        found = once(sync(one))
        if turn > 1:
            costs.append(found)
            moved.append(_moved(one, team) - before)
    for path in (one, two):
        run(sync(path))
    assert _listed(one) == _listed(two) == _listed(team)
    cost = middle(costs)
    return Result(
        "agents-large",
        f"an agent of {files:,} files of 256 KiB, one file changed on each side",
        "`trueup agent sync DATABASE --remote-url file://...`, a whole process: the remote's change came by the sync of"
        " another agent, and both files have 3,000 bytes. Moved is what the sync engine and our requests sent and"
        " received. What it takes to begin, the mirror of the whole remote, is not measured. At the end all three"
        " databases hold the same.",
        [Line("trueup agent sync", cost)],
        [
            at_most("time", cost.wall_seconds, 2, " s"),
            at_most("moved", median(moved) / 1000, 100, " kB"),
        ],
    )


def _state(path: Path) -> Path:
    return path.with_suffix(".state")


def _moved(path: Path, team: Path) -> int:
    """Bytes that have gone over the network for this agent until now."""
    command = run_trueup("agent", "stats", path, "--remote-url", f"file://{team}", "--json", state=_state(path))
    done = subprocess.run([*command.argv], env=environment(command), capture_output=True, check=False)  # type: ignore[misc]
    found = json.loads(done.stdout) if not done.returncode else {}
    return int(found.get("sent_bytes", 0)) + int(found.get("received_bytes", 0))


def _listed(path: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as db:
        query = "SELECT name, size, mtime, (SELECT count(*) FROM fs_data d WHERE d.ino = i.ino) FROM fs_dentry"
        return db.execute(f"{query} JOIN fs_inode i USING (ino) ORDER BY parent_ino, name").fetchall()


ROWS: dict[str, Callable[[Bench], Result]] = {"agents": remote, "agents-large": large}
