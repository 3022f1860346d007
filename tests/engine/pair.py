"""Two real folders, an engine over them, and a witness of everything that was ever written there."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from anyio import to_thread

from trueup.api import Engine, yes
from trueup.core.check import Guard, Limits
from trueup.core.model import LOCAL, REMOTE, Entry, Fingerprint, Key, Row, Side, Token
from trueup.core.plan import Item, Plan
from trueup.core.report import Report
from trueup.core.strategy import Conflict, Deletes, Policy
from trueup.engine.ambient import Ambient
from trueup.engine.job import Job
from trueup.engine.run import Confirm
from trueup.engine.wrap import Wrapper
from trueup.protocols import Source, Store, Trash, Written
from trueup.targets import Spec
from trueup.targets.folders import Folders, Selection, Tuning

HOUR = 3600.0
PROPAGATE = Policy(deletes=Deletes.PROPAGATE)
MANY = Limits(delete_count=1000)
QUICK = Tuning(retry_delay_seconds=0.0)
TEMPORARY = ".trueup-tmp-"

Wrap = Callable[[Side, Store], Store]


class WrappedEngine(Engine):
    """An engine whose stores a test has wrapped."""

    def __init__(self, state: Path, wrap: Wrap | None, ambient: Ambient | None = None) -> None:
        super().__init__(state_dir=state, ambient=ambient)
        self._wrap = wrap

    async def _job(self, target: str | Spec, *, allow: Iterable[Guard] = ()) -> Job:
        job = await super()._job(target, allow=allow)
        if self._wrap is None:
            return job
        return replace(job, stores={side: self._wrap(side, store) for side, store in job.stores.items()})


@dataclass
class Pair:
    """A local and a remote folder below ``base``, and how they are kept in agreement."""

    base: Path
    policy: Policy = PROPAGATE
    limits: Limits = MANY
    selection: Selection = field(default_factory=Selection)
    tuning: Tuning = QUICK
    state: Path = Path()
    ever: set[bytes] = field(default_factory=set)
    """Every content that somebody wrote."""
    ambient: Ambient | None = None

    def __post_init__(self) -> None:
        self.local.mkdir(parents=True, exist_ok=True)
        self.remote.mkdir(parents=True, exist_ok=True)
        if self.state == Path():
            self.state = self.base / "state"

    @property
    def local(self) -> Path:
        return self.base / "local"

    @property
    def remote(self) -> Path:
        return self.base / "remote"

    @property
    def sides(self) -> tuple[Path, Path]:
        return self.local, self.remote

    # -- what people do ------------------------------------------------------------------------------------------

    def write(self, side: Path, name: str | bytes, text: str | bytes, *, age: float = HOUR) -> Path:
        """Somebody writes a file; it looks ``age`` seconds old, so that its version is trusted."""
        content = text.encode() if isinstance(text, str) else text
        path = side / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        then = time.time_ns() - int(age * 1e9)
        os.utime(path, ns=(then, then))
        self.ever.add(content)
        return path

    def both(self, name: str | bytes, text: str | bytes) -> None:
        for side in self.sides:
            self.write(side, name, text)

    # -- what the engine does ------------------------------------------------------------------------------------

    def spec(self, **changes: Any) -> Folders:
        spec = Folders(
            "pair",
            (str(self.local),),
            str(self.remote),
            policy=self.policy,
            limits=self.limits,
            selection=self.selection,
            tuning=self.tuning,
        )
        return replace(spec, **changes)

    def engine(self, wrap: Wrap | None = None) -> WrappedEngine:
        return WrappedEngine(self.state, wrap, self.ambient)

    async def plan(self, *, wrap: Wrap | None = None, verify: bool = False, **changes: Any) -> Plan:
        async with self.engine(wrap) as engine:
            return await engine.plan(self.spec(**changes), verify=verify)

    async def run(
        self,
        *,
        wrap: Wrap | None = None,
        allow: Iterable[Guard] = (),
        confirm: Confirm = yes,
        resolve: Mapping[Key, Conflict] | None = None,
        select: Callable[[Item], bool] | None = None,
        **changes: Any,
    ) -> Report:
        async with self.engine(wrap) as engine:
            spec = self.spec(**changes)
            return await engine.run(spec, allow=allow, confirm=confirm, resolve=resolve or {}, select=select)

    async def undo(self, run: str = "last", *, allow: Iterable[Guard] = (), wrap: Wrap | None = None) -> Report:
        async with self.engine(wrap) as engine:
            return await engine.undo(run, allow=allow)

    async def settle(self, **changes: Any) -> None:
        """Run until nothing is left to do; at most three times."""
        for _ in range(3):
            if not (await self.run(**changes)).plan.needs_apply:
                return
        raise AssertionError("three runs did not come to rest")

    # -- what is there -------------------------------------------------------------------------------------------

    def live(self, side: Path) -> dict[str, bytes | None]:
        """Files with their content, directories with None; trueup's own names left out."""
        return {name: seen for name, seen in _walk(side) if not _is_ours(name)}

    def agree(self) -> bool:
        return self.live(self.local) == self.live(self.remote)

    def trashed(self, side: Path) -> set[bytes]:
        """Contents in the trash."""
        return {seen for name, seen in _walk(side) if name.startswith(".trueup/trash/") and seen is not None}

    def lost(self) -> set[bytes]:
        """Contents that were written once and are neither live nor in a trash."""
        there: set[bytes] = set()
        for side in self.sides:
            there |= {seen for seen in self.live(side).values() if seen is not None} | self.trashed(side)
        return self.ever - there

    def witness(self) -> None:
        """Forget what its owners have overwritten or deleted themselves: what is there now must not be lost."""
        self.ever = set()
        for side in self.sides:
            self.ever |= {seen for seen in self.live(side).values() if seen is not None}

    def leftovers(self) -> list[str]:
        """Temporary names that a run left behind."""
        return [name for side in self.sides for name, _ in _walk(side) if f"/{TEMPORARY}" in f"/{name}"]

    def everything(self) -> dict[str, tuple[object, ...]]:
        """Both sides to the last bit, trash included; only the lock, which a run takes before it looks, left out."""
        found: dict[str, tuple[object, ...]] = {}
        for side in self.sides:
            for path in sorted(side.rglob("*")):
                if path.name == "lock" and path.parent.name == ".trueup":
                    continue
                if path == side / ".trueup" and [child.name for child in path.iterdir()] == ["lock"]:
                    continue
                status = path.lstat()
                content = path.read_bytes() if stat.S_ISREG(status.st_mode) else None
                times = None if path.is_dir() else status.st_mtime_ns
                found[str(path)] = (status.st_mode, times, content)
        return found


def _is_ours(name: str) -> bool:
    return name.startswith(".trueup/") or f"/{TEMPORARY}" in f"/{name}"


def _walk(root: Path) -> Iterator[tuple[str, bytes | None]]:
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            continue
        yield (name + "/", None) if path.is_dir() else (name, path.read_bytes())


Act = Callable[[], None]
When = tuple[str, str]
"""An operation and a key, or ``*`` for any key."""


@dataclass
class Meddler:
    """Does something, once, right before or after a store's operation on a key."""

    before: dict[When, Act] = field(default_factory=dict)
    after: dict[When, Act] = field(default_factory=dict)

    def wrap(self, _: Side, store: Store) -> Store:
        return Meddled(store, self)

    def on(self, side: Side) -> Wrap:
        """Wrap one side only."""
        return lambda which, store: Meddled(store, self) if which == side else store

    @asynccontextmanager
    async def around(self, operation: str, key: str) -> AsyncIterator[None]:
        await to_thread.run_sync(self.act, self.before, operation, key)
        yield
        await to_thread.run_sync(self.act, self.after, operation, key)

    @staticmethod
    def act(acts: dict[When, Act], operation: str, key: str) -> None:
        for when in ((operation, key), (operation, "*")):
            act = acts.pop(when, None)
            if act is not None:
                act()


class Meddled(Wrapper):
    """A store around whose calls somebody else is at work."""

    def __init__(self, inner: Store, meddler: Meddler) -> None:
        super().__init__(inner)
        self._meddler = meddler

    async def scan(self) -> AsyncIterator[list[Row]]:
        async with self._meddler.around("scan", ""):
            async for batch in self.inner.scan():
                yield batch

    async def stat(self, key: Key) -> Entry | None:
        async with self._meddler.around("stat", key):
            return await self.inner.stat(key)

    async def fingerprint(self, key: Key, token: Token) -> Fingerprint:
        async with self._meddler.around("fingerprint", key):
            return await self.inner.fingerprint(key, token)

    def source(self, key: Key, entry: Entry) -> Source:
        source = self.inner.source(key, entry)

        @contextmanager
        def opened() -> Iterator[Iterator[bytes]]:
            with source.open() as chunks:
                yield self._chunks(key, chunks)

        return replace(source, open=opened)

    def _chunks(self, key: Key, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self._meddler.act(self._meddler.before, "read", key)
            yield chunk
            self._meddler.act(self._meddler.after, "read", key)

    async def write(self, key: Key, source: Source, *, expect: Token | None, trash: Trash | None) -> Written:
        async with self._meddler.around("write", key):
            return await self.inner.write(key, source, expect=expect, trash=trash)

    async def make_directory(self, key: Key, *, expect: Token | None, trash: Trash | None) -> Written:
        async with self._meddler.around("make_directory", key):
            return await self.inner.make_directory(key, expect=expect, trash=trash)

    async def remove(self, key: Key, *, expect: Token, trash: Trash | None) -> Written:
        async with self._meddler.around("remove", key):
            return await self.inner.remove(key, expect=expect, trash=trash)


def only(side: Side, wrapper: Callable[[Store], Store]) -> Wrap:
    """Wrap one side."""
    return lambda which, store: wrapper(store) if which == side else store


def reasons(plan: Plan) -> dict[str, str]:
    """Why each item of the plan is in it."""
    return {item.key: item.reason for item in plan.items}


__all__ = ["LOCAL", "REMOTE", "Meddler", "Pair", "only", "reasons"]
