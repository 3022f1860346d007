"""What follows from a plan besides its writes: candidates are judged before them, after-steps come behind them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
AGAIN = "again"
"""The field of an after-step's record that says whether one that has failed is tried again by the next run."""
OWED = "; an earlier run has not done it"

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
    """The plan with what has to follow its writes, and what had to follow those of the latest run and was not done."""
    if job.after is None:
        return plan
    number = await job.number()
    left = [] if number is None else await job.ambient.threads(job.journal.left_over, number)
    if not plan.changes and not left:
        return plan
    return replace(plan, items=(*plan.items, *await job.after(plan, left)))


def after_step(
    name: str,
    why: str,
    needs: Iterable[str],
    act: Mapping[str, object],
    *,
    phase: Phase = Phase.AFTER,
    again: bool = False,
) -> Item:
    """An item that changes no side, carried out by `Job.act` when something that it follows is written.

    Args:
        name: Names it among the after-steps of the plan; it becomes a key in the reserved folder, where no item is.
        why: What it does, in words.
        needs: Ids of steps. A plan from which some of them are left out keeps it for the rest.
        act: What `Job.act` is given, as the step's record.
        phase: AFTER or FINISH.
        again: Whether the next run tries it again if it fails. One that was not tried at all always is.
    """
    key = Key(f".trueup/{name}")
    record = Record.of({**act, AGAIN: True} if again else act)
    step = Step(f"after {name}", key, LOCAL, Verb.ACT, needs=tuple(needs), record=record)
    return Item(key, AFTER, {}, None, (step,), phase, why=why)


def with_left_over(planned: Sequence[Item], left: Sequence[Item]) -> tuple[Item, ...]:
    """What a plan calls for and what an earlier run has left, each once. What is left waits for no step any more."""
    owed = {item.key for item in left}
    known = {item.key for item in planned}
    due = [_freed(item) if item.key in owed else item for item in planned]
    return (*due, *(_told(_freed(item)) for item in left if item.key not in known))


def _freed(item: Item) -> Item:
    return replace(item, steps=tuple(replace(step, needs=()) for step in item.steps))


def _told(item: Item) -> Item:
    return item if item.why.endswith(OWED) else replace(item, why=item.why + OWED)


def narrowed(item: Item, left: frozenset[str]) -> Item | None:
    """An after-step for those steps that are left; None if it follows none of them."""
    if not any(step.needs for step in item.steps):
        return item
    steps = tuple(replace(step, needs=tuple(need for need in step.needs if need in left)) for step in item.steps)
    return replace(item, steps=steps) if any(step.needs for step in steps) else None
