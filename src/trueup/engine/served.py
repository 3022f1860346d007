"""What a server remembers: runs that it was asked for, their events, and plans that wait for a person.

A run of a server is more than a run of the history: it begins when it is asked for, may wait for an approval, and may
end before anything is written. Where it writes, the history has a run of its own, and this one names it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import Any

from trueup.core import codec
from trueup.core.plan import Item, Plan
from trueup.engine.state import State

KEPT_RUNS = 500
"""Of each target; older ones that have ended are forgotten, with their events and plans. The history keeps what was
done."""

KEPT_ROWS = 4
"""Plans whose rows stay in memory: whoever turns the pages of one asks for all of them each time."""


class Stage(StrEnum):
    """How a run stands."""

    QUEUED = "queued"
    OBSERVING = "observing"
    PLANNED = "planned"
    """Its plan is there, and nobody has to approve anything."""
    AWAITING_APPROVAL = "awaiting_approval"
    APPLYING = "applying"
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REFUSED = "refused"
    """By a guard, or because the plan is stale. Nothing was done."""
    INTERRUPTED = "interrupted"
    """The server ended. It can be resumed."""


ACTIVE = frozenset({Stage.QUEUED, Stage.OBSERVING, Stage.APPLYING})
"""A target has at most one run of these."""
WAITING = frozenset({Stage.AWAITING_APPROVAL, Stage.INTERRUPTED})
"""Something can still become of these."""


@dataclass(frozen=True, slots=True)
class ServedRun:
    """One run that a server was asked for."""

    id: str
    target: str
    state: Stage
    who: str
    """Name of the token, or ``page``, or ``schedule NAME``."""
    asked: Mapping[str, Any]
    """What was asked for, so that it can be resumed."""
    created_ns: int
    changed_ns: int
    plan: str | None = None
    history: str | None = None
    """The run's id in the history; None: nothing was written."""
    error: Mapping[str, Any] | None = None
    result: Mapping[str, Any] | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will become of it."""
        return self.state not in ACTIVE | WAITING


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened in a run; numbered from 1, without gaps except where progress was forgotten."""

    n: int
    kind: str
    data: Mapping[str, Any]


Happened = tuple[str, Mapping[str, Any]]
"""The kind of an event, and its data."""


@dataclass(frozen=True, slots=True)
class SavedPlan:
    """A plan that is kept, without its items."""

    id: str
    target: str
    digest: str
    made_ns: int
    summary: Mapping[str, Any]
    selection: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which items of a plan; all conditions that are given must hold."""

    q: str = ""
    """A part of the key, capitals and small letters alike."""
    reason: str = ""
    standing: str = ""
    changes: bool | None = None
    """Only items that write something, or only those that do not."""

    def covers(self, row: Row) -> bool:
        """Whether it is one of them."""
        return (
            self.q.lower() in row.key.lower()
            and self.reason in ("", row.reason)
            and self.standing in ("", row.standing)
            and self.changes in (None, row.change)
        )


@dataclass(frozen=True, slots=True)
class Row:
    """One item of a plan that is kept, as a list shows it."""

    n: int
    """Its place in the plan."""
    key: str
    reason: str
    standing: str
    change: bool
    item: Mapping[str, Any] | None = None


class Ledger:
    """Runs, events and plans in the state database. All calls block."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._rows = lru_cache(KEPT_ROWS)(self._read_rows)

    # -- runs ----------------------------------------------------------------------------------------------------

    def add(self, run: ServedRun, *events: Happened) -> None:
        """Remember a new run and its first events; old ones of its target are forgotten."""
        with self._state.transaction() as connection:
            connection.execute(
                "INSERT INTO served_runs (id, target, state, who, asked, created_ns, changed_ns, plan)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    run.id,
                    run.target,
                    run.state.value,
                    run.who,
                    json.dumps(run.asked),
                    run.created_ns,
                    run.changed_ns,
                    run.plan,
                ),
            )
            _append(connection, run.id, events)
            _forget(connection, run.target)

    def save(self, run: ServedRun, *events: Happened) -> None:
        """Remember how a run stands now, and what happened, at once: who sees its end finds its last event."""
        with self._state.transaction() as connection:
            connection.execute(
                "UPDATE served_runs SET state = ?, asked = ?, plan = ?, history = ?, error = ?, result = ?,"
                " changed_ns = ? WHERE id = ?",
                (
                    run.state.value,
                    json.dumps(run.asked),
                    run.plan,
                    run.history,
                    _dumped(run.error),
                    _dumped(run.result),
                    run.changed_ns,
                    run.id,
                ),
            )
            _append(connection, run.id, events)

    def find(self, run_id: str) -> ServedRun | None:
        """One run."""
        with self._state.reading() as connection:
            row = connection.execute(f"{_RUN} WHERE id = ?", (run_id,)).fetchone()
            return None if row is None else _run(row)

    def runs(self, *, target: str | None = None, limit: int = 50, before: str | None = None) -> list[ServedRun]:
        """The latest runs, newest first.

        Args:
            target: Of this one only.
            limit: How many.
            before: Only those that were asked for before this one.
        """
        conditions, arguments = ["1"], list[object]()
        if target is not None:
            conditions.append("target = ?")
            arguments.append(target)
        if before is not None:
            conditions.append("n < (SELECT n FROM served_runs WHERE id = ?)")
            arguments.append(before)
        query = f"{_RUN} WHERE {' AND '.join(conditions)} ORDER BY n DESC LIMIT ?"
        with self._state.reading() as connection:
            return [_run(row) for row in connection.execute(query, (*arguments, limit))]

    def interrupt(self, now_ns: int) -> list[ServedRun]:
        """Close what a server that has ended left open; under the server's lock nobody works on these."""
        marks = ",".join("?" * len(ACTIVE))
        with self._state.transaction() as connection:
            rows = connection.execute(f"{_RUN} WHERE state IN ({marks})", tuple(map(str, ACTIVE))).fetchall()
            found = [replace(_run(row), state=Stage.INTERRUPTED, changed_ns=now_ns) for row in rows]
            connection.executemany(
                "UPDATE served_runs SET state = ?, changed_ns = ? WHERE id = ?",
                [(Stage.INTERRUPTED.value, now_ns, run.id) for run in found],
            )
            for run in found:
                _append(connection, run.id, [("state", {"state": run.state.value})])
            return found

    # -- events --------------------------------------------------------------------------------------------------

    def append(self, run_id: str, events: Sequence[Happened]) -> list[Event]:
        """Number and remember what happened."""
        with self._state.transaction() as connection:
            return _append(connection, run_id, events)

    def events(self, run_id: str, *, after: int, limit: int) -> list[Event]:
        """What happened after an event, in order."""
        query = "SELECT n, kind, data FROM served_events WHERE run = ? AND n > ? ORDER BY n LIMIT ?"
        with self._state.reading() as connection:
            rows = connection.execute(query, (run_id, after, limit))
            return [Event(n, kind, json.loads(data)) for n, kind, data in rows]

    def forget_progress(self, run_id: str) -> None:
        """Forget progress of a run that has ended, except the last."""
        last = "SELECT max(n) FROM served_events WHERE run = ? AND kind = 'progress'"
        with self._state.transaction() as connection:
            connection.execute(
                f"DELETE FROM served_events WHERE run = ? AND kind = 'progress' AND n < ({last})",  # noqa: S608
                (run_id, run_id),
            )

    # -- plans ---------------------------------------------------------------------------------------------------

    def keep(self, plan_id: str, target: str, plan: Plan, summary: Mapping[str, Any], *, whole: bool) -> SavedPlan:
        """Keep a plan until its run is forgotten.

        Args:
            plan_id: What to call it.
            target: Whose it is.
            plan: The plan.
            summary: What lists show of it.
            whole: Whether it says how the whole target stands; that of an undo does not.
        """
        document = codec.encode(plan)
        header = json.dumps(document | {"items": []})
        saved = SavedPlan(plan_id, target, codec.digest_of(document), plan.made_ns, summary, {})
        rows = (
            (
                plan_id,
                n,
                _shown(item.key),
                str(item.reason),
                item.standing.value,
                item.is_change,
                json.dumps(encoded),
            )
            for n, (item, encoded) in enumerate(zip(plan.items, document["items"], strict=True))
        )
        with self._state.transaction() as connection:
            connection.execute(
                "INSERT INTO served_plans (id, target, digest, made_ns, whole, header, summary, selection)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, '{}')",
                (plan_id, target, saved.digest, plan.made_ns, whole, header, json.dumps(summary)),
            )
            connection.executemany("INSERT INTO served_items VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        return saved

    def saved(self, plan_id: str) -> SavedPlan | None:
        """A plan that was kept, without its items."""
        return self._one_plan("WHERE id = ?", plan_id)

    def latest(self, target: str) -> SavedPlan | None:
        """The plan of the whole target that was made last."""
        return self._one_plan("WHERE target = ? AND whole ORDER BY rowid DESC LIMIT 1", target)

    def _one_plan(self, where: str, argument: str) -> SavedPlan | None:
        with self._state.reading() as connection:
            query = f"SELECT id, target, digest, made_ns, summary, selection FROM served_plans {where}"  # noqa: S608
            row = connection.execute(query, (argument,)).fetchone()
            if row is None:
                return None
            found, whose, digest, made_ns, summary, selection = row
            return SavedPlan(found, whose, digest, made_ns, json.loads(summary), json.loads(selection))

    def header(self, plan_id: str) -> Plan:
        """A plan without its items; it must be there."""
        with self._state.reading() as connection:
            (header,) = connection.execute("SELECT header FROM served_plans WHERE id = ?", (plan_id,)).fetchone()
        plan: Plan = codec.decode(Plan, json.loads(header), "plan")
        return plan

    def plan(self, plan_id: str) -> Plan:
        """The whole plan; it must be there."""
        with self._state.reading() as connection:
            rows = connection.execute("SELECT item FROM served_items WHERE plan = ? ORDER BY n", (plan_id,)).fetchall()
        items = tuple(codec.decode(Item, json.loads(text), "item") for (text,) in rows)
        return replace(self.header(plan_id), items=items)

    def rows(self, plan_id: str) -> Sequence[Row]:
        """All items of a plan in its order, without their documents. A plan that is kept does not change any more."""
        return self._rows(plan_id)

    def _read_rows(self, plan_id: str) -> Sequence[Row]:
        query = "SELECT n, key, reason, standing, change FROM served_items WHERE plan = ? ORDER BY n"
        with self._state.reading() as connection:
            rows = connection.execute(query, (plan_id,)).fetchall()
        return tuple([Row(n, key, reason, standing, bool(change)) for n, key, reason, standing, change in rows])

    def documents(self, plan_id: str, numbers: Iterable[int]) -> dict[int, Mapping[str, Any]]:
        """The documents of some items, by their places."""
        wanted = list(numbers)
        marks = ",".join("?" * len(wanted))
        query = f"SELECT n, item FROM served_items WHERE plan = ? AND n IN ({marks})"  # noqa: S608  # marks
        with self._state.reading() as connection:
            return {n: json.loads(text) for n, text in connection.execute(query, (plan_id, *wanted))}

    def applied(self, plan_id: str, done: int) -> None:
        """So many of a plan's changes were carried out, now."""
        with self._state.transaction() as connection:
            (text,) = connection.execute("SELECT summary FROM served_plans WHERE id = ?", (plan_id,)).fetchone()
            summary = json.loads(text)
            summary["done"] = summary.get("done", 0) + done
            connection.execute("UPDATE served_plans SET summary = ? WHERE id = ?", (json.dumps(summary), plan_id))

    def select(self, plan_id: str, selection: Mapping[str, Any]) -> None:
        """Remember which changes are wanted."""
        with self._state.transaction() as connection:
            connection.execute(
                "UPDATE served_plans SET selection = ? WHERE id = ?", (json.dumps(dict(selection)), plan_id)
            )


_RUN = "SELECT id, target, state, who, asked, created_ns, changed_ns, plan, history, error, result FROM served_runs"


def _run(row: tuple[Any, ...]) -> ServedRun:
    run_id, target, state, who, asked, created_ns, changed_ns, plan, history, error, result = row
    return ServedRun(
        run_id,
        target,
        Stage(state),
        who,
        json.loads(asked),
        created_ns,
        changed_ns,
        plan,
        history,
        _loaded(error),
        _loaded(result),
    )


def _append(connection: sqlite3.Connection, run_id: str, events: Sequence[Happened]) -> list[Event]:
    (last,) = connection.execute("SELECT max(n) FROM served_events WHERE run = ?", (run_id,)).fetchone()
    numbered = [Event(n, kind, data) for n, (kind, data) in enumerate(events, (last or 0) + 1)]
    connection.executemany(
        "INSERT INTO served_events (run, n, kind, data) VALUES (?, ?, ?, ?)",
        [(run_id, event.n, event.kind, json.dumps(event.data)) for event in numbered],
    )
    return numbered


def _forget(connection: sqlite3.Connection, target: str) -> None:
    """Forget runs that are many others ago, unless something can still become of them."""
    kept = [stage.value for stage in ACTIVE | WAITING]
    marks = ",".join("?" * len(kept))
    old = (
        f"SELECT id FROM served_runs WHERE target = ? AND state NOT IN ({marks})"  # noqa: S608  # marks
        " ORDER BY n DESC LIMIT -1 OFFSET ?"
    )
    gone = [run_id for (run_id,) in connection.execute(old, (target, *kept, KEPT_RUNS))]
    for run_id in gone:
        connection.execute("DELETE FROM served_events WHERE run = ?", (run_id,))
        connection.execute("DELETE FROM served_runs WHERE id = ?", (run_id,))
    unused = (
        "SELECT id FROM served_plans WHERE target = ? AND id NOT IN (SELECT plan FROM served_runs WHERE plan NOTNULL)"
    )
    for (plan_id,) in connection.execute(unused, (target,)).fetchall():
        connection.execute("DELETE FROM served_items WHERE plan = ?", (plan_id,))
        connection.execute("DELETE FROM served_plans WHERE id = ?", (plan_id,))


def _shown(key: str) -> str:
    """A key as the database can hold and search it; the item's document has the exact one."""
    return key.encode("utf-8", "backslashreplace").decode("utf-8")


def _dumped(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(value)


def _loaded(text: str | None) -> Any:
    return None if text is None else json.loads(text)
