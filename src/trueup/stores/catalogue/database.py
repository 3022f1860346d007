"""The database of the catalogue: ``catalogue.db`` in the state directory."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from trueup.core.errors import StoreError

NAME = "catalogue.db"

STEPS = (
    """
    CREATE TABLE accounts (
        account TEXT PRIMARY KEY,
        provider TEXT NOT NULL,
        base_url TEXT NOT NULL,
        attempt_ns INTEGER NOT NULL,
        success_ns INTEGER,
        failing_ns INTEGER,
        error TEXT NOT NULL DEFAULT ''
    ) WITHOUT ROWID;
    CREATE TABLE attempts (
        n INTEGER PRIMARY KEY,
        account TEXT NOT NULL,
        at_ns INTEGER NOT NULL,
        models INTEGER,
        error TEXT NOT NULL
    );
    CREATE TABLE models (
        account TEXT NOT NULL,
        id TEXT NOT NULL,
        state TEXT NOT NULL,
        record TEXT NOT NULL,
        PRIMARY KEY (account, id)
    ) WITHOUT ROWID;
    CREATE TABLE versions (
        n INTEGER PRIMARY KEY,
        at_ns INTEGER NOT NULL,
        account TEXT NOT NULL,
        id TEXT NOT NULL,
        state TEXT NOT NULL,
        record TEXT NOT NULL
    );
    CREATE INDEX versions_by_model ON versions (account, id, n);
    CREATE TABLE changes (
        n INTEGER PRIMARY KEY,
        at_ns INTEGER NOT NULL,
        account TEXT NOT NULL,
        id TEXT NOT NULL,
        kind TEXT NOT NULL,
        fact TEXT NOT NULL,
        old TEXT NOT NULL,
        new TEXT NOT NULL,
        detail TEXT NOT NULL
    );
    CREATE TABLE aliases (
        account TEXT NOT NULL,
        alias TEXT NOT NULL,
        id TEXT NOT NULL,
        PRIMARY KEY (account, alias)
    ) WITHOUT ROWID;
    CREATE TABLE alerts (
        alert TEXT NOT NULL,
        about TEXT NOT NULL,
        at_ns INTEGER NOT NULL,
        PRIMARY KEY (alert, about)
    ) WITHOUT ROWID;
    CREATE TRIGGER versions_stay BEFORE UPDATE ON versions BEGIN SELECT RAISE(ABORT, 'versions are only added'); END;
    CREATE TRIGGER versions_last BEFORE DELETE ON versions BEGIN SELECT RAISE(ABORT, 'versions are only added'); END;
    CREATE TRIGGER changes_stay BEFORE UPDATE ON changes BEGIN SELECT RAISE(ABORT, 'changes are only added'); END;
    CREATE TRIGGER changes_last BEFORE DELETE ON changes BEGIN SELECT RAISE(ABORT, 'changes are only added'); END;
    """,
    """
    CREATE TABLE packages (
        name TEXT PRIMARY KEY,
        version TEXT NOT NULL,
        as_of TEXT NOT NULL,
        at_ns INTEGER NOT NULL
    ) WITHOUT ROWID;
    """,
)
"""A step is never changed once it has been released; a new one is appended."""


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection | None]:
    """A connection for queries; None if there is no catalogue yet.

    Raises:
        StoreError: If it cannot be read. What cannot be read is never taken for empty.
    """
    if not path.exists():
        yield None
        return
    with _translated(path), closing(_connected(path)) as connection:
        _migrate(connection, path)
        connection.execute("BEGIN")  # all queries from one moment
        yield connection


@contextmanager
def writing(path: Path) -> Iterator[sqlite3.Connection]:
    """A transaction: all or nothing.

    Raises:
        StoreError: If it failed; nothing has changed.
    """
    with _translated(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with closing(_connected(path)) as connection:
            _migrate(connection, path)
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")


def _connected(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=30, isolation_level=None)
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(STEPS):
        raise StoreError(f"{path} was written by a newer trueup", attempt="pip install --upgrade trueup")
    if version == len(STEPS):
        return
    connection.execute("BEGIN IMMEDIATE")
    (version,) = connection.execute("PRAGMA user_version").fetchone()  # another process may be as far
    for step in STEPS[version:]:
        for statement in _statements(step):
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {len(STEPS)}")
    connection.execute("COMMIT")
    path.chmod(0o600)


def _statements(step: str) -> Iterator[str]:
    """One after the other: ``executescript`` would end the transaction."""
    statement = ""
    for part in step.split(";"):
        statement += part + ";"
        if sqlite3.complete_statement(statement):
            if statement.strip(" \n;"):
                yield statement
            statement = ""


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(f"the catalogue {path} could not be used", why=str(error)) from error
    except OSError as error:
        raise StoreError(f"the catalogue {path} could not be used", why=error.strerror or "") from error
