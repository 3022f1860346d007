"""The engine as programs see it: targets by name or by value, everything else by keyword."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from trueup.api.opened import Opened
from trueup.api.trash import Prunable, Pruned, TrashItem, list_trash, prune, restore, tidied
from trueup.core.audit import Judged
from trueup.core.check import Guard, Refusal, check
from trueup.core.errors import NotFound, UsageError
from trueup.core.model import LOCAL, Key, Side
from trueup.core.plan import Item, Plan
from trueup.core.report import Report
from trueup.core.strategy import Conflict
from trueup.engine.act import Amend, Ask, act, as_it_is
from trueup.engine.apply import apply
from trueup.engine.audit import survey
from trueup.engine.doctor import Diagnosis, examine
from trueup.engine.job import Audit, Job
from trueup.engine.journal import Journal, RunRecord, RunSummary
from trueup.engine.run import Confirm, look, run
from trueup.engine.undo import undo
from trueup.protocols import Source
from trueup.targets import Caches, Environments, Policies, Spec

if TYPE_CHECKING:
    from trueup.api.agents import Agent
    from trueup.api.caching import CacheReport, Request, Stats
    from trueup.api.catalogues import Catalogue

Select = Callable[[Item], bool]
"""Says of a change of the plan whether it is wanted."""

_TAKING_BACK = frozenset({Guard.MAX_DELETE, Guard.EMPTIED, Guard.ALL_CHANGED})
"""Guards that speak of how much is written: to take all of it back is no surprise."""

_NO_DECISIONS: Mapping[Key, Conflict] = MappingProxyType({})


async def yes(_: Plan) -> bool:
    """A `Confirm` that agrees to every plan that passes the guards."""
    return True


class Engine(Opened):
    """Plans, applies, remembers.

    Use it as ``async with Engine(config) as engine``. All methods may be called concurrently for different targets; one
    target is held by one run at a time.

    It is made as `Opened` is.
    """

    # -- the line ------------------------------------------------------------------------------------------------

    async def plan(
        self,
        target: str | Spec,
        *,
        verify: bool = False,
        glance: bool = False,
        resolve: Mapping[Key, Conflict] = _NO_DECISIONS,
        select: Select | None = None,
    ) -> Plan:
        """What `run` would do now. Writes nothing on any side.

        Args:
            target: A configured target's name, or a target.
            verify: Read and compare every byte, whatever the versions say.
            glance: Read no content to compare with a record: size and time decide what digests of before do not tell.
            resolve: Strategies for single keys.
            select: Which changes are wanted.
        """
        job = await self._job(target)
        return await look(replace(job, verify=verify, glance=glance, resolve=resolve, select=select))

    def refusals(self, plan: Plan, target: str | Spec, *, allow: Iterable[Guard] = ()) -> tuple[Refusal, ...]:
        """The guards that would refuse this plan."""
        return check(plan, self._spec(target).limits, allow=allow)

    async def run(
        self,
        target: str | Spec,
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
        job = await self._job(target, allow=allow)
        report = await run(replace(job, resolve=resolve, select=select, command=command), confirm=confirm)
        return await tidied(await self._settled(report, job), job)

    async def apply(
        self,
        plan: Plan,
        *,
        select: Select | None = None,
        allow: Iterable[Guard] = (),
        skip_stale: bool = False,
        confirm: Confirm = yes,
        command: str = "",
    ) -> Report:
        """Carry out a plan that was made before.

        Args:
            plan: From `plan`, or read from a file.
            select: Which of its changes are wanted.
            allow: Guards that let this one run pass.
            skip_stale: Apply what still matches, report the rest as changed.
            confirm: Is shown what will be carried out, when all checks are passed; False ends it with nothing done.
            command: What a person typed, for the history.

        Raises:
            StalePlan: If an item is no longer as the plan saw it, unless those are to be skipped; nothing was done.
            PlanRefused: If a guard stops the plan.
        """
        job = replace(await self._planned_job(plan, allow), select=select, command=command)
        return await tidied(
            await self._settled(await apply(plan, job, skip_stale=skip_stale, confirm=confirm), job), job
        )

    async def _settled(self, report: Report, job: Job) -> Report:
        """Settings that the application could not read again are taken back, here and only here."""
        if job.after is None or report.run is None:
            return report
        from trueup.api.content.reloading import failed

        if not failed(report):
            return report
        back = replace(job, allow=job.allow | _TAKING_BACK, command=f"taking back {report.run}")
        taken = await undo(await self.record(report.run), back, confirm=yes, only=LOCAL)
        return replace(report, rolled_back=taken.run)

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
        job = replace(await self._planned_job(record.plan, allow), command=command)
        return await undo(record, job, confirm=confirm)

    def models(self) -> Catalogue:
        """What AI providers list, and the catalogue of it."""
        from trueup.api.catalogues import Catalogue  # an HTTP client that folders need not load

        return Catalogue(self._config, self._directory, self._ambient)

    async def survey(self, target: str | Spec) -> tuple[Judged, ...]:
        """Every item of a target that records, in key order: what each side shows, and the table's rule for it.

        Raises:
            UsageError: If the target has no record: two folders.
            StoreError: If the record cannot be read.
        """
        job = await self._job(target)
        return (await survey(job.protected(), _audit_of(job))).judged

    async def act(
        self,
        target: str | Spec,
        ask: Ask,
        *,
        amend: Amend = as_it_is,
        confirm: Confirm = yes,
        allow: Iterable[Guard] = (),
        keep: bool = True,
        command: str = "",
    ) -> Report:
        """Carry out what a person asks for by name, as a run that can be undone.

        Args:
            target: A configured target's name, or a target; one that records.
            ask: Is given every item, and returns those that are wanted, each with the rule that does it.
            amend: Is given what the kind would record by itself, and says what is recorded.
            confirm: Is shown the plan; False ends the run with nothing done.
            allow: Guards that let this one run pass.
            keep: Whether what is deleted goes to the trash.
            command: What a person typed, for the history.
        """
        job = replace(await self._job(target, allow=allow), command=command)
        return await act(job, _audit_of(job), ask, amend=amend, confirm=confirm, keep=keep)

    async def cache(
        self,
        target: str | Spec,
        request: Request,
        *,
        into: CacheReport | None = None,
        confirm: Confirm = yes,
        command: str = "",
    ) -> CacheReport:
        """Refresh, invalidate, warm or clear a cache, as a run that the history shows. It cannot be undone.

        Args:
            target: A configured target's name, or a target; one of kind ``cache``.
            request: What is asked for.
            into: What is returned, for whoever wants it also if the run ends with an error.
            confirm: Is shown the plan; False ends the run with nothing done.
            command: What a person typed, for the history.

        Raises:
            UsageError: If the target is no cache, or a key or a namespace is not the application's.
            StoreError: If the cache cannot be looked at.
        """
        from trueup.api.caching import CacheReport, carry_out  # stores that folders need not load

        spec = _cache_of(self._spec(target))
        report = into or CacheReport()
        job = replace(await self._job(spec), command=command)
        await carry_out(job, spec, request, report, confirm=confirm)
        return report

    async def cache_stats(self, target: str | Spec) -> dict[str, Stats]:
        """Keys and bytes of a cache by namespace, and how often its server had what it was asked for.

        Raises:
            UsageError: If the target is no cache.
            StoreError: If the cache cannot be looked at.
        """
        from trueup.api.caching import stats

        return await stats(await self._job(_cache_of(self._spec(target))))

    async def containers(self, target: Policies | Environments, key: Key) -> list[str]:
        """The running containers of one entry of a registry, and of no other, by the engine's ids."""
        job = await self._job(target)
        from trueup.api.registries import containers

        return await self._ambient.threads(containers, job, key)

    async def agent(self, target: str | Spec) -> Agent:
        """What can be done with an agent's database besides syncing it.

        Raises:
            UsageError: If the target is no agent.
            Locked: If the agent has its database open.
        """
        from trueup.api.agents import Agent

        return Agent(await self._job(target))

    # -- memory --------------------------------------------------------------------------------------------------

    async def history(self, *, target: str | Spec | None = None, limit: int = 50) -> list[RunSummary]:
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

    async def trash(self, target: str | Spec) -> list[TrashItem]:
        """Everything in the trash of both sides."""
        return await list_trash(await self._job(target))

    async def restore(self, target: str | Spec, handle: str, *, side: Side = LOCAL, to: Path | None = None) -> None:
        """Bring a kept version back under its name, or into a file of your choice. It stays in the trash as well.

        Raises:
            NotFound: If the side's trash holds no such version.
            PreconditionFailed: If something has the name; nothing was changed.
        """
        await restore(await self._job(target), side, handle, to)

    async def prune(
        self,
        target: str | Spec,
        *,
        older_than_seconds: float | None = None,
        run_name: str | None = None,
        last_copies: bool = False,
        dry_run: bool = False,
    ) -> Pruned:
        """Destroy kept versions for good.

        Args:
            target: A configured target's name, or a target.
            older_than_seconds: Only what has been there for longer.
            run_name: Only what this run put there.
            last_copies: Also versions whose name no side holds any more; by default those are refused.
            dry_run: Say what would go.
        """
        which = Prunable(older_than_seconds, run_name, last_copies)
        return await prune(await self._job(target), which, dry_run=dry_run)

    async def content(self, target: str | Spec, side: Side, key: Key, *, limit: int) -> bytes:
        """The first bytes of what a side holds now.

        Raises:
            NotFound: If it holds nothing there.
        """
        store = (await self._job(target)).stores[side]
        entry = await store.stat(key)
        if entry is None:
            raise NotFound(f"{side} does not hold {key}")
        return await self._ambient.threads(_read, store.source(key, entry), limit)

    async def doctor(self, target: str | Spec | None = None) -> list[Diagnosis]:
        """What could keep runs from working, each with its remedy.

        Args:
            target: A target; None: all that are configured, a registry that is there without being so, and the server.
        """
        from trueup.api.registries import unconfigured  # the docker client, which folders need not load

        specs = [self._spec(target)] if target is not None else [*self.targets.values(), *unconfigured(self.targets)]
        jobs = [(spec.name, partial(self._job, spec)) for spec in specs]
        found = await examine(self._directory, self._opened, jobs, self._ambient)
        return found if target is not None else found + await self._ambient.threads(self._server)

    def _server(self) -> list[Diagnosis]:
        from trueup.engine.listening import examine_server  # it speaks HTTP, which nothing else here does

        meant = "serve.port" in self._config.origins
        return examine_server(self._directory, self._config.port, meant=meant)


def _cache_of(spec: Spec) -> Caches:
    if not isinstance(spec, Caches):
        raise UsageError(f"{spec.name} is no cache", why="its kind is another one")
    return spec


def _audit_of(job: Job) -> Audit:
    if job.audit is None:
        raise UsageError(f"{job.target.name} has no record", why="it is a pair of folders")
    return job.audit


def _read(source: Source, limit: int) -> bytes:
    read = bytearray()
    with source.open() as chunks:
        for chunk in chunks:
            read += chunk
            if len(read) >= limit:
                break
    return bytes(read[:limit])
