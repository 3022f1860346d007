"""Runs: all, one, its events, and what can still become of it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Response
from pydantic import Field
from starlette.responses import StreamingResponse

from trueup.engine.served import Stage
from trueup.engine.tokens import Scope
from trueup.web.asked import Action, Allowed, Asked, Strict
from trueup.web.documents import ERRORS, Run, RunList
from trueup.web.problems import Problem
from trueup.web.routes.common import Chosen, Limit, OfRun, Reader, Serving, Syncer, shown
from trueup.web.streaming import EventStream
from trueup.web.targets import find

router = APIRouter(tags=["runs"], responses=ERRORS)

Before = Annotated[str | None, Query(max_length=100, description="id of a run: only those asked for before it")]


@router.get("/runs")
async def list_runs(_: Reader, service: Serving, limit: Limit = 50, before: Before = None) -> RunList:
    """Runs that this server was asked for, the newest first."""
    runs = await service.threads(lambda: service.ledger.runs(limit=limit, before=before))
    return RunList(runs=[shown(run) for run in runs])


@router.get("/targets/{target_id}/runs")
async def list_runs_of_target(
    _: Reader, service: Serving, target: Chosen, limit: Limit = 50, before: Before = None
) -> RunList:
    """Runs of a target, the newest first."""
    runs = await service.threads(lambda: service.ledger.runs(target=target.id, limit=limit, before=before))
    return RunList(runs=[shown(run) for run in runs])


@router.get("/runs/{run_id}")
async def show_run(_: Reader, run: OfRun) -> Run:
    """How a run stands."""
    return shown(run)


@router.post("/runs/{run_id}/cancel", status_code=202)
async def cancel(_: Syncer, service: Serving, run: OfRun) -> Run:
    """Stop a run: what is under way is finished, and recorded. Asked again, it stops at once."""
    return shown(await service.runs.cancel(run))


@router.post("/runs/{run_id}/resume", status_code=202)
async def resume(who: Syncer, service: Serving, run: OfRun, response: Response) -> Run:
    """Go on with a run that was interrupted: what had been done is seen to be done."""
    if run.state is not Stage.INTERRUPTED:
        raise Problem(409, "TU-STAGE", "the run was not interrupted", why=f"it is {run.state.value}")
    asked = Asked.model_validate(run.asked)
    if asked.may_delete and not who.may(Scope.DELETE):
        raise Problem(403, "TU-SCOPE", "it was approved by a token that may delete", hint="a token with that scope")
    async with service.engine() as engine:
        named = find(engine, run.target)
    live = await service.runs.again(run, named, asked.model_copy(update={"resumed": True}))
    response.headers["location"] = f"/api/v1/runs/{live.run.id}"
    return shown(live.run)


class UndoRequest(Strict):
    """How to take a run back."""

    dry_run: Annotated[bool, Field(description="only make the plan")] = False
    allow: Allowed = Field(default_factory=list)


PLAINLY = UndoRequest()


@router.post("/runs/{run_id}/undo", status_code=202)
async def undo(who: Syncer, service: Serving, run: OfRun, response: Response, body: UndoRequest = PLAINLY) -> Run:
    """Take a run back. What was changed since is left alone. An undo is a run, and can be undone."""
    if run.history is None:
        raise Problem(409, "TU-STAGE", "the run wrote nothing that could be taken back", why=f"it is {run.state.value}")
    if body.allow and not who.may(Scope.DELETE):
        raise Problem(403, "TU-SCOPE", "the token may not pass guards", hint="a token with the scope delete")
    async with service.engine() as engine:
        named = find(engine, run.target)
    action = Action.PLAN if body.dry_run else Action.UNDO
    asked = Asked(action=action, undoes=run.history, allow=tuple(body.allow))
    live = await service.runs.begin(named, asked, who.name)
    response.headers["location"] = f"/api/v1/runs/{live.run.id}"
    return shown(live.run)


@router.get(
    "/runs/{run_id}/events",
    response_class=StreamingResponse,
    responses={
        200: {"description": "Events: `state`, `progress`, `failure`", "content": {"text/event-stream": {}}},
        204: {"description": "The run has ended, and all of it was heard"},
    },
)
async def stream(
    _: Reader,
    service: Serving,
    run: OfRun,
    last_event_id: Annotated[str | None, Header(max_length=20)] = None,
    after: Annotated[int | None, Query(ge=0, lt=2**53, description="as Last-Event-ID, for clients without it")] = None,
) -> Response:
    """What happens in a run, as server-sent events: everything after `Last-Event-ID`, then what comes."""
    begin = after or 0
    if last_event_id is not None and last_event_id.isdecimal():
        begin = min(int(last_event_id), 2**53)
    if run.ended and not await service.threads(lambda: service.ledger.events(run.id, after=begin, limit=1)):
        return Response(status_code=204)
    return EventStream(service, run.id, begin)
