"""What sides have in common that hold few items and no content of their own: records, and inventories of other things.

A record is a JSON object (`trueup.core.model.Record`); its version is the digest of its text. All of a side is read at
once and sorted here. Replaced and removed records are kept in the state, as texts under `Opening.remember`.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Mapping, MutableMapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, NoReturn

from trueup.core.errors import Corrupt, NotFound, PreconditionFailed, ReadOnly, StoreError
from trueup.core.model import Content, Entry, Fingerprint, Key, Kind, Record, Row, Token, key_bytes
from trueup.core.table import Verb
from trueup.protocols import (
    Discarded,
    Effect,
    Opening,
    Properties,
    Put,
    Remove,
    Source,
    Trash,
    Written,
    document,
    in_turn,
)

BATCH_ROWS = 1000
RECORDS = frozenset({Verb.RECORD_ADD, Verb.RECORD_CHANGE, Verb.RECORD_REMOVE})
"""What a side that records can do."""


def version(record: Record) -> Token:
    """The version of a record: equal records are one version."""
    return Token(hashlib.sha256(record.document.encode("utf-8", "surrogateescape")).hexdigest()[:32])


def record_row(key: Key, record: Record) -> Row:
    """A record as a side shows it."""
    return key_bytes(key), version(record), Kind.RECORD, len(record.document), 0, None, record.document


def record_entry(record: Record) -> Entry:
    """A record as a side shows it."""
    return Entry(version(record), Content(Kind.FILE, len(record.document)))


class Inventory(ABC):
    """A side that is looked at as a whole, and not written. Implements `trueup.protocols.Store`.

    Args:
        location: Canonical, for people and for the identity of targets.
        opening: Clock, threads, memory.
        verbs: What the side can do.
    """

    def __init__(self, location: str, opening: Opening, *, verbs: frozenset[Verb] = frozenset()) -> None:
        self._threads = opening.threads
        self._clock = opening.clock
        self._memory: MutableMapping[str, str] = {} if opening.remember is None else opening.remember
        self._properties = Properties(location, verbs=verbs, directories=False)

    @property
    def properties(self) -> Properties:
        """What this side can and cannot promise."""
        return self._properties

    @abstractmethod
    def rows(self) -> Iterable[Row]:
        """All items, in any order. Blocks.

        Raises:
            StoreError: If they cannot all be seen.
        """

    async def scan(self) -> AsyncIterator[list[Row]]:
        """As `trueup.protocols.Observe`."""
        rows = await self._threads(self._sorted)
        for start in range(0, len(rows), BATCH_ROWS):
            yield rows[start : start + BATCH_ROWS]

    def _sorted(self) -> list[Row]:
        return sorted(self.rows(), key=lambda row: row[0])

    async def stat(self, key: Key) -> Entry | None:
        """As `trueup.protocols.Observe`; damaged items too have a version."""
        wanted = key_bytes(key)
        for row in await self._threads(self._sorted):
            if row[0] == wanted:
                if row[2] is Kind.UNREADABLE:
                    raise StoreError(row[6])
                if row[2] is Kind.RECORD:
                    return record_entry(Record(row[6]))
                return Entry(row[1], Content(row[2], row[3], Fingerprint.parse(row[6])), row[4], row[5])
        return None

    def source(self, key: Key, entry: Entry) -> Source:
        """As `trueup.protocols.Read`."""
        raise ReadOnly(f"{self.properties.location} has no content to read for {key}")

    async def fingerprint(self, key: Key, token: Token) -> Fingerprint:
        """As `trueup.protocols.Read`."""
        raise ReadOnly(f"{self.properties.location} has no content to read for {key}")

    async def write(self, key: Key, source: Source, *, expect: Token | None, trash: Trash | None) -> Written:
        """As `trueup.protocols.Write`."""
        raise self._refusal()

    async def make_directory(self, key: Key, *, expect: Token | None, trash: Trash | None) -> Written:
        """As `trueup.protocols.Write`."""
        raise self._refusal()

    async def remove(self, key: Key, *, expect: Token, trash: Trash | None) -> Written:
        """As `trueup.protocols.Write`."""
        raise self._refusal()

    async def move(self, origin: Key, target: Key, *, expect: Token) -> Written:
        """As `trueup.protocols.Write`."""
        raise self._refusal()

    async def batch(self, effects: Sequence[Effect]) -> list[Written | StoreError]:
        """As `trueup.protocols.Write`."""
        return [self._refusal() for _ in effects]

    def _refusal(self) -> StoreError:
        return ReadOnly(f"{self.properties.location} is looked at only")

    async def flush(self) -> None:  # noqa: B027  # what is changed is on disk at once
        """As `trueup.protocols.Write`."""

    async def kept(self) -> list[Discarded]:
        """As `trueup.protocols.Keeps`."""
        return []

    def kept_source(self, handle: str, entry: Entry) -> Source:
        """As `trueup.protocols.Keeps`."""
        raise NotFound(f"{self.properties.location} keeps nothing named {handle}")

    async def prune(self, handle: str) -> None:
        """As `trueup.protocols.Keeps`."""
        raise NotFound(f"{self.properties.location} keeps nothing named {handle}")

    async def marker(self) -> str | None:
        """As `trueup.protocols.Marked`."""
        return None

    async def set_marker(self, identity: str) -> str:
        """As `trueup.protocols.Marked`: a side of this form cannot carry one."""
        return ""

    def hold(self, holder: str) -> AbstractAsyncContextManager[None]:
        """As `trueup.protocols.Marked`: every change is a transaction of its own."""
        return nullcontext()

    async def free_bytes(self) -> int | None:
        """As `trueup.protocols.Marked`."""
        return None

    async def clean(self) -> list[str]:
        """As `trueup.protocols.Marked`."""
        return []


@dataclass(frozen=True, slots=True)
class Kept(Source):
    """Something in the trash of a `Removable`. It is not read: `Removable.write` gives it its name back."""

    handle: str = ""


class Removable(Inventory):
    """A side that holds what others have made: it can be taken away, kept and put back, and not written otherwise."""

    holds: ClassVar[str]
    """What, as in ``images``."""

    def __init__(self, location: str, opening: Opening) -> None:
        super().__init__(location, opening, verbs=frozenset({Verb.PUT, Verb.DELETE, Verb.SAVE}))

    @abstractmethod
    def take(self, key: Key, expect: Token, trash: Trash | None) -> Written:
        """As `trueup.protocols.Write.remove`. Blocks."""

    @abstractmethod
    def put_back(self, key: Key, handle: str, expect: Token | None, trash: Trash | None) -> Written:
        """Give its name back to what is kept; otherwise as `trueup.protocols.Write.write`. Blocks."""

    @abstractmethod
    def command(self, key: Key) -> str:
        """What a person types to get it anew."""

    async def remove(self, key: Key, *, expect: Token, trash: Trash | None) -> Written:
        """As `trueup.protocols.Write`."""
        return await self._threads(self.take, key, expect, trash)

    async def write(self, key: Key, source: Source, *, expect: Token | None, trash: Trash | None) -> Written:
        """As `trueup.protocols.Write`; what it can write is what it has kept.

        Raises:
            ReadOnly: If the source is something else.
        """
        return await self._threads(self._write, key, source, expect, trash)

    def _write(self, key: Key, source: Source, expect: Token | None, trash: Trash | None) -> Written:
        if not isinstance(source, Kept):
            raise ReadOnly(f"{self.holds} of {key} are pulled, not written", attempt=self.command(key))
        return self.put_back(key, source.handle, expect, trash)

    async def batch(self, effects: Sequence[Effect]) -> list[Written | StoreError]:
        """As `trueup.protocols.Write`."""
        return await self._threads(partial(in_turn, effects, put=self._write, remove=self.take, move=self._move))

    def _move(self, origin: Key, target: Key, expect: Token) -> NoReturn:
        raise ReadOnly(f"{origin} cannot be given another name", why=f"{self.holds} of {target} would be others")

    def kept_source(self, handle: str, entry: Entry) -> Kept:
        """As `trueup.protocols.Keeps`; for `write` of this store."""

        def refuse() -> NoReturn:
            raise ReadOnly(f"{handle} can be put back, not read")

        return Kept(refuse, entry.content.size, handle=handle)


@dataclass(frozen=True, slots=True)
class Change:
    """What is to become of one record."""

    key: Key
    expect: Token | None
    """The version to replace; None: there is none."""
    record: Record | None
    """None: removed."""


class RecordStore(Inventory):
    """A side that records. Subclasses say how all is read, and how some is changed."""

    def __init__(self, location: str, opening: Opening) -> None:
        super().__init__(location, opening, verbs=RECORDS)

    @abstractmethod
    def read(self) -> Mapping[Key, Record]:
        """All records. Blocks.

        Raises:
            StoreError: If they cannot all be read; nothing is ever taken for empty.
        """

    @abstractmethod
    def change(self, changes: Sequence[Change]) -> None:
        """Carry out changes whose expected versions were there a moment ago, all in one transaction. Blocks.

        Raises:
            PreconditionFailed: If one of the versions is there no more; nothing has changed.
            StoreError: If it failed; nothing has changed.
        """

    def rows(self) -> Iterable[Row]:
        """As `Inventory`."""
        return [record_row(key, record) for key, record in self.read().items()]

    async def stat(self, key: Key) -> Entry | None:
        """As `trueup.protocols.Observe`."""
        record = (await self._threads(self.read)).get(key)
        return None if record is None else record_entry(record)

    async def write(self, key: Key, source: Source, *, expect: Token | None, trash: Trash | None) -> Written:
        """As `trueup.protocols.Write`: the content is the record's text."""
        return _raised(await self.batch([Put(key, source, expect, trash)]))

    async def remove(self, key: Key, *, expect: Token, trash: Trash | None) -> Written:
        """As `trueup.protocols.Write`."""
        return _raised(await self.batch([Remove(key, expect, trash)]))

    async def batch(self, effects: Sequence[Effect]) -> list[Written | StoreError]:
        """As `trueup.protocols.Write`: as many as are possible in one transaction."""
        return await self._threads(self._batch, effects)

    def _batch(self, effects: Sequence[Effect]) -> list[Written | StoreError]:
        there = self.read()
        answers: list[Written | StoreError] = []
        changes: list[Change] = []
        for effect in effects:
            try:
                change = _change_of(effect)
                old = there.get(change.key)
                found = None if old is None else version(old)
                if found != change.expect:
                    what = "is recorded" if old is not None else "is not recorded"
                    raise PreconditionFailed(f"{change.key} {what} in {self.properties.location}, or otherwise by now")
                kept = None
                if old is not None and effect.trash is not None:  # type: ignore[union-attr]  # a Move is refused above
                    kept = self._keep(effect.trash.run, change.key, old)  # type: ignore[union-attr]
                answers.append(Written(None if change.record is None else version(change.record), None, kept))
                changes.append(change)
            except StoreError as error:
                answers.append(error)
        try:
            self.change(changes)
        except StoreError as error:
            return [answer if isinstance(answer, StoreError) else error for answer in answers]
        return answers

    # -- records that were replaced or removed -------------------------------------------------------------------

    @property
    def _prefix(self) -> str:
        return f"record:{hashlib.sha256(self.properties.location.encode('utf-8', 'surrogateescape')).hexdigest()[:16]}:"

    def _keep(self, run: str, key: Key, record: Record) -> str:
        """Before it goes: a run that is killed in between has kept what is still there."""
        handle = f"{run}:{version(record)}:{hashlib.sha256(key_bytes(key)).hexdigest()[:8]}"
        kept = {"run": run, "key": key, "record": record.document, "kept_ns": self._clock.now_ns()}
        self._memory[self._prefix + handle] = json.dumps(kept)
        return handle

    async def kept(self) -> list[Discarded]:
        """As `trueup.protocols.Keeps`."""
        found = []
        for name in self._memory:
            if name.startswith(self._prefix):
                kept = json.loads(self._memory[name])
                handle = name.removeprefix(self._prefix)
                found.append(
                    Discarded(handle, kept["run"], Key(kept["key"]), len(kept["record"].encode()), kept["kept_ns"])
                )
        return sorted(found, key=lambda item: (item.run, key_bytes(item.key)))

    def kept_source(self, handle: str, entry: Entry) -> Source:
        """As `trueup.protocols.Keeps`."""
        try:
            kept = json.loads(self._memory[self._prefix + handle])
        except KeyError:
            raise NotFound(f"{self.properties.location} keeps nothing named {handle}") from None
        return document(kept["record"])

    async def prune(self, handle: str) -> None:
        """As `trueup.protocols.Keeps`."""
        if self._prefix + handle not in self._memory:
            raise NotFound(f"{self.properties.location} keeps nothing named {handle}")
        await self._threads(self._memory.__delitem__, self._prefix + handle)


def _change_of(effect: Effect) -> Change:
    match effect:
        case Put():
            with effect.source.open() as chunks:
                text = b"".join(chunks).decode("utf-8", "surrogateescape")
            try:
                fields = json.loads(text)
            except ValueError as error:
                raise Corrupt(f"the record of {effect.key} is no JSON", why=str(error)) from error
            if not isinstance(fields, dict):
                raise Corrupt(f"the record of {effect.key} is no object")
            return Change(effect.key, effect.expect, Record.of(fields))
        case Remove():
            return Change(effect.key, effect.expect, None)
        case _:
            raise StoreError(f"a record has no other name to get: {effect.target}")


def _raised(answers: Sequence[Written | StoreError]) -> Written:
    (answer,) = answers
    if isinstance(answer, StoreError):
        raise answer
    return answer
