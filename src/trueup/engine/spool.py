"""Put a listing in order that arrived out of order, without holding it in memory."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import anyio

from trueup.core.model import Kind, Row, Token
from trueup.protocols import Threads

_BATCH = 2048


async def spooled(batches: AsyncIterator[list[Row]], threads: Threads) -> AsyncIterator[list[Row]]:
    """The same rows in key order, by way of a temporary database on disk.

    A key that is listed twice counts once, as it was listed last.
    """
    connection, directory = await threads(_create)
    try:
        async with aclosing(batches):  # type: ignore[type-var]  # a generator
            async for batch in batches:
                await threads(_insert, connection, batch)
        cursor = await threads(
            connection.execute, "SELECT key, token, kind, size, modified, mode, note FROM rows ORDER BY key"
        )
        while raw := await threads(cursor.fetchmany, _BATCH):
            yield [(row[0], Token(row[1]), Kind(row[2]), *row[3:]) for row in raw]
    finally:
        with anyio.CancelScope(shield=True):  # a listing that is given up leaves nothing on the disk
            await threads(_drop, connection, directory)


def _create() -> tuple[sqlite3.Connection, Path]:
    directory = Path(tempfile.mkdtemp(prefix="trueup-"))
    connection = sqlite3.connect(directory / "spool.db", check_same_thread=False, isolation_level=None)
    connection.execute("PRAGMA journal_mode = OFF")
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute(
        "CREATE TABLE rows (key BLOB PRIMARY KEY, token, kind, size, modified, mode, note) WITHOUT ROWID"
    )
    return connection, directory


def _drop(connection: sqlite3.Connection, directory: Path) -> None:
    connection.close()
    shutil.rmtree(directory)


def _insert(connection: sqlite3.Connection, batch: list[Row]) -> None:
    connection.execute("BEGIN")
    connection.executemany(
        "INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(*row[:2], row[2].value, *row[3:]) for row in batch],
    )
    connection.execute("COMMIT")
