"""The trash of a target: bring a version back, or destroy old ones for good."""

from __future__ import annotations

from urllib.parse import unquote

from fastapi import APIRouter, Request
from starlette.responses import Response

from trueup.engine.tokens import Scope
from trueup.web.access import Principal
from trueup.web.documents import Pruned
from trueup.web.pages.frame import form_of, frame_of, pages, to
from trueup.web.pages.targets import Offset, around
from trueup.web.problems import Problem
from trueup.web.routes import trash as rest
from trueup.web.routes.common import PAGE, Chosen, Reader, Serving, Syncer
from trueup.web.service import Service
from trueup.web.targets import Named

DAY_SECONDS = 86400.0

router: APIRouter = pages()


@router.get("/targets/{target_id}/trash")
async def show(
    request: Request, who: Reader, service: Serving, target: Chosen, offset: Offset = 0, restored: str = ""
) -> Response:
    """Kept versions, the newest first."""
    return await _page(request, service, target, who, offset, restored=bool(restored))


@router.post("/targets/{target_id}/trash/restore")
async def restore(request: Request, who: Syncer, service: Serving, target: Chosen) -> Response:
    """Bring a version back under its name."""
    form = await form_of(request)
    handle = unquote(form.one("handle"), errors="surrogateescape")  # a name on disk need not be UTF-8
    await rest.restore(who, service, target, rest.Restoring(side=form.one("side"), handle=handle))
    return to(f"{request.url.path.removesuffix('/restore')}?restored=1")


@router.post("/targets/{target_id}/trash/prune")
async def prune(request: Request, who: Syncer, service: Serving, target: Chosen) -> Response:
    """Say what would be destroyed; then, asked again, do it."""
    form = await form_of(request)
    days = form.one("days")
    if not days.isascii() or not days.isdecimal() or len(days) > 6:
        raise Problem(422, "TU-REQUEST", "days are a whole number")
    wanted = rest.Pruning(older_than_seconds=int(days) * DAY_SECONDS, dry_run=not form.has("really"))
    pruned = await rest.prune(who, service, target, wanted)
    return await _page(request, service, target, who, 0, pruned=pruned, days=int(days), really=form.has("really"))


async def _page(
    request: Request,
    service: Service,
    target: Named,
    who: Principal,
    offset: int,
    *,
    restored: bool = False,
    pruned: Pruned | None = None,
    days: int = 30,
    really: bool = False,
) -> Response:
    return frame_of(request).page(
        request,
        "trash.html",
        tab="trash",
        trash=await rest.list_trash(who, service, target, offset, PAGE),
        offset=offset,
        page_rows=PAGE,
        restored=restored,
        pruned=pruned,
        days=days,
        really=really,
        may_delete=who.may(Scope.DELETE),
        **await around(service, target, who),
    )
