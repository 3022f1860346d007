"""Carry out what a person asks for by name: not found by comparing, but run as a plan like all others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from trueup.core.audit import Judged, planned
from trueup.core.check import check
from trueup.core.plan import Item, Plan
from trueup.core.report import Ending, Report
from trueup.core.table import Verb
from trueup.engine.audit import audited, survey
from trueup.engine.execute import execute
from trueup.engine.job import Audit, Job
from trueup.engine.run import Confirm, held, refuse, writing

Ask = Callable[[Sequence[Judged]], Sequence[Judged]]
"""Makes of what was seen the items that are wanted, each with the rule that does it."""


async def act(job: Job, how: Audit, ask: Ask, *, confirm: Confirm, keep: bool = True) -> Report:
    """Look, make a plan of what is asked for, show it, carry it out.

    Args:
        job: The target.
        how: How its sides are compared.
        ask: Is given every item; what it raises ends the run with nothing done.
        confirm: Is shown the plan; False ends the run with nothing done.
        keep: Whether what is deleted goes to the trash.

    Raises:
        PlanRefused: If a guard stops the plan.
        Locked: If another run holds the target.
    """
    async with held(job):
        items = planned(ask(await survey(job.protected(), how)), how.method)
        plan = _asked(await audited(job.protected(), how), items if keep else tuple(map(_unsaved, items)))
        refuse(plan, check(plan, job.limits, allow=job.allow))
        if not plan.needs_apply:
            return Report(plan, Ending.IN_SYNC)
        if not await confirm(plan):
            return Report(plan, Ending.DECLINED)
        async with writing(job):
            return await execute(plan, job)


def _asked(plan: Plan, items: tuple[Item, ...]) -> Plan:
    """The plan for these items alone. Sides that none of them writes only inform: they may be out of reach."""
    written = {step.side for item in items for step in item.steps}
    observed = {
        side: replace(seen, informs=seen.informs or side not in written) for side, seen in plan.observed.items()
    }
    return replace(plan, items=items, observed=observed)


def _unsaved(item: Item) -> Item:
    """The item without its saves."""
    saves = {step.id for step in item.steps if step.verb is Verb.SAVE}
    steps = [
        replace(step, needs=tuple(need for need in step.needs if need not in saves))
        for step in item.steps
        if step.id not in saves
    ]
    return replace(item, steps=tuple(steps))
