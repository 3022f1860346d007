"""The history: who did what, what became of each step, and taking it back."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from trueup.core.plan import Step
from trueup.engine.journal import RunRecord
from trueup.web.pages.frame import form_of, frame_of, pages, to
from trueup.web.pages.targets import around, begun
from trueup.web.routes import history as rest
from trueup.web.routes.common import PAGE, Chosen, Id, Limit, Reader, Serving, Syncer
from trueup.web.routes.runs import UndoRequest
from trueup.web.targets import everything

MOST_STEPS = 1000
"""That a page of one run lists."""

router: APIRouter = pages()


@router.get("/history")
async def show_all(request: Request, who: Reader, service: Serving, limit: Limit = PAGE) -> Response:
    """The latest runs of all targets."""
    runs = (await rest.list_history(who, service, limit)).runs
    known = {one.spec.name: one.id for one in await service.threads(everything, service.config)}
    return frame_of(request).page(request, "history.html", who=who, runs=runs, known=known)


@router.get("/targets/{target_id}/history")
async def show_of_target(
    request: Request, who: Reader, service: Serving, target: Chosen, limit: Limit = PAGE
) -> Response:
    """The latest runs of one target."""
    runs = (await rest.list_history_of_target(who, service, target, limit)).runs
    context = await around(service, target, who)
    return frame_of(request).page(request, "target_history.html", tab="history", runs=runs, **context)


@router.get("/history/{run_id}")
async def show_one(request: Request, who: Reader, service: Serving, run_id: Id) -> Response:
    """What one run did."""
    run = (await rest.show_history(who, service, run_id)).run  # looks for exactly this id
    async with service.engine() as engine:
        record = await engine.record(run_id)
    named = next(
        (one for one in await service.threads(everything, service.config) if one.spec.name == run.target_name), None
    )
    return frame_of(request).page(
        request,
        "history_run.html",
        who=who,
        run=run,
        plan=record.plan,
        named=named,
        lines=_lines(record),
        more=max(0, len(record.outcomes) - MOST_STEPS),
    )


def _lines(record: RunRecord) -> list[tuple[Step | None, object]]:
    steps = {step.id: step for item in record.plan.items for step in item.steps}
    return [(steps.get(outcome.step), outcome) for outcome in record.outcomes[:MOST_STEPS]]


@router.post("/history/{run_id}/undo")
async def undo(request: Request, who: Syncer, service: Serving, run_id: Id) -> Response:
    """Take a run back, or show what that would do."""
    form = await form_of(request)
    run = await rest.undo_history(who, service, run_id, Response(), UndoRequest(dry_run=form.has("dry_run")))
    live = service.runs.live(run.id)
    return await begun(service, live) if live is not None else to(f"/runs/{run.id}")
