"""What stores are given, what they say of themselves, and what they give back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from trueup.core.model import Fingerprint, Key, Token
from trueup.core.table import Verb
from trueup.core.tree import Names
from trueup.protocols.ambient import Clock, Filter, Threads


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
class Headers:
    """How an item is to be served, where a store serves what it holds."""

    content_type: str | None = None
    cache_control: str | None = None


def _plain(_: Key) -> Headers:
    return Headers()


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
    headers: Callable[[Key], Headers] = _plain
    """How what is written is to be served. Only buckets serve, other stores do not ask."""


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


def document(text: str) -> Source:
    """A short text as content."""
    raw = text.encode("utf-8", "surrogateescape")
    return Source(lambda: nullcontext(iter([raw])), len(raw))


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
