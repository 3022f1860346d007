"""Observe sides that are compared by a table, and make the plan: what is recorded against what is real."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import anyio

from trueup.core.audit import Judged, Method, audit, judge
from trueup.core.errors import StoreError, TrueupError
from trueup.core.model import (
    OPAQUE_KINDS,
    Damaged,
    Key,
    Kind,
    Record,
    Recorded,
    Row,
    Shown,
    Side,
    Unknown,
    entry_from_row,
    key_bytes,
    key_from_bytes,
)
from trueup.core.plan import Item, Observed, Plan
from trueup.core.table import Verb
from trueup.engine.groups import ungrouped
from trueup.engine.job import Audit, Job, Progress


@dataclass(slots=True)
class _Sight:
    """One side as it showed itself."""

    items: dict[Key, Shown]
    failed: str = ""
    """Why the listing is not whole."""


async def audited(job: Job, how: Audit) -> Plan:
    """Look at all sides at once and decide every item by the table.

    A side that cannot be listed to its end knows nothing: every item is unknown there, whatever it showed.

    Raises:
        StoreError: If the record cannot be read: without it there is nothing to compare with.
    """
    sights, judged, method = await _surveyed(job, how)
    items, agreed = audit(judged, method)
    markers = await job.markers()
    return Plan(
        target=job.target,
        policy=job.policy,
        items=items,
        observed={side: await _observed(job, how, side, sights[side], items, markers.get(side)) for side in job.stores},
        ancestors=len(sights[how.record].items),
        agreed=agreed,
        made_ns=job.ambient.clock.now_ns(),
    )


async def survey(job: Job, how: Audit) -> list[Judged]:
    """Every item of all sides with the table's rule for it, in key order.

    Raises:
        StoreError: If the record cannot be read.
    """
    _, judged, _ = await _surveyed(job, how)
    return sorted(judged, key=lambda one: key_bytes(one.key))


async def _surveyed(job: Job, how: Audit) -> tuple[Mapping[Side, _Sight], list[Judged], Method]:
    sights: dict[Side, _Sight] = {}

    async def look(side: Side) -> None:
        sights[side] = await _look(job, side)

    with ungrouped(TrueupError):
        async with anyio.create_task_group() as tasks:
            for side in job.stores:
                tasks.start_soon(look, side)
    keys = {key for side in how.method.table.sides for key in sights[side].items}  # others inform, and name no items
    shown: dict[Side, Mapping[Key, Shown]] = {
        side: dict.fromkeys(keys, Unknown(sight.failed)) if sight.failed else sight.items
        for side, sight in sights.items()
    }
    method = how.method
    if how.complete is not None:
        shown = dict(await how.complete(job, shown))
    if how.compare is not None:
        found_out, method = await how.compare(job, shown)
        shown = dict(found_out)
    found = [judge(key, {side: shown[side].get(key) for side in job.stores}, method) for key in keys]
    return sights, found, method


async def _look(job: Job, side: Side) -> _Sight:
    sight = _Sight({})
    try:
        async for batch in job.stores[side].scan():
            for row in batch:
                if row[2] is not Kind.DIRECTORY:
                    sight.items[key_from_bytes(row[0])] = _shown(row)
            job.on_progress(Progress("observe", side, len(sight.items)))
    except StoreError as error:
        if job.audit is not None and side == job.audit.record:
            raise
        sight.failed = f"{error} - try: {error.attempt}" if error.attempt else str(error)
    return sight


def _shown(row: Row) -> Shown:
    if row[2] is Kind.DAMAGED:
        return Damaged(row[6], row[1], row[3])
    if row[2] is Kind.RECORD:
        return Recorded(row[1], Record(row[6]))
    if row[2] in OPAQUE_KINDS:
        return Unknown(row[6], row[2])
    return entry_from_row(row)


async def _observed(
    job: Job, how: Audit, side: Side, sight: _Sight, items: tuple[Item, ...], marker: str | None
) -> Observed:
    store = job.stores[side]
    observed = Observed(
        location=store.properties.location,
        items=len(sight.items),
        expected_marker=marker,
        notices=store.properties.notices,
        expected=sum(_removed_for(item, side) for item in items),
        informs=side not in how.method.table.sides,
    )
    if sight.failed:
        return replace(observed, complete=False, why=sight.failed)
    return replace(observed, marker=await store.marker(), free_bytes=await store.free_bytes())


def _removed_for(item: Item, side: Side) -> bool:
    """Whether something is removed elsewhere because the side does not hold it."""
    return item.side(side) is None and any(step.verb in (Verb.RECORD_REMOVE, Verb.DELETE) for step in item.steps)
