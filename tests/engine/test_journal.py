"""The journal: what a run means to do is written down first, and each finished item with its ancestor."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread
from tests.engine.pair import QUICK, Pair, only

from trueup.core.errors import UsageError
from trueup.core.model import REMOTE, Key, Token
from trueup.core.report import Status
from trueup.engine.journal import Journal, RunState
from trueup.engine.state import State
from trueup.engine.wrap import Wrapper
from trueup.protocols import Source, Trash, Written


class Died(BaseException):
    """Stands for SIGKILL."""


DIED = r"unhandled errors|^$"
"""As `Died` comes out of task groups, or by itself."""


async def test_the_plan_is_written_down_before_the_first_effect(pair: Pair) -> None:
    pair.write(pair.local, "a", "one")
    pair.write(pair.local, "b", "two")
    seen: list[Any] = []

    class Curious(Wrapper):
        async def write(self, key: Key, source: Source, *, expect: Token | None, trash: Trash | None) -> Written:
            async with pair.engine() as engine:
                (running,) = await engine.history()
                seen.append(await engine.record(running.id))
            return await self.inner.write(key, source, expect=expect, trash=trash)

    report = await pair.run(wrap=only(REMOTE, Curious))
    for record in seen:
        assert record.summary.state is RunState.RUNNING
        assert record.plan.items == report.plan.items


async def test_a_run_reads_back_as_it_was_reported(pair: Pair) -> None:
    pair.write(pair.local, "a", "one")
    pair.write(pair.remote, "caf\u00e9", "two")
    report = await pair.run()
    async with pair.engine() as engine:
        record = await engine.record("last")
        assert record.plan == report.plan
        assert record.outcomes == report.outcomes
        summary = record.summary
    assert (summary.id, summary.state, summary.done, summary.failed) == (report.run, RunState.APPLIED, 2, 0)
    assert summary.finished_ns is not None
    assert summary.finished_ns >= summary.started_ns


async def test_finished_items_survive_the_death_of_their_run(pair: Pair) -> None:
    for n in range(5):
        pair.write(pair.local, f"{n}", f"content {n}")
    done: list[str] = []

    class Dying(Wrapper):
        async def write(self, key: Key, source: Source, *, expect: Token | None, trash: Trash | None) -> Written:
            if len(done) == 3:
                raise Died
            written = await self.inner.write(key, source, expect=expect, trash=trash)
            done.append(key)
            return written

    with pytest.raises(BaseException, match=DIED):
        await pair.run(wrap=only(REMOTE, Dying), tuning=replace(QUICK, max_concurrent=1))
    async with pair.engine() as engine:
        dead = await engine.record((await engine.history())[0].id)
    assert dead.summary.state is RunState.RUNNING
    await pair.run()
    async with pair.engine() as engine:
        record = await engine.record(dead.summary.id)
        assert record.summary.state is RunState.KILLED
        by_key = {outcome.key: outcome.status for outcome in record.outcomes}
    assert {key for key, status in by_key.items() if status is Status.DONE} == set(done)
    assert all(by_key[Key(str(n))] in (Status.DONE, Status.SKIPPED) for n in range(5))
    assert pair.agree()


async def test_the_last_run_is_the_one_that_was_begun_last_whatever_the_clock_says(pair: Pair) -> None:
    runs = []
    for name in ("first", "second", "third"):
        pair.write(pair.local, name, name)
        runs.append((await pair.run()).run)
    with closing(sqlite3.connect(pair.state / "state.db")) as connection, connection:
        connection.execute("UPDATE runs SET started_ns = started_ns + 86400000000000 WHERE id = ?", (runs[0],))
        connection.execute("UPDATE runs SET started_ns = started_ns - 86400000000000 WHERE id = ?", (runs[2],))
    async with pair.engine() as engine:
        assert [summary.id for summary in await engine.history()] == runs[::-1]
        assert (await engine.record("last")).summary.id == runs[2]
    assert await to_thread.run_sync(killed, pair.state) == runs


def killed(directory: Path) -> list[str]:
    """The runs of a target, had they all been killed."""
    with closing(State(directory)) as state:
        with state.transaction() as connection:
            connection.execute("UPDATE runs SET state = 'running'")
        return Journal(state).killed(1)


async def test_a_killed_run_can_be_taken_back(pair: Pair) -> None:
    for n in range(4):
        pair.write(pair.local, f"{n}", f"old {n}")
    await pair.settle()
    for n in range(4):
        pair.write(pair.local, f"{n}", f"newer {n}")
    pair.write(pair.local, "new", "made")
    before = pair.live(pair.remote)
    count = 0

    class Dying(Wrapper):
        async def write(self, key: Key, source: Source, *, expect: Token | None, trash: Trash | None) -> Written:
            nonlocal count
            written = await self.inner.write(key, source, expect=expect, trash=trash)
            count += 1
            if count == 3:
                raise Died
            return written

    with pytest.raises(BaseException, match=DIED):
        await pair.run(wrap=only(REMOTE, Dying), tuning=replace(QUICK, max_concurrent=1))
    assert pair.live(pair.remote) != before
    await pair.undo()
    assert pair.live(pair.remote) == before
    assert not pair.lost()


async def test_a_killed_run_whose_place_holds_a_link_by_now_locks_nobody_out(pair: Pair) -> None:
    pair.write(pair.local, "a", "one")

    class Dying(Wrapper):
        async def write(self, key: Key, source: Source, *, expect: Token | None, trash: Trash | None) -> Written:
            raise Died

    with pytest.raises(BaseException, match=DIED):
        await pair.run(wrap=only(REMOTE, Dying))
    (pair.remote / "a").symlink_to("nowhere")
    report = await pair.run()
    assert not report.plan.changes


async def test_the_history_is_newest_first_and_by_target(pair: Pair, tmp_path: Path) -> None:
    other = Pair(tmp_path / "other", state=pair.state)
    runs = []
    for n in range(3):
        pair.write(pair.local, str(n), str(n))
        runs.append((await pair.run()).run)
    other.write(other.local, "x", "x")
    runs.append((await other.run(name="other")).run)
    async with pair.engine() as engine:
        assert {run.id for run in await engine.history()} == set(runs)
        assert [run.id for run in await engine.history(limit=1)] != []
        assert {run.id for run in await engine.history(target=pair.spec())} == set(runs[:3])
        assert [run.target_name for run in await engine.history(target=other.spec())] == ["other"]
        fresh = Pair(tmp_path / "fresh", state=pair.state)
        assert await engine.history(target=fresh.spec()) == []


async def test_a_run_is_found_by_a_unique_beginning(pair: Pair) -> None:
    ids = []
    for n in range(2):
        pair.write(pair.local, str(n), str(n))
        ids.append(str((await pair.run()).run))
    async with pair.engine() as engine:
        assert (await engine.record(ids[0])).summary.id == ids[0]
        with pytest.raises(UsageError, match="2 runs begin with"):
            await engine.record(ids[0][:4])
        for name in ("nothing", "%", "_" * len(ids[0]), ""):
            with pytest.raises(UsageError):
                await engine.record(name)


async def test_a_move_of_a_killed_run_is_found_out_and_can_be_taken_back(pair: Pair) -> None:
    for n in range(3):
        pair.write(pair.local, f"{n}", f"text {n}")
    await pair.settle()
    before = pair.live(pair.remote)
    for n in range(3):
        (pair.local / f"{n}").rename(pair.local / f"new-{n}")

    class Dying(Wrapper):
        async def move(self, origin: Key, target: Key, *, expect: Token) -> Written:
            written = await self.inner.move(origin, target, expect=expect)
            if origin == "1":
                raise Died
            return written

    with pytest.raises(BaseException, match=DIED):
        await pair.run(wrap=only(REMOTE, Dying), tuning=replace(QUICK, max_concurrent=1))
    assert set(pair.live(pair.remote)) == {"new-0", "new-1", "2"}
    (pair.remote / "2").unlink()
    (pair.remote / "2").symlink_to("nowhere")  # cannot be looked at, and locks nobody out
    async with pair.engine() as engine:
        (died,) = await engine.history(limit=1)
    undone = await pair.undo(died.id)
    assert {outcome.key: outcome.status for outcome in undone.outcomes} == {"0": Status.DONE, "1": Status.DONE}
    del before["2"]
    assert pair.live(pair.remote) == before
    (pair.remote / "2").unlink()
    await pair.run()
    assert pair.agree()
    assert not pair.lost()
