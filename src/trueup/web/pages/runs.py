"""Runs: how one stands, and what can still become of it."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from trueup.engine.served import Stage
from trueup.web.pages.frame import frame_of, pages, to
from trueup.web.pages.targets import around, begun
from trueup.web.routes import runs as rest
from trueup.web.routes.common import OfRun, Reader, Serving, Syncer
from trueup.web.targets import find

router: APIRouter = pages()


@router.get("/runs/{run_id}")
async def show_run(request: Request, who: Reader, service: Serving, run: OfRun) -> Response:
    """How a run stands. One that only made a plan is shown as that plan."""
    if run.state in (Stage.PLANNED, Stage.AWAITING_APPROVAL) and run.plan is not None and not run.asked.get("dry_run"):
        return to(f"/plans/{run.plan}")
    async with service.engine() as engine:
        named = find(engine, run.target)
    context = await around(service, named, who)
    events = await service.threads(lambda: service.ledger.events(run.id, after=0, limit=500))
    return frame_of(request).page(
        request,
        "run.html",
        tab="history",
        run=run,
        failures=[event.data for event in events if event.kind == "failure"],
        **context,
    )


@router.post("/runs/{run_id}/cancel")
async def cancel(_: Syncer, service: Serving, run: OfRun) -> Response:
    """Stop a run; what is under way is finished."""
    await service.runs.cancel(run)
    return to(f"/runs/{run.id}")


@router.post("/runs/{run_id}/resume")
async def resume(who: Syncer, service: Serving, run: OfRun) -> Response:
    """Go on with a run that was interrupted."""
    again = await rest.resume(who, service, run, Response())
    live = service.runs.live(again.id)
    return await begun(service, live) if live is not None else to(f"/runs/{again.id}")
