"""Carry out a plan that was made before, where it still matches what is there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from trueup.core.check import check
from trueup.core.codec import refuse_incoherent
from trueup.core.errors import PreconditionFailed, StalePlan, StoreError
from trueup.core.model import Damaged, Entry, Key, Recorded, Side, Token
from trueup.core.plan import Item, Plan
from trueup.core.reconcile import other
from trueup.core.report import Ending, Outcome, Report, Status
from trueup.core.table import Verb
from trueup.engine.execute import execute
from trueup.engine.job import Job
from trueup.engine.run import Confirm, held, refuse, selected, writing


async def apply(plan: Plan, job: Job, *, skip_stale: bool, confirm: Confirm) -> Report:
    """Carry out a plan that a person has seen already; its check is made anew.

    Args:
        plan: The plan, with the versions that it saw.
        job: For the plan's own target and policy.
        skip_stale: Apply what still matches, report the rest as changed.
        confirm: Is shown what will be carried out, when it is still as it was seen and no guard stops it; False ends
            the run with nothing done.

    Raises:
        CodecError: If the plan does not hang together.
        StalePlan: If an item is no longer as the plan saw it, unless those are to be skipped; nothing was done.
        PlanRefused: If a guard stops the plan.
        Locked: If another run holds the target.
    """
    refuse_incoherent(plan)
    async with held(job):
        chosen = selected(plan, job.select)
        stale = await _find_stale(chosen, job)
        if stale and not skip_stale:
            raise _stale_error(stale)
        fresh = replace(chosen, items=tuple(item for item in chosen.items if item.key not in stale))
        refuse(fresh, check(fresh, job.limits, allow=job.allow))
        skipped = _outcomes(chosen, stale)
        if not fresh.needs_apply:
            return Report(chosen, Ending.APPLIED if stale else Ending.IN_SYNC, outcomes=skipped)
        if not await confirm(fresh):
            return Report(chosen, Ending.DECLINED)
        async with writing(job):
            report = await execute(fresh, job)
        return replace(report, plan=chosen, outcomes=(*report.outcomes, *skipped))


async def _find_stale(plan: Plan, job: Job) -> dict[Key, str]:
    """Items of the plan that are no longer as it saw them, with what is different."""
    stale: dict[Key, str] = {}
    deciding = {side for side, seen in plan.observed.items() if not seen.informs}  # others may be out of reach

    async def look_at(item: Item) -> None:
        for key, side, then in _expected(item):
            if side not in deciding:
                continue
            try:
                now = await job.stores[side].stat(key)
            except StoreError as error:  # a link, for example, where a file was
                stale[item.key] = f"{side}: {error}"
                continue
            if then != (now.token if now else None):
                what = side if key == item.key else f"{key} on {side}"
                stale[item.key] = f"{what} {'was changed' if now else 'is gone'}"

    await job.pace.spread(plan.changes, look_at)
    return dict(sorted(stale.items()))


def _expected(item: Item) -> Iterator[tuple[Key, Side, Token | None]]:
    """Which versions the item saw; of a move also under its old name."""
    for side, seen in item.seen.items():
        yield item.key, side, seen.token if isinstance(seen, Entry | Damaged | Recorded) else None
    for step in item.steps:
        if step.verb is Verb.MOVE and step.value is not None:
            yield step.value.key, step.side, step.value.token
            yield step.value.key, other(step.side), None


def _stale_error(stale: Mapping[Key, str]) -> StalePlan:
    shown = "; ".join(f"{key}: {why}" for key, why in list(stale.items())[:10])
    more = f"; and {len(stale) - 10} more" if len(stale) > 10 else ""
    many = "1 item of the plan is no longer as it saw it" if len(stale) == 1 else ""
    return StalePlan(
        f"{many or f'{len(stale)} items of the plan are no longer as it saw them'}, nothing was done",
        why=shown + more,
        attempt="make a new plan, or apply what still matches with --skip-stale",
        changed={str(key): why for key, why in stale.items()},
    )


def _outcomes(plan: Plan, stale: Mapping[Key, str]) -> tuple[Outcome, ...]:
    """Outcomes for the steps of items that no longer match and were skipped."""
    return tuple(
        Outcome(step.id, step.key, Status.CHANGED, stale[item.key], PreconditionFailed.code)
        for item in plan.items
        if item.key in stale
        for step in item.steps
    )
