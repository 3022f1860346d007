"""Store of the registry: MAPLE's SQLite database of policies and environments, or our own of the same form."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trueup.core.errors import Corrupt, PreconditionFailed, StoreError
from trueup.core.model import Entry, Key, Record
from trueup.protocols import Opening
from trueup.stores.records import Change, RecordStore, record_entry, version
from trueup.stores.registry.database import BUSY_SECONDS, columns, create, exists, reading, shown, writing
from trueup.stores.registry.schema import TABLES, Table

__all__ = ["Container", "RegistryStore", "containers_of"]


class RegistryStore(RecordStore):
    """One table of a registry. A record's fields are the row's columns, all but ``id``.

    An existing database keeps its form: no table, column or index is added, and nothing but this table is written.
    Where there is no file, the first write makes one that MAPLE could have made.

    Args:
        path: The database file; ``~`` is the home.
        table: ``policies`` (keys are ``NAME:VERSION``) or ``envs`` (keys are ``NAME``).
        opening: Threads, memory, names.
        busy_seconds: How long to wait while another program writes.
    """

    def __init__(self, path: str, table: str, opening: Opening, *, busy_seconds: float = BUSY_SECONDS) -> None:
        self.path = os.path.abspath(os.path.expanduser(path))
        self._table = TABLES[table]
        self._unique = opening.unique
        self._busy_seconds = busy_seconds
        super().__init__(f"{self.path}#{table}", opening)

    def read(self) -> Mapping[Key, Record]:
        """As `RecordStore`; empty if there is no file yet.

        Raises:
            NotFound: If its directory is not there.
            AccessDenied: If it may not be read.
            Unavailable: If it is locked all the time.
            Corrupt: If it is damaged.
            StoreError: If it is not a registry.
        """
        if not exists(self.path):
            return {}
        with reading(self.path, busy_seconds=self._busy_seconds) as connection:
            columns(connection, self.path, self._table.name)
            return {key: record for key, (_, record) in self._rows(connection).items()}

    async def stat(self, key: Key) -> Entry | None:
        """As `trueup.protocols.Observe`."""
        return await self._threads(self._stat, key)

    def _stat(self, key: Key) -> Entry | None:
        if not exists(self.path):
            return None
        with reading(self.path, busy_seconds=self._busy_seconds) as connection:
            columns(connection, self.path, self._table.name)
            found = self._one(connection, key)
        return None if found is None else record_entry(found[1])

    def column(self, name: str, *, empty: bool = False) -> dict[Key, str]:
        """One column of text, without the rest of the rows: in a fifth of the time. Blocks.

        Args:
            name: Of the column.
            empty: Whether rows count that have nothing there.

        Raises:
            StoreError: As `read`, but not for rows that it alone would refuse.
        """
        if not exists(self.path):
            return {}
        wanted = (*self._table.naming, name)
        with reading(self.path, busy_seconds=self._busy_seconds) as connection:
            columns(connection, self.path, self._table.name)
            connection.row_factory = None
            rows = connection.execute(f"SELECT {', '.join(wanted)} FROM {self._table.name}").fetchall()  # noqa: S608
        return {Key(":".join(map(str, row[:-1]))): str(row[-1] or "") for row in rows if row[-1] or empty}

    def change(self, changes: Sequence[Change]) -> None:
        """As `RecordStore`.

        Raises:
            AccessDenied: ``Unable to write to database at ...``; and as `read`.
        """
        if not changes:
            return
        if not exists(self.path):
            create(self.path, self._unique())
        with writing(self.path, busy_seconds=self._busy_seconds) as connection:
            known = columns(connection, self.path, self._table.name)
            for change in changes:
                self._apply(connection, change, frozenset(known) - {"id"})

    def _apply(self, connection: sqlite3.Connection, change: Change, known: frozenset[str]) -> None:
        there = self._one(connection, change.key)
        if (None if there is None else version(there[1])) != change.expect:
            what = "is recorded" if there is not None else "is not recorded"
            raise PreconditionFailed(f"{change.key} {what} in {shown(self.path)}, or otherwise by now")
        table = self._table.name  # one of two names of ours, never anybody's text
        if change.record is None:
            if there is not None:
                done = connection.execute(f"DELETE FROM {table} WHERE id = ?", (there[0],))  # noqa: S608
                self._check(change.key, done)
            return
        fields = self._fields(change.key, change.record, known)
        names = ", ".join(f'"{name}"' for name in fields)
        if there is None:
            marks = ", ".join("?" * len(fields))
            done = connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", [*fields.values()])  # noqa: S608
        else:
            marks = ", ".join(f'"{name}" = ?' for name in fields)
            values = [*fields.values(), there[0]]
            done = connection.execute(f"UPDATE {table} SET {marks} WHERE id = ?", values)  # noqa: S608
        self._check(change.key, done)

    def _check(self, key: Key, done: sqlite3.Cursor) -> None:
        """Refuse a change that the database has taken without making it, as a trigger with RAISE(IGNORE) does."""
        if done.rowcount != 1:
            raise StoreError(
                f"{shown(self.path)} has not taken the change of {key}",
                why="a trigger in it holds changes back",
                attempt=f"sqlite3 {shown(self.path)} .schema",
            )

    def _fields(self, key: Key, record: Record, known: frozenset[str]) -> dict[str, Any]:
        fields = record.fields
        if set(fields) - known:
            raise StoreError(f"{shown(self.path)} has no column {', '.join(sorted(set(fields) - known))} for {key}")
        if self._table.named(key) != {column: fields.get(column) for column in self._table.naming}:
            raise StoreError(f"the record of {key} is another entry's")
        for name, value in fields.items():
            if not isinstance(value, str | int | float | None):
                raise StoreError(f"{name} of {key} cannot be a column: {value!r}")
            try:
                str(value).encode()
            except UnicodeEncodeError as error:
                raise StoreError(f"{name} of {key} is not text", why=str(error)) from error
        return fields

    def _one(self, connection: sqlite3.Connection, key: Key) -> tuple[int, Record] | None:
        table = self._table
        # Bytes, for a name need not be valid text; and compared column by column, for then there is an index.
        one = " AND ".join(f"{column} = CAST(? AS TEXT)" for column in table.naming)
        ways = table.ways(key)
        wanted = [value.encode("utf-8", "surrogateescape") for way in ways for value in way]
        rows = connection.execute(f"SELECT * FROM {table.name} WHERE {' OR '.join([one] * len(ways))}", wanted)  # noqa: S608
        return _by_key(self.path, table, rows.fetchall()).get(key)

    def _rows(self, connection: sqlite3.Connection) -> dict[Key, tuple[int, Record]]:
        return _by_key(self.path, self._table, connection.execute(f"SELECT * FROM {self._table.name}").fetchall())  # noqa: S608


def _by_key(path: str, table: Table, rows: Sequence[sqlite3.Row]) -> dict[Key, tuple[int, Record]]:
    found: dict[Key, tuple[int, Record]] = {}
    for row in rows:
        fields = dict(row)
        number = fields.pop("id")
        if any(isinstance(value, bytes) for value in fields.values()):
            raise Corrupt(f"row {number} of {table.name} in {shown(path)} holds bytes where there should be text")
        key = table.key(fields)
        if key in found:
            raise Corrupt(f"rows {found[key][0]} and {number} of {table.name} in {shown(path)} are both called {key}")
        found[key] = number, Record.of(fields)
    return found


@dataclass(frozen=True, slots=True)
class Container:
    """A container that MAPLE has started and not stopped, as far as the registry knows."""

    id: str
    """The engine's."""
    name: str
    host: str
    port: int
    status: str
    """``starting``, ``ready`` or ``unhealthy``."""


def containers_of(path: str, kind: str, name: str, *, busy_seconds: float = BUSY_SECONDS) -> list[Container]:
    """The containers of one entry, and of no other whose name begins alike. Blocks.

    MAPLE calls them ``NAME-`` or ``NAME-VERSION-`` and eight hexadecimal digits, and says in ``backend`` whose they
    are. It deletes the row when it stops the container.

    Args:
        path: The registry.
        kind: ``policies`` or ``envs``.
        name: The entry's key.
        busy_seconds: As `RegistryStore`.

    Raises:
        StoreError: As `RegistryStore.read`.
    """
    path = os.path.abspath(os.path.expanduser(path))
    table = TABLES[kind]
    parts = table.named(Key(name))
    if not exists(path):
        return []
    with reading(path, busy_seconds=busy_seconds) as connection:
        columns(connection, path, "containers")
        rows = connection.execute(
            "SELECT id, name, host, port, status FROM containers WHERE type = ? AND backend = ? ORDER BY id",
            ({"policies": "policy", "envs": "env"}[kind], parts["name"]),
        ).fetchall()
    ours = re.compile(re.escape("-".join(parts.values())) + "-[0-9a-f]{8}")
    return [Container(**dict(row)) for row in rows if ours.fullmatch(row["name"])]
