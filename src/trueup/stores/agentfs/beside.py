"""What is kept beside an AgentFS database: replaced versions, and what files hashed to."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from trueup.core.errors import NotFound
from trueup.core.model import Key, key_bytes, key_from_bytes
from trueup.protocols import Discarded
from trueup.stores.agentfs.faults import of_sqlite

_TABLES = """
CREATE TABLE IF NOT EXISTS kept (
    n INTEGER PRIMARY KEY AUTOINCREMENT, run TEXT NOT NULL, key BLOB NOT NULL, data BLOB NOT NULL,
    modified_ns INTEGER NOT NULL, mode INTEGER, discarded_ns INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS digest (ino INTEGER PRIMARY KEY, stamp TEXT NOT NULL, digest TEXT NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Kept:
    """A version on its way into the trash."""

    run: str
    key: Key
    data: bytes
    modified_ns: int
    mode: int | None


class Beside:
    """A database of ours, one for each side of a target. Every call is a transaction that survives a kill.

    Args:
        path: The file; it is made on the first write.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def _open(self, *, write: bool) -> Iterator[sqlite3.Connection]:
        if write:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        connection: sqlite3.Connection | None = None
        try:
            connection = sqlite3.connect(self.path if write else ":memory:", timeout=30, isolation_level=None)
            if not write and self.path.exists():
                connection.close()
                connection = sqlite3.connect(self.path, timeout=30, isolation_level=None)
            connection.executescript(_TABLES)
            connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
            yield connection
            connection.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            raise of_sqlite(self.path, error) from error
        finally:
            if connection is not None:
                connection.close()

    # -- replaced versions -------------------------------------------------------------------------------------------

    def keep(self, kept: Kept, *, now_ns: int) -> str:
        """Keep a version; its handle."""
        with self._open(write=True) as db:
            cursor = db.execute(
                "INSERT INTO kept (run, key, data, modified_ns, mode, discarded_ns) VALUES (?, ?, ?, ?, ?, ?)",
                (kept.run, key_bytes(kept.key), kept.data, kept.modified_ns, kept.mode, now_ns),
            )
            return f"{kept.run}/{cursor.lastrowid}"

    def kept(self) -> list[Discarded]:
        """Everything, by run and key."""
        with self._open(write=False) as db:
            rows = db.execute(
                "SELECT run, n, key, length(data), discarded_ns, modified_ns, mode FROM kept ORDER BY run, key, n"
            ).fetchall()
        return [Discarded(f"{run}/{n}", run, key_from_bytes(key), *rest) for run, n, key, *rest in rows]

    def read(self, handle: str) -> bytes:
        """The content of a kept version.

        Raises:
            NotFound: If there is none of that handle.
        """
        with self._open(write=False) as db:
            row = db.execute("SELECT data FROM kept WHERE run || '/' || n = ?", (handle,)).fetchone()
        if row is None:
            raise NotFound(f"the trash holds no {handle}")
        return bytes(row[0])

    def forget(self, handle: str) -> bool:
        """Destroy a kept version; False if there is none of that handle."""
        if not self.path.exists():
            return False
        with self._open(write=True) as db:
            return bool(db.execute("DELETE FROM kept WHERE run || '/' || n = ?", (handle,)).rowcount)

    # -- digests -----------------------------------------------------------------------------------------------------

    def known(self) -> dict[int, tuple[str, str]]:
        """As `trueup.stores.agentfs.look.Digests`."""
        with self._open(write=False) as db:
            return {ino: (stamp, digest) for ino, stamp, digest in db.execute("SELECT ino, stamp, digest FROM digest")}

    def learn(self, found: dict[int, tuple[str, str]]) -> None:
        """As `trueup.stores.agentfs.look.Digests`."""
        if found:
            with self._open(write=True) as db:
                db.executemany(
                    "INSERT OR REPLACE INTO digest VALUES (?, ?, ?)", [(ino, *pair) for ino, pair in found.items()]
                )
