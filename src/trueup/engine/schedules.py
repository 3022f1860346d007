"""When what is due: cron lines with a time zone, kept in the state database.

What was missed while no server ran is done once, however often it was missed. Jitter is drawn from the name and the
time, so that it is the same whenever it is asked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from trueup.core.errors import UsageError
from trueup.engine.state import State

MAX_JITTER_SECONDS = 24 * 3600


@dataclass(frozen=True, slots=True)
class Schedule:
    """One line of the timetable."""

    name: str
    target: str
    """Its id, as the server names it."""
    cron: str
    zone: str = "UTC"
    jitter_seconds: int = 0
    """It is begun up to so much later."""
    apply: bool = False
    """Whether what nobody has to approve is applied; else there is only a plan."""
    created_ns: int = 0
    last_ns: int | None = None
    """When it was due last and was taken care of."""
    last_run: str | None = None
    """The server's run that was begun then."""
    skipped: str | None = None
    """Why none was begun."""

    def times(self, after_ns: int) -> Iterator[int]:
        """When it is due after a moment, in order, without jitter, in nanoseconds since the epoch.

        Raises:
            UsageError: If the cron line or the zone is wrong.
        """
        for moment in _moments(self.cron, datetime.fromtimestamp(after_ns / 1e9, UTC).astimezone(zone_of(self.zone))):
            yield int(moment.timestamp()) * 10**9

    def delayed(self, due_ns: int) -> int:
        """When a due one is begun."""
        if not self.jitter_seconds:
            return due_ns
        drawn = hashlib.sha256(f"{self.name}\0{due_ns}".encode()).digest()
        return due_ns + int.from_bytes(drawn[:8]) % (self.jitter_seconds + 1) * 10**9

    def next_ns(self) -> int:
        """When it is begun next; in the past if it was missed."""
        return self.delayed(next(self.times(self.created_ns if self.last_ns is None else self.last_ns)))


def zone_of(name: str) -> tzinfo:
    """The time zone of that name.

    Raises:
        UsageError: If there is none.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:  # a name that is a path or a folder, too
        raise UsageError(f"there is no time zone {name}", attempt="a name such as Europe/Berlin, or UTC") from error


def _moments(cron: str, begin: datetime) -> Iterator[datetime]:
    try:
        from cronsim import CronSim, CronSimError
    except ImportError as error:
        raise UsageError(
            "schedules need the package cronsim", why="it is not installed", attempt="pip install 'trueup[web]'"
        ) from error
    try:
        moments = CronSim(cron, begin)
        yield next(moments)
        yield from moments
    except (CronSimError, StopIteration) as error:
        raise UsageError(
            f"{cron!r} is no cron line", why=str(error) or "it never comes", attempt="'0 3 * * *': every night at three"
        ) from error


class Schedules:
    """All of them, in the state database. All calls block."""

    def __init__(self, state: State) -> None:
        self._state = state

    def add(self, schedule: Schedule) -> None:
        """Remember a new one.

        Raises:
            UsageError: If the name is taken, the cron line or the zone is wrong.
        """
        if not 0 <= schedule.jitter_seconds <= MAX_JITTER_SECONDS:
            raise UsageError("jitter is up to a day")
        schedule.next_ns()
        with self._state.transaction() as connection:
            if connection.execute("SELECT 1 FROM schedules WHERE name = ?", (schedule.name,)).fetchone():
                raise UsageError(f"there is a schedule {schedule.name}", attempt=f"trueup schedule rm {schedule.name}")
            connection.execute(
                "INSERT INTO schedules (name, target, cron, zone, jitter_seconds, apply, created_ns)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    schedule.name,
                    schedule.target,
                    schedule.cron,
                    schedule.zone,
                    schedule.jitter_seconds,
                    schedule.apply,
                    schedule.created_ns,
                ),
            )

    def listed(self) -> list[Schedule]:
        """All, by name."""
        columns = "name, target, cron, zone, jitter_seconds, apply, created_ns, last_ns, last_run, skipped"
        with self._state.reading() as connection:
            rows: list[tuple[Any, ...]] = connection.execute(
                f"SELECT {columns} FROM schedules ORDER BY name"  # noqa: S608  # a constant
            ).fetchall()
        return [
            Schedule(name, target, cron, zone, jitter, bool(apply), created_ns, last_ns, last_run, skipped)
            for name, target, cron, zone, jitter, apply, created_ns, last_ns, last_run, skipped in rows
        ]

    def remove(self, name: str) -> bool:
        """Forget one. Returns whether there was one."""
        with self._state.transaction() as connection:
            return connection.execute("DELETE FROM schedules WHERE name = ?", (name,)).rowcount > 0

    def done(self, name: str, now_ns: int, run: str | None, skipped: str | None) -> None:
        """A due one was taken care of, and with it all that were missed."""
        with self._state.transaction() as connection:
            connection.execute(
                "UPDATE schedules SET last_ns = ?, last_run = coalesce(?, last_run), skipped = ? WHERE name = ?",
                (now_ns, run, skipped, name),
            )

    # -- what was told -------------------------------------------------------------------------------------------

    def told(self, place: str, target: str) -> str | None:
        """How a target stood when a place heard of it last."""
        with self._state.reading() as connection:
            row = connection.execute(
                "SELECT standing FROM told WHERE place = ? AND target = ?", (place, target)
            ).fetchone()
            return None if row is None else str(row[0])

    def tell(self, place: str, target: str, standing: str) -> None:
        """A place has heard how a target stands."""
        with self._state.transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO told VALUES (?, ?, ?)", (place, target, standing))
