"""Logging in: by the link that the server printed, or with a token."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from trueup.engine.tokens import SESSION_SECONDS
from trueup.web.pages.frame import form_of, frame_of, pages, to
from trueup.web.problems import Problem
from trueup.web.routes.common import Serving
from trueup.web.service import Service

MOST_LETTERS = 500
"""Of a code or a token; both are shorter."""

router: APIRouter = pages()


@router.get("/login")
async def login(request: Request, service: Serving, code: str = "") -> Response:
    """Log in by a link, or show the form."""
    return await _opened(request, service, code) if code else _form(request)


@router.post("/login")
async def login_with_token(request: Request, service: Serving) -> Response:
    """Log in with a token."""
    return await _opened(request, service, (await form_of(request)).one("token"))


@router.post("/logout")
async def logout(request: Request, service: Serving) -> Response:
    """End the session."""
    await service.access.logout(await service.access.principal(request))
    answer = to("/login")
    answer.delete_cookie(service.options.cookie, path="/")
    return answer


async def _opened(request: Request, service: Service, secret: str) -> Response:
    try:
        session = await service.access.login(request, secret[:MOST_LETTERS])
    except Problem as problem:
        return _form(request, problem)
    answer = to("/")
    answer.set_cookie(
        service.options.cookie,
        session,
        max_age=SESSION_SECONDS,
        path="/",
        httponly=True,
        samesite="strict",
        secure=service.options.behind_proxy,
    )
    answer.headers["referrer-policy"] = "no-referrer"  # the link holds a code
    return answer


def _form(request: Request, problem: Problem | None = None) -> Response:
    """The form, and why the last try failed."""
    status = problem.status if problem is not None else 200
    answer = frame_of(request).page(request, "login.html", status=status, problem=problem and problem.document)
    if problem is not None:
        answer.headers.update(problem.headers)
    return answer
