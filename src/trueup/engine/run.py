"""The straight line: observe, reconcile, plan, check, confirm, execute, report."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from trueup.core.check import Refusal, check
from trueup.core.errors import Locked, PlanRefused
from trueup.core.model import Key, Side, parents
from trueup.core.moves import settle_with_moves
from trueup.core.plan import Item, Observed, Phase, Plan, build_items
from trueup.core.report import Ending, Report
from trueup.core.table import Verb
from trueup.core.tree import SIDES
from trueup.engine.audit import survey
from trueup.engine.candidates import checked, narrowed, with_after_steps
from trueup.engine.execute import execute, remember
from trueup.engine.job import Job
from trueup.engine.killed import settle_killed
from trueup.engine.observe import Observation, observe

if TYPE_CHECKING:
    from filelock import FileLock

Confirm = Callable[[Plan], Awaitable[bool]]
"""Is shown the plan; False ends the run with nothing done."""


async def run(job: Job, *, confirm: Confirm) -> Report:
    """Bring the sides of a job into agreement.

    Args:
        job: What to compare, and how differences are settled.
        confirm: Is shown the plan; False ends the run with nothing done.

    Raises:
        PlanRefused: If a guard stops the plan.
        Locked: If another run holds the target.
        StoreError: If a side cannot be looked at at all.
    """
    async with held(job) as killed:
        plan = selected(await planned(job.protected()), job.select)
        refuse(plan, check(plan, job.limits, allow=job.allow))
        if killed and not plan.changes:
            async with writing(job):
                pass  # it keeps what they left under temporary names
        if not plan.needs_apply:
            return Report(plan, Ending.IN_SYNC)
        if not await confirm(plan):
            return Report(plan, Ending.DECLINED)
        if not plan.changes:
            await remember(plan, job)
            return Report(plan, Ending.IN_SYNC)
        async with writing(job):
            return await execute(plan, job)


async def look(job: Job) -> Plan:
    """The plan that `run` would confirm now. Writes nothing, and takes no lock."""
    return selected(await planned(job.protected()), job.select)


async def planned(job: Job) -> Plan:
    """Observe the sides and reconcile what they show."""
    if job.audit is not None:
        return await (await survey(job, job.audit)).plan()
    return await with_after_steps(job, await checked(job, build_plan(job, await observe(job))))


def build_plan(job: Job, seen: Observation) -> Plan:
    """Reconcile what was seen into a plan."""
    names = {side: job.stores[side].properties.names for side in SIDES}
    findings = settle_with_moves(
        seen.findings, job.policy, names, complete=seen.complete, resolve=job.resolve, movable=job.movable
    )
    items = build_items(findings, job.policy)
    return Plan(
        target=job.target,
        policy=job.policy,
        items=items,
        observed={side: _about_moves(job, items, side, observed) for side, observed in seen.observed.items()},
        ancestors=seen.merge.ancestors,
        agreed=seen.merge.agreed,
        made_ns=job.ambient.clock.now_ns(),
        damaged_ancestors=tuple(seen.damaged),
    )


def _about_moves(job: Job, items: Iterable[Item], side: Side, observed: Observed) -> Observed:
    """The side as it was seen, with what it cannot promise of the moves that are planned there."""
    notice = job.stores[side].properties.about_moves
    if not notice or not any(step.verb is Verb.MOVE and step.side == side for item in items for step in item.steps):
        return observed
    return replace(observed, notices=(*observed.notices, notice))


def selected(plan: Plan, select: Callable[[Item], bool] | None) -> Plan:
    """The plan with only those changes that are wanted. What only remembers an agreement always is.

    A change of kind is carried out whole or not at all: with one of its items come all that it needs, or that need it.
    A directory stays if something is not moved out of it after all. After-steps follow what is left to follow.
    """
    if select is None:
        return plan
    changes = [item for item in plan.changes if item.phase < Phase.AFTER]
    wanted = {item.key for item in changes if select(item)}
    owner = {step.id: item.key for item in plan.items for step in item.steps}
    bonds = [(item.key, owner[need]) for item in changes for step in item.steps for need in step.needs]
    reached: set[Key] = set()
    while reached != wanted:
        reached = set(wanted)
        wanted |= {key for bond in bonds if not wanted.isdisjoint(bond) for key in bond}
    left = _left_by_moves(item for item in changes if item.key not in wanted)

    def keep(item: Item) -> bool:
        return not item.is_change or (
            item.key in wanted and left.isdisjoint((step.key, step.side) for step in item.steps)
        )

    items = [item for item in plan.items if item.phase < Phase.AFTER and keep(item)]
    ids = frozenset(step.id for item in items for step in item.steps)
    after = (narrowed(item, ids) for item in plan.items if item.phase >= Phase.AFTER)
    return replace(plan, items=(*items, *(item for item in after if item is not None)))


def _left_by_moves(items: Iterable[Item]) -> set[tuple[Key, Side]]:
    """Directories that these moves would leave, and where."""
    return {
        (directory, step.side)
        for item in items
        for step in item.steps
        if step.verb is Verb.MOVE and step.value is not None
        for directory in parents(step.value.key)
    }


def refuse(plan: Plan, refusals: tuple[Refusal, ...]) -> None:
    """Stop if a guard says so."""
    if refusals:
        first = refusals[0]
        raise PlanRefused(
            f"refused by the guard {first.guard.value}",
            why="; ".join(refusal.why for refusal in refusals),
            attempt="look at the plan; if it is right, the same command with "
            + " ".join(f"--allow {refusal.guard.value}" for refusal in refusals),
            plan=plan,
            refusals=refusals,
        )


@asynccontextmanager
async def held(job: Job) -> AsyncIterator[list[str]]:
    """One run per target on this machine. Yields the ids of runs of the target that were killed, their books closed."""
    async with _held_target(job, _holder_of(job)):
        number = await job.number()
        yield [] if number is None else await settle_killed(job, number)


@asynccontextmanager
async def writing(job: Job) -> AsyncIterator[None]:
    """One run per root that this run may write, whoever's state it is; what killed runs left there is kept first.

    Entered after the guards: a root that is not the one that was meant gets no lock file either.
    """
    sides = job.written
    async with AsyncExitStack() as stack:
        for side in sides:
            await stack.enter_async_context(job.stores[side].hold(_holder_of(job)))
        for side in sides:
            await job.stores[side].clean()
        yield


def _holder_of(job: Job) -> str:
    return json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "target": job.target.name})


@asynccontextmanager
async def _held_target(job: Job, holder: str) -> AsyncIterator[None]:
    path = job.state.directory / "locks" / f"{job.target.id}.lock"
    lock = await job.ambient.threads(_acquire, path, holder, job.target.name)
    try:
        yield
    finally:
        with anyio.CancelScope(shield=True):  # a cancelled run must not keep the lock
            await job.ambient.threads(_release, lock, path)


def _acquire(path: Path, holder: str, name: str) -> FileLock:
    from filelock import FileLock, Timeout  # 15 ms that a look need not pay

    path.parent.mkdir(mode=0o700, exist_ok=True)
    lock = FileLock(path, timeout=0, mode=0o600, thread_local=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise Locked(
            f"another run holds {name}", why=_holder(path), attempt="wait for it to end, then run this again"
        ) from error
    with suppress(OSError):  # on a full disk: who holds the lock is a courtesy, the lock itself is held
        told = os.open(path.with_suffix(".json"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(told, "w", encoding="utf-8") as file:
            file.write(holder)
    return lock


def _holder(path: Path) -> str:
    try:
        return path.with_suffix(".json").read_text()
    except OSError:
        return "unknown"


def _release(lock: FileLock, path: Path) -> None:
    with suppress(OSError):
        path.with_suffix(".json").unlink()
    lock.release()
