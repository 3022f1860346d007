"""Take a run back: an ordinary plan that expects the versions which that run wrote.

What was changed since is found out by the same compare-and-swap as always and left alone; what was pruned from the
trash cannot come back, and the plan says so.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from trueup.core.check import check
from trueup.core.errors import StoreError, UsageError
from trueup.core.model import (
    DIRECTORY_CONTENT,
    DIRECTORY_TOKEN,
    Content,
    Entry,
    Key,
    Kind,
    Recorded,
    Seen,
    Side,
    Token,
    Unknown,
    is_directory,
    key_bytes,
)
from trueup.core.plan import Item, Observed, Phase, Plan, Ref, Step
from trueup.core.reconcile import STANDINGS, Reason
from trueup.core.report import Ending, Outcome, Report, Status
from trueup.core.table import Standing, Verb
from trueup.engine.candidates import with_after_steps
from trueup.engine.execute import execute
from trueup.engine.job import Job
from trueup.engine.journal import RunRecord
from trueup.engine.run import Confirm, held, refuse, writing


async def undo(record: RunRecord, job: Job, *, confirm: Confirm, only: Side | None = None) -> Report:
    """Take a run back. An undo is a run, and can be undone.

    Args:
        record: The run.
        job: For the run's target.
        confirm: Is shown the plan; False ends the undo with nothing done.
        only: Take back only what was written on this side.

    Raises:
        UsageError: If the run did nothing that could be taken back.
        PlanRefused: If a guard stops the plan.
        Locked: If another run holds the target.
    """
    async with held(job):
        # Read again: if the run was killed, its books have been finished under the lock just now.
        record = await job.ambient.threads(job.journal.find, record.summary.id)
        plan = await with_after_steps(job, await undo_plan(job, record, only))
        refuse(plan, check(plan, job.limits, allow=job.allow))
        if not await confirm(plan):
            return Report(plan, Ending.DECLINED)
        async with writing(job):
            return await execute(plan, job)


async def undo_plan(job: Job, record: RunRecord, only: Side | None = None) -> Plan:
    """The plan that takes a run back.

    Raises:
        UsageError: If the run did nothing that could be taken back.
    """
    steps = (step for item in record.plan.items for step in item.steps)
    chosen = {step.id for step in steps if only is None or step.side == only}
    done = {o.step: o for o in record.outcomes if o.status is Status.DONE and o.step in chosen}
    builder = _Undo(job, done)
    kept = {side: {item.handle for item in await job.stores[side].kept()} for side in job.stores}
    items: list[Item] = []
    await builder.look_at({name for item in record.plan.items for step in item.steps for name in _names(item, step)})
    for item in record.plan.items:
        items += builder.inverse(item, kept)
    if not items:
        raise UsageError(f"run {record.summary.id} wrote nothing that could be taken back", attempt="trueup history ls")
    items = _ordered(items)
    return Plan(
        target=job.target,
        policy=record.plan.policy,
        items=tuple(sorted(items, key=lambda item: key_bytes(item.key))),
        observed={side: await _observed(job, side) for side in job.stores},
        ancestors=record.plan.ancestors,
        made_ns=job.ambient.clock.now_ns(),
        undoes=record.summary.id,
    )


async def _observed(job: Job, side: Side) -> Observed:
    store = job.stores[side]
    markers = await job.markers()
    return Observed(
        location=store.properties.location,
        marker=await store.marker(),
        expected_marker=markers.get(side),
        free_bytes=await store.free_bytes(),
    )


class _Undo:
    def __init__(self, job: Job, done: Mapping[str, Outcome]) -> None:
        self.job = job
        self.done = done
        self.count = 0
        self.seen: dict[tuple[Side, Key], Seen] = {}

    async def look_at(self, keys: Collection[Key]) -> None:
        """See what is there now, several names at once."""

        async def look(name: tuple[Side, Key]) -> None:
            self.seen[name] = await self._look(*name)

        await self.job.pace.spread([(side, key) for key in sorted(keys) for side in self.job.stores], look)

    def inverse(self, item: Item, kept: Mapping[Side, set[str]]) -> list[Item]:
        """The items that take one item back: itself, and a sibling that it made."""
        for step in item.steps:
            if step.verb is Verb.MOVE and step.value is not None:
                return self._move_back(step, step.value)
        steps: dict[Key, list[Step]] = {}
        impossible = False
        for step in reversed(item.steps):
            outcome = self.done.get(step.id)
            if outcome is None or outcome.found or step.verb in (Verb.ADOPT, Verb.SAVE, Verb.ACT):
                continue
            pruned = outcome.kept is not None and outcome.kept not in kept[step.side]
            destroyed = outcome.kept is None and step.expect not in (None, DIRECTORY_TOKEN)
            if pruned or destroyed:
                impossible = True
            else:
                steps.setdefault(step.key, []).extend(self._inverse_step(item, step, outcome))
        if impossible:
            return [self._item(item, item.key, (), Reason.BLOCKED, self._seen(item.key))]
        return [self._item(item, key, tuple(inverse), Reason.UNDO, self._seen(key)) for key, inverse in steps.items()]

    def _move_back(self, step: Step, value: Ref) -> list[Item]:
        """The old name gets its item back, without payload and without the trash."""
        outcome = self.done.get(step.id)
        if outcome is None:
            return []
        moved = replace(value, key=step.key, token=outcome.token or value.token)
        back = replace(self._step(step, Verb.MOVE, None, moved), key=value.key)
        seen = self._seen(value.key)
        return [Item(value.key, Reason.UNDO, seen, None, (back,))]

    def _seen(self, key: Key) -> dict[Side, Seen]:
        return {side: self.seen[side, key] for side in self.job.stores}

    async def _look(self, side: Side, key: Key) -> Seen:
        try:
            return await self.job.stores[side].stat(key)
        except StoreError as error:  # something else is there by now, a link for example
            return Unknown(str(error))

    def _item(self, item: Item, key: Key, steps: tuple[Step, ...], reason: Reason, seen: Mapping[Side, Seen]) -> Item:
        deletes = any(step.verb in (Verb.DELETE, Verb.RECORD_REMOVE) for step in steps)
        replaces = any(step.verb is Verb.REPLACE_KIND for step in steps)
        phase = Phase.REPLACE if replaces else Phase.DELETE if deletes else Phase.WRITE
        agreed = item.ancestor if key == item.key else None  # nothing was agreed about a sibling
        standing = STANDINGS.get(reason, Standing.PLAIN)
        return Item(key, reason, seen, agreed, steps, phase, agreed, standing)

    def _inverse_step(self, item: Item, step: Step, outcome: Outcome) -> list[Step]:
        written = DIRECTORY_TOKEN if outcome.token is None and is_directory(step.key) else outcome.token
        old = None if step.verb is Verb.SIBLING else item.side(step.side)  # what had the step's own name
        value = _kept_ref(step, old, outcome.kept)
        match step.verb:
            case verb if verb in _UNRECORDING:
                return [self._step(step, _UNRECORDING[verb], written, value)]
            case Verb.DELETE:
                return [self._step(step, Verb.PUT, None, value)]
            case Verb.REPLACE_KIND:
                return self._saved(step, Verb.REPLACE_KIND, written, value)
            case _ if value is None:
                return self._saved(step, Verb.DELETE, written, None)
            case _:
                return self._saved(step, Verb.PUT, written, value)

    def _saved(self, step: Step, verb: Verb, expect: Token | None, value: Ref | None) -> list[Step]:
        """An undo keeps what it replaces, so that it can be undone."""
        saves = []
        if expect not in (None, DIRECTORY_TOKEN):
            saves = [self._step(step, Verb.SAVE, expect, None)]
        last = self._step(step, verb, expect, value)
        return [*saves, replace(last, needs=tuple(save.id for save in saves))]

    def _step(self, step: Step, verb: Verb, expect: Token | None, value: Ref | None) -> Step:
        self.count += 1
        return Step(f"u{self.count}", step.key, step.side, verb, expect, value)


_UNRECORDING: Mapping[Verb, Verb] = {
    Verb.RECORD_ADD: Verb.RECORD_REMOVE,
    Verb.RECORD_CHANGE: Verb.RECORD_CHANGE,
    Verb.RECORD_REMOVE: Verb.RECORD_ADD,
}
"""What takes back a change of a record. A kept record is the value; nothing was there before: there is none."""


def _names(item: Item, step: Step) -> set[Key]:
    """Every name that taking back the step may concern."""
    moved = {step.value.key} if step.verb is Verb.MOVE and step.value is not None else set()
    return {item.key, step.key} | moved


def _kept_ref(step: Step, old: object, handle: str | None) -> Ref | None:
    """What was there before, as content to write; None if nothing was."""
    if isinstance(old, Recorded):
        return Ref(step.side, step.key, old.token, Content(Kind.FILE, len(old.record.document)), kept=handle)
    if not isinstance(old, Entry):
        return None
    if old.content.kind is Kind.DIRECTORY:
        return Ref(step.side, step.key, DIRECTORY_TOKEN, DIRECTORY_CONTENT) if step.verb is Verb.DELETE else None
    content = Content(Kind.FILE, old.content.size, old.content.fingerprint)
    return Ref(step.side, step.key, old.token, content, old.modified_ns, old.mode, kept=handle)


def _ordered(items: list[Item]) -> list[Item]:
    """What a directory holds goes before a file takes its place back."""
    names = {item.key for item in items if item.phase is Phase.REPLACE}
    ordered = []
    for item in items:
        below = any(item.key.startswith(f"{name}/") and item.key != f"{name}/" for name in names)
        ordered.append(replace(item, phase=Phase.CLEAR) if below and item.phase is Phase.DELETE else item)
    return ordered
