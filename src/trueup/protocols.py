"""What a store can do: one small protocol per ability.

A function asks for the least that it needs; a store implements what it can and says so in its `Properties`. Stores
raise the errors of `trueup.core.errors` and nothing else, and they never decide: a write names the version that it
expects, and a store that finds another one raises `PreconditionFailed` and has changed nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, MutableMapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol, TypeVar, assert_never

from trueup.core.errors import NoSpace, StoreError
from trueup.core.model import Entry, Fingerprint, Key, Row, Token
from trueup.core.table import Verb
from trueup.core.tree import Names

T = TypeVar("T")


class Threads(Protocol):
    """The one crossing into threads. Injected, so that a simulation can run everything in one."""

    async def __call__(self, function: Callable[..., T], /, *args: object) -> T:
        """Call a blocking function without blocking the event loop; its result or its exception comes back."""
        ...


class Clock(Protocol):
    """Time. Injected, so that a simulation can drive it."""

    def now_ns(self) -> int:
        """Wall clock, nanoseconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Let others run for so long."""
        ...

    def pause(self, seconds: float) -> None:
        """Hold up the calling thread for so long."""
        ...


class Filter(Protocol):
    """Which items belong to a target."""

    def excludes(self, path: str, *, directory: bool) -> bool:
        """Whether the item does not belong; nothing below an excluded directory does either."""
        ...

    def excludes_none(self, names: str) -> bool:
        """Whether certainly all items of a folder belong, so that nobody needs to ask for each; False: ask.

        Args:
            names: Their names, a NUL before and after each.
        """
        ...

    @property
    def sized(self) -> bool:
        """Whether `excludes_size` is ever True."""
        ...

    def excludes_size(self, size: int) -> bool:
        """Whether a file of so many bytes is out of bounds. Such a file is not absent, it is nobody's business."""
        ...


def _unknown(_: Token) -> int | None:
    return None


VERBS = frozenset({Verb.PUT, Verb.DELETE, Verb.SAVE, Verb.SIBLING, Verb.REPLACE_KIND})
"""What every store of content can do."""


@dataclass(frozen=True, slots=True)
class Properties:
    """What a store can and cannot promise."""

    location: str
    """Canonical, for people and for the identity of targets: an absolute path or a URL without secrets."""
    verbs: frozenset[Verb] = VERBS
    """What it can do. Nothing else is planned for it; `Verb.MOVE` has to be said."""
    directories: bool = True
    """Whether directories exist by themselves, empty ones included."""
    refuses_lost_races: bool = True
    """Whether a write that expects another version is refused by the store itself, not only by a check before it."""
    tick_ns: int = 0
    """Two edits within this time may bear the same token and size; 0: every edit changes the token."""
    made_ns: Callable[[Token], int | None] = _unknown
    """When a version was made, as its token tells (0: long ago, for all that matters); None: as the item's time tells.
    A version no older than `tick_ns` is not believed in."""
    names: Names = field(default_factory=Names)
    notices: tuple[str, ...] = ()
    """What this side cannot promise, in plain words, shown in every plan."""
    about_moves: str = ""
    """What it cannot promise of moves, shown in plans that hold some; empty: they are refused like other lost races."""
    complete_rows: bool = True
    """Whether a row of `scan` tells the time and the mode that `stat` tells; if not, `stat` has to be asked."""
    tokens_name_content: bool = False
    """Whether two writes of the same bytes bear the same token: it names the content, not the write."""
    digests_as_tokens: str = ""
    """Algorithm of the digests that its tokens may be: one that equals the digest of some bytes is the version of just
    these bytes; one that does not says nothing. Empty: its tokens are no digests."""
    whole_reads: bool = False
    """Whether a version that has been opened is read to its end, even if it is replaced meanwhile."""
    ordered: bool = True
    """Whether listings are taken to be in key order; if one was found not to be, those to come are sorted."""


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach what lies at or below a URL. Secrets are fetched when they are needed."""

    url: str
    endpoint: str | None = None
    """Address of the service, if it is not the public one."""
    region: str | None = None
    access_key: Callable[[], str] | None = None
    secret_key: Callable[[], str] | None = None


@dataclass(frozen=True, slots=True)
class Opening:
    """What a store is given when it is opened."""

    clock: Clock
    threads: Threads
    unique: Callable[[], str]
    """Makes names that nobody else uses."""
    filter: Filter | None = None
    trash: str | None = None
    """Another place for the trash, where the store can choose."""
    access: tuple[Access, ...] = ()
    """What is configured for some URLs; the longest that fits counts."""
    remember: MutableMapping[str, str] | None = None
    """Where a store keeps what it found out about a service; None: it finds out again each time."""


@dataclass(frozen=True, slots=True)
class Source:
    """Content to write: a factory, so that every attempt reads afresh."""

    open: Callable[[], AbstractContextManager[Iterator[bytes]]]
    """Opens one version for reading, lazily, in the thread that writes.

    Raises:
        PreconditionFailed: If that version is no longer there, at the opening or, found out later, after the last
            chunk. A writer therefore commits only after the iterator has ended by itself.
    """
    size: int
    """Bytes; a source that yields another number is refused as Corrupt."""
    fingerprint: Fingerprint | None = None
    """What the bytes must hash to, where it is known already."""
    modified_ns: int = 0
    mode: int | None = None
    ask: Callable[[], Source] | None = None
    """Asks the side for what its listing did not tell, by a call that blocks; None: there is nothing to ask."""

    def told(self) -> Source:
        """The source with its time, its permission bits and its digest, as far as its side knows them.

        A writer calls this first, in the thread that writes.

        Raises:
            PreconditionFailed: If that version is no longer there.
        """
        return self if self.ask is None else self.ask()


@dataclass(frozen=True, slots=True)
class Trash:
    """Where a version that a run replaces goes."""

    run: str
    """The run's id."""


@dataclass(frozen=True, slots=True)
class Written:
    """What a write left behind. It is what was written, not what was seen afterwards."""

    token: Token | None
    """The new version; None after a deletion."""
    fingerprint: Fingerprint | None = None
    """Of the bytes that went through."""
    kept: str | None = None
    """Handle of the replaced version in the trash."""


@dataclass(frozen=True, slots=True)
class Put:
    """Arguments of `Write.write`."""

    key: Key
    source: Source
    expect: Token | None
    trash: Trash | None


@dataclass(frozen=True, slots=True)
class Remove:
    """Arguments of `Write.remove`."""

    key: Key
    expect: Token
    trash: Trash | None


@dataclass(frozen=True, slots=True)
class Move:
    """Arguments of `Write.move`."""

    origin: Key
    target: Key
    expect: Token


Effect = Put | Remove | Move
"""One change of a side."""


@dataclass(frozen=True, slots=True)
class Discarded:
    """One version in a store's trash."""

    handle: str
    """Names it for `open_kept` and `prune`."""
    run: str
    key: Key
    size: int
    discarded_ns: int
    """When it went there, as far as the store knows; 0 if it does not."""
    modified_ns: int = 0
    """When it was modified, while it was live; 0 if that is not known."""
    mode: int | None = None
    """Its permission bits, where the side has them."""


class Observe(Protocol):
    """Can be looked at."""

    @property
    def properties(self) -> Properties:
        """What this store can and cannot promise."""
        ...

    def scan(self) -> AsyncIterator[list[Row]]:
        """All items, in key order, in batches.

        A directory comes before what it holds. Links, devices and what cannot be read are rows of an opaque kind.
        Reserved names (``.trueup/``) are left out.

        Raises:
            StoreError: If the listing cannot begin, or breaks off; it never just ends early.
        """
        ...

    async def stat(self, key: Key) -> Entry | None:
        """One item as it is now, without its fingerprint unless that is free; None if it is not there.

        Raises:
            StoreError: If the store cannot say.
        """
        ...


class Read(Observe, Protocol):
    """Holds content."""

    def source(self, key: Key, entry: Entry) -> Source:
        """The content of one version, not opened yet. The version is `entry.token`."""
        ...

    async def fingerprint(self, key: Key, token: Token) -> Fingerprint:
        """Read one version and hash it (BLAKE3).

        Raises:
            PreconditionFailed: If another version is there, or came while it was read.
            NotFound: If nothing is there.
        """
        ...


class Write(Read, Protocol):
    """Content can be replaced by compare-and-swap, and replaced versions can be kept."""

    async def write(self, key: Key, source: Source, *, expect: Token | None, trash: Trash | None) -> Written:
        """Put content under a name, if the expected version is there (None: nothing is).

        All or nothing: a reader in a loop sees the old version or the new one. With `expect` = DIRECTORY_TOKEN the
        file takes the place of a directory that holds nothing, or nothing but directories.

        Args:
            key: The file's key.
            source: Its content.
            expect: The version to replace.
            trash: Where the replaced version is kept; None: it is destroyed.

        Raises:
            PreconditionFailed: If another version is there; nothing has changed.
            Unaddressable: If the name cannot be held.
            StoreError: If it failed; nothing has changed.
        """
        ...

    async def make_directory(self, key: Key, *, expect: Token | None, trash: Trash | None) -> Written:
        """Make a directory (and those above); one that is there already is left as it is.

        With `expect` = a file's token the directory takes the place of that file, which goes to the trash.

        Raises:
            PreconditionFailed: If something else is there; nothing has changed.
        """
        ...

    async def remove(self, key: Key, *, expect: Token, trash: Trash | None) -> Written:
        """Remove one version, into the trash; a directory only if it is empty, and without an error if it is gone.

        Raises:
            PreconditionFailed: If another version is there, or the directory holds something; nothing has changed.
        """
        ...

    async def move(self, origin: Key, target: Key, *, expect: Token) -> Written:
        """Give a file another name, without payload; directories above are made on demand.

        Args:
            origin: The file's key.
            target: Its key from now on.
            expect: The version that must be at the origin.

        Raises:
            PreconditionFailed: If another version is there, or something has the new name; nothing has changed.
        """
        ...

    async def batch(self, effects: Sequence[Effect]) -> list[Written | StoreError]:
        """Several small effects, one after the other, by as few crossings into threads as can be.

        `one_by_one` will do where crossings cost nothing.

        Returns:
            What each left behind, or its error, which stops none of the others; but after `NoSpace` nothing is tried.
        """
        ...

    async def flush(self) -> None:
        """Make everything that was written so far survive a loss of power."""
        ...


class Keeps(Protocol):
    """Has a trash that can be listed, read and pruned."""

    async def kept(self) -> list[Discarded]:
        """Everything in the trash, by run and key."""
        ...

    def kept_source(self, handle: str, entry: Entry) -> Source:
        """The content of a kept version, not opened yet; `entry` says what it was when it was live."""
        ...

    async def prune(self, handle: str) -> None:
        """Destroy one kept version for good.

        Raises:
            NotFound: If there is none of that handle.
        """
        ...


class Marked(Protocol):
    """Carries an identity, so that another folder mounted in its place is noticed."""

    async def marker(self) -> str | None:
        """The identity found; None if there is none."""
        ...

    async def set_marker(self, identity: str) -> str:
        """Write the identity unless there is one already.

        Returns:
            The identity that is there now.
        """
        ...

    def hold(self, holder: str) -> AbstractAsyncContextManager[None]:
        """Keep other runs away from this root while the context is open; a dead holder's lock is taken over.

        Raises:
            Locked: If another run holds it; the message names the holder.
        """
        ...

    async def free_bytes(self) -> int | None:
        """Room left for content; None if that is not known."""
        ...

    async def clean(self) -> list[str]:
        """Put what killed runs left half-done into the trash. Call it only under the target's lock.

        Returns:
            Handles of what was found.
        """
        ...


class Store(Write, Keeps, Marked, Protocol):
    """A side of folders and of everything that behaves like one."""


async def carry_out(store: Write, effect: Effect) -> Written:
    """One effect by the method that it is meant for."""
    match effect:
        case Put():
            return await store.write(effect.key, effect.source, expect=effect.expect, trash=effect.trash)
        case Remove():
            return await store.remove(effect.key, expect=effect.expect, trash=effect.trash)
        case Move():
            return await store.move(effect.origin, effect.target, expect=effect.expect)
        case _:
            assert_never(effect)


async def one_by_one(store: Write, effects: Sequence[Effect]) -> list[Written | StoreError]:
    """A batch by single calls."""
    answers: list[Written | StoreError] = []
    for effect in effects:
        if _is_full(answers):
            answers.append(answers[-1])
            continue
        try:
            answers.append(await carry_out(store, effect))
        except StoreError as error:
            answers.append(error)
    return answers


def in_turn(
    effects: Sequence[Effect],
    *,
    put: Callable[[Key, Source, Token | None, Trash | None], Written],
    remove: Callable[[Key, Token, Trash | None], Written],
    move: Callable[[Key, Key, Token], Written],
) -> list[Written | StoreError]:
    """A batch by functions that block, in the thread that calls this."""
    answers: list[Written | StoreError] = []
    for effect in effects:
        if _is_full(answers):
            answers.append(answers[-1])
            continue
        try:
            match effect:
                case Put():
                    answers.append(put(effect.key, effect.source, effect.expect, effect.trash))
                case Remove():
                    answers.append(remove(effect.key, effect.expect, effect.trash))
                case Move():
                    answers.append(move(effect.origin, effect.target, effect.expect))
                case _:
                    assert_never(effect)
        except StoreError as error:
            answers.append(error)
    return answers


def _is_full(answers: Sequence[Written | StoreError]) -> bool:
    """Whether the side has said that it has no room: then nothing more is tried there."""
    return bool(answers) and isinstance(answers[-1], NoSpace)
