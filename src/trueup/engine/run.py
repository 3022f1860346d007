"""The straight line: observe, reconcile, plan, check, confirm, execute, report."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from filelock import FileLock, Timeout

from trueup.core.check import Refusal, check
from trueup.core.errors import Locked, PlanRefused
from trueup.core.moves import find as find_moves
from trueup.core.moves import join as join_moves
from trueup.core.moves import split as split_moves
from trueup.core.plan import Item, Plan, build_items
from trueup.core.report import Ending, Report
from trueup.core.tree import SIDES, settle
from trueup.engine.execute import execute, settle_killed
from trueup.engine.job import Job
from trueup.engine.observe import Observation, observe

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
    async with held(job):
        plan = selected(build_plan(job, await observe(job.protected())), job)
        await tidy(job)
        if not plan.needs_apply:
            return Report(plan, Ending.IN_SYNC)
        refuse(plan, check(plan, job.limits, allow=job.allow))
        if plan.changes and not await confirm(plan):
            return Report(plan, Ending.DECLINED)
        return await execute(plan, job)


async def tidy(job: Job) -> None:
    """Keep what killed runs left under temporary names, now that the listing has come across it."""
    for side in SIDES:
        if job.policy.direction.writes(side):
            await job.stores[side].clean()


async def look(job: Job) -> Plan:
    """The plan that `run` would confirm now. Writes nothing, and takes no lock."""
    return selected(build_plan(job, await observe(job.protected())), job)


def build_plan(job: Job, seen: Observation) -> Plan:
    """Reconcile what was seen into a plan."""
    names = {side: job.stores[side].properties.names for side in SIDES}
    moves = find_moves(seen.findings, job.policy) if seen.complete else []
    split = split_moves(seen.findings, moves)
    settled = settle(split, job.policy, names, complete=seen.complete, resolve=job.resolve)
    findings = join_moves(settled, moves)
    return Plan(
        target=job.target,
        policy=job.policy,
        items=build_items(findings, job.policy),
        observed=seen.observed,
        ancestors=seen.merge.ancestors,
        agreed=seen.merge.agreed,
        made_ns=job.ambient.clock.now_ns(),
        damaged_ancestors=tuple(seen.damaged),
    )


def selected(plan: Plan, job: Job) -> Plan:
    """The plan with only those changes that are wanted. What only remembers an agreement always is."""
    if job.select is None:
        return plan
    wanted = job.select

    def keep(item: Item) -> bool:
        return not item.is_change or wanted(item)

    return replace(plan, items=tuple(item for item in plan.items if keep(item)))


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
async def held(job: Job) -> AsyncIterator[None]:
    """One run per target on this machine, and one per root that this run may write, whoever's state it is."""
    holder = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "target": job.target.name})
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(_held_target(job, holder))
        for side in SIDES:
            if job.policy.direction.writes(side):
                await stack.enter_async_context(job.stores[side].hold(holder))
        await _recover(job)
        yield


async def _recover(job: Job) -> None:
    number = job.state.find_target(job.target)
    if number is not None:
        await settle_killed(job, number)


@asynccontextmanager
async def _held_target(job: Job, holder: str) -> AsyncIterator[None]:
    path = job.state.directory / "locks" / f"{job.target.id}.lock"
    path.parent.mkdir(mode=0o700, exist_ok=True)
    note = path.with_suffix(".json")
    lock = FileLock(path, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout as error:
        by = note.read_text() if note.exists() else "unknown"
        raise Locked(
            f"another run holds {job.target.name}", why=by, attempt="wait for it to end, then run this again"
        ) from error
    try:
        note.write_text(holder)
        yield
    finally:
        note.unlink(missing_ok=True)
        lock.release()
