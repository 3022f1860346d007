"""Store ``memory``: a tree that lives as long as the process, for tests, simulations and demonstrations.

It promises all that a store can promise, or less where a setting says so. It is deterministic: tokens, handles and
batches follow from the calls alone, and every call lets others run (`Clock.sleep` of nothing) before it takes effect,
so that whoever drives the clock decides who wins a race.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import replace

from trueup.core.errors import (
    AccessDenied,
    Locked,
    NoSpace,
    NotFound,
    PreconditionFailed,
    ReadOnly,
    StoreError,
    Unaddressable,
)
from trueup.core.model import (
    DIRECTORY_TOKEN,
    OPAQUE_KINDS,
    OPAQUE_TOKEN,
    Entry,
    Fingerprint,
    Key,
    Kind,
    Row,
    Token,
    is_directory,
    key_bytes,
    parents,
)
from trueup.protocols import (
    Discarded,
    Effect,
    Opening,
    Source,
    Trash,
    Written,
    one_by_one,
)
from trueup.stores.memory.names import is_reserved
from trueup.stores.memory.state import Kept, MemoryState, Node, digest, fetch
from trueup.stores.memory.tree import Tree

LEFTOVER_RUN = "leftover"
"""Run id under which `MemoryStore.clean` keeps what killed runs left."""

_NAMED: dict[str, MemoryState] = {}
"""What ``memory://NAME`` means in this process."""


def open_url(url: str, opening: Opening) -> MemoryStore:
    """The memory of that name; the same one for everybody in this process."""
    state = _NAMED.setdefault(url, MemoryState())
    return MemoryStore(url, state=state, clock=opening.clock, threads=opening.threads, filter=opening.filter)


class MemoryStore(Tree):
    """A tree in memory. Implements `trueup.protocols.Store`; it is made as a `Tree` is."""

    # -- observe -------------------------------------------------------------------------------------------------

    async def scan(self) -> AsyncIterator[list[Row]]:
        """As `trueup.protocols.Observe.scan`; each batch is what is there when its turn comes."""
        await self._turn()
        names, filtered = self._listed()
        for start in range(0, len(names), self._batch_rows):
            nodes = [self.state.nodes.get(name) for name in names[start : start + self._batch_rows]]
            yield [self._row(node, filtered[node.key]) for node in nodes if node is not None]
            await self._turn()

    def _listed(self) -> tuple[list[str], Counter[Key]]:
        """What belongs to the target, in key order, and how many filtered items each directory holds."""
        names: list[str] = []
        filtered: Counter[Key] = Counter()
        hidden: set[Key] = set()
        for name, node in sorted(self.state.nodes.items(), key=lambda pair: key_bytes(pair[1].key)):
            key, above = node.key, parents(node.key)
            if is_reserved(key) or not hidden.isdisjoint(above):
                continue
            if self._excludes(key):
                filtered[above[-1] if above else Key("")] += 1
                hidden.add(key)
                continue
            if self._is_directory(key) and node.kind in OPAQUE_KINDS:
                hidden.add(key)
            names.append(name)
        return names, filtered

    def _excludes(self, key: Key) -> bool:
        if self._filter is None:
            return False
        if not self._properties.directories and any(
            self._filter.excludes(directory[:-1], directory=True) for directory in parents(key)
        ):
            return True
        return self._filter.excludes(key.removesuffix("/"), directory=is_directory(key))

    def _row(self, node: Node, filtered: int) -> Row:
        raw, size = key_bytes(node.key), len(node.data)
        if node.kind in OPAQUE_KINDS:
            return (raw, OPAQUE_TOKEN, node.kind, 0, 0, None, node.why)
        if node.kind is Kind.DIRECTORY:
            return (raw, DIRECTORY_TOKEN, Kind.DIRECTORY, filtered, node.modified_ns, node.mode, "")
        if (why := self._problem(node.key)) is not None:
            return (raw, OPAQUE_TOKEN, Kind.UNREADABLE, 0, 0, None, why)
        if self._filter is not None and self._filter.excludes_size(size):
            return (raw, OPAQUE_TOKEN, Kind.FILTERED, size, 0, None, "excluded by size")
        note = str(digest(node.data)) if self._free_fingerprints else ""
        return (raw, node.token, Kind.FILE, size, node.modified_ns, node.mode, note)

    async def stat(self, key: Key) -> Entry | None:
        """As `trueup.protocols.Observe.stat`."""
        await self._turn()
        if self._problem(key) is not None:
            return None
        node = self._visible(key)
        return None if node is None else node.entry(fingerprint=self._free_fingerprints)

    # -- read ----------------------------------------------------------------------------------------------------

    def source(self, key: Key, entry: Entry) -> Source:
        """As `trueup.protocols.Read.source`."""
        token = entry.token

        def current() -> bytes:
            return self._version(key, token).data

        def reading() -> AbstractContextManager[Iterator[bytes]]:
            return self._reading(current)

        return Source(reading, entry.content.size, entry.content.fingerprint, entry.modified_ns, entry.mode)

    @contextmanager
    def _reading(self, current: Callable[[], bytes]) -> Iterator[Iterator[bytes]]:
        """Chunks of what `current` returns; it is asked again after the last one, and raises if that is another."""
        data = current()

        def chunks() -> Iterator[bytes]:
            for start in range(0, len(data), self._chunk_bytes):
                yield data[start : start + self._chunk_bytes]
            current()

        yield chunks()

    async def fingerprint(self, key: Key, token: Token) -> Fingerprint:
        """As `trueup.protocols.Read.fingerprint`."""
        await self._turn()
        if self._problem(key) is not None or self._visible(key) is None:
            raise NotFound(f"{key!r} is not there")
        return digest(self._version(key, token).data)

    def _version(self, key: Key, token: Token) -> Node:
        node = self._visible(key)
        if node is None or node.kind is not Kind.FILE or node.token != token:
            raise PreconditionFailed(f"{key!r} was changed meanwhile")
        return node

    # -- write ---------------------------------------------------------------------------------------------------

    async def write(self, key: Key, source: Source, *, expect: Token | None, trash: Trash | None) -> Written:
        """As `trueup.protocols.Write.write`."""
        self._refuse_write(key)
        if is_directory(key):
            raise Unaddressable(f"{key!r} is the name of a directory")
        await self._turn()
        replaced = self._expected(key, expect)
        source = source.told()
        data, fingerprint = await self._fetched(key, source)
        if self._capacity_bytes is not None and self.state.used_bytes + len(data) > self._capacity_bytes:
            raise NoSpace(f"no room for {key!r}", why=f"{self._capacity_bytes} bytes are all there is")
        number = self.state.number()
        self.state.staged[number] = key, data
        try:
            await self._turn()
            replaced = self._expected_still(key, expect, replaced)
        except GeneratorExit:
            raise  # a killed run: nobody is left to tidy up, as with a temporary file
        except BaseException:
            self.state.staged.pop(number, None)
            raise
        self.state.staged.pop(number, None)
        kept = self._take_out(replaced, trash)
        modified_ns = source.modified_ns or self._clock.now_ns()
        spelled = replaced.key.removesuffix("/") if replaced is not None else self._spelled(key)
        node = Node(Key(spelled), Kind.FILE, self._token(), data, modified_ns, source.mode)
        self._place(node)
        return Written(node.token, fingerprint, kept)

    async def make_directory(self, key: Key, *, expect: Token | None, trash: Trash | None) -> Written:
        """As `trueup.protocols.Write.make_directory`; a bucket has none to make, but a file in its place goes."""
        if not is_directory(key):
            raise Unaddressable(f"{key!r} is not the name of a directory")
        self._refuse_write(key if self._properties.directories else Key(key[:-1]))
        await self._turn()
        if not self._properties.directories:
            file = None if expect in (None, DIRECTORY_TOKEN) else self._version(Key(key[:-1]), expect)
            return Written(DIRECTORY_TOKEN, None, self._take_out(file, trash))
        there = self._visible(key)
        if there is not None:
            return Written(DIRECTORY_TOKEN)
        replaced = self._expected(Key(key[:-1]), None if expect == DIRECTORY_TOKEN else expect)
        kept = self._take_out(replaced, trash)
        self._place(Node(self._spelled(key), Kind.DIRECTORY, DIRECTORY_TOKEN, b"", self._clock.now_ns()))
        return Written(DIRECTORY_TOKEN, None, kept)

    async def remove(self, key: Key, *, expect: Token, trash: Trash | None) -> Written:
        """As `trueup.protocols.Write.remove`."""
        self._refuse_write(key if self._properties.directories else Key(key.removesuffix("/")))
        await self._turn()
        if is_directory(key):
            directory = self._visible(key)
            if directory is not None:
                self._refuse_filled(directory)
                del self.state.nodes[self._names.folded(key)]
            return Written(None)
        node = self._version(key, expect)
        return Written(None, None, self._take_out(node, trash))

    async def move(self, origin: Key, target: Key, *, expect: Token) -> Written:
        """As `trueup.protocols.Write.move`."""
        self._refuse_write(origin)
        self._refuse_write(target)
        await self._turn()
        node = self._version(origin, expect)
        self._expected(target, None)
        del self.state.nodes[self._names.folded(origin)]
        moved = replace(node, key=target, token=self._token())
        self._place(moved)
        return Written(moved.token)

    async def batch(self, effects: Sequence[Effect]) -> list[Written | StoreError]:
        """As `trueup.protocols.Write.batch`."""
        return await one_by_one(self, effects)

    async def flush(self) -> None:
        """As `trueup.protocols.Write.flush`; there is nothing to do."""
        await self._turn()

    async def _fetched(self, key: Key, source: Source) -> tuple[bytes, Fingerprint]:
        if self._threads is None:
            return fetch(key, source)
        return await self._threads(fetch, key, source)

    def _expected(self, key: Key, expect: Token | None) -> Node | None:
        """What is at a file's name, if it is what is expected.

        Raises:
            PreconditionFailed: If it is not, or something is in the way.
        """
        node = self._occupant(key)
        if (node.token if node is not None else None) != expect:
            raise PreconditionFailed(f"{key!r} was changed meanwhile")
        if node is not None and node.kind is Kind.DIRECTORY:
            self._refuse_filled(node, but_directories=True)
        return node

    def _expected_still(self, key: Key, expect: Token | None, before: Node | None) -> Node | None:
        """The same, a second time; a store that cannot refuse a lost race replaces whatever file is there by now."""
        node = self._occupant(key)
        if self._properties.refuses_lost_races or (node is not None and node.kind is Kind.DIRECTORY):
            return self._expected(key, expect)
        return before

    def _occupant(self, key: Key) -> Node | None:
        """The file or directory at a file's name; raises PreconditionFailed if a file is where a directory must be."""
        if not self._properties.directories:
            return self._visible(key)
        for directory in parents(key):
            if self._visible(Key(directory[:-1])) is not None:
                raise PreconditionFailed(f"a file is in the way of {key!r}", why=directory[:-1])
        return self._visible(key) or self._visible(Key(key + "/"))

    def _refuse_filled(self, directory: Node, *, but_directories: bool = False) -> None:
        below = [self.state.nodes[name] for name in self._below(directory)]
        if any(node.kind is not Kind.DIRECTORY or not but_directories for node in below):
            raise PreconditionFailed(f"{directory.key!r} is not empty")

    def _below(self, directory: Node) -> list[str]:
        folded = self._names.folded(directory.key)
        return [name for name in self.state.nodes if name != folded and name.startswith(folded)]

    def _take_out(self, node: Node | None, trash: Trash | None) -> str | None:
        """Remove a version, into the trash; its handle there. A directory, and those in it, have no content to keep."""
        if node is None:
            return None
        self.state.nodes.pop(self._names.folded(node.key), None)
        if node.kind is Kind.DIRECTORY:
            for name in self._below(node):
                del self.state.nodes[name]
            return None
        if trash is None:
            return None
        return self._keep(trash.run, node.key, node.data)

    def _keep(self, run: str, key: Key, data: bytes) -> str:
        handle = f"{run}/{self.state.number()}/{key}"
        self.state.trash[handle] = Kept(Discarded(handle, run, key, len(data), self._clock.now_ns()), data)
        return handle

    # -- trash ---------------------------------------------------------------------------------------------------

    async def kept(self) -> list[Discarded]:
        """As `trueup.protocols.Keeps.kept`."""
        await self._turn()
        found = [kept.discarded for kept in self.state.trash.values()]
        return sorted(found, key=lambda item: (item.run, key_bytes(item.key)))

    def kept_source(self, handle: str, entry: Entry) -> Source:
        """As `trueup.protocols.Keeps.kept_source`."""

        def current() -> bytes:
            if handle not in self.state.trash:
                raise NotFound(f"{handle!r} is not in the trash")
            return self.state.trash[handle].data

        def reading() -> AbstractContextManager[Iterator[bytes]]:
            return self._reading(current)

        return Source(reading, entry.content.size, entry.content.fingerprint, entry.modified_ns, entry.mode)

    async def prune(self, handle: str) -> None:
        """As `trueup.protocols.Keeps.prune`."""
        self._refuse_read_only(handle)
        await self._turn()
        if self.state.trash.pop(handle, None) is None:
            raise NotFound(f"{handle!r} is not in the trash")

    # -- identity ------------------------------------------------------------------------------------------------

    async def marker(self) -> str | None:
        """As `trueup.protocols.Marked.marker`."""
        await self._turn()
        return self.state.marker

    async def set_marker(self, identity: str) -> str:
        """As `trueup.protocols.Marked.set_marker`."""
        self._refuse_read_only("the marker")
        await self._turn()
        if self.state.marker is None:
            self.state.marker = identity
        return self.state.marker

    @asynccontextmanager
    async def hold(self, holder: str) -> AsyncIterator[None]:
        """As `trueup.protocols.Marked.hold`; `MemoryState.crash` declares the holder dead."""
        await self._turn()
        if self.state.held is not None:
            raise Locked(f"{self._properties.location} is in use by another run", why=self.state.held[1])
        mine = self.state.held = self.state.number(), holder
        try:
            yield
        finally:
            if self.state.held == mine:  # else it was declared dead, and another holds the root
                self.state.held = None

    async def free_bytes(self) -> int | None:
        """As `trueup.protocols.Marked.free_bytes`."""
        await self._turn()
        return None if self._capacity_bytes is None else max(0, self._capacity_bytes - self.state.used_bytes)

    async def clean(self) -> list[str]:
        """As `trueup.protocols.Marked.clean`."""
        self._refuse_read_only("the trash")
        await self._turn()
        staged, self.state.staged = self.state.staged, {}
        return [self._keep(LEFTOVER_RUN, key, data) for key, data in staged.values()]

    # -- what may be written -------------------------------------------------------------------------------------

    async def _turn(self) -> None:
        await self._clock.sleep(0)

    def _visible(self, key: Key) -> Node | None:
        """What is there, unless it, or a directory above, is obstructed."""
        for name in [*parents(key), key]:
            node = self._find(name)
            if node is not None and node.kind is Kind.UNREADABLE:
                raise AccessDenied(f"{name!r} cannot be read", why=node.why)
            if node is not None and node.kind in OPAQUE_KINDS:
                raise StoreError(f"{name!r} is neither a file nor a directory", why=node.why)
        return self._find(key)

    def _refuse_write(self, key: Key) -> None:
        if (why := self._problem(key)) is not None:
            raise Unaddressable(f"{key!r} cannot be held", why=why)
        self._refuse_read_only(repr(key))

    def _refuse_read_only(self, what: str) -> None:
        if self._read_only:
            raise ReadOnly(f"{what} cannot be written", why=f"{self._properties.location} is read-only")
