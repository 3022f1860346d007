"""Renames: a copy within the service, which takes no condition, and a deletion, which does. Everything here blocks."""

from __future__ import annotations

from collections.abc import Callable

from trueup.core.errors import PreconditionFailed, StoreError
from trueup.core.model import Key, Token
from trueup.protocols import Trash
from trueup.stores.object.bucket import Bucket, gone_is_changed, only_if
from trueup.stores.object.trash import LEFTOVER_RUN, Bin

_TRIES = 3


class Mover:
    """Renames in one place. Remembers the copies that it made, for when the answer to one was lost."""

    def __init__(self, bucket: Bucket, trash: Bin) -> None:
        self._bucket = bucket
        self._bin = trash
        self._copies: dict[tuple[Key, Key, Token], Token] = {}

    def move(self, origin: Key, target: Key, expect: Token, *, remove: Callable[[], object]) -> Token:
        """Give an object another name.

        Args:
            origin: Its name.
            target: Its new name.
            expect: The version that it must be.
            remove: Removes that version under the old name.

        Returns:
            The version under the new name.

        Raises:
            PreconditionFailed: If another version is there, or something has the new name.
        """
        attempt = (origin, target, expect)
        again = attempt in self._copies
        copied = self._copied(origin, target, expect)
        try:
            remove()
        except PreconditionFailed:  # not so after any other error: then the copy may be all that is left
            if not again or self._bucket.head(origin) is not None:
                self._take_back(attempt, copied, keep=True)
                raise
        self._copies.pop(attempt, None)
        return copied

    def _copied(self, origin: Key, target: Key, expect: Token) -> Token:
        """Copy the expected version to the new name, unless an earlier attempt did; the version there."""
        attempt = (origin, target, expect)
        there = self._bucket.head(target)
        if there is not None:
            ours = self._copies.get(attempt)
            if ours is None or there.token != (ours or expect):
                raise PreconditionFailed(f"{target} is there already")
            return there.token
        self._copies[attempt] = Token("")  # it may arrive even if no answer does
        with gone_is_changed(origin):
            self._bucket.copy(origin, target)
        there = self._bucket.head(target)
        if there is None:
            self._copies.pop(attempt)
            raise PreconditionFailed(f"{target} was changed meanwhile")
        if there.token != expect:  # a copy of an object in parts may bear another ETag
            now = self._bucket.head(origin)
            if now is None or now.token != expect:
                # What was copied lives on under its old name, unless that is gone: then the copy may be all there is.
                self._take_back(attempt, there.token, keep=now is None)
                raise PreconditionFailed(f"{origin} was changed meanwhile")
        self._copies[attempt] = there.token
        return there.token

    def _take_back(self, attempt: tuple[Key, Key, Token], copied: Token, *, keep: bool) -> None:
        """Remove a copy that nobody wants after all.

        Another attempt would not know it for ours, so this one tries more than once.

        Args:
            attempt: Whose copy.
            copied: Its version.
            keep: Whether it goes to the trash: somebody else may have made just the same move.
        """
        self._copies.pop(attempt, None)
        target = attempt[1]
        for tries in range(_TRIES):
            try:
                with self._bin.keeping(target, copied, Trash(LEFTOVER_RUN) if keep else None) as effect:
                    effect.begins()
                    self._bucket.delete(target, only_if(copied))
            except PreconditionFailed:
                return
            except StoreError as error:
                if not error.retryable or tries == _TRIES - 1:
                    return
            else:
                return
