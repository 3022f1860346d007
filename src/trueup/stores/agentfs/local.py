"""The database that an agent works in: changed in place, in transactions, and never while somebody has it open."""

from __future__ import annotations

import gc
import os
import shutil
import sqlite3
import stat
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from trueup.core.errors import Locked, PreconditionFailed, StoreError, Unaddressable, Unavailable
from trueup.core.model import Key
from trueup.protocols import Effect, Opening, Written
from trueup.stores.agentfs import changes, look
from trueup.stores.agentfs.base import AgentStore
from trueup.stores.agentfs.beside import Beside
from trueup.stores.agentfs.faults import NEWER, of_sqlite
from trueup.stores.agentfs.schema import is_begun

WAIT_SECONDS = 5.0
"""For another of our own connections; an agent that has the database open keeps it for longer."""
_OPEN: Counter[str] = Counter()
"""How many connections of ours each database has in this process."""
_GATE = threading.Lock()


class LocalAgent(AgentStore):
    """An AgentFS database on this machine.

    Args:
        path: The database; it is made when something is written that is not there.
        opening: What surrounds the store.
        beside: Where replaced versions go.
    """

    def __init__(self, path: Path, opening: Opening, beside: Beside) -> None:
        super().__init__(str(path), opening, beside)
        self.path = path
        self._turn = threading.Lock()
        """Our own writers wait for each other here; SQLite would let them sleep."""
        self._held: dict[int, sqlite3.Connection] = {}

    @property
    def notices(self) -> tuple[str, ...]:
        """None: its transactions refuse whatever is not expected."""
        return ()

    @contextmanager
    def reading(self, *, now: bool) -> Iterator[sqlite3.Connection | None]:  # it is always as it is now
        """As `AgentStore.reading`."""
        if not self._is_there():
            yield None
            return
        with self._connected("BEGIN") as db:
            yield db if is_begun(db, str(self.path)) else None

    def carry_out(self, plan: changes.Plan, keys: Sequence[Key]) -> Written:
        """As `AgentStore.carry_out`."""
        with self._turn, self._connected("BEGIN IMMEDIATE") as db:
            return self._change(db, plan, lambda: _commit(db))

    def _batch(self, effects: Sequence[Effect]) -> list[Written | StoreError]:
        """Several changes in one transaction; one that is refused leaves the others alone."""
        plans = [changes.prepared(effect) for effect in effects]
        answers: list[Written | StoreError] = []
        try:
            with self._turn, self._connected("BEGIN IMMEDIATE") as db:
                for plan in plans:
                    answer = plan if isinstance(plan, StoreError) else self._one_of_many(db, plan)
                    answers.append(answer)
                _commit(db)
        except StoreError as error:
            for answer in answers:
                if isinstance(answer, Written) and answer.kept is not None:
                    self.beside.forget(answer.kept)
            return [error] * len(effects)
        return answers

    def _one_of_many(self, db: sqlite3.Connection, plan: changes.Plan) -> Written | StoreError:
        db.execute("SAVEPOINT one")
        try:
            written = self._change(db, plan, lambda: db.execute("RELEASE one"))
        except (PreconditionFailed, Unaddressable, sqlite3.IntegrityError) as error:
            db.execute("ROLLBACK TO one")
            db.execute("RELEASE one")
            return error if isinstance(error, StoreError) else PreconditionFailed(f"{self.path} was changed meanwhile")
        return written

    def _change(self, db: sqlite3.Connection, plan: changes.Plan, commit: Callable[[], object]) -> Written:
        begun = is_begun(db, str(self.path))
        change = plan(db if begun else None, self.opening.clock.now_ns())
        for sql, values in change.statements:
            db.execute(sql, values)
        if change.moved is not None and (found := look.find(db, change.moved)) is not None:
            change = changes.now_is(change, found)
        return self.kept_safe(change, commit)

    async def flush(self) -> None:
        """As `trueup.protocols.Write.flush`: what is in the log is brought into the database, and both to the disk."""
        await self.opening.threads(self._flush)

    def _flush(self) -> None:
        if self._is_there():
            with self._turn, self._connected("SELECT 1") as db:
                db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def _is_there(self) -> bool:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise StoreError(
                f"{self.path} cannot be looked at", why=error.strerror or "", attempt=f"ls -ld {self.path}"
            ) from error
        if not stat.S_ISREG(found.st_mode):
            raise StoreError(
                f"{self.path} is no file", why="a database is one", attempt="give the path of one, or an id"
            )
        return found.st_size > 0

    @contextmanager
    def _connected(self, begin: str) -> Iterator[sqlite3.Connection]:
        """A connection in a transaction, which is rolled back unless it was committed."""
        try:
            db = self._connect()
            try:
                db.execute(begin)
                yield db
            finally:
                self._disconnect(db)
        except sqlite3.IntegrityError as error:
            raise PreconditionFailed(f"{self.path} was changed meanwhile", why=str(error)) from error
        except sqlite3.DatabaseError as error:
            raise of_sqlite(self.path, error) from error

    def _connect(self) -> sqlite3.Connection:
        name = os.path.realpath(self.path)
        with _GATE:
            if not _OPEN[name]:
                self._refuse()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            db = sqlite3.connect(self.path, timeout=WAIT_SECONDS, isolation_level=None, check_same_thread=False)
            _OPEN[name] += 1
        try:
            db.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
            db.execute("PRAGMA journal_mode = WAL")  # what the SDK makes; a database that it made has it already
            db.execute("PRAGMA synchronous = NORMAL")  # `flush` sees to the disk
        except BaseException:
            self._disconnect(db)
            raise
        return db

    def _refuse(self) -> None:
        """Look at the file before the first connection: to open and close it later would drop that one's locks."""
        if open_here(self.path):
            gc.collect()  # the SDK's close() leaves the file open until its objects are collected
        if open_here(self.path):
            raise Unavailable(
                f"{self.path} is in use", why="this very process has it open", attempt="close it, then run this again"
            )
        refuse_replica(self.path)

    def _disconnect(self, db: sqlite3.Connection) -> None:
        with _GATE:
            db.close()
            _OPEN[os.path.realpath(self.path)] -= 1

    def lock(self, holder: str) -> int:
        """As `AgentStore.lock`; one connection stays open, so that the log is folded in once, at the end.

        Raises:
            Locked: If an agent has the database open.
        """
        descriptor = super().lock(holder)
        try:
            db = self._connect()
        except (Unavailable, sqlite3.OperationalError) as error:
            os.close(descriptor)
            raise in_use(self.path) from error
        except BaseException:
            os.close(descriptor)
            raise
        self._held[descriptor] = db
        return descriptor

    def let_go(self, descriptor: int) -> None:
        """As `AgentStore.let_go`."""
        self._disconnect(self._held.pop(descriptor))
        super().let_go(descriptor)

    def holding(self, descriptor: int) -> sqlite3.Connection:
        """The connection that a lock keeps open."""
        return self._held[descriptor]

    @property
    def lock_path(self) -> Path:
        """Beside the database, so that runs with other states hear of it too."""
        return self.path.with_name(f".{self.path.name}.trueup-lock")

    async def free_bytes(self) -> int | None:
        """As `trueup.protocols.Marked.free_bytes`."""
        return await self.opening.threads(self._free)

    def _free(self) -> int:
        there = next(folder for folder in self.path.absolute().parents if folder.exists())
        return shutil.disk_usage(there).free

    def usable(self) -> None:
        """Look whether the database can be used now.

        Raises:
            Locked: If an agent has it open.
            StoreError: If it is no AgentFS, or one that cannot be understood.
        """
        try:
            with self.reading(now=True):
                pass
        except Unavailable as error:
            raise in_use(self.path) from error


def in_use(path: Path) -> Locked:
    """An agent has the database open."""
    return Locked(f"{path} is in use", why="an agent has it open", attempt="close it, then run this again")


def refuse_replica(path: Path) -> None:
    """A replica of the sync engine is more than its database: it must not be written behind the engine's back.

    Raises:
        StoreError: If the database is one, or was written by an engine that is newer than what can be read here.
    """
    if path.with_name(path.name + "-info").exists():
        raise StoreError(
            f"{path} is a replica of the sync engine",
            why=f"{path.name}-info is beside it",
            attempt=f"trueup agent adopt {path}, which makes a plain database of it",
        )
    try:
        with path.open("rb") as file:
            head = file.read(20)
    except OSError:
        return
    if head.startswith(b"SQLite format 3\0") and max(head[18:20]) > 2:  # https://sqlite.org/fileformat.html, 1.3
        raise StoreError(
            f"{path} was written by a newer engine",
            why=f"its format is {max(head[18:20])}, not 1 or 2",
            attempt=NEWER,
        )


def open_here(path: Path) -> bool:
    """Whether this process has the file open: the locks of a process do not keep itself out.

    Where there is no /proc nobody knows; there an agent in the same process has to be closed by whoever calls.
    """
    try:
        wanted = path.stat()
        descriptors = os.listdir("/proc/self/fd")  # noqa: PTH208  # names only
    except OSError:
        return False
    for number in descriptors:
        try:
            found = os.stat(f"/proc/self/fd/{number}")  # noqa: PTH116  # no object for each
        except OSError:
            continue
        if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
            return True
    return False


def _commit(db: sqlite3.Connection) -> None:
    db.execute("COMMIT")
