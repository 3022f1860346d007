"""Versions that runs replaced: server-side copies below ``.trueup/trash/``. Everything here blocks."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from trueup.core.errors import NotFound, PreconditionFailed, StoreError
from trueup.core.model import Key, Token, key_bytes
from trueup.protocols import Clock, Discarded, Trash
from trueup.stores.object.bucket import Bucket, gone_is_changed
from trueup.stores.object.listing import Pages
from trueup.stores.object.names import RESERVED

_ASTRAY = re.compile(r"(?:^|/)\.{0,2}(?:/|$)")

FOLDER = f"{RESERVED}/trash/"
LEFTOVER_RUN = "leftover"
"""Run id of what is kept to be on the safe side."""


class Bin:
    """The trash of one place."""

    def __init__(self, bucket: Bucket, clock: Clock, unique: Callable[[], str]) -> None:
        self._bucket = bucket
        self._clock = clock
        self._unique = unique
        self._unsure: dict[tuple[str, Key, Token], str] = {}
        self._lock = threading.Lock()

    def keep(self, key: Key, version: Token, trash: Trash) -> str:
        """Copy a version into the trash, before it is replaced; its handle there.

        Raises:
            PreconditionFailed: If another version is there.
        """
        handle = f"{trash.run}/{self._clock.now_ns():016x}-{self._unique()}/{key}"
        try:
            with gone_is_changed(key):
                self._bucket.copy(key, FOLDER + handle)
            self._verify(key, version, handle)
        except StoreError:
            self.discard(handle)  # nothing has been replaced yet
            raise
        return handle

    def _verify(self, key: Key, version: Token, handle: str) -> None:
        """Raise unless it is the expected version that was copied."""
        copy = self._bucket.head(FOLDER + handle)
        if copy is None or copy.token != version:  # a copy of an object in parts may bear another ETag
            now = self._bucket.head(key)
            if copy is None or now is None or now.token != version:
                raise PreconditionFailed(f"{key} was changed meanwhile")

    def discard(self, handle: str) -> None:
        """Its original was not replaced after all."""
        with suppress(StoreError):
            self._bucket.delete(FOLDER + handle)

    @contextmanager
    def keeping(self, key: Key, version: Token | None, trash: Trash | None) -> Iterator[Effect]:
        """Keep a version while the block replaces it; if the block fails for sure, it is not kept."""
        if version is None or trash is None:
            yield Effect(None)
            return
        attempt = (trash.run, key, version)
        with self._lock:
            earlier = self._unsure.get(attempt)
        effect = Effect(earlier or self.keep(key, version, trash))
        try:
            yield effect
        except BaseException as error:
            # Once nobody knows whether the original was replaced, the copy may be all that is left of it.
            if earlier is None and (not effect.may_have_happened or isinstance(error, PreconditionFailed)):
                self.discard(effect.kept or "")
            else:
                with self._lock:
                    self._unsure[attempt] = effect.kept or ""
            raise
        with self._lock:
            self._unsure.pop(attempt, None)

    def kept(self) -> list[Discarded]:
        """Everything, by run and key."""
        found = []
        for raw, _, size, modified_ns, _ in Pages(self._bucket.place, FOLDER):
            handle = raw.decode().removeprefix(FOLDER)
            run, n, key = [*handle.split("/", 2), "", ""][:3]
            if n and key:
                found.append(Discarded(handle, run, Key(key), size, modified_ns))
        return sorted(found, key=lambda item: (item.run, key_bytes(item.key), item.handle))

    def path(self, handle: str) -> str:
        """The key of a kept version.

        Raises:
            NotFound: If it cannot be one.
        """
        if _ASTRAY.search(handle):
            raise NotFound(f"{handle!r} is not in the trash")
        return FOLDER + handle

    def prune(self, handle: str) -> None:
        """Destroy one version for good."""
        if self._bucket.head(self.path(handle)) is None:
            raise NotFound(f"{handle!r} is not in the trash")
        self._bucket.delete(self.path(handle))


class Effect:
    """How far a replacement has come."""

    def __init__(self, kept: str | None) -> None:
        self.kept = kept
        self.may_have_happened = False

    def begins(self) -> None:
        """From now on an error does not say that nothing has happened."""
        self.may_have_happened = True
