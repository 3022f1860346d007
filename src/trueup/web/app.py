"""The application: routes, errors, what every request passes."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.requests import Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trueup.core.errors import TrueupError
from trueup.web import agents, pages
from trueup.web.answers import Idempotent
from trueup.web.gate import Gate
from trueup.web.problems import Problem, answer_problem
from trueup.web.routes import actors, history, plans, runs, schedules, system, targets, tokens, trash
from trueup.web.service import Service

API = "/api/v1"
_MODULES = (targets, plans, runs, history, trash, schedules, tokens, system)


def create_app(service: Service) -> ASGIApp:
    """The whole application, over a service that is running."""
    app = _application()
    app.state.service = service
    app.mount(agents.PREFIX, service.agents)
    pages.mount(app, service)
    options = service.options
    return Gate(
        _Counted(Idempotent(app, service), service),
        hosts=options.hosts,
        port=None if options.behind_proxy else options.port,
        cookie=options.cookie,
        unlimited=(f"{agents.PREFIX}/",),  # it bounds bodies by itself, and larger ones
    )


def _application() -> FastAPI:
    app = FastAPI(
        title="trueup",
        version="1",
        description="Makes what is recorded and what is real agree: targets, plans, runs. Times are nanoseconds since "
        "the epoch. Errors are problem documents (RFC 9457) with a stable `code` and a `hint`.",
        openapi_url=f"{API}/openapi.json",
        docs_url=None,  # they would load scripts of other sites
        redoc_url=None,
        redirect_slashes=False,
        separate_input_output_schemas=False,
    )
    for module in _MODULES:
        app.include_router(module.router, prefix=API)
    app.include_router(actors.router, prefix="/api")
    app.add_exception_handler(Problem, answer_problem)
    app.add_exception_handler(TrueupError, answer_problem)
    app.add_exception_handler(ExceptionGroup, answer_problem)
    app.add_exception_handler(Exception, answer_problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    return app


def openapi() -> dict[str, Any]:
    """The description of REST (OpenAPI 3.1), without a server."""
    return _application().openapi()


class _Counted:
    """Counts what is answered."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._service.metrics.answered(scope["method"], message["status"])
            await send(message)

        await self._app(scope, receive, counted if scope["type"] == "http" else send)


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    """What is wrong with a request, field by field. Values are not repeated: one of them may be a secret."""
    found = error.errors() if isinstance(error, RequestValidationError) else []
    fields = [{"where": ".".join(map(str, one["loc"])), "what": str(one["msg"])} for one in found][:20]
    why = "; ".join(f"{one['where']}: {one['what']}" for one in fields)
    return Problem(422, "TU-REQUEST", "the request is not what it should be", why=why, more={"fields": fields}).response


async def _http(_: Request, error: Exception) -> JSONResponse:
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    what = {404: "there is nothing at this address", 405: "that cannot be done here"}.get(status, "it cannot be done")
    code = "TU-NOT-FOUND" if status == 404 else "TU-REQUEST"
    return Problem(status, code, what, hint=f"{API}/openapi.json", headers=headers).response
