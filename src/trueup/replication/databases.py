"""Many databases in one folder, by name."""

from __future__ import annotations

import logging
import re
import threading
from pathlib import Path
from typing import Final

from trueup.core.errors import Locked, TrueupError
from trueup.replication.database import Database
from trueup.replication.limits import Limits
from trueup.replication.refused import Refused

SUFFIX: Final = ".db"
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""No slash, and no dot at the beginning: a name never leaves the folder."""

_LOG: Final = logging.getLogger(__name__)


class Databases:
    """Opens each when it is first asked for, and keeps it open; its methods may be called from any thread.

    Args:
        folder: Where the files are, as NAME.db; made if it is not there.
        limits: Of each.
        create: Whether a client that knows nothing may begin a database by asking for it.
    """

    def __init__(self, folder: Path, *, limits: Limits | None = None, create: bool = True) -> None:
        self.folder = folder
        self.limits = limits or Limits()
        self.create = create
        self._mutex = threading.Lock()
        self._open: dict[str, Database] = {}
        self._closed = False

    def get(self, name: str, *, begin: bool) -> Database:
        """The database of a name.

        Args:
            name: As it was sent.
            begin: Whether this request may make it, if the folder allows that.

        Raises:
            Refused: If there is none, if another process has it, or if it cannot be opened.
        """
        with self._mutex:
            if self._closed:
                raise Refused(503, "CLOSING", "the remote is shutting down")
            database = self._open.get(name)
            if database is None:
                if not self.exists(name) and not (begin and self.create):
                    raise Refused(404, "NO_DATABASE", f"there is no database {name} here")
                database = self._open[name] = self._opened(name)
            return database

    def exists(self, name: str) -> bool:
        """Whether there is a database of that name.

        Raises:
            Refused: If nothing may have it.
        """
        return self._path(name).is_file()

    def _path(self, name: str) -> Path:
        if not NAME.fullmatch(name):
            raise Refused(404, "NAME", "a name has up to 100 letters, digits, dots, dashes and underscores")
        return self.folder / f"{name}{SUFFIX}"

    def _opened(self, name: str) -> Database:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            return Database(self._path(name), limits=self.limits)
        except Locked as error:
            raise Refused(503, "IN_USE", f"database {name} is served by another process") from error
        except (TrueupError, OSError) as error:
            _LOG.warning("database %s cannot be served: %s", name, error)  # the path is not for clients
            raise Refused(503, "UNUSABLE", f"database {name} cannot be served; the server knows why") from error

    def close(self) -> None:
        """Wait for what is being done, and close all."""
        with self._mutex:
            self._closed = True
            for database in self._open.values():
                database.close()
            self._open.clear()
