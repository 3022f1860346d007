"""What both sides of an agent have in common: a database that is looked at with SQLite, and what is kept beside it."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

import anyio

from trueup.core.errors import Locked, NotFound, PreconditionFailed, StoreError
from trueup.core.model import Entry, Fingerprint, Key, Row, Token
from trueup.core.table import Verb
from trueup.core.tree import Names
from trueup.protocols import VERBS, Discarded, Effect, Opening, Properties, Source, Trash, Written, in_turn
from trueup.stores.agentfs import changes, look
from trueup.stores.agentfs.beside import Beside
from trueup.stores.agentfs.names import problem

MARKER = "trueup.root"
"""Of ``fs_config``, where no agent looks."""
_ROWS = 1000
_CHUNK = 1 << 20


class AgentStore(ABC):
    """An AgentFS database as a `trueup.protocols.Store`.

    Args:
        location: For people and for the identity of targets.
        opening: What surrounds the store.
        beside: Where replaced versions go.
    """

    def __init__(self, location: str, opening: Opening, beside: Beside) -> None:
        self._location = location
        self.opening = opening
        self.beside = beside

    # -- what the two sides do in their own ways -------------------------------------------------------------------

    @abstractmethod
    def reading(self, *, now: bool) -> AbstractContextManager[sqlite3.Connection | None]:
        """The database in a transaction that only reads; None: it holds nothing yet.

        Args:
            now: Whether it must be as it is now; False: as it was looked at last will do.
        """

    @abstractmethod
    def carry_out(self, plan: changes.Plan, keys: Sequence[Key]) -> Written:
        """Make one change, or none.

        Args:
            plan: What to do.
            keys: What it touches.

        Raises:
            PreconditionFailed: If what was expected is not there; nothing has changed.
        """

    @property
    @abstractmethod
    def notices(self) -> tuple[str, ...]:
        """What this side cannot promise."""

    # -- observe -----------------------------------------------------------------------------------------------------

    @property
    def properties(self) -> Properties:
        """What this store can and cannot promise."""
        return Properties(
            location=self._location,
            verbs=VERBS | {Verb.MOVE},
            names=Names(problem),
            notices=self.notices,
            tokens_name_content=True,
            whole_reads=True,
        )

    async def scan(self) -> AsyncIterator[list[Row]]:
        """As `trueup.protocols.Observe.scan`."""
        rows = await self.opening.threads(self.listed)
        for start in range(0, len(rows), _ROWS):
            yield rows[start : start + _ROWS]

    def listed(self) -> list[Row]:
        """All items, in key order. Blocks."""
        return [found.row for found in self.found()]

    def found(self) -> list[look.Found]:
        """As `listed`, in the database's own terms."""
        with self.reading(now=True) as db:
            if db is None:
                return []
            return look.listing(db, self.beside, now_s=self.opening.clock.now_ns() // 10**9)

    async def stat(self, key: Key) -> Entry | None:
        """As `trueup.protocols.Observe.stat`."""
        return None if problem(key) else await self.opening.threads(self._entry, key)

    def _entry(self, key: Key) -> Entry | None:
        with self.reading(now=True) as db:
            found = None if db is None else look.find(db, key)
        return None if found is None else found.entry

    # -- read --------------------------------------------------------------------------------------------------------

    def source(self, key: Key, entry: Entry) -> Source:
        """As `trueup.protocols.Read.source`."""
        return _source(lambda: self.bytes_of(key, entry.token), entry)

    def bytes_of(self, key: Key, token: Token) -> bytes:
        """The content of one version.

        Raises:
            PreconditionFailed: If another one is there.
        """
        with self.reading(now=False) as db:
            found = None if db is None or problem(key) else look.find(db, key)
            if found is None or db is None or found.token != token:
                raise PreconditionFailed(f"{key} was changed meanwhile")
            data = look.bytes_of(db, found)
        if look.digest_of(data, found.sort, found.mode) != found.digest:
            raise PreconditionFailed(f"{key} was changed meanwhile")
        return data

    async def fingerprint(self, key: Key, token: Token) -> Fingerprint:
        """As `trueup.protocols.Read.fingerprint`: BLAKE3, of a plain file that of its bytes."""
        entry = await self.stat(key)
        if entry is None or entry.content.fingerprint is None:
            raise NotFound(f"{key} is not there")
        if entry.token != token:
            raise PreconditionFailed(f"{key} was changed meanwhile")
        return entry.content.fingerprint

    # -- write -------------------------------------------------------------------------------------------------------

    async def write(self, key: Key, source: Source, *, expect: Token | None, trash: Trash | None) -> Written:
        """As `trueup.protocols.Write.write`."""
        return await self.opening.threads(self._put, key, source, expect, trash)

    def _put(self, key: Key, source: Source, expect: Token | None, trash: Trash | None) -> Written:
        return self.carry_out(changes.put(key, source, expect, trash), [key])

    async def make_directory(self, key: Key, *, expect: Token | None, trash: Trash | None) -> Written:
        """As `trueup.protocols.Write.make_directory`."""
        return await self.opening.threads(self._make, key, expect, trash)

    def _make(self, key: Key, expect: Token | None, trash: Trash | None) -> Written:
        return self.carry_out(changes.make_directory(key, expect, trash), [key])

    async def remove(self, key: Key, *, expect: Token, trash: Trash | None) -> Written:
        """As `trueup.protocols.Write.remove`."""
        return await self.opening.threads(self._remove, key, expect, trash)

    def _remove(self, key: Key, expect: Token, trash: Trash | None) -> Written:
        return self.carry_out(changes.remove(key, expect, trash), [key])

    async def move(self, origin: Key, target: Key, *, expect: Token) -> Written:
        """As `trueup.protocols.Write.move`."""
        return await self.opening.threads(self._move, origin, target, expect)

    def _move(self, origin: Key, target: Key, expect: Token) -> Written:
        return self.carry_out(changes.move(origin, target, expect), [origin, target])

    async def batch(self, effects: Sequence[Effect]) -> list[Written | StoreError]:
        """As `trueup.protocols.Write.batch`."""
        return await self.opening.threads(self._batch, effects)

    def _batch(self, effects: Sequence[Effect]) -> list[Written | StoreError]:
        return in_turn(effects, put=self._put, remove=self._remove, move=self._move)

    async def flush(self) -> None:
        """Nothing is left to do: what was committed is on the disk, or at the server."""
        return

    def kept_safe(self, change: changes.Change, commit: Callable[[], object]) -> Written:
        """Commit a change once what it replaces is in the trash; if it fails, the trash is as before."""
        handle = None
        if change.kept is not None:
            handle = self.beside.keep(change.kept, now_ns=self.opening.clock.now_ns())
        try:
            commit()
        except BaseException:
            if handle is not None:
                self.beside.forget(handle)
            raise
        return replace(change.written, kept=handle)

    # -- keeps -------------------------------------------------------------------------------------------------------

    async def kept(self) -> list[Discarded]:
        """As `trueup.protocols.Keeps.kept`."""
        return await self.opening.threads(self.beside.kept)

    def kept_source(self, handle: str, entry: Entry) -> Source:
        """As `trueup.protocols.Keeps.kept_source`."""
        return _source(lambda: self.beside.read(handle), entry)

    async def prune(self, handle: str) -> None:
        """As `trueup.protocols.Keeps.prune`."""
        if not await self.opening.threads(self.beside.forget, handle):
            raise NotFound(f"the trash holds no {handle}")

    # -- marked ------------------------------------------------------------------------------------------------------

    async def marker(self) -> str | None:
        """As `trueup.protocols.Marked.marker`."""
        return await self.opening.threads(self._marker)

    def _marker(self) -> str | None:
        with self.reading(now=False) as db:
            if db is None:
                return None
            row = db.execute("SELECT value FROM fs_config WHERE key = ?", (MARKER,)).fetchone()
        return None if row is None else str(row[0])

    async def set_marker(self, identity: str) -> str:
        """As `trueup.protocols.Marked.set_marker`."""
        return await self.opening.threads(self._set_marker, identity)

    def _set_marker(self, identity: str) -> str:
        if (there := self._marker()) is not None:
            return there
        self.carry_out(changes.mark(MARKER, identity), [])
        return self._marker() or identity

    @asynccontextmanager
    async def hold(self, holder: str) -> AsyncIterator[None]:
        """As `trueup.protocols.Marked.hold`. The system frees the lock of a dead process by itself."""
        descriptor = await self.opening.threads(self.lock, holder)
        try:
            yield
        finally:
            with anyio.CancelScope(shield=True):  # a cancelled run must not keep the lock
                await self.opening.threads(self.let_go, descriptor)

    def lock(self, holder: str) -> int:
        """Take the lock; a descriptor."""
        path = self.lock_path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            by = os.pread(descriptor, 1000, 0).decode("utf-8", "replace")
            os.close(descriptor)
            raise Locked(
                f"{self._location} is in use by another run", why=by, attempt="wait for it to end, then run this again"
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, holder.encode(), 0)
        return descriptor

    def let_go(self, descriptor: int) -> None:
        """Free the lock."""
        os.close(descriptor)

    @property
    def lock_path(self) -> Path:
        """A file that is locked while the side is written."""
        return self.beside.path.with_suffix(".lock")

    async def free_bytes(self) -> int | None:
        """As `trueup.protocols.Marked.free_bytes`; not known."""
        return None

    async def clean(self) -> list[str]:
        """A transaction leaves nothing half-done."""
        return []


def _source(fetch: Callable[[], bytes], entry: Entry) -> Source:
    @contextmanager
    def opened() -> Iterator[Iterator[bytes]]:
        data = fetch()
        yield (data[start : start + _CHUNK] for start in range(0, len(data), _CHUNK))

    return Source(opened, entry.content.size, entry.content.fingerprint, entry.modified_ns, entry.mode)
