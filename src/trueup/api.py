"""The asynchronous Python API. Every face (command line, blocking facade, later REST) calls this and nothing below."""

from __future__ import annotations

import math
import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

import anyio
from anyio.streams.memory import MemoryObjectSendStream

from trueup.config import Bucket, Config
from trueup.config import state_dir as default_state_dir
from trueup.core.check import Guard, Refusal, check
from trueup.core.errors import NotFound, PreconditionFailed, StalePlan, StoreError, UsageError
from trueup.core.model import LOCAL, REMOTE, Content, Entry, Key, Kind, Side, Token
from trueup.core.plan import Item, Plan
from trueup.core.report import Ending, Outcome, Report, Status
from trueup.core.strategy import Conflict
from trueup.core.tree import SIDES
from trueup.engine.ambient import Ambient
from trueup.engine.doctor import Diagnosis, examine
from trueup.engine.execute import execute
from trueup.engine.filter import DEFAULT_EXCLUDES, IGNORE_FILE, Below, PatternFilter, read_ignore_file
from trueup.engine.job import Job, Progress
from trueup.engine.journal import Journal, RunRecord, RunSummary
from trueup.engine.pace import Pace
from trueup.engine.run import Confirm, held, look, refuse, run, selected
from trueup.engine.state import State
from trueup.engine.undo import undo_plan
from trueup.engine.wrap import BandwidthLimited, Patience, TimeLimited
from trueup.protocols import Access, Discarded, Filter, Opening, Source, Store
from trueup.stores import open_store, scheme_of
from trueup.stores.joined import JoinedStore, places
from trueup.targets.folders import Folders

__all__ = [
    "Confirm",
    "Diagnosis",
    "Engine",
    "Progress",
    "Pruned",
    "RunRecord",
    "RunSummary",
    "TrashItem",
]

Select = Callable[[Item], bool]
"""Says of a change of the plan whether it is wanted."""

_NO_DECISIONS: Mapping[Key, Conflict] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class TrashItem:
    """One version in the trash of a target's side."""

    side: Side
    item: Discarded


@dataclass(frozen=True, slots=True)
class Pruned:
    """What `Engine.prune` destroyed, or would."""

    removed: int
    bytes: int
    refused: tuple[tuple[str, str], ...] = ()
    """Handles that stay, each with the reason: the last copy of something is never destroyed."""


async def yes(_: Plan) -> bool:
    """A `Confirm` that agrees to every plan that passes the guards."""
    return True


class Engine:
    """Plans, applies, remembers.

    Use it as ``async with Engine(config) as engine``. All methods may be called concurrently for different targets; one
    target is held by one run at a time.

    Args:
        config: What `trueup.config.load` found; None: no configuration, ad hoc targets only.
        state_dir: Where to remember; default: the configuration's.
        on_progress: Is called for everything that happens, in the event loop's thread.
        ambient: Clock, threads, names, randomness; for simulations.
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        state_dir: Path | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        ambient: Ambient | None = None,
    ) -> None:
        self._config = config or Config(state_dir or default_state_dir(Path.cwd(), env=os.environ))
        self._directory = state_dir or self._config.state_dir
        self._ambient = ambient or Ambient()
        self._state: State | None = None
        self._opening = anyio.Lock()
        self._draining = False
        self._remembered: dict[str, str] = {}
        """What stores found out about services."""
        self._listeners: list[MemoryObjectSendStream[Progress]] = []
        self._on_progress = on_progress

    async def __aenter__(self) -> Self:
        """Open nothing yet: the state is opened on first use."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the state, end the event streams."""
        for listener in self._listeners:
            await listener.aclose()
        if self._state is not None:
            self._state.close()

    def drain(self) -> None:
        """Finish what is under way, begin nothing new; runs end as interrupted. May be called from a signal handler."""
        self._draining = True

    async def events(self) -> AsyncIterator[Progress]:
        """Everything that happens from now on, until the engine is closed. A slow reader misses nothing."""
        send, receive = anyio.create_memory_object_stream[Progress](math.inf)
        self._listeners.append(send)
        try:
            async with receive:
                async for event in receive:
                    yield event
        finally:
            if send in self._listeners:
                self._listeners.remove(send)

    def _progress(self, event: Progress) -> None:
        if self._on_progress is not None:
            self._on_progress(event)
        for listener in self._listeners:
            listener.send_nowait(event)

    # -- targets -------------------------------------------------------------------------------------------------

    @property
    def targets(self) -> Mapping[str, Folders]:
        """The configured targets by name."""
        return self._config.targets

    def find(self, name: str) -> Folders:
        """The configured target of that name.

        Raises:
            UsageError: If there is none; with the nearest names.
        """
        return self._config.target(name)

    # -- the line ------------------------------------------------------------------------------------------------

    async def plan(
        self,
        target: str | Folders,
        *,
        verify: bool = False,
        resolve: Mapping[Key, Conflict] = _NO_DECISIONS,
        select: Select | None = None,
    ) -> Plan:
        """What `run` would do now. Writes nothing on any side.

        Args:
            target: A configured target's name, or a target.
            verify: Read and compare every byte, whatever the versions say.
            resolve: Strategies for single keys.
            select: Which changes are wanted.
        """
        job = await self._job(target)
        return await look(replace(job, verify=verify, resolve=resolve, select=select))

    def refusals(self, plan: Plan, target: str | Folders, *, allow: Iterable[Guard] = ()) -> tuple[Refusal, ...]:
        """The guards that would refuse this plan."""
        return check(plan, self._spec(target).limits, allow=allow)

    async def run(
        self,
        target: str | Folders,
        *,
        confirm: Confirm = yes,
        allow: Iterable[Guard] = (),
        resolve: Mapping[Key, Conflict] = _NO_DECISIONS,
        select: Select | None = None,
        command: str = "",
    ) -> Report:
        """Bring the sides of a target into agreement: observe, plan, check, confirm, execute, report.

        Args:
            target: A configured target's name, or a target.
            confirm: Is shown the plan; False ends the run with nothing done.
            allow: Guards that let this one run pass.
            resolve: Strategies for single keys.
            select: Which changes are wanted.
            command: What a person typed, for the history.

        Raises:
            PlanRefused: If a guard stops the plan.
            Locked: If another run holds the target.
            StateDamaged: If what was remembered cannot be believed.
            StoreError: If a side cannot be looked at at all.
        """
        job = await self._job(target, allow=frozenset(allow))
        return await run(replace(job, resolve=resolve, select=select, command=command), confirm=confirm)

    async def apply(
        self,
        plan: Plan,
        *,
        select: Select | None = None,
        allow: Iterable[Guard] = (),
        skip_stale: bool = False,
        command: str = "",
    ) -> Report:
        """Carry out a plan that was made before.

        Args:
            plan: From `plan`, or read from a file.
            select: Which of its changes are wanted.
            allow: Guards that let this one run pass.
            skip_stale: Apply what still matches, report the rest as changed.
            command: What a person typed, for the history.

        Raises:
            StalePlan: If an item is no longer as the plan saw it, unless those are to be skipped; nothing was done.
            PlanRefused: If a guard stops the plan.
        """
        job = await self._job(self._spec_of(plan), allow=frozenset(allow))
        if job.target.id != plan.target.id:
            raise StalePlan(f"the plan is for another target than {job.target.name} is now")
        job = replace(job, select=select, command=command, target=plan.target, policy=plan.policy)
        async with held(job):
            chosen = selected(plan, job)
            stale = await self._stale(chosen, job)
            if stale and not skip_stale:
                raise _stale_error(stale)
            fresh = replace(chosen, items=tuple(item for item in chosen.items if item.key not in stale))
            refuse(fresh, check(fresh, job.limits, allow=job.allow))
            if not fresh.needs_apply:
                return Report(fresh, Ending.IN_SYNC, outcomes=_changed(chosen, stale))
            report = await execute(fresh, job)
            return replace(report, outcomes=(*report.outcomes, *_changed(chosen, stale)))

    async def _stale(self, plan: Plan, job: Job) -> dict[Key, str]:
        """Items of the plan that are no longer as it saw them, with what is different."""
        stale: dict[Key, str] = {}

        async def look_at(item: Item) -> None:
            for side in SIDES:
                seen = item.side(side)
                then = seen.token if isinstance(seen, Entry) else None
                try:
                    now = await job.stores[side].stat(item.key)
                except StoreError as error:  # a link, for example, where a file was
                    stale[item.key] = f"{side}: {error}"
                    continue
                if then != (now.token if now else None):
                    stale[item.key] = f"{side} {'was changed' if now else 'is gone'}"

        await job.pace.spread(plan.changes, look_at)
        return dict(sorted(stale.items()))

    async def undo(
        self, run_name: str, *, confirm: Confirm = yes, allow: Iterable[Guard] = (), command: str = ""
    ) -> Report:
        """Take a run back. An undo is a run, and can be undone.

        Args:
            run_name: The run's id, a unique beginning of it, or ``last``.
            confirm: Is shown the plan; False ends the undo with nothing done.
            allow: Guards that let this one run pass.
            command: What a person typed, for the history.

        Raises:
            UsageError: If there is no such run, or nothing in it to take back.
        """
        record = await self.record(run_name)
        job = await self._job(self._spec_of(record.plan), allow=frozenset(allow))
        job = replace(job, target=record.plan.target, policy=record.plan.policy, command=command)
        async with held(job):
            plan = await undo_plan(job, record)
            refuse(plan, check(plan, job.limits, allow=job.allow))
            if not await confirm(plan):
                return Report(plan, Ending.DECLINED)
            return await execute(plan, job)

    # -- memory --------------------------------------------------------------------------------------------------

    async def history(self, *, target: str | Folders | None = None, limit: int = 50) -> list[RunSummary]:
        """The latest runs, newest first."""
        state = await self._opened()
        number = None
        if target is not None:
            number = await (await self._job(target)).number()
            if number is None:
                return []
        return await self._ambient.threads(Journal(state).history, number, limit)

    async def record(self, run_name: str) -> RunRecord:
        """One run with all that it did, by its id, a unique beginning of it, or ``last``."""
        return await self._ambient.threads(Journal(await self._opened()).find, run_name)

    async def trash(self, target: str | Folders) -> list[TrashItem]:
        """Everything in the trash of both sides."""
        job = await self._job(target)
        return [TrashItem(side, item) for side in SIDES for item in await job.stores[side].kept()]

    async def restore(self, target: str | Folders, handle: str, *, side: Side = LOCAL, to: Path | None = None) -> None:
        """Bring a kept version back under its name, or into a file of your choice. It stays in the trash as well.

        Raises:
            NotFound: If the side's trash holds no such version.
            PreconditionFailed: If something has the name; nothing was changed.
        """
        job = await self._job(target)
        item, source = await self._kept(job, side, handle)
        if to is not None:
            await self._ambient.threads(_write_out, to, source)
            return
        async with held(job):
            await job.stores[side].write(item.key, source, expect=None, trash=None)

    async def prune(
        self,
        target: str | Folders,
        *,
        older_than_seconds: float | None = None,
        run_name: str | None = None,
        dry_run: bool = False,
    ) -> Pruned:
        """Destroy kept versions for good, except the last copy of anything.

        Args:
            target: A configured target's name, or a target.
            older_than_seconds: Only what has been there for longer.
            run_name: Only what this run put there.
            dry_run: Say what would go.
        """
        job = await self._job(target)
        now_ns = self._ambient.clock.now_ns()
        removed = size = 0
        refused = []
        for kept in await self.trash(target):
            old_ns = now_ns - kept.item.discarded_ns
            if (run_name is not None and kept.item.run != run_name) or (
                older_than_seconds is not None and old_ns < older_than_seconds * 1e9
            ):
                continue
            if await self._is_last_copy(job, kept):
                refused.append((kept.item.handle, "it is the only copy: no side holds anything under that name"))
                continue
            removed, size = removed + 1, size + kept.item.size
            if not dry_run:
                await job.stores[kept.side].prune(kept.item.handle)
        return Pruned(removed, size, tuple(refused))

    async def _is_last_copy(self, job: Job, kept: TrashItem) -> bool:
        """Whether no side holds anything under the name any more."""
        return all([await job.stores[side].stat(kept.item.key) is None for side in SIDES])

    async def content(self, target: str | Folders, side: Side, key: Key, *, limit: int) -> bytes:
        """The first bytes of what a side holds now.

        Raises:
            NotFound: If it holds nothing there.
        """
        store = (await self._job(target)).stores[side]
        entry = await store.stat(key)
        if entry is None:
            raise NotFound(f"{side} does not hold {key}")
        return await self._ambient.threads(_read, store.source(key, entry), limit)

    async def doctor(self, target: str | Folders | None = None) -> list[Diagnosis]:
        """What could keep runs from working, each with its remedy."""
        specs = [self._spec(target)] if target is not None else list(self.targets.values())
        jobs = [(spec.name, partial(self._job, spec)) for spec in specs]
        return await examine(self._directory, self._opened, jobs, self._ambient)

    # -- opening -------------------------------------------------------------------------------------------------

    def _spec(self, target: str | Folders) -> Folders:
        return self.find(target) if isinstance(target, str) else target

    def _spec_of(self, plan: Plan) -> Folders:
        """The configured target that a plan is for, or one made from the plan itself."""
        configured = self.targets.get(plan.target.name)
        if configured is not None:
            return configured
        locations = plan.target.locations
        return Folders(plan.target.name, tuple(places(locations[LOCAL])), locations[REMOTE], plan.policy)

    async def _opened(self, *, recover: bool = False) -> State:
        async with self._opening:  # two callers at once share one connection
            if self._state is None:
                self._state = await self._ambient.threads(self._open_state, recover)
            return self._state

    def _open_state(self, recover: object) -> State:
        return State.recovered(self._directory, self._ambient.run_id()) if recover else State(self._directory)

    async def _job(self, target: str | Folders, *, allow: frozenset[Guard] = frozenset()) -> Job:
        spec = self._spec(target)
        state = await self._opened(recover=Guard.CORRUPT_STATE in allow)
        tuning = spec.tuning
        stores = {}
        for side, store in (await self._ambient.threads(self._open_sides, spec)).items():
            limited: Store = TimeLimited(store, seconds=tuning.timeout_seconds)
            if tuning.bytes_per_second:
                limited = BandwidthLimited(limited, bytes_per_second=tuning.bytes_per_second, clock=self._ambient.clock)
            stores[side] = limited
        locations = {side: store.properties.location for side, store in stores.items()}
        await self._ambient.threads(_refuse_overlap, locations, self._directory)
        return Job(
            target=spec.target(locations),
            policy=spec.policy,
            stores=stores,
            state=state,
            ambient=self._ambient,
            limits=spec.limits,
            pace=Pace(tuning.max_concurrent),
            patience=Patience(tuning.retry_attempts, tuning.retry_delay_seconds),
            allow=allow,
            on_progress=self._progress,
            draining=lambda: self._draining,
        )

    def _open_sides(self, spec: Folders) -> dict[Side, Store]:
        patterns = _filter_of(spec)

        def opened(url: str, belongs: Filter = patterns, trash: str | None = None) -> Store:
            ambient = self._ambient
            access = tuple(_access(bucket) for bucket in self._config.buckets.values())
            opening = Opening(ambient.clock, ambient.threads, ambient.unique, belongs, trash, access, self._remembered)
            return open_store(url, opening)

        if len(spec.local) == 1:
            local = opened(spec.local[0], trash=spec.trash)
        else:
            local = _joined(spec.local, lambda name, path: opened(path, Below(name, patterns)))
        return {LOCAL: local, REMOTE: opened(spec.remote)}

    async def _kept(self, job: Job, side: Side, handle: str) -> tuple[Discarded, Source]:
        for item in await job.stores[side].kept():
            if item.handle == handle:
                entry = Entry(Token(""), Content(Kind.FILE, item.size))
                return item, job.stores[side].kept_source(handle, entry)
        raise NotFound(f"the trash of {side} holds no {handle}", attempt="trueup trash ls")


def _access(bucket: Bucket) -> Access:
    """What is configured for a bucket; its secrets are fetched when a store needs them."""
    access, secret = bucket.access_key, bucket.secret_key
    return Access(
        bucket.url,
        bucket.endpoint,
        bucket.region,
        None if access is None else access.reveal,
        None if secret is None else secret.reveal,
    )


def _root_name(path: str) -> str:
    return Path(path.removeprefix("file://")).expanduser().resolve().name


def _joined(roots: Sequence[str], opened: Callable[[str, str], Store]) -> Store:
    stores: dict[str, Store] = {}
    for path in roots:
        name = _root_name(path)
        if name in stores:
            raise UsageError(f"two local folders are named {name}", why="only the names tell them apart on the remote")
        stores[name] = opened(name, path)
    return JoinedStore(stores)


def _filter_of(spec: Folders) -> PatternFilter:
    """The target's own patterns after the defaults and the folder's ignore file, so that they win."""
    patterns = list(DEFAULT_EXCLUDES) if spec.selection.defaults else []
    for root in spec.local:
        if scheme_of(root) == "file":
            ignore = Path(root.removeprefix("file://")).expanduser() / IGNORE_FILE
            if ignore.is_file():
                name = _root_name(root) if len(spec.local) > 1 else ""
                patterns += read_ignore_file(ignore.read_text("utf-8", "surrogateescape"), root=name)
    return PatternFilter(
        include=spec.selection.include,
        exclude=[*patterns, *spec.selection.exclude],
        min_size=spec.selection.min_size,
        max_size=spec.selection.max_size,
    )


def _refuse_overlap(locations: Mapping[Side, str], state: Path) -> None:
    """Two roots inside each other would sync their own traces for ever."""
    state = state.resolve()
    roots = [(side, Path(part)) for side, location in locations.items() for part in places(location)]
    roots = [(side, path) for side, path in roots if path.is_absolute()]
    for index, (side, path) in enumerate(roots):
        for other_side, other in roots[index + 1 :]:
            if path == other or path in other.parents or other in path.parents:
                raise UsageError(
                    f"{side} {path} and {other_side} {other} overlap",
                    why="a folder cannot be kept in agreement with itself",
                )
        if path == state or path in state.parents:
            raise UsageError(
                f"the state directory {state} lies in {side} {path}",
                attempt="set TRUEUP_STATE to a directory outside",
            )


def _stale_error(stale: Mapping[Key, str]) -> StalePlan:
    shown = "; ".join(f"{key}: {why}" for key, why in list(stale.items())[:10])
    more = f"; and {len(stale) - 10} more" if len(stale) > 10 else ""
    return StalePlan(
        f"{len(stale)} of the plan's items are no longer as it saw them, nothing was done",
        why=shown + more,
        attempt="make a new plan, or apply what still matches with --skip-stale",
    )


def _changed(plan: Plan, stale: Mapping[Key, str]) -> tuple[Outcome, ...]:
    return tuple(
        Outcome(step.id, step.key, Status.CHANGED, stale[item.key], PreconditionFailed.code)
        for item in plan.items
        if item.key in stale
        for step in item.steps
    )


def _write_out(path: Path, source: Source) -> None:
    try:
        with source.open() as chunks, path.open("xb") as file:
            for chunk in chunks:
                file.write(chunk)
    except FileExistsError as error:
        raise PreconditionFailed(f"{path} is there already", attempt="choose another name") from error
    except OSError as error:
        raise StoreError(f"{path} cannot be written", why=error.strerror or "") from error


def _read(source: Source, limit: int) -> bytes:
    read = bytearray()
    with source.open() as chunks:
        for chunk in chunks:
            read += chunk
            if len(read) >= limit:
                break
    return bytes(read[:limit])
