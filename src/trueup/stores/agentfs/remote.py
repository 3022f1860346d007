"""The remote of an agent: seen in a pristine copy, changed by transactions that are refused if it has moved on."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from trueup.core.errors import PreconditionFailed, StoreError
from trueup.core.model import Key, Token, is_directory, parents
from trueup.protocols import Effect, Move, Opening, Written
from trueup.stores.agentfs import changes, look
from trueup.stores.agentfs.base import MARKER, AgentStore
from trueup.stores.agentfs.beside import Beside
from trueup.stores.agentfs.hrana import ambiguous
from trueup.stores.agentfs.mirror import Mirror


class RemoteAgent(AgentStore):
    """An AgentFS database that a server holds.

    What is read is the version that was listed, whatever the server has by now; what is written is refused by the
    server unless it still has just that version.

    Args:
        mirror: The copy of it.
        opening: What surrounds the store.
        beside: Where replaced versions go.
    """

    def __init__(self, mirror: Mirror, opening: Opening, beside: Beside) -> None:
        super().__init__(mirror.location, opening, beside)
        self.mirror = mirror
        self._touched: set[Key] = set()
        """What was written since the copy was made."""
        self._disturbed: set[Key] = set()
        """The directories above, and those that were made or removed: statements make what they need again."""
        self._pulled = False
        self._gate = threading.Lock()
        self._identity: str | None = None
        """The marker, once it was set: the copy does not have it yet."""

    @property
    def notices(self) -> tuple[str, ...]:
        """None."""
        return ()

    @contextmanager
    def reading(self, *, now: bool) -> Iterator[sqlite3.Connection | None]:
        """As `AgentStore.reading`."""
        with self._gate:
            if now or not self._pulled:
                self._pull()
        with self.mirror.open() as db:
            yield db

    def _pull(self) -> None:
        self._touched.clear()
        self._disturbed.clear()
        self.mirror.pull()
        self._pulled = True

    def bytes_of(self, key: Key, token: Token) -> bytes:
        """As `AgentStore.bytes_of`: of what was listed, or of what was written since."""
        try:
            return super().bytes_of(key, token)
        except PreconditionFailed:
            if not self._touched:
                raise
        with self.reading(now=True):
            pass
        return super().bytes_of(key, token)

    def carry_out(self, plan: changes.Plan, keys: Sequence[Key]) -> Written:
        """As `AgentStore.carry_out`."""
        (answer,) = self._together([(plan, keys)])
        if isinstance(answer, StoreError):
            raise answer
        return answer

    def _batch(self, effects: Sequence[Effect]) -> list[Written | StoreError]:
        answers: list[Written | StoreError] = []
        together: list[Effect] = []
        names: set[Key] = set()
        for effect in effects:
            if names & _around(_keys(effect)):  # it builds on what comes before it
                answers += self._together([(changes.prepared(one), _keys(one)) for one in together])
                together, names = [], set()
            together.append(effect)
            names |= _around(_keys(effect)) if is_directory(_keys(effect)[0]) else set(_keys(effect))
        return answers + self._together([(changes.prepared(one), _keys(one)) for one in together])

    def _set_marker(self, identity: str) -> str:
        if (there := self._marker()) is not None:
            return there
        self.carry_out(changes.mark(MARKER, identity), [])
        with self.mirror.remote() as remote:
            self._identity = remote.value("SELECT value FROM fs_config WHERE key = ?", MARKER)
        return self._identity or identity

    def _marker(self) -> str | None:
        return self._identity or super()._marker()

    def _is_stale(self, keys: Sequence[Key]) -> bool:
        """Whether what was written since may show where these are."""
        names = {name for key in keys for name in (key, Key(key + "/"))}
        return not self._disturbed.isdisjoint(names) or not self._touched.isdisjoint(_around(keys))

    def _together(
        self, wanted: Sequence[tuple[changes.Plan | StoreError, Sequence[Key]]]
    ) -> list[Written | StoreError]:
        """Several changes, each a transaction, in one request."""
        with self._gate:
            touching = [key for _, keys in wanted for key in keys]
            if not self._pulled or self._is_stale(touching):
                self._pull()
        answers: list[Written | StoreError] = []
        due: list[tuple[int, changes.Change, str | None]] = []
        with self.mirror.open() as db:
            begun = db is not None
            for n, (plan, _) in enumerate(wanted):
                try:
                    if isinstance(plan, StoreError):
                        raise plan
                    change = plan(db, self.opening.clock.now_ns())
                except StoreError as error:
                    answers.append(error)
                    continue
                answers.append(change.written)
                if change.statements:
                    due.append((n, change, self._keep(change)))
        if due:
            self._touched.update(key for key in touching if not is_directory(key))
            self._disturbed.update(name for key in touching for name in [*parents(key), key] if is_directory(name))
            self._pulled = self._pulled and begun
            self._send(due, answers)
        return answers

    def _keep(self, change: changes.Change) -> str | None:
        if change.kept is None:
            return None
        return self.beside.keep(change.kept, now_ns=self.opening.clock.now_ns())

    def _send(self, due: Sequence[tuple[int, changes.Change, str | None]], answers: list[Written | StoreError]) -> None:
        outcomes: Sequence[StoreError | None]
        unclear = False
        try:
            with self.mirror.remote() as remote:
                outcomes = remote.transactions([[*change.guards, *change.statements] for _, change, _ in due])
        except StoreError as error:
            outcomes = [error] * len(due)
            unclear = ambiguous(error)  # it may have been carried out: then the trash holds what was replaced
        for (n, change, handle), outcome in zip(due, outcomes, strict=True):
            if outcome is None:
                answers[n] = self._written(change, handle)
                continue
            if handle is not None and not unclear:
                self.beside.forget(handle)
            answers[n] = outcome

    def _written(self, change: changes.Change, handle: str | None) -> Written | StoreError:
        written = Written(change.written.token, change.written.fingerprint, handle)
        if change.moved is None:
            return written
        with self.reading(now=True) as db:
            found = None if db is None else look.find(db, change.moved)
        if found is None:
            return PreconditionFailed(f"{change.moved} was changed meanwhile")
        return Written(found.token, None, handle)


def _keys(effect: Effect) -> Sequence[Key]:
    return (effect.origin, effect.target) if isinstance(effect, Move) else (effect.key,)


def _around(keys: Sequence[Key]) -> set[Key]:
    """The keys and what is above them, as files and as directories."""
    near = {name for key in keys for name in [key, *parents(key)]}
    return near | {Key(name.removesuffix("/")) for name in near}
