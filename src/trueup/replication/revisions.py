"""Which page changed in which revision: a database of our own, ``FILE-revisions`` beside the served file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trueup.core.errors import StoreError

VERSION: Final = 1

_SCHEMA: Final = """
CREATE TABLE state (
    epoch TEXT NOT NULL,
    number INTEGER NOT NULL,
    pages INTEGER NOT NULL,
    salt BLOB NOT NULL,
    frames INTEGER NOT NULL,
    stamp TEXT
);
CREATE TABLE changed (page INTEGER PRIMARY KEY, number INTEGER NOT NULL);
CREATE INDEX changed_number ON changed (number);
CREATE TABLE pins (number INTEGER PRIMARY KEY, pages INTEGER NOT NULL);
CREATE TABLE old_pages (page INTEGER NOT NULL, since INTEGER NOT NULL, until INTEGER NOT NULL, content BLOB NOT NULL,
    PRIMARY KEY (page, since));
"""


@dataclass(frozen=True, slots=True)
class State:
    """What was recorded last."""

    epoch: str
    """Names one life of the database: another one begins when the file is not what this server left."""
    number: int
    """Of the revision, from 1."""
    pages: int
    """Of the database."""
    salt: bytes
    """Of the log, and"""
    frames: int
    """how many of its frames are recorded."""
    stamp: str | None
    """Size and time of the file after the last checkpoint; None while one may be under way."""

    @property
    def revision(self) -> str:
        """As clients see it."""
        return f"{self.epoch}.{self.number}"


class Revisions:
    """Durable: what a method has returned from is there after a power cut.

    A page that was never recorded is as old as the epoch.

    Raises:
        StoreError: If the file is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0)
        try:
            self._connection.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
            if self._one("PRAGMA user_version") != VERSION:
                self._connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version={VERSION}; COMMIT;")
        except sqlite3.DatabaseError as error:
            self._connection.close()
            if error.sqlite_errorcode not in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
                raise
            raise StoreError(
                f"{path} is damaged",
                why=str(error),
                attempt=f"rm {path}, and clone every replica again",
            ) from error

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def _one(self, sql: str, *values: object) -> object:
        row = self._connection.execute(sql, values).fetchone()
        return None if row is None else row[0]

    def state(self) -> State | None:
        """What was recorded last; None in a new file."""
        row = self._connection.execute("SELECT epoch, number, pages, salt, frames, stamp FROM state").fetchone()
        return None if row is None else State(*row)

    def begin_epoch(self, state: State) -> None:
        """Forget everything, and begin with this."""
        with self._transaction():
            for table in ("state", "changed", "pins", "old_pages"):
                self._connection.execute(f"DELETE FROM {table}")  # noqa: S608  # our own names
            self._write(state)

    def record(self, state: State, pages: Iterable[int], old: Mapping[int, bytes]) -> None:
        """A new revision: what has changed in it, and of these pages the old content that somebody may ask for."""
        with self._transaction():
            for page, content in old.items():
                since = self.changed_in(page)
                self._connection.execute(
                    "INSERT INTO old_pages VALUES (?, ?, ?, ?)", (page, since, state.number, content)
                )
            self._connection.executemany(
                "INSERT INTO changed VALUES (?, ?) ON CONFLICT (page) DO UPDATE SET number = excluded.number",
                ((page, state.number) for page in pages),
            )
            self._write(state)

    def note(self, state: State) -> None:
        """The same revision, with another log or stamp."""
        with self._transaction():
            self._write(state)

    def _write(self, state: State) -> None:
        self._connection.execute("DELETE FROM state")
        self._connection.execute(
            "INSERT INTO state VALUES (?, ?, ?, ?, ?, ?)",
            (state.epoch, state.number, state.pages, state.salt, state.frames, state.stamp),
        )

    def _transaction(self) -> _Transaction:
        return _Transaction(self._connection)

    def changed_in(self, page: int) -> int:
        """The number of the revision in which a page changed last; 0 if not in this epoch."""
        found = self._one("SELECT number FROM changed WHERE page = ?", page)
        return found if isinstance(found, int) else 0

    def changed_after(self, number: int, below: int) -> list[int]:
        """Pages that changed later, in order, of those below a bound."""
        rows = self._connection.execute("SELECT page FROM changed WHERE number > ? AND page < ?", (number, below))
        return sorted(page for (page,) in rows)

    def newest_pin(self) -> int:
        """The latest revision of which a client has a part; 0 if there is none."""
        found = self._one("SELECT max(number) FROM pins")
        return found if isinstance(found, int) else 0

    def pinned_pages(self, number: int) -> int | None:
        """How many pages the database had in a revision that is pinned; None if it is not."""
        found = self._one("SELECT pages FROM pins WHERE number = ?", number)
        return found if isinstance(found, int) else None

    def pin(self, state: State) -> None:
        """From now on, keep what this revision consists of."""
        if self.newest_pin() != state.number:
            with self._transaction():
                self._connection.execute("INSERT INTO pins VALUES (?, ?)", (state.number, state.pages))

    def old_page(self, page: int, number: int) -> bytes | None:
        """A page as it was in a pinned revision, if it has changed since then and was kept."""
        found = self._one(
            "SELECT content FROM old_pages WHERE page = ? AND since <= ? AND until > ?", page, number, number
        )
        return found if isinstance(found, bytes) else None

    def trim(self, most_bytes: int) -> None:
        """Let go of the oldest pins until what is kept for them is not more."""
        while self._one("SELECT coalesce(sum(length(content)), 0) > ? FROM old_pages", most_bytes):
            with self._transaction():
                self._connection.execute("DELETE FROM pins WHERE number = (SELECT min(number) FROM pins)")
                self._connection.execute(
                    "DELETE FROM old_pages WHERE NOT EXISTS"
                    " (SELECT 1 FROM pins WHERE pins.number >= since AND pins.number < until)"
                )


class _Transaction:
    """All of it, or nothing."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                self._connection.execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
