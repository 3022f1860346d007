"""Schedules: what is looked at or synced by itself, and when."""

from __future__ import annotations

from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.responses import Response

from trueup.core.errors import TrueupError
from trueup.engine.tokens import Scope
from trueup.web.access import Principal
from trueup.web.pages.frame import Form, form_of, frame_of, pages, to
from trueup.web.problems import Problem, problem_of
from trueup.web.routes import schedules as rest
from trueup.web.routes.common import Admin, Id, Reader, Serving
from trueup.web.service import Service
from trueup.web.targets import everything

router: APIRouter = pages()

EMPTY = {"name": "", "target": "", "cron": "", "zone": "UTC", "jitter_seconds": "0", "apply": ""}


@router.get("/schedules")
async def show(request: Request, who: Reader, service: Serving) -> Response:
    """All schedules, and a form for another one."""
    return await _page(request, service, who)


@router.post("/schedules")
async def add(request: Request, who: Admin, service: Serving) -> Response:
    """Make a schedule; what is wrong with it is said beside what was typed."""
    form = await form_of(request)
    try:
        await rest.add_schedule(who, service, _wanted(form))
    except (Problem, TrueupError) as error:
        problem = problem_of(error)
        typed = {name: form.one(name) for name in EMPTY}
        return await _page(request, service, who, typed=typed, problem=problem)
    return to("/schedules")


@router.post("/schedules/{schedule_name}/remove")
async def remove(who: Admin, service: Serving, schedule_name: Id) -> Response:
    """Forget a schedule."""
    await rest.remove_schedule(who, service, schedule_name)
    return to("/schedules")


def _wanted(form: Form) -> rest.ScheduleRequest:
    """What a form asks for.

    Raises:
        Problem: 422, with the first field that is not what it should be.
    """
    jitter = form.one("jitter_seconds")
    try:
        return rest.ScheduleRequest(
            name=form.one("name"),
            target=form.one("target"),
            cron=form.one("cron"),
            zone=form.one("zone"),
            jitter_seconds=int(jitter) if jitter.isascii() and jitter.isdecimal() else -1,
            apply=form.one("apply") == "apply",
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise Problem(422, "TU-REQUEST", f"{first['loc'][0]}: {first['msg']}") from error


async def _page(
    request: Request,
    service: Service,
    who: Principal,
    *,
    typed: dict[str, str] | None = None,
    problem: Problem | None = None,
) -> Response:
    return frame_of(request).page(
        request,
        "schedules.html",
        status=problem.status if problem is not None else 200,
        who=who,
        schedules=(await rest.list_schedules(who, service)).schedules,
        targets=[one.id for one in await service.threads(everything, service.config)],
        typed=typed or EMPTY,
        problem=problem and problem.document,
        may_change=who.may(Scope.ADMIN),
    )
