"""What follows from a plan besides its writes: candidates are judged before them, after-steps come behind them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import anyio

from trueup.core.errors import StoreError
from trueup.core.model import LOCAL, Entry, Key, Kind, Record
from trueup.core.plan import Item, Phase, Plan, Ref, Step
from trueup.core.reconcile import Reason
from trueup.core.table import Standing, Verb
from trueup.engine.job import Check, Job
from trueup.protocols import Source

AFTER = "after"
"""The reason of after-steps."""

_INSTALLS = frozenset({Verb.PUT, Verb.REPLACE_KIND})
"""What gives a name other content. A sibling is a kept version: it may be as bad as it was."""


async def checked(job: Job, plan: Plan) -> Plan:
    """The plan without those items whose content must not be written; they are held, and say why.

    What is judged is the source's version that the step names, so no other content can be written by it. The version
    that would be replaced is not looked at: a good one repairs a bad one.
    """
    check = job.check
    if check is None:
        return plan
    held: dict[Key, Item] = {}

    async def judge(item: Item) -> None:
        for step in item.steps:
            value = step.value
            if step.verb in _INSTALLS and value is not None and value.content.kind is Kind.FILE:
                problem, standing = await _problem(job, check, value)
                if problem:
                    held[item.key] = _held(item, f"{value.side}: {problem}", standing)
                    return

    await job.pace.spread(plan.changes, judge)
    return _without(plan, held) if held else plan


async def _problem(job: Job, check: Check, value: Ref) -> tuple[str | None, Standing]:
    """Why the content must not be written, and whether that is known of it or only feared."""
    if value.content.size > check.most_bytes:
        return f"{value.content.size} bytes are more than the {check.most_bytes} that are read", Standing.DAMAGED
    entry = Entry(value.token, value.content, value.modified_ns, value.mode)
    source = job.stores[value.side].source(value.key, entry)
    try:
        with anyio.move_on_after(check.seconds):
            return await job.ambient.threads(_judged, check, value.key, source), Standing.DAMAGED
    except StoreError as error:
        return f"could not be checked: {error}", Standing.UNKNOWN
    return f"could not be read within {check.seconds:g} s", Standing.UNKNOWN


def _judged(check: Check, key: Key, source: Source) -> str | None:
    with source.open() as chunks:
        return check.problem(key, b"".join(chunks))


def _held(item: Item, why: str, standing: Standing) -> Item:
    return replace(item, reason=Reason.HELD, steps=(), phase=Phase.WRITE, standing=standing, why=why)


def _without(plan: Plan, held: Mapping[Key, Item]) -> Plan:
    """The plan with these items held, and with them all that they need, or that need them."""
    owner = {step.id: item.key for item in plan.items for step in item.steps}
    bonds = [{item.key, owner[need]} for item in plan.items for step in item.steps for need in step.needs]
    keys, reached = set(held), set[Key]()
    while reached != keys:
        reached = set(keys)
        for bond in bonds:
            keys |= bond if not keys.isdisjoint(bond) else set()
    items = (
        held.get(item.key) or _held(item, "", Standing.PLAIN) if item.key in keys else item
        for item in plan.items
        if item.key not in keys or item.phase is not Phase.AGREE
    )
    return replace(plan, items=tuple(items))


async def with_after_steps(job: Job, plan: Plan) -> Plan:
    """The plan with what has to follow its writes."""
    if job.after is None or not plan.changes:
        return plan
    return replace(plan, items=(*plan.items, *await job.after(plan)))


def after_step(name: str, why: str, needs: Iterable[str], act: Mapping[str, object]) -> Item:
    """An item that changes no side, carried out by `Job.act` when all that it needs is written.

    Args:
        name: Names it among the after-steps of the plan; it becomes a key in the reserved folder, where no item is.
        why: What it does, in words.
        needs: Ids of steps. A plan from which some of them are left out keeps it for the rest.
        act: What `Job.act` is given, as the step's record.
    """
    key = Key(f".trueup/{name}")
    step = Step(f"after {name}", key, LOCAL, Verb.ACT, needs=tuple(needs), record=Record.of(act))
    return Item(key, AFTER, {}, None, (step,), Phase.AFTER, why=why)


def narrowed(item: Item, left: frozenset[str]) -> Item | None:
    """An after-step for those steps that are left; None if it follows none of them."""
    steps = tuple(replace(step, needs=tuple(need for need in step.needs if need in left)) for step in item.steps)
    return replace(item, steps=steps) if any(step.needs for step in steps) else None
