"""The history: every run that wrote something, whoever began it."""

from __future__ import annotations

from fastapi import APIRouter, Response

from trueup.core import codec
from trueup.engine.journal import RunSummary
from trueup.engine.tokens import Scope
from trueup.web.asked import Action, Asked
from trueup.web.documents import ERRORS, History, HistoryDetail, HistoryRun, Run
from trueup.web.problems import Problem, not_found
from trueup.web.routes.common import Chosen, Id, Limit, Reader, Serving, Syncer, shown
from trueup.web.routes.runs import PLAINLY, UndoRequest
from trueup.web.service import Service
from trueup.web.targets import everything

router = APIRouter(tags=["history"], responses=ERRORS)


@router.get("/history")
async def list_history(_: Reader, service: Serving, limit: Limit = 50) -> History:
    """The latest runs of all targets, the newest first."""
    async with service.engine() as engine:
        return History(runs=[_run(run) for run in await engine.history(limit=limit)])


@router.get("/targets/{target_id}/history")
async def list_history_of_target(_: Reader, service: Serving, target: Chosen, limit: Limit = 50) -> History:
    """The latest runs of a target, the newest first."""
    async with service.engine() as engine:
        return History(runs=[_run(run) for run in await engine.history(target=target.spec, limit=limit)])


@router.get("/history/{run_id}")
async def show_history(_: Reader, service: Serving, run_id: Id) -> HistoryDetail:
    """What a run did: its plan, and what became of each step."""
    async with service.engine() as engine:
        await _exact(service, run_id)
        record = await engine.record(run_id)
    return HistoryDetail(
        run=_run(record.summary),
        plan=codec.encode(record.plan),
        outcomes=[codec.encode(outcome) for outcome in record.outcomes],
    )


@router.post("/history/{run_id}/undo", status_code=202)
async def undo_history(
    who: Syncer, service: Serving, run_id: Id, response: Response, body: UndoRequest = PLAINLY
) -> Run:
    """Take a run of the history back, also one that the command line began."""
    if body.allow and not who.may(Scope.DELETE):
        raise Problem(403, "TU-SCOPE", "the token may not pass guards", hint="a token with the scope delete")
    summary = await _exact(service, run_id)
    known = await service.threads(everything, service.config)
    named = next((one for one in known if one.spec.name == summary.target_name), None)
    if named is None:
        raise not_found("its target is not configured here", hint=f"trueup undo {run_id}")
    action = Action.PLAN if body.dry_run else Action.UNDO
    live = await service.runs.begin(named, Asked(action=action, undoes=run_id, allow=tuple(body.allow)), who.name)
    response.headers["location"] = f"/api/v1/runs/{live.run.id}"
    return shown(live.run)


async def _exact(service: Service, run_id: str) -> RunSummary:
    """The run of exactly this id: in an address no beginning of one, nor ``last``, may mean another one tomorrow."""
    async with service.engine() as engine:
        found = await engine.record(run_id) if _may_be_id(run_id) else None
    if found is None or found.summary.id != run_id:
        raise not_found("there is no such run in the history", hint="GET /api/v1/history")
    return found.summary


def _may_be_id(run_id: str) -> bool:
    return run_id[:1].isdigit() and run_id.isascii() and run_id.replace("-", "").isalnum()


def _run(summary: RunSummary) -> HistoryRun:
    return HistoryRun(**{name: codec.encode(getattr(summary, name)) for name in HistoryRun.model_fields})
