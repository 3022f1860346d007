"""Observe sides that are compared by a table, and make the plan: what is recorded against what is real."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import anyio

from trueup.core.audit import AGREE, Judged, Method, audit, judge
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
from trueup.engine.job import Audit, Job, Progress, Sights
from trueup.engine.streams import few_collections


@dataclass(slots=True)
class _Sight:
    """One side as it showed itself."""

    items: dict[Key, Shown]
    failed: str = ""
    """Why the listing is not whole."""


@dataclass(frozen=True, slots=True)
class Survey:
    """All sides as they showed themselves at one look, and the table's rule for every item."""

    job: Job
    how: Audit
    method: Method
    """How the items were compared."""
    judged: tuple[Judged, ...]
    """In key order."""
    sights: Mapping[Side, _Sight]

    async def plan(self) -> Plan:
        """What is to be done about every item that does not agree."""
        items, _ = audit(self.judged, self.method)
        return await self.planned(items)

    async def planned(self, items: tuple[Item, ...]) -> Plan:
        """These items as a plan; what agrees and is not among them is counted."""
        job = self.job
        keys = {item.key for item in items}
        markers = await job.markers()
        return Plan(
            target=job.target,
            policy=job.policy,
            items=items,
            observed={side: await self._observed(side, items, markers.get(side)) for side in job.stores},
            ancestors=len(self.sights[self.how.record].items),
            agreed=sum(one.rule.reason == AGREE and one.key not in keys for one in self.judged),
            made_ns=job.ambient.clock.now_ns(),
        )

    async def _observed(self, side: Side, items: tuple[Item, ...], marker: str | None) -> Observed:
        store, sight = self.job.stores[side], self.sights[side]
        observed = Observed(
            location=store.properties.location,
            items=len(sight.items),
            expected_marker=marker,
            notices=store.properties.notices,
            expected=sum(_removed_for(item, side) for item in items),
            informs=side not in self.how.method.table.sides,
        )
        if sight.failed:
            return replace(observed, complete=False, why=sight.failed)
        return replace(observed, marker=await store.marker(), free_bytes=await store.free_bytes())


async def survey(job: Job, how: Audit) -> Survey:
    """Look at all sides at once, and judge every item by the table.

    A side that cannot be listed to its end knows nothing: every item is unknown there, whatever it showed.

    Raises:
        StoreError: If the record cannot be read: without it there is nothing to compare with.
    """
    sights: dict[Side, _Sight] = {}

    async def look(side: Side) -> None:
        sights[side] = await _look(job, how, side)

    with few_collections():
        with ungrouped(TrueupError):
            async with anyio.create_task_group() as tasks:
                for side in job.stores:
                    tasks.start_soon(look, side)
        return await _judged(job, how, sights)


async def _judged(job: Job, how: Audit, sights: Mapping[Side, _Sight]) -> Survey:
    keys = {key for side in how.method.table.sides for key in sights[side].items}  # others inform, and name no items
    shown: Sights = {
        side: dict.fromkeys(keys, Unknown(sight.failed)) if sight.failed else sight.items
        for side, sight in sights.items()
    }
    method = how.method
    if how.closer is not None:
        shown, method = await how.closer(job, shown)
    judged = tuple(
        judge(key, {side: shown[side].get(key) for side in job.stores}, method) for key in sorted(keys, key=key_bytes)
    )
    return Survey(job, how, method, judged, sights)


async def _look(job: Job, how: Audit, side: Side) -> _Sight:
    sight = _Sight({})
    try:
        async for batch in job.stores[side].scan():
            for row in batch:
                if row[2] is not Kind.DIRECTORY:
                    sight.items[key_from_bytes(row[0])] = _shown(row)
            job.on_progress(Progress("observe", side, len(sight.items)))
    except StoreError as error:
        if side == how.record:
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


def _removed_for(item: Item, side: Side) -> bool:
    """Whether something is removed elsewhere because the side does not hold it."""
    return item.side(side) is None and any(step.verb in (Verb.RECORD_REMOVE, Verb.DELETE) for step in item.steps)
