"""A plan: look at it, choose, approve."""

from __future__ import annotations

import json

from fastapi import APIRouter, Request, Response

from trueup.core import codec
from trueup.core.check import Guard
from trueup.web.access import Principal
from trueup.web.asked import Base
from trueup.web.pages.frame import Form, form_of, frame_of, pages, to
from trueup.web.pages.plan_view import Wanted, begun_at, keep, ticked, view
from trueup.web.pages.targets import Offset, Word, around, begun
from trueup.web.problems import Problem
from trueup.web.routes import plans as rest
from trueup.web.routes.common import Reader, Serving, Syncer
from trueup.web.routes.plans import OfPlan
from trueup.web.service import Service
from trueup.web.targets import Named, find

router: APIRouter = pages()


@router.get("/plans/{plan_id}")
async def show_plan(
    request: Request,
    who: Reader,
    service: Serving,
    plan: OfPlan,
    q: Word = "",
    show: Word = "",
    offset: Offset = 0,
) -> Response:
    """A page of a plan."""
    return await _page(request, service, plan.id, Wanted(q, show, offset), who=who)


@router.get("/plans/{plan_id}/file")
async def download(_: Reader, service: Serving, plan: OfPlan) -> Response:
    """The plan as a file, as ``trueup plan -o`` writes it."""
    whole = await service.threads(service.ledger.plan, plan.id)
    document = await service.threads(codec.plan_to_json, whole)
    headers = {"content-disposition": f'attachment; filename="{plan.id}.json"', "cache-control": "no-store"}
    return Response(json.dumps(document), media_type="application/json", headers=headers)


@router.post("/plans/{plan_id}/selection")
async def select(request: Request, who: Syncer, service: Serving, plan: OfPlan) -> Response:
    """Say which changes are wanted. Of the lines on the page those that are ticked, or all, none, what is shown."""
    form = await form_of(request)
    wanted = _wanted(form)
    if form.one("select"):
        selection = begun_at(Base(form.one("select")), wanted)
    else:
        selection = await service.threads(ticked, service, plan, form.numbers("shown"), form.numbers("n"))
    await service.threads(keep, service, plan, selection)
    if request.headers.get("hx-request"):
        return await _page(request, service, plan.id, wanted, who=who)
    query = wanted.address()
    return to(f"{form.one('page') or f'/plans/{plan.id}'}{'?' if query else ''}{query}")


@router.post("/plans/{plan_id}/apply")
async def apply(request: Request, who: Syncer, service: Serving, plan: OfPlan) -> Response:
    """Approve a plan: its ticked changes are carried out, if everything is still as it was seen."""
    form = await form_of(request)
    if form.has("shown"):
        selection = await service.threads(ticked, service, plan, form.numbers("shown"), form.numbers("n"))
        plan = await service.threads(keep, service, plan, selection)
    allow = [guard for guard in Guard if guard.value in form.all("allow")]
    approval = rest.Approval(digest=form.one("digest"), skip_stale=form.has("skip_stale"), allow=allow)
    try:
        run = await rest.apply(who, service, plan, Response(), approval)
    except Problem as problem:
        if problem.code not in ("TU-STALE", "TU-GUARD"):
            raise
        return await _page(request, service, plan.id, _wanted(form), who=who, refused=problem.document)
    live = service.runs.live(run.id)
    return await begun(service, live) if live is not None else to(f"/runs/{run.id}")


def _wanted(form: Form) -> Wanted:
    offset = form.numbers("offset")
    return Wanted(form.one("q"), form.one("show"), min(offset, default=0))


async def _page(
    request: Request, service: Service, plan_id: str, wanted: Wanted, *, who: Principal, refused: object = None
) -> Response:
    saved = await service.threads(service.ledger.saved, plan_id)
    assert saved is not None  # noqa: S101  # looked up just now
    shown = await service.threads(view, service, saved, wanted)
    latest = await service.threads(service.ledger.latest, saved.target)
    return frame_of(request).page(
        request,
        "plan.html",
        status=409 if refused else 200,
        tab="changes",
        view=shown,
        refused=refused,
        newest=latest is not None and latest.id == saved.id,
        **await around(service, await _named(service, saved.target), who),
    )


async def _named(service: Service, target_id: str) -> Named:
    async with service.engine() as engine:
        return find(engine, target_id)
