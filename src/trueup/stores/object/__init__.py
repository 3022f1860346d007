"""Store ``object``: buckets of Amazon S3 and what speaks like it, Google Cloud Storage, Azure Blob Storage and others.

OpenDAL does the talking, by its blocking calls in the injected threads; its asyncio calls aborted the interpreter now
and then. What a service can refuse is probed once (`trueup.stores.object.probe`), never assumed. Uploads in parts that
a run leaves unfinished stay open on the service, invisible and billed, until a rule of the bucket ends them.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator, MutableMapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import replace
from functools import partial

import anyio

from trueup.core.errors import NotFound, PreconditionFailed, StoreError, Unaddressable, Unavailable
from trueup.core.model import (
    DIRECTORY_TOKEN,
    OPAQUE_TOKEN,
    Content,
    Entry,
    Fingerprint,
    Key,
    Kind,
    Row,
    Token,
    is_directory,
)
from trueup.core.table import Verb
from trueup.core.tree import Names
from trueup.protocols import (
    VERBS,
    Clock,
    Discarded,
    Effect,
    Filter,
    Headers,
    Opening,
    Properties,
    Source,
    Threads,
    Trash,
    Written,
    in_turn,
)
from trueup.stores.object.bucket import TICK_NS, Bucket, Head, gone_is_changed, made_ns, only_if
from trueup.stores.object.connect import Place, connect, environment
from trueup.stores.object.errors import NoBucket
from trueup.stores.object.lease import LEASE_SECONDS, Lease
from trueup.stores.object.listing import Pages
from trueup.stores.object.mover import Mover
from trueup.stores.object.names import RESERVED, problem
from trueup.stores.object.probe import Abilities, Prober
from trueup.stores.object.scan import Scan
from trueup.stores.object.transfer import Ours, Upload, hashed, reading, settled
from trueup.stores.object.trash import Bin

_TIME = re.compile(r"[0-9]{1,20}")
_MODE = re.compile(r"[0-7]{1,4}")
"""What we write into an object's metadata. Others can write anything there, without end."""

_MARKER = f"{RESERVED}/id"
_NO_VERSIONS = frozenset({Token(""), OPAQUE_TOKEN, DIRECTORY_TOKEN})


class ObjectStore:
    """A prefix in a bucket. Implements `trueup.protocols.Store`.

    Args:
        place: Where it is, and how to get there.
        clock: Names what goes to the trash.
        threads: The crossing into threads.
        unique: Makes names that nobody else uses.
        filter: Which items belong; None: all.
        remember: Where it is kept what the service can do.
        lease_seconds: For how long a run that was killed elsewhere keeps others away.
        headers: How what is written is to be served.
    """

    def __init__(
        self,
        place: Place,
        *,
        clock: Clock,
        threads: Threads,
        unique: Callable[[], str],
        filter: Filter | None = None,  # noqa: A002  # the word that everybody uses for it
        remember: MutableMapping[str, str] | None = None,
        lease_seconds: float = LEASE_SECONDS,
        headers: Callable[[Key], Headers] = lambda _: Headers(),
    ) -> None:
        self.place = place
        self._clock = clock
        self._threads = threads
        self._unique = unique
        self._filter = filter
        self._headers = headers
        self._lease_seconds = lease_seconds
        self._memory = {} if remember is None else remember
        self._bucket = Bucket(place)
        self._prober = Prober(self._bucket, unique, clock, self._memory)
        self._bin = Bin(self._bucket, clock, unique)
        self._ours = Ours()
        self._mover = Mover(self._bucket, self._bin)
        self._slashed = 0
        self._described: tuple[tuple[Abilities, int, bool], Properties] | None = None
        self._disorder = f"object disorder {place.service}"

    @property
    def properties(self) -> Properties:
        """What the service can promise, as far as that is known by now."""
        basis = (self._prober.known, self._slashed, self._disorder in self._memory)
        if self._described is None or self._described[0] != basis:  # asked for each item: not made anew each time
            self._described = basis, self._describe(*basis)
        return self._described[1]

    def _describe(self, known: Abilities, slashed: int, disorder: bool) -> Properties:
        return Properties(
            location=self.place.url,
            verbs=VERBS | {Verb.MOVE},
            about_moves="a rename takes no condition: what somebody creates under the new name at that moment is lost",
            directories=False,
            refuses_lost_races=known.refuses,
            names=Names(self._problem, fold_case=bool(known.folds_case), fold_unicode=bool(known.folds_unicode)),
            notices=(*known.notices(), *_about_slashes(slashed)),
            tick_ns=TICK_NS,
            made_ns=made_ns,
            complete_rows=False,
            tokens_name_content=self.place.scheme == "s3" if known.md5 is None else known.md5,
            digests_as_tokens="md5",
            whole_reads=bool(known.read),
            ordered=not disorder,
        )

    def _problem(self, key: Key) -> str | None:
        return problem(self.place.prefix, key, backslashes=self._prober.known.backslashes is not False)

    async def probe(self) -> Abilities:
        """Find out what the service can do, unless that is known. Writes and removes a scratch object."""
        return await self._threads(self._prober.for_writing)

    # -- observe -------------------------------------------------------------------------------------------------

    async def scan(self) -> AsyncIterator[list[Row]]:
        """As `trueup.protocols.Observe.scan`."""
        scan = Scan(self.place, self._filter, self._problem)
        try:
            while rows := await self._threads(self._next_rows, scan):
                yield rows
        finally:
            scan.pages.close()
        self._slashed = scan.slashed

    def _next_rows(self, scan: Scan) -> list[Row]:
        rows = scan.next()
        if not scan.pages.ordered:
            self._memory[self._disorder] = "yes"
        return rows

    async def stat(self, key: Key) -> Entry | None:
        """As `trueup.protocols.Observe.stat`."""
        return await self._threads(self._stat, key)

    def _stat(self, key: Key) -> Entry | None:
        if self._problem(key) is not None:
            return None
        try:
            head = self._bucket.head(key)
        except StoreError as error:
            self._explain(error)
            raise
        return None if head is None else self._entry(head)

    def _explain(self, error: StoreError) -> None:
        """A look has no body that says why it was refused; a list of one object has."""
        if not error.retryable:
            pages = Pages(self.place, limit=1)
            try:
                pages.next()
            finally:
                pages.close()

    def _entry(self, head: Head) -> Entry:
        modified, mode = head.metadata.get("trueupmtime", ""), head.metadata.get("trueupmode", "")
        return Entry(
            head.token,
            Content(Kind.FILE, head.size, self._ours.fingerprint(head)),
            int(modified) if _TIME.fullmatch(modified) else head.modified_ns,
            int(mode, 8) if _MODE.fullmatch(mode) else None,
        )

    # -- read ----------------------------------------------------------------------------------------------------

    def source(self, key: Key, entry: Entry) -> Source:
        """As `trueup.protocols.Read.source`."""
        content = entry.content
        opened = reading(self._bucket, key, entry.token, content.size, able=self._prober.for_reading)
        source = Source(opened, content.size, content.fingerprint, entry.modified_ns, entry.mode)
        # Only a look at the object tells its digest. An entry without one comes from a listing.
        return source if content.fingerprint else replace(source, ask=lambda: self._told(key, entry, source))

    def _told(self, key: Key, entry: Entry, source: Source) -> Source:
        head = self._bucket.head(key)
        if head is None or head.token != entry.token:
            raise PreconditionFailed(f"{key} was changed meanwhile")
        now = self._entry(head)
        fingerprint = now.content.fingerprint
        return replace(source, fingerprint=fingerprint, modified_ns=now.modified_ns, mode=now.mode, ask=None)

    async def fingerprint(self, key: Key, token: Token) -> Fingerprint:
        """As `trueup.protocols.Read.fingerprint`: of the bytes, whatever the metadata say; `stat` tells those."""
        return await self._threads(self._fingerprint, key, token)

    def _fingerprint(self, key: Key, token: Token) -> Fingerprint:
        head = self._bucket.head(key) if self._problem(key) is None else None
        if head is None:
            raise NotFound(f"{key} is not there")
        if head.token != token:
            raise PreconditionFailed(f"{key} was changed meanwhile")
        with reading(self._bucket, key, token, head.size, able=self._prober.for_reading)() as chunks:
            return hashed(chunks)

    # -- write ---------------------------------------------------------------------------------------------------

    async def write(self, key: Key, source: Source, *, expect: Token | None, trash: Trash | None) -> Written:
        """As `trueup.protocols.Write.write`."""
        return await self._threads(self._write, key, source, expect, trash)

    def _write(self, key: Key, source: Source, expect: Token | None, trash: Trash | None) -> Written:
        self._refuse_name(key)
        self._refuse_no_version(key, expect)
        upload = Upload.prepare(key, source.told())
        small = upload.data is not None
        abilities = self._prober.for_writing() if small else self._prober.for_parts()
        able = bool(abilities.create if expect is None else abilities.replace) and (small or bool(abilities.parts))
        write_id = self._unique() + self._unique()
        self._ours.add(write_id, upload.digests.fingerprint)
        if not able:
            self._compare(key, expect)
        metadata, headers = upload.metadata(write_id), self._headers(key)
        with self._bin.keeping(key, expect, trash) as effect:
            try:
                digests = upload.send(self._bucket, metadata, expect, able=able, begins=effect.begins, headers=headers)
            except PreconditionFailed:
                if expect is not None or not self._is_empty_folder(key):
                    raise
                digests = upload.send(self._bucket, metadata, expect, able=able, begins=effect.begins, headers=headers)
        token = digests.token
        if not (small and abilities.md5):
            landed = settled(self._bucket, key, write_id)
            token = token if landed is None else landed.token
        return Written(token, digests.fingerprint, effect.kept)

    def _is_empty_folder(self, key: Key) -> bool:
        """Whether only a folder may be in the way, which some services keep after its last object; it is removed.

        So are folders in it, which are kept as well. Removing one removes nothing else below it.
        """
        if self._bucket.head(key) is not None:
            return False
        self._remove_folders(key + "/")
        return True

    def _remove_folders(self, folder: str) -> None:
        for raw, *_ in Pages(self.place, folder, recursive=False):
            if raw.endswith(b"/") and raw.decode() != folder:
                self._remove_folders(raw.decode())
        self._bucket.delete(folder)

    def _compare(self, key: Key, expect: Token | None) -> None:
        """All that can be done where the service does not refuse."""
        head = self._bucket.head(key)
        if (None if head is None else head.token) != expect:
            raise PreconditionFailed(f"{key} was changed meanwhile")

    async def make_directory(self, key: Key, *, expect: Token | None, trash: Trash | None) -> Written:
        """As `trueup.protocols.Write.make_directory`: there are none to make, but a file in its place goes."""
        file = Key(key.removesuffix("/"))
        self._refuse_name(file)
        if expect in (None, DIRECTORY_TOKEN):
            return Written(DIRECTORY_TOKEN)
        removed = await self._threads(self._remove, file, expect, trash)
        return Written(DIRECTORY_TOKEN, None, removed.kept)

    async def remove(self, key: Key, *, expect: Token, trash: Trash | None) -> Written:
        """As `trueup.protocols.Write.remove`."""
        return await self._threads(self._remove, key, expect, trash)

    def _remove(self, key: Key, expect: Token | None, trash: Trash | None) -> Written:
        if is_directory(key):
            self._refuse_name(Key(key[:-1]))
            return Written(None)
        self._refuse_name(key)
        self._refuse_no_version(key, expect)
        able = bool(self._prober.for_writing().delete)
        with self._bin.keeping(key, expect, trash) as effect:
            if not able:
                self._compare(key, expect)
            effect.begins()
            with gone_is_changed(key):
                self._bucket.delete(key, only_if(expect, able=able))
        return Written(None, None, effect.kept)

    async def move(self, origin: Key, target: Key, *, expect: Token) -> Written:
        """As `trueup.protocols.Write.move`: a copy within the service, and a conditional deletion.

        A copy takes no condition: whoever creates the new name between the look at it and the copy is not noticed.
        """
        return await self._threads(self._move, origin, target, expect)

    def _move(self, origin: Key, target: Key, expect: Token) -> Written:
        self._refuse_name(origin)
        self._refuse_name(target)
        self._refuse_no_version(origin, expect)
        return Written(self._mover.move(origin, target, expect, remove=lambda: self._remove(origin, expect, None)))

    async def batch(self, effects: Sequence[Effect]) -> list[Written | StoreError]:
        """As `trueup.protocols.Write.batch`."""
        return await self._threads(partial(in_turn, effects, put=self._write, remove=self._remove, move=self._move))

    async def flush(self) -> None:
        """As `trueup.protocols.Write.flush`: what a service acknowledges is durable."""

    def _refuse_name(self, key: Key) -> None:
        if (why := self._problem(key)) is not None:
            raise Unaddressable(f"{key!r} cannot be held by {self.place.url}", why=why)

    def _refuse_no_version(self, key: Key, expect: Token | None) -> None:
        if expect in _NO_VERSIONS:
            raise PreconditionFailed(f"{key} has no version {expect!r}")

    # -- trash ---------------------------------------------------------------------------------------------------

    async def kept(self) -> list[Discarded]:
        """As `trueup.protocols.Keeps.kept`."""
        return await self._threads(self._bin.kept)

    def kept_source(self, handle: str, entry: Entry) -> Source:
        """As `trueup.protocols.Keeps.kept_source`."""

        def opened() -> AbstractContextManager[Iterator[bytes]]:
            path = self._bin.path(handle)
            head = self._bucket.head(path)
            if head is None:
                raise NotFound(f"{handle!r} is not in the trash")
            return reading(self._bucket, path, head.token, head.size, able=self._prober.for_reading)()

        return Source(opened, entry.content.size, entry.content.fingerprint, entry.modified_ns, entry.mode)

    async def prune(self, handle: str) -> None:
        """As `trueup.protocols.Keeps.prune`."""
        await self._threads(self._bin.prune, handle)

    # -- identity ------------------------------------------------------------------------------------------------

    async def marker(self) -> str | None:
        """As `trueup.protocols.Marked.marker`."""
        return await self._threads(self._marker)

    def _marker(self) -> str | None:
        try:
            return self._bucket.read(_MARKER)[:100].decode("ascii", "replace").strip() or None
        except NoBucket:
            raise
        except NotFound:
            return None

    async def set_marker(self, identity: str) -> str:
        """As `trueup.protocols.Marked.set_marker`."""
        return await self._threads(self._set_marker, identity)

    def _set_marker(self, identity: str) -> str:
        if (found := self._marker()) is not None:
            return found
        able = bool(self._prober.for_writing().create)
        try:
            self._bucket.put(_MARKER, f"{identity}\n".encode("ascii"), {}, only_if(None, able=able))
        except PreconditionFailed:
            return self._marker() or identity
        return identity

    @asynccontextmanager
    async def hold(self, holder: str) -> AsyncIterator[None]:
        """As `trueup.protocols.Marked.hold`: renewed while it lasts, free again some time after a killed run."""
        lease = Lease(self._bucket, self._prober, self._unique, holder, seconds=self._lease_seconds)
        await self._threads(self._begin, lease)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._renew, lease)
                yield
                tasks.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            if len(group.exceptions) == 1:  # the caller's own error, wrapped by our task group
                raise group.exceptions[0] from group.exceptions[0].__cause__
            raise
        finally:
            # Not for ever: a service that hangs frees the lock by itself after that time.
            with anyio.move_on_after(self._lease_seconds, shield=True):
                await self._threads(lease.release)

    def _begin(self, lease: Lease) -> None:
        pages = Pages(self.place, limit=1)  # some services make a bucket by writing to it
        try:
            pages.next()
        finally:
            pages.close()
        lease.acquire()

    async def _renew(self, lease: Lease) -> None:
        while True:
            await self._clock.sleep(self._lease_seconds / 4)
            try:
                await self._threads(lease.renew)
            except Unavailable:
                continue  # there is time for further attempts

    async def free_bytes(self) -> int | None:
        """As `trueup.protocols.Marked.free_bytes`: nobody knows."""
        return None

    async def clean(self) -> list[str]:
        """As `trueup.protocols.Marked.clean`: an object comes into being whole, so there is nothing half-done."""
        return []


def _about_slashes(count: int) -> tuple[str, ...]:
    return (f"{count} objects whose names end in a slash hold bytes: they are left alone",) if count else ()


def open_url(url: str, opening: Opening) -> ObjectStore:
    """The place that ``s3://BUCKET/PREFIX`` or a URL of another service names."""
    return ObjectStore(
        connect(url, opening.access, environment()),
        clock=opening.clock,
        threads=opening.threads,
        unique=opening.unique,
        filter=opening.filter,
        remember=opening.remember,
        headers=opening.headers,
    )
