"""The write-ahead journal and the history: what a run meant to do, and what of it is done.

All items of a plan are written down before the first effect. Each finished item is recorded in one transaction with
its ancestor, many items to a transaction. A run that was killed is found at the next start of its target.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from trueup.core import codec
from trueup.core.errors import UsageError
from trueup.core.model import Ancestor, Key
from trueup.core.plan import Item, Plan
from trueup.core.report import Outcome, Status
from trueup.engine.state import State, printable


class RunState(StrEnum):
    """How a run stands."""

    RUNNING = "running"
    APPLIED = "applied"
    PARTIAL = "partial"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    KILLED = "killed"
    """The process ended without saying so; found by the next run."""


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One line of the history."""

    id: str
    target_id: str
    target_name: str
    command: str
    started_ns: int
    finished_ns: int | None
    state: RunState
    done: int
    """Changes of which every step was carried out, as the report of the run counts them."""
    failed: int
    """Changes of which some step was not, for whatever reason."""
    undoes: str | None


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run with all that it did."""

    summary: RunSummary
    plan: Plan
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True, slots=True)
class Finished:
    """One item, carried out or given up."""

    n: int
    """Its place in the plan."""
    outcomes: tuple[Outcome, ...]
    ancestors: tuple[tuple[Key, Ancestor | None], ...] = ()
    """What both sides agree on from now."""


class Journal:
    """Runs and their items in the state database. All calls block.

    Runs are in the order in which they were begun, as the database numbers them: clocks are set back.
    """

    def __init__(self, state: State) -> None:
        self._state = state

    def begin(self, run: str, number: int, plan: Plan, command: str, now_ns: int) -> None:
        """Write down what the run means to do. Nothing has happened yet."""
        header = json.dumps(codec.encode(replace(plan, items=())))
        items = [(run, n, json.dumps(codec.encode(item))) for n, item in enumerate(plan.items) if item.steps]
        with self._state.transaction() as connection:
            connection.execute(
                "INSERT INTO runs (id, target, command, started_ns, state, plan, undoes) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (run, number, printable(command), now_ns, RunState.RUNNING.value, header, plan.undoes),
            )
            connection.executemany("INSERT INTO items (run, n, item) VALUES (?, ?, ?)", items)

    def record(self, run: str, number: int, finished: Sequence[Finished]) -> None:
        """Record finished items and what both sides agree on since, in one transaction."""
        rows = [(_dump(item.outcomes), run, item.n) for item in finished]
        with self._state.transaction() as connection:
            connection.executemany("UPDATE items SET outcomes = ? WHERE run = ? AND n = ?", rows)
            self._state.commit_ancestors(connection, number, (pair for item in finished for pair in item.ancestors))

    def end(self, run: str, state: RunState, now_ns: int) -> None:
        """Close the run."""
        with self._state.transaction() as connection:
            connection.execute("UPDATE runs SET state = ?, finished_ns = ? WHERE id = ?", (state.value, now_ns, run))

    def killed(self, number: int) -> list[str]:
        """Runs of a target that never ended. Under the target's lock these are dead."""
        with self._state.reading() as connection:
            rows = connection.execute(
                "SELECT id FROM runs WHERE target = ? AND state = ? ORDER BY rowid",
                (number, RunState.RUNNING.value),
            )
            return [str(row[0]) for row in rows]

    def unfinished(self, run: str) -> list[tuple[int, Item]]:
        """Items of a run about which nothing is recorded."""
        with self._state.reading() as connection:
            rows = connection.execute("SELECT n, item FROM items WHERE run = ? AND outcomes IS NULL ORDER BY n", (run,))
            return [(int(n), codec.decode(Item, json.loads(text), "item")) for n, text in rows]

    def left_over(self, number: int) -> list[Item]:
        """After-steps that the latest run of a target has not carried out, though something that they follow was.

        One that has failed counts if its record says that it is to be tried again.
        """
        with self._state.reading() as connection:
            latest = connection.execute(
                "SELECT id FROM runs WHERE target = ? AND state != ? ORDER BY rowid DESC LIMIT 1",
                (number, RunState.RUNNING.value),
            ).fetchone()
            if latest is None:
                return []
            pairs = connection.execute(
                "SELECT item, outcomes FROM items WHERE run = ? AND (instr(item, ?) OR instr(item, ?)) ORDER BY n",
                (*latest, *_FOLLOWING),
            ).fetchall()
            open_items = [(text, outcomes) for text, outcomes in pairs if set(_statuses(outcomes)) != {Status.DONE}]
            if not open_items:
                return []
            rows = connection.execute("SELECT outcomes FROM items WHERE run = ?", latest)
            done = {
                data["step"]
                for (text,) in rows
                for data in (json.loads(text) if text else ())
                if data["status"] == Status.DONE
            }
        found = [(codec.decode(Item, json.loads(text), "item"), _statuses(outcomes)) for text, outcomes in open_items]
        return [item for item, statuses in found if _is_owed(item, statuses, done)]

    # -- history -------------------------------------------------------------------------------------------------

    def history(self, number: int | None, limit: int) -> list[RunSummary]:
        """The latest runs, newest first; of one target, or (None) of all."""
        where = "" if number is None else "WHERE runs.target = ?"
        arguments = () if number is None else (number,)
        with self._state.reading() as connection:
            rows = connection.execute(
                f"{_SUMMARY} {where} ORDER BY runs.rowid DESC LIMIT ?",  # constants
                (*arguments, limit),
            ).fetchall()
            return [self._summary(connection, row) for row in rows]

    def find(self, name: str) -> RunRecord:
        """One run by its id, by a unique beginning of it, or ``last``.

        Raises:
            UsageError: If there is no such run, or more than one.
        """
        with self._state.reading() as connection:
            if name == "last":
                query = f"{_SUMMARY} WHERE {_WROTE} ORDER BY runs.rowid DESC LIMIT 1"
                rows = connection.execute(query).fetchall()
            else:
                pattern = "".join("\\" + char if char in "\\%_" else char for char in name) + "%"
                rows = connection.execute(f"{_SUMMARY} WHERE runs.id LIKE ? ESCAPE '\\'", (pattern,)).fetchall()
            if len(rows) != 1:
                what = f"no run {name!r}" if not rows else f"{len(rows)} runs begin with {name!r}"
                raise UsageError(what, attempt="trueup history ls")
            summary = self._summary(connection, rows[0])
            (header,) = connection.execute("SELECT plan FROM runs WHERE id = ?", (summary.id,)).fetchone()
            pairs = connection.execute(
                "SELECT item, outcomes FROM items WHERE run = ? ORDER BY n", (summary.id,)
            ).fetchall()
        items = tuple(codec.decode(Item, json.loads(text), "item") for text, _ in pairs)
        outcomes = tuple(outcome for _, text in pairs if text for outcome in _load(text))
        plan: Plan = codec.decode(Plan, json.loads(header), "plan")
        return RunRecord(summary, replace(plan, items=items), outcomes)

    def _summary(self, connection: sqlite3.Connection, row: tuple[Any, ...]) -> RunSummary:
        done = failed = 0
        for item, text in connection.execute("SELECT item, outcomes FROM items WHERE run = ?", (row[0],)):
            statuses = set(_statuses(text))
            if statuses and _REMEMBERED not in item:
                done += statuses == {Status.DONE}
                failed += statuses != {Status.DONE}
        return RunSummary(
            id=row[0],
            target_id=row[1],
            target_name=row[2],
            command=row[3],
            started_ns=row[4],
            finished_ns=row[5],
            state=RunState(row[6]),
            done=done,
            failed=failed,
            undoes=row[7],
        )


_SUMMARY = (
    "SELECT runs.id, targets.id, targets.name, runs.command, runs.started_ns, runs.finished_ns, runs.state, runs.undoes"
    " FROM runs JOIN targets ON targets.n = runs.target"
)


_WROTE = """EXISTS (SELECT 1 FROM items WHERE run = runs.id AND outcomes LIKE '%"status": "done"%')"""
"""Runs of which something was carried out: ``last`` means the last one that can be taken back."""


_REMEMBERED = '"phase": "agree"'
"""In an item that writes no side. In the text of a name the quotes would be escaped."""


_FOLLOWING = ('"phase": "after"', '"phase": "finish"')
"""The same, of after-steps."""


def _is_owed(item: Item, statuses: Sequence[str], done: set[str]) -> bool:
    """Whether an after-step that was not carried out should have been, and is to be tried again."""
    if Status.FAILED in statuses and not any(step.record and step.record.fields.get("again") for step in item.steps):
        return False
    return all(not step.needs or not done.isdisjoint(step.needs) for step in item.steps)


def _dump(outcomes: Iterable[Outcome]) -> str:
    return json.dumps([codec.encode(outcome) for outcome in outcomes])


def _load(text: str) -> list[Outcome]:
    return [codec.decode(Outcome, data, "outcome") for data in json.loads(text)]


def _statuses(text: str | None) -> list[str]:
    return [data["status"] for data in json.loads(text)] if text else []
