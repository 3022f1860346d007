"""A pristine copy of a remote: pulled page by page by the sync engine, read with SQLite, never written.

It is a cache. What is wrong with it is thrown away, and pulled anew.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from trueup.core.errors import AccessDenied, NoSpace, NotFound, StoreError, TimedOut, Unavailable
from trueup.stores.agentfs import engine, faults
from trueup.stores.agentfs.hrana import Remote
from trueup.stores.agentfs.schema import is_begun

Reach = Callable[[], AbstractContextManager[tuple[str, str | None]]]
"""Gives a URL under which the remote is served for a while, and its token."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What has gone over the network for a mirror and its remote since the mirror was made."""

    sent_bytes: int = 0
    received_bytes: int = 0
    revision: str = ""
    pulled_at: int = 0
    """Seconds since the epoch; 0: never."""
    pushed_at: int = 0


class Mirror:
    """The copy of one remote.

    Args:
        folder: Where it is; nobody else writes there.
        location: The remote's URL, for messages.
        reach: How to get to it.
        seconds: The longest silence of the network.
    """

    def __init__(self, folder: Path, location: str, reach: Reach, seconds: float) -> None:
        self._folder = folder
        self.location = location
        self.reach = reach
        self._seconds = seconds

    @property
    def path(self) -> Path:
        """The database."""
        return self._folder / "mirror.db"

    def pull(self) -> None:
        """Bring the copy up to date.

        Raises:
            StoreError: If the remote cannot be reached, refuses, or answers nonsense; the copy is as it was.
        """
        with self._locked(fcntl.LOCK_EX), self.reach() as (url, token):
            asked = engine.Call("pull", self.path, url, token, self._seconds, self.location)
            remote = Remote(url, token, self._seconds, self.location)
            try:
                answer = engine.call(asked)
                if self._is_another(remote):
                    raise faults.Replaced(f"{self.location} was replaced by another database", attempt=faults.AGAIN)
            except (Unavailable, AccessDenied, NotFound, NoSpace, TimedOut):
                raise
            except StoreError:
                if not self.path.exists():
                    raise
                self._discard()
                answer = engine.call(asked)
            known = self.traffic()
            self._note(
                received_bytes=known.received_bytes + int(answer["network_received_bytes"]) + remote.received_bytes,
                sent_bytes=known.sent_bytes + int(answer["network_sent_bytes"]) + remote.sent_bytes,
                revision=str(answer["revision"] or ""),
                pulled_at=int(time.time()),
            )

    @contextmanager
    def remote(self) -> Iterator[Remote]:
        """The remote, for changes."""
        with self.reach() as (url, token):
            remote = Remote(url, token, self._seconds, self.location)
            yield remote
        with self._locked(fcntl.LOCK_EX):
            known = self.traffic()
            self._note(
                sent_bytes=known.sent_bytes + remote.sent_bytes,
                received_bytes=known.received_bytes + remote.received_bytes,
                pushed_at=int(time.time()),
            )

    @contextmanager
    def open(self) -> Iterator[sqlite3.Connection | None]:
        """The copy in a transaction; None: the remote holds nothing yet."""
        with self._locked(fcntl.LOCK_SH):
            if not self.path.exists() or not self.path.stat().st_size:
                yield None
                return
            # Immutable: all is in the one file after a pull, and nobody writes it while the lock is held.
            db = sqlite3.connect(f"file:{_quoted(self.path)}?immutable=1", uri=True, isolation_level=None)
            try:
                db.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
                yield db if is_begun(db, self.location) else None
            except sqlite3.DatabaseError as error:
                raise StoreError(
                    f"the mirror of {self.location} cannot be read", why=str(error), attempt=f"rm -r {self._folder}"
                ) from error
            finally:
                db.close()

    def traffic(self) -> Traffic:
        """What has gone over the network."""
        try:
            return Traffic(**json.loads((self._folder / "traffic.json").read_text()))
        except (OSError, ValueError, TypeError):
            return Traffic()

    def _note(self, **changed: int | str) -> None:
        noted = asdict(self.traffic()) | changed
        partial = self._folder / "traffic.json.partial"
        partial.write_text(json.dumps(noted))
        partial.replace(self._folder / "traffic.json")

    def _is_another(self, remote: Remote) -> bool:
        """Whether the remote has another identity than its copy: some servers do not notice that they were replaced."""
        query = "SELECT value FROM fs_config WHERE key = 'trueup.root'"
        if not self.path.exists() or not self.path.stat().st_size:
            return False
        db = sqlite3.connect(f"file:{_quoted(self.path)}?immutable=1", uri=True)
        try:
            row = db.execute(query).fetchone()
        except sqlite3.OperationalError:  # no AgentFS yet
            row = None
        finally:
            db.close()
        return remote.value(query) != (None if row is None else row[0])

    def _discard(self) -> None:
        for path in self._folder.glob("mirror.db*"):
            path.unlink()

    def forget(self) -> None:
        """Throw the copy away."""
        shutil.rmtree(self._folder, ignore_errors=True)

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._folder / "mirror.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, how)
            yield
        finally:
            os.close(descriptor)


def _quoted(path: Path) -> str:
    from urllib.parse import quote

    return quote(str(path))
