"""Several roots as one side: each under its name, in the order of their bytes."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from trueup.core.errors import PreconditionFailed, StoreError, Unaddressable
from trueup.core.model import DIRECTORY_TOKEN, Entry, Fingerprint, Key, Kind, Row, Token, key_bytes
from trueup.core.tree import Names
from trueup.protocols import (
    Discarded,
    Effect,
    Properties,
    Source,
    Store,
    Trash,
    Written,
    one_by_one,
)

_ROOT = re.compile(r"(?:^|\n)([^/\n]+)=(?=[^/\n]*/)")


def places(location: str) -> list[str]:
    """The single locations of which a side's location consists: of several roots if it is joined, else itself.

    A path or a URL has a slash before any equals sign that could be taken for the one after a root's name.
    """
    if location.startswith("/") or not _ROOT.match(location):
        return [location]
    return _ROOT.split(location)[2::2]


class JoinedStore:
    """Stores side by side: the key ``name/rest`` is ``rest`` in the store of that name.

    Implements `trueup.protocols.Store`. A root itself is listed as a directory and cannot be removed or replaced.
    """

    def __init__(self, stores: Mapping[str, Store]) -> None:
        self._stores = dict(sorted(stores.items(), key=lambda pair: key_bytes(Key(f"{pair[0]}/"))))

    @property
    def properties(self) -> Properties:
        """What all of them can promise."""
        all_of = [store.properties for store in self._stores.values()]
        return Properties(
            location="\n".join(f"{name}={store.properties.location}" for name, store in self._stores.items()),
            verbs=frozenset.intersection(*(one.verbs for one in all_of)),
            directories=all(one.directories for one in all_of),
            refuses_lost_races=all(one.refuses_lost_races for one in all_of),
            tick_ns=max(one.tick_ns for one in all_of),
            made_ns=self._made_ns,
            names=Names(
                self._problem,
                fold_case=any(one.names.fold_case for one in all_of),
                fold_unicode=any(one.names.fold_unicode for one in all_of),
            ),
            notices=tuple(dict.fromkeys(notice for one in all_of for notice in one.notices)),
            about_moves="; ".join(dict.fromkeys(one.about_moves for one in all_of if one.about_moves)),
            complete_rows=all(one.complete_rows for one in all_of),
            tokens_name_content=any(one.tokens_name_content for one in all_of),
            digests_as_tokens=_common(one.digests_as_tokens for one in all_of),
            whole_reads=all(one.whole_reads for one in all_of),
            ordered=all(one.ordered for one in all_of),
        )

    def _made_ns(self, token: Token) -> int | None:
        told = [store.properties.made_ns(token) for store in self._stores.values()]
        return None if None in told else max(made for made in told if made is not None)

    def _problem(self, key: Key) -> str | None:
        name, slash, rest = key.partition("/")
        if name not in self._stores:
            return f"no root is named {name}"
        if not slash:
            return f"{name} is a root, and no file"
        return self._stores[name].properties.names.problem(Key(rest)) if rest else None

    def _split(self, key: Key) -> tuple[Store, Key]:
        name, _, rest = key.partition("/")
        if name not in self._stores or not rest:
            known = ", ".join(self._stores)
            raise Unaddressable(f"{key!r} belongs to no root", why=f"the roots are named {known}")
        return self._stores[name], Key(rest)

    async def scan(self) -> AsyncIterator[list[Row]]:
        """As `trueup.protocols.Observe.scan`."""
        for name, store in self._stores.items():
            prefix = f"{name}/".encode("utf-8", "surrogateescape")
            # Counted as holding something that is not listed: a root is never deleted.
            yield [(prefix, DIRECTORY_TOKEN, Kind.DIRECTORY, 1, 0, None, "")]
            async for batch in store.scan():
                yield [(prefix + row[0], *row[1:]) for row in batch]

    async def stat(self, key: Key) -> Entry | None:
        """As `trueup.protocols.Observe.stat`."""
        if self._problem(key) is not None:
            return None
        store, rest = self._split(key)
        return await store.stat(rest)

    def source(self, key: Key, entry: Entry) -> Source:
        """As `trueup.protocols.Read.source`."""
        store, rest = self._split(key)
        return store.source(rest, entry)

    async def fingerprint(self, key: Key, token: Token) -> Fingerprint:
        """As `trueup.protocols.Read.fingerprint`."""
        store, rest = self._split(key)
        return await store.fingerprint(rest, token)

    async def write(self, key: Key, source: Source, *, expect: Token | None, trash: Trash | None) -> Written:
        """As `trueup.protocols.Write.write`."""
        store, rest = self._split(key)
        return self._named(key, await store.write(rest, source, expect=expect, trash=trash))

    async def make_directory(self, key: Key, *, expect: Token | None, trash: Trash | None) -> Written:
        """As `trueup.protocols.Write.make_directory`."""
        store, rest = self._split(key)
        return self._named(key, await store.make_directory(rest, expect=expect, trash=trash))

    async def remove(self, key: Key, *, expect: Token, trash: Trash | None) -> Written:
        """As `trueup.protocols.Write.remove`."""
        store, rest = self._split(key)
        return self._named(key, await store.remove(rest, expect=expect, trash=trash))

    async def move(self, origin: Key, target: Key, *, expect: Token) -> Written:
        """As `trueup.protocols.Write.move`; from one root to another it is a copy and a removal."""
        (store, old), (other, new) = self._split(origin), self._split(target)
        if store is other:
            return await store.move(old, new, expect=expect)
        entry = await store.stat(old)
        if entry is None or entry.token != expect:
            raise PreconditionFailed(f"{origin} was changed meanwhile")
        written = await other.write(new, store.source(old, entry), expect=None, trash=None)
        try:
            await store.remove(old, expect=expect, trash=None)
        except PreconditionFailed:
            if written.token is not None:
                await other.remove(new, expect=written.token, trash=None)
            raise
        return written

    def _named(self, key: Key, written: Written) -> Written:
        if written.kept is None:
            return written
        return Written(written.token, written.fingerprint, f"{key.partition('/')[0]}/{written.kept}")

    async def batch(self, effects: Sequence[Effect]) -> list[Written | StoreError]:
        """As `trueup.protocols.Write.batch`."""
        return await one_by_one(self, effects)

    async def flush(self) -> None:
        """As `trueup.protocols.Write.flush`."""
        for store in self._stores.values():
            await store.flush()

    async def kept(self) -> list[Discarded]:
        """As `trueup.protocols.Keeps.kept`."""
        return [
            replace(item, handle=f"{name}/{item.handle}", key=Key(f"{name}/{item.key}"))
            for name, store in self._stores.items()
            for item in await store.kept()
        ]

    def kept_source(self, handle: str, entry: Entry) -> Source:
        """As `trueup.protocols.Keeps.kept_source`."""
        store, rest = self._split(Key(handle))
        return store.kept_source(rest, entry)

    async def prune(self, handle: str) -> None:
        """As `trueup.protocols.Keeps.prune`."""
        store, rest = self._split(Key(handle))
        await store.prune(rest)

    async def marker(self) -> str | None:
        """All their identities, or None if one has none."""
        markers = [await store.marker() for store in self._stores.values()]
        return None if None in markers else ",".join(str(marker) for marker in markers)

    async def set_marker(self, identity: str) -> str:
        """As `trueup.protocols.Marked.set_marker`."""
        stores = self._stores.values()
        return ",".join([await store.set_marker(f"{identity}-{n}") for n, store in enumerate(stores)])

    @asynccontextmanager
    async def hold(self, holder: str) -> AsyncIterator[None]:
        """As `trueup.protocols.Marked.hold`; all of them."""
        async with AsyncExitStack() as stack:
            for store in self._stores.values():
                await stack.enter_async_context(store.hold(holder))
            yield

    async def free_bytes(self) -> int | None:
        """The room of the fullest."""
        known = [free for store in self._stores.values() if (free := await store.free_bytes()) is not None]
        return min(known, default=None)

    async def clean(self) -> list[str]:
        """As `trueup.protocols.Marked.clean`."""
        return [f"{name}/{handle}" for name, store in self._stores.items() for handle in await store.clean()]


def _common(words: Iterable[str]) -> str:
    """What all of them say; empty if they differ."""
    said = set(words)
    return said.pop() if len(said) == 1 else ""
