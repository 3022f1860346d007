"""The vocabulary of the contract. Failures explain themselves, with or without pytest's rewriting of assertions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import pairwise
from typing import NoReturn, TypeVar

import anyio.to_thread
from blake3 import blake3

from trueup.core.errors import Corrupt, NotFound, PreconditionFailed, Unavailable
from trueup.core.model import DIRECTORY_TOKEN, Entry, Fingerprint, Key, Kind, Row, Token, key_from_bytes
from trueup.protocols import Observe, Read, Source, Store

T = TypeVar("T")

CHUNK = 32_768
"""Bytes per chunk of the sources here: small, so that a few hundred kilobytes make a long way."""


class Contract:
    """Base of all contracts: how a person edits behind the store's back, and how tests are found.

    The hooks are called in worker threads and may block. They get keys that `properties.names` has no problem with.
    """

    many = 300
    """How many items a large listing has."""
    tick_seconds: float | None = None
    """How long two edits of equal size must lie apart to be told apart; None: as `properties.tick_ns` says."""

    def __init_subclass__(cls) -> None:
        """Mark the subclasses of other people for anyio's plugin, in whatever mode it is."""
        super().__init_subclass__()
        if not cls.__module__.startswith("trueup.testing") and "pytestmark" not in cls.__dict__:
            import pytest

            cls.pytestmark = [pytest.mark.anyio]  # type: ignore[attr-defined]

    def outside_write(self, key: Key, data: bytes) -> None:
        """Create or overwrite a file, and the directories above, as somebody else would."""
        raise NotImplementedError

    def outside_delete(self, key: Key) -> None:
        """Delete a file as somebody else would."""
        raise NotImplementedError

    def outside_read(self, key: Key) -> bytes | None:  # a hook
        """Read a file as somebody else would, or fail if it is absent; None if that cannot be done in one go."""
        return None

    async def edit(self, key: Key, data: bytes) -> None:
        """`outside_write`, in a thread."""
        await in_thread(self.outside_write, key, data)

    async def tick(self, store: Observe) -> None:
        """Wait until an edit changes the token for sure."""
        tick = self.tick_seconds
        await anyio.sleep(store.properties.tick_ns / 1e9 if tick is None else tick)


async def in_thread(function: Callable[..., T], *args: object) -> T:
    """What somebody else does, in a thread."""
    return await anyio.to_thread.run_sync(function, *args)


def skip(why: str) -> NoReturn:
    """This store does not promise what the test is about."""
    import pytest

    pytest.skip(why)


def equal(actual: object, expected: object, sentence: str) -> None:
    """Fail with the sentence of the contract that was broken."""
    if actual != expected:
        raise AssertionError(f"{sentence}: expected {_short(expected)}, got {_short(actual)}")


def true(condition: object, sentence: str) -> None:
    """Fail with the sentence of the contract that was broken."""
    if not condition:
        raise AssertionError(sentence)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 500 else f"{text[:500]}... ({len(text)} characters)"


@contextmanager
def refused(*errors: type[Exception]) -> Iterator[None]:
    """The block raises one of these. Anything else that it raises gets through."""
    try:
        yield
    except errors:
        return
    names = " or ".join(error.__name__ for error in errors)
    raise AssertionError(f"{names} should have been raised")


def fingerprint_of(data: bytes) -> Fingerprint:
    """BLAKE3."""
    return Fingerprint("blake3", blake3(data).hexdigest())


def source_of(
    data: bytes,
    *,
    size: int | None = None,
    fingerprint: Fingerprint | None = None,
    modified_ns: int = 1_700_000_000_000_000_000,
    half_way: Callable[[], object] = lambda: None,
    at_the_end: Callable[[], object] = lambda: None,
) -> Source:
    """Content to write.

    Args:
        data: The bytes.
        size: How many are promised; by default as many as there are.
        fingerprint: What is promised of them.
        modified_ns: Their time.
        half_way: Called in the middle, in the thread that writes.
        at_the_end: Called when all bytes were handed out.
    """

    def chunks() -> Iterator[bytes]:
        middle = len(data) // 2
        for start in range(0, middle, CHUNK):
            yield data[start : min(start + CHUNK, middle)]
        half_way()
        for start in range(middle, len(data), CHUNK):
            yield data[start : start + CHUNK]
        at_the_end()

    @contextmanager
    def reading() -> Iterator[Iterator[bytes]]:
        yield chunks()

    return Source(reading, len(data) if size is None else size, fingerprint, modified_ns, 0o644)


def raising(error: Exception) -> Callable[[], None]:
    """A function that raises this."""

    def function() -> None:
        raise error

    return function


async def content(source: Source) -> bytes:
    """All bytes of a source, read in a thread."""

    def drain() -> bytes:
        with source.open() as chunks:
            return b"".join(chunks)

    return await anyio.to_thread.run_sync(drain)


async def look(store: Observe, key: Key) -> Entry:
    """One item, which must be there."""
    entry = await store.stat(key)
    if entry is None:
        raise AssertionError(f"{key!r} is not there")
    return entry


async def read(store: Read, key: Key) -> bytes:
    """The content of a file that must be there and that nobody edits."""
    return await content(store.source(key, await look(store, key)))


async def create(store: Store, key: Key, data: bytes) -> Token:
    """Write a new file; its token."""
    written = await store.write(key, source_of(data), expect=None, trash=None)
    if not written.token:
        raise AssertionError(f"writing {key!r} returned no token")
    return written.token


async def make(store: Store, directory: Key) -> None:
    """Make a directory."""
    await store.make_directory(directory, expect=None, trash=None)


async def rows(store: Observe) -> list[Row]:
    """Everything that a scan shows, sorted if the store says that it has to be."""
    found = [row async for batch in store.scan() for row in batch]
    return found if store.properties.ordered else sorted(found, key=lambda row: row[0])


async def keys(store: Observe) -> list[Key]:
    """The keys that a scan shows, directories aside."""
    return [key_from_bytes(row[0]) for row in await rows(store) if row[2] is not Kind.DIRECTORY]


async def snapshot(store: Store) -> object:
    """All that must stay as it is when nothing changes: live items with their versions, and the trash."""
    live = [(row[:4], row[4] if row[2] is Kind.FILE else 0) for row in await rows(store)]
    return live, [(item.handle, item.size) for item in await store.kept()]


@asynccontextmanager
async def unchanged(store: Store) -> AsyncIterator[None]:
    """When the block is done, the store holds what it held before."""
    before = await snapshot(store)
    yield
    equal(await snapshot(store), before, "nothing has changed")


async def agree(store: Store, key: Key, data: bytes, *, attempts: int = 100) -> None:
    """Bring a key to a content with fresh attempts, each from what is there now, as a run after an error does."""
    promised = fingerprint_of(data)
    for _ in range(attempts):
        try:
            entry = await store.stat(key)
            if entry is not None and await store.fingerprint(key, entry.token) == promised:
                return
            expect = entry.token if entry is not None else None
            await store.write(key, source_of(data, fingerprint=promised), expect=expect, trash=None)
        except (PreconditionFailed, NotFound, Unavailable, Corrupt):
            continue
    raise AssertionError(f"{key!r} did not converge in {attempts} attempts")


def holdable(store: Observe, names: Iterable[str]) -> list[Key]:
    """Those names that the store says it can hold, one of each set that it takes for the same name."""
    found: dict[str, Key] = {}
    for name in names:
        if store.properties.names.problem(Key(name)) is None:
            found.setdefault(store.properties.names.folded(Key(name)), Key(name))
    return list(found.values())


def in_order(found: list[Row]) -> None:
    """Rows ascend by the bytes of their keys, without repetition."""
    for one, next_one in pairwise(found):
        true(one[0] < next_one[0], f"keys ascend by their bytes: {one[0]!r} came before {next_one[0]!r}")


def is_version(token: Token) -> bool:
    """Whether a token can be a file's."""
    return token not in ("", "?", DIRECTORY_TOKEN)
