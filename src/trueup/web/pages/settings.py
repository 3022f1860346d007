"""The server: who is logged in, and which tokens there are."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from trueup.engine.tokens import Scope
from trueup.web.pages.frame import frame_of, pages, to
from trueup.web.routes import tokens as rest
from trueup.web.routes.common import Admin, Id, Reader, Serving

router: APIRouter = pages()


@router.get("/settings")
async def show(request: Request, who: Reader, service: Serving) -> Response:
    """The server's settings; tokens for whoever may see them."""
    tokens = (await rest.list_tokens(who, service)).tokens if who.may(Scope.ADMIN) else None
    places = {"Address": service.options.address, "State": str(service.config.state_dir)}
    return frame_of(request).page(request, "settings.html", who=who, tokens=tokens, places=places)


@router.post("/tokens/{token_id}/revoke")
async def revoke(who: Admin, service: Serving, token_id: Id) -> Response:
    """End a token or a session."""
    await rest.revoke_token(who, service, token_id)
    return to("/settings")
