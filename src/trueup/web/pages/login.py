"""Logging in: by the link that the server printed, or with a token."""

from __future__ import annotations

from urllib.parse import parse_qs

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.responses import Response

from trueup.engine.tokens import SESSION_SECONDS
from trueup.web.problems import Problem
from trueup.web.service import Service

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Log in - trueup</title>
<main>
<h1>Log in</h1>
<p>Open the link that <code>trueup serve</code> or <code>trueup token login</code> printed, or give a token.</p>
<form method="post" action="/login">
<p><label>Token <input type="password" name="token" required autocomplete="off"></label> <button>Log in</button></p>
</form>
</main>
</html>
"""


def mount(app: FastAPI, service: Service) -> None:
    """Add ``/login`` and ``/logout``."""

    @app.get("/login", include_in_schema=False)
    async def login(request: Request, code: str = "") -> Response:
        if not code:
            return HTMLResponse(_PAGE)
        return await _opened(request, code)

    @app.post("/login", include_in_schema=False)
    async def login_with_token(request: Request) -> Response:
        fields = parse_qs((await request.body()).decode("utf-8", "replace"), max_num_fields=10)
        return await _opened(request, fields.get("token", [""])[0])

    @app.post("/logout", include_in_schema=False)
    async def logout(request: Request) -> Response:
        await service.access.logout(await service.access.principal(request))
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(service.options.cookie, path="/")
        return answer

    async def _opened(request: Request, secret: str) -> Response:
        if len(secret) > 500:
            raise Problem(401, "TU-AUTH", "this is no token")
        session = await service.access.login(request, secret)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(
            service.options.cookie,
            session,
            max_age=SESSION_SECONDS,
            path="/",
            httponly=True,
            samesite="strict",
            secure=service.options.behind_proxy,
        )
        return answer
