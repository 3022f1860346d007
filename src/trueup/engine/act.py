"""Carry out what a person asks for by name: not found by comparing, but run as a plan like all others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from trueup.core.audit import Judged, Method, planned
from trueup.core.check import check
from trueup.core.model import Record
from trueup.core.plan import Item, Plan
from trueup.core.report import Ending, Report
from trueup.core.table import Verb
from trueup.engine.audit import survey
from trueup.engine.execute import execute
from trueup.engine.job import Audit, Job
from trueup.engine.run import Confirm, held, refuse, writing

Ask = Callable[[Sequence[Judged]], Sequence[Judged]]
"""Makes of what was seen the items that are wanted, each with the rule that does it."""


Amend = Callable[[Record], Record]
"""Is given what the kind would record by itself, and says what is recorded."""


def as_it_is(record: Record) -> Record:
    """No amendment."""
    return record


async def act(
    job: Job, how: Audit, ask: Ask, *, amend: Amend = as_it_is, confirm: Confirm, keep: bool = True
) -> Report:
    """Look, make a plan of what is asked for, show it, carry it out.

    Args:
        job: The target.
        how: How its sides are compared.
        ask: Is given every item; what it raises ends the run with nothing done.
        amend: Changes what the kind would record by itself.
        confirm: Is shown the plan; False ends the run with nothing done.
        keep: Whether what is deleted goes to the trash.

    Raises:
        PlanRefused: If a guard stops the plan.
        Locked: If another run holds the target.
    """
    async with held(job):
        seen = await survey(job.protected(), how)
        items = planned(ask(seen.judged), _amended(seen.method, amend))
        plan = _only_written(await seen.planned(items if keep else tuple(map(_unsaved, items))))
        refuse(plan, check(plan, job.limits, allow=job.allow))
        if not plan.needs_apply:
            return Report(plan, Ending.IN_SYNC)
        if not await confirm(plan):
            return Report(plan, Ending.DECLINED)
        async with writing(job):
            return await execute(plan, job)


def _amended(method: Method, amend: Amend) -> Method:
    plain = method.record
    if plain is None:
        return method
    return replace(method, record=lambda key, seen, step: amend(plain(key, seen, step)))


def _only_written(plan: Plan) -> Plan:
    """The plan where sides that no step writes only inform: they may be out of reach."""
    written = {step.side for item in plan.items for step in item.steps}
    observed = {
        side: replace(seen, informs=seen.informs or side not in written) for side, seen in plan.observed.items()
    }
    return replace(plan, observed=observed)


def _unsaved(item: Item) -> Item:
    """The item without its saves."""
    saves = {step.id for step in item.steps if step.verb is Verb.SAVE}
    steps = [
        replace(step, needs=tuple(need for need in step.needs if need not in saves))
        for step in item.steps
        if step.id not in saves
    ]
    return replace(item, steps=tuple(steps))
