"""Opening a file that shall be served: alone, looked at, and with its log under our hand."""

from __future__ import annotations

import contextlib
import sqlite3
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote

from filelock import FileLock, Timeout

from trueup.core.errors import Corrupt, Locked, NotFound, StoreError, UsageError
from trueup.replication.limits import Limits
from trueup.replication.wire import PAGE_BYTES

BUSY_SECONDS: Final = 0.2
"""Another process may look at the database. How long emptying the log waits for it; after that the log stays."""

_HEADER_BYTES: Final = 100
_MAGIC: Final = b"SQLite format 3\0"


def beside(path: Path, suffix: str) -> Path:
    """A file that belongs to this one."""
    return path.with_name(path.name + suffix)


def is_empty(path: Path) -> bool:
    """Whether it is there, and has no bytes."""
    return path.exists() and path.stat().st_size == 0


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Be the one server of a file: two would not see each other's revisions.

    Raises:
        Locked: If another is.
        NotFound: If there is no folder for it.
    """
    if not path.parent.is_dir():
        raise NotFound(f"no folder {path.parent} for the remote", attempt=f"mkdir -p {path.parent}")
    lock = FileLock(beside(path, "-lock"), thread_local=False)
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise Locked(
            f"{path} is served by another process",
            attempt="use the address of that server, or wait until it has ended",
        ) from error
    try:
        yield
    finally:
        lock.release()


def look(path: Path) -> None:
    """Refuse what cannot be served, before SQLite touches it. What is not there, or empty, can be.

    Raises:
        Corrupt: If it is not a database.
        UsageError: If its pages have another size.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEADER_BYTES)
    except FileNotFoundError:
        return
    if not head:
        return
    if len(head) < _HEADER_BYTES or not head.startswith(_MAGIC):
        raise Corrupt(f"{path} is not a database", attempt="restore it from a copy, or name another file")
    (page_bytes,) = struct.unpack_from(">H", head, 16)
    if page_bytes != PAGE_BYTES:
        raise UsageError(
            f"{path} cannot be served",
            why=f"its pages have {page_bytes} bytes, and the protocol knows only {PAGE_BYTES}",
            attempt=f"sqlite3 {path} 'PRAGMA journal_mode=DELETE; PRAGMA page_size={PAGE_BYTES}; VACUUM'",
        )


def connected(path: Path, limits: Limits) -> sqlite3.Connection:
    """A connection whose commits stay in the log until somebody says otherwise; what a killed server left is recovered.

    Raises:
        StoreError: If it cannot be opened.
    """
    address = f"file:{quote(str(path))}?mode=rwc"
    try:
        connection = sqlite3.connect(
            address, uri=True, isolation_level=None, check_same_thread=False, timeout=BUSY_SECONDS
        )
        try:
            _set_up(connection, path, limits)
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise StoreError(f"{path} cannot be opened", why=str(error)) from error
    return connection


def _set_up(connection: sqlite3.Connection, path: Path, limits: Limits) -> None:
    for setting in (f"page_size={PAGE_BYTES}", "wal_autocheckpoint=0", "synchronous=FULL"):
        connection.execute(f"PRAGMA {setting}")
    (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
    if mode != "wal":
        raise StoreError(f"{path} cannot have a write-ahead log", why="its file system has no shared memory")
    connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # now it is recovered
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, limits.request_bytes)
