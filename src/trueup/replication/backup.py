"""A consistent copy of a served database, at any moment."""

from __future__ import annotations

import os
import secrets
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from trueup.core.errors import Locked, NotFound, StoreError, UsageError
from trueup.replication.database import Database
from trueup.replication.refused import faults


def backup(path: Path, to: Path) -> None:
    """Copy a database as it is now, whether it is served or not; a plain copy of the file may be torn.

    Args:
        path: Of the database.
        to: Where the copy shall be. It appears there whole, or not at all.

    Raises:
        NotFound: If there is no database.
        UsageError: If there is something at ``to``.
        NoSpace: If there is no room for it.
        StoreError: If it cannot be read.
    """
    if not path.is_file():
        raise NotFound(f"there is no database {path}")
    made = to.with_name(f".{to.name}.{secrets.token_hex(4)}")
    try:
        with faults(to):
            try:
                _as_its_server(path, made)
            except Locked:
                _beside_its_server(path, made)
            _keep(made)
            try:
                os.link(made, to)
            except FileExistsError as error:
                raise UsageError(f"there is something at {to} already", attempt="name another file") from error
    finally:
        made.unlink(missing_ok=True)


def _as_its_server(path: Path, made: Path) -> None:
    with closing(Database(path)) as database, made.open("xb") as file:
        _, body = database.copy()
        for chunk in body.chunks():
            file.write(chunk)


def _beside_its_server(path: Path, made: Path) -> None:
    """SQLite shows one state of it to this process, whatever the server writes meanwhile."""
    with (
        closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as source,
        closing(sqlite3.connect(made)) as copy,
    ):
        source.backup(copy)


def _keep(made: Path) -> None:
    """Durable before it has its name; and whole, which costs one look."""
    with closing(sqlite3.connect(made)) as connection:
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise StoreError("the copy is damaged, and so is the database", why=str(verdict))
    descriptor = os.open(made, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
