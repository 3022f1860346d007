"""What a remote answers instead of doing what was asked."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trueup.core.errors import AccessDenied, NoSpace, StoreError


class Refused(Exception):
    """A request that was not done; nothing of it happened unless ``status`` is 507. It is for clients, not for people.

    Args:
        status: Of HTTP. 400 malformed, 401 no token, 404 no such database, 405, 409 another revision, 411, 413 too
            large, 503 closing or in use, 507 no space: then the effect is unknown, and pushing again is safe.
        kind: The same for machines, as ``REPLACED``.
        what: The same for people.
        revision: What is there now, where that is why.
    """

    def __init__(self, status: int, kind: str, what: str, *, revision: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.status = status
        self.kind = kind
        self.revision = revision


def malformed(what: str) -> Refused:
    """The bytes are not what the protocol says."""
    return Refused(400, "MALFORMED", what)


def replaced(revision: str) -> Refused:
    """The client knows another database than the one that is here; it must not be answered with this one's pages."""
    return Refused(
        409,
        "REPLACED",
        "remote was replaced: what you hold is not of the database that is here now; clone it again",
        revision=revision,
    )


@contextmanager
def faults(path: Path) -> Iterator[None]:
    """Turn faults of the disk into errors for who opens or copies a database.

    Raises:
        NoSpace: If it is full.
        AccessDenied: If permission is missing.
        StoreError: For everything else.
    """
    try:
        with disk_faults():
            yield
    except Refused as refused:
        cause = refused.__cause__
        if refused.status == 507:
            raise NoSpace(f"no room for {path}", attempt="make room, and try again") from cause
        if isinstance(cause, PermissionError):
            raise AccessDenied(f"no permission for {path}", why=refused.what, attempt=f"ls -l {path}") from cause
        raise StoreError(f"{path} cannot be used", why=refused.what, attempt=f"ls -ld {path}") from cause


@contextmanager
def disk_faults() -> Iterator[None]:
    """Turn faults of the disk into refusals.

    Raises:
        Refused: With 507 if it is full, else with 503.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _full() from error
        raise Refused(503, "DISK", f"the disk of the remote failed: {error.strerror}") from error
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            raise _full() from error
        raise Refused(503, "DISK", f"the database of the remote failed: {error}") from error


def _full() -> Refused:
    return Refused(507, "NO_SPACE", "the disk of the remote is full; make room there, and try again")
