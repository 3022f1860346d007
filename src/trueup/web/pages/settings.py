"""The server: who is logged in, and which tokens there are."""

from __future__ import annotations

from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.responses import Response

from trueup.core.errors import TrueupError
from trueup.engine.tokens import Scope
from trueup.web.access import Principal
from trueup.web.documents import NewToken
from trueup.web.pages.frame import Form, form_of, frame_of, pages, to
from trueup.web.problems import Problem, problem_of
from trueup.web.routes import tokens as rest
from trueup.web.routes.common import Admin, Id, Reader, Serving
from trueup.web.service import Service

router: APIRouter = pages()

SCOPES = {
    Scope.READ: "look",
    Scope.SYNC: "plan, apply what deletes nothing, cancel, undo",
    Scope.DELETE: "approve deletions, pass guards, prune the trash",
    Scope.ADMIN: "tokens and schedules",
}
"""What each of them allows."""


@router.get("/settings")
async def show(request: Request, who: Reader, service: Serving) -> Response:
    """The server's settings; tokens for whoever may see them."""
    return await _page(request, service, who)


@router.post("/tokens")
async def create(request: Request, who: Admin, service: Serving) -> Response:
    """Make a token. This page is the only one that tells its secret, so it is no other page's address."""
    form = await form_of(request)
    try:
        made = await rest.create_token(who, service, _wanted(form))
    except (Problem, TrueupError) as error:
        return await _page(request, service, who, typed=form, problem=problem_of(error))
    return await _page(request, service, who, made=made)


@router.post("/tokens/{token_id}/revoke")
async def revoke(who: Admin, service: Serving, token_id: Id) -> Response:
    """End a token or a session."""
    await rest.revoke_token(who, service, token_id)
    return to("/settings")


def _wanted(form: Form) -> rest.TokenRequest:
    """What a form asks for.

    Raises:
        Problem: 422, with the first field that is not what it should be.
    """
    days = form.one("days")
    try:
        return rest.TokenRequest.model_validate(
            {"name": form.one("name"), "scopes": form.all("scopes"), "days": days or None}
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise Problem(422, "TU-REQUEST", f"{first['loc'][0]}: {first['msg']}") from error


async def _page(
    request: Request,
    service: Service,
    who: Principal,
    *,
    typed: Form | None = None,
    problem: Problem | None = None,
    made: NewToken | None = None,
) -> Response:
    tokens = (await rest.list_tokens(who, service)).tokens if who.may(Scope.ADMIN) else None
    places = {"Address": service.options.address, "State": str(service.config.state_dir)}
    return frame_of(request).page(
        request,
        "settings.html",
        status=problem.status if problem is not None else 200,
        who=who,
        tokens=tokens,
        places=places,
        typed=typed or Form({"scopes": [Scope.READ.value]}),
        problem=problem and problem.document,
        made=made,
        scopes=SCOPES,
    )
