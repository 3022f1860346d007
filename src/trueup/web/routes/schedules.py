"""Schedules: what is looked at or synced by itself."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from trueup.engine.schedules import MAX_JITTER_SECONDS, Schedule
from trueup.web.asked import Strict
from trueup.web.documents import ERRORS, Answer
from trueup.web.problems import not_found
from trueup.web.routes.common import Admin, Id, Reader, Serving
from trueup.web.targets import find

router = APIRouter(tags=["schedules"], responses=ERRORS)

NEXT = 3
"""Times that are shown ahead."""


class ScheduleAnswer(Answer):
    """A schedule. Times are nanoseconds since the epoch."""

    name: str
    target: str
    cron: str
    zone: str
    jitter_seconds: int
    apply: bool
    last_ns: int | None
    last_run: str | None
    skipped: Annotated[str | None, Field(description="why the last one was not begun")]
    next: Annotated[list[int], Field(description="when it is due next, without jitter")]


class ScheduleList(Answer):
    """All schedules."""

    schedules: list[ScheduleAnswer]


class ScheduleRequest(Strict):
    """A schedule to make."""

    name: Annotated[str, Field(pattern=r"^\w[\w.@-]{0,99}$")]
    target: Annotated[str, Field(min_length=1, max_length=500)]
    cron: Annotated[str, Field(min_length=1, max_length=200)]
    zone: Annotated[str, Field(min_length=1, max_length=100)] = "UTC"
    jitter_seconds: Annotated[int, Field(ge=0, le=MAX_JITTER_SECONDS)] = 0
    apply: Annotated[bool, Field(description="apply what nobody has to approve; else only plan")] = False


@router.get("/schedules")
async def list_schedules(_: Reader, service: Serving) -> ScheduleList:
    """All schedules, with the next times."""
    found = await service.threads(service.schedules.listed)
    now_ns = service.ambient.clock.now_ns()
    return ScheduleList(schedules=[_shown(one, now_ns) for one in found])


@router.post("/schedules", status_code=201)
async def add_schedule(_: Admin, service: Serving, body: ScheduleRequest) -> ScheduleAnswer:
    """Look at a target, or sync it, by itself. It never deletes payload: that waits for an approval."""
    async with service.engine() as engine:
        find(engine, body.target)
    now_ns = service.ambient.clock.now_ns()
    schedule = Schedule(**body.model_dump(), created_ns=now_ns)
    await service.threads(service.schedules.add, schedule)
    return _shown(schedule, now_ns)


@router.delete("/schedules/{schedule_name}", status_code=204)
async def remove_schedule(_: Admin, service: Serving, schedule_name: Id) -> None:
    """Forget a schedule. Runs that it began go on."""
    if not await service.threads(service.schedules.remove, schedule_name):
        raise not_found("there is no such schedule", hint="GET /api/v1/schedules")


def _shown(schedule: Schedule, now_ns: int) -> ScheduleAnswer:
    times = schedule.times(now_ns)
    return ScheduleAnswer(
        name=schedule.name,
        target=schedule.target,
        cron=schedule.cron,
        zone=schedule.zone,
        jitter_seconds=schedule.jitter_seconds,
        apply=schedule.apply,
        last_ns=schedule.last_ns,
        last_run=schedule.last_run,
        skipped=schedule.skipped,
        next=[next(times) for _ in range(NEXT)],
    )
