"""What a store can do: one small protocol per ability."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from trueup.core.errors import StoreError
from trueup.core.model import Entry, Fingerprint, Key, Row, Token
from trueup.protocols.values import Discarded, Effect, Properties, Source, Trash, Written


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
