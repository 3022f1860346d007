"""One SQLite file: opened for one piece of work, its faults told apart, made if it is not there."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from trueup.core.errors import AccessDenied, Corrupt, NoSpace, NotFound, StoreError, Unavailable
from trueup.stores.registry.schema import COLUMNS, CREATE

BUSY_SECONDS = 10.0
"""How long MAPLE waits for another writer (``sqlite3.connect(DB_FILE, timeout=10)``), and so do we."""

HEADER_BYTES = 100
"""Every SQLite database begins with so many. Source: https://www.sqlite.org/fileformat.html, section 1.3."""


def shown(path: str) -> str:
    """The path as people write it, with ``~`` for their home."""
    home = os.path.expanduser("~")
    return "~" + path.removeprefix(home) if path.startswith(home.rstrip("/") + "/") else path


def exists(path: str) -> bool:
    """Whether there is a file; an absent one is a registry without entries, if its directory is there.

    The file is never opened here: closing it would free the locks that SQLite holds on it in this process.

    Raises:
        NotFound: If not even the directory is there.
        AccessDenied: If it cannot be looked into.
        Corrupt: If the file is cut off before its header ends; SQLite takes such a one for a new database.
        StoreError: If it is something else than a file.
    """
    directory = os.path.dirname(path)
    try:
        status = os.stat(path)
    except FileNotFoundError:
        if os.path.isdir(directory):
            return False
        raise NotFound(
            f"no directory {shown(directory)} for the registry",
            attempt=f"mkdir -p {shown(directory)}, or name the registry with --registry",
        ) from None
    except NotADirectoryError:
        raise NotFound(f"{shown(directory)} is not a directory", attempt="name the registry with --registry") from None
    except PermissionError as error:
        raise _denied(path) from error
    if not stat.S_ISREG(status.st_mode):
        raise StoreError(f"the registry {shown(path)} is not a file", attempt="name another with --registry")
    if status.st_size < HEADER_BYTES:
        raise Corrupt(
            f"the registry {shown(path)} is cut off",
            why=f"there are {status.st_size} bytes of it",
            attempt=f"restore it from a copy; or, to start with none: rm {shown(path)}",
        )
    return True


@contextmanager
def reading(path: str, *, busy_seconds: float = BUSY_SECONDS) -> Iterator[sqlite3.Connection]:
    """An existing registry, not to be written; one state of it, whatever others write meanwhile."""
    with faults(path, busy_seconds), closing(_connected(path, "ro", busy_seconds)) as connection:
        connection.execute("BEGIN")
        yield connection


@contextmanager
def writing(path: str, *, busy_seconds: float = BUSY_SECONDS) -> Iterator[sqlite3.Connection]:
    """An existing registry in one transaction: all that happens in here, or nothing."""
    with faults(path, busy_seconds, writes=True), closing(_connected(path, "rw", busy_seconds)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            connection.rollback()
            raise
        connection.commit()


def _connected(path: str, mode: str, busy_seconds: float) -> sqlite3.Connection:
    address = f"file:{quote(os.fsencode(path))}?mode={mode}"
    if mode == "ro" and _left_alone(path):
        # The log of a database in WAL mode cannot be made there, and nobody has one open.
        address += "&immutable=1"
    connection = sqlite3.connect(address, uri=True, timeout=busy_seconds, isolation_level=None)
    connection.row_factory = sqlite3.Row
    connection.text_factory = _text
    return connection


def _left_alone(path: str) -> bool:
    return not os.access(os.path.dirname(path), os.W_OK, effective_ids=True) and not os.path.exists(path + "-wal")


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def create(path: str, unique: str) -> None:
    """Make a registry without entries, whole from its first moment; one that is there by then is left as it is.

    Args:
        path: Of the registry.
        unique: Part of a file name that nobody else uses.
    """
    made = f"{path}.trueup-{unique}"
    with faults(path, BUSY_SECONDS, writes=True):
        try:
            with closing(sqlite3.connect(made, isolation_level=None)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.executescript(f"BEGIN; {CREATE} COMMIT;")
            with suppress(FileExistsError):
                os.link(made, path)
        finally:
            for leftover in (made, made + "-wal", made + "-shm", made + "-journal"):
                Path(leftover).unlink(missing_ok=True)


def columns(connection: sqlite3.Connection, path: str, table: str) -> tuple[str, ...]:
    """The columns of a table.

    Raises:
        StoreError: If it, or one of the columns that we know, is not there.
    """
    found = tuple(row["name"] for row in connection.execute("SELECT name FROM pragma_table_info(?)", (table,)))
    lacking = sorted(COLUMNS[table] - set(found))
    if not lacking:
        return found
    what = f"table {table}" if not found else f"column {', '.join(lacking)} in table {table}"
    raise StoreError(
        f"{shown(path)} is no registry that trueup knows: no {what}",
        why="another program wrote it, or a newer one",
        attempt="name the registry with --registry; if it is the right one, update trueup",
    )


@contextmanager
def faults(path: str, busy_seconds: float, *, writes: bool = False) -> Iterator[None]:
    """Turn what SQLite says into our errors, each with the next command."""
    try:
        yield
    except sqlite3.Error as error:
        raise _fault(path, error, busy_seconds, writes=writes) from error
    except PermissionError as error:
        raise _unwritable(path) if writes else _denied(path) from error
    except OSError as error:
        raise Unavailable(f"the registry {shown(path)} could not be reached", why=error.strerror or "") from error


def _fault(path: str, error: sqlite3.Error, busy_seconds: float, *, writes: bool) -> StoreError:
    name = getattr(error, "sqlite_errorname", "")
    known = {
        "SQLITE_BUSY": _locked(path, busy_seconds),
        "SQLITE_LOCKED": _locked(path, busy_seconds),
        "SQLITE_READONLY": _unwritable(path),
        "SQLITE_CANTOPEN": _unwritable(path) if writes else _denied(path),
        "SQLITE_PERM": _unwritable(path) if writes else _denied(path),
        "SQLITE_CORRUPT": Corrupt(
            f"the registry {shown(path)} is damaged",
            why=str(error),
            attempt=f"keep a copy, then: sqlite3 {shown(path)} .recover | sqlite3 recovered.db",
        ),
        "SQLITE_NOTADB": StoreError(
            f"{shown(path)} is not a SQLite database", attempt="name the registry with --registry"
        ),
        "SQLITE_FULL": NoSpace(
            f"no room to write the registry {shown(path)}", attempt="free some space, then run this again"
        ),
        "SQLITE_IOERR": Unavailable(f"the registry {shown(path)} could not be reached", why=str(error)),
    }
    # SQLITE_BUSY_SNAPSHOT is a SQLITE_BUSY: what follows the second word says how it came to be.
    family = "_".join(name.split("_")[:2])
    return known.get(family) or StoreError(f"the registry {shown(path)} failed", why=f"{name}: {error}")


def _locked(path: str, busy_seconds: float) -> Unavailable:
    return Unavailable(
        f"the registry {shown(path)} is locked by another program",
        why=f"it was not free within {busy_seconds:g} s",
        attempt=f"wait for that program to end (fuser -v {shown(path)} names it), then run this again",
    )


def _denied(path: str) -> AccessDenied:
    return AccessDenied(
        f"no permission to read the registry {shown(path)}",
        attempt=f"ls -l {shown(path)}; check the permissions of {shown(os.path.dirname(path))}/",
    )


def _unwritable(path: str) -> AccessDenied:
    return AccessDenied(
        f"Unable to write to database at {shown(path)}",
        why="no permission, or a read-only file system",
        attempt=f"check the permissions of {shown(os.path.dirname(path))}/",
    )
