"""What all pages share: templates, how they are answered, and errors as pages."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote

import jinja2
from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute
from starlette.responses import Response

from trueup.core.errors import TrueupError
from trueup.render.names import duration, moment, place, printable, size
from trueup.web.pages import words
from trueup.web.problems import Problem, leaves, problem_of
from trueup.web.service import Service

FOLDER = Path(__file__).parent.parent
FADE_SECONDS = 5
"""How long a message of success stays."""
MOST_FIELDS = 2000
"""Of a form."""

HEADERS = {"cache-control": "no-store", "referrer-policy": "same-origin"}
"""A page is of its moment. Without a referrer a browser does not say whose form it sends (Fetch, "append a request
`Origin` header"), and the gate would take it for a foreign one."""


@dataclass(frozen=True, slots=True)
class Form:
    """What a form sent."""

    fields: Mapping[str, list[str]]

    def one(self, name: str) -> str:
        """The first value of a field; empty if there is none."""
        return self.fields.get(name, [""])[0]

    def all(self, name: str) -> list[str]:
        """All values of a field."""
        return self.fields.get(name, [])

    def numbers(self, name: str) -> set[int]:
        """All values that are numbers, also several in one, with commas between."""
        parts = ",".join(self.all(name)).split(",")
        return {int(part) for part in parts if part.isascii() and part.isdecimal() and len(part) < 16}

    def has(self, name: str) -> bool:
        """Whether a box is ticked, or a button pressed."""
        return name in self.fields


async def form_of(request: Request) -> Form:
    """The form of a request.

    Raises:
        Problem: 422 if it has too many fields.
    """
    text = (await request.body()).decode("utf-8", "replace")
    try:
        return Form(parse_qs(text, keep_blank_values=True, max_num_fields=MOST_FIELDS))
    except ValueError as error:
        raise Problem(422, "TU-REQUEST", "the form has too many fields") from error


class Frame:
    """Makes pages of templates.

    Args:
        service: Whose pages.
    """

    def __init__(self, service: Service) -> None:
        self.service = service
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(FOLDER / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {
            "name": printable,
            "place": place,
            "size": size,
            "moment": moment,
            "iso": iso,
            "zoned": zoned,
            "duration": duration,
            "segment": segment,
            "grouped": grouped,
        }
        self._templates.globals |= {"words": words, "fade_seconds": FADE_SECONDS}

    def page(self, request: Request, template: str, *, status: int = 200, **context: object) -> HTMLResponse:
        """A page of a template."""
        now_ns = self.service.ambient.clock.now_ns()
        text = self._templates.get_template(template).render(
            path=request.url.path,
            query=dict(request.query_params),
            now_ns=now_ns,
            ago=lambda ns: ago(now_ns - ns),
            address=self.service.options.address,
            **context,
        )
        return HTMLResponse(text, status, HEADERS)


def frame_of(request: Request) -> Frame:
    """The frame that hangs on the application."""
    frame: Frame = request.app.state.frame
    return frame


class Shown(APIRoute):
    """A route of pages: what goes wrong is a page, too, and who is not logged in is asked to."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """As its base."""
        handle = super().get_route_handler()

        async def shown(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError:
                return failed(request, Problem(422, "TU-REQUEST", "the address or the form is not what it should be"))
            except (Problem, TrueupError) as error:
                return failed(request, problem_of(error))
            except ExceptionGroup as error:
                if any(not isinstance(leaf, (Problem, TrueupError)) for leaf in leaves(error)):
                    raise
                return failed(request, problem_of(error))

        return shown


def failed(request: Request, problem: Problem) -> Response:
    """An error as a page."""
    if problem.status == 401:
        return to("/login")
    answer = frame_of(request).page(
        request, "error.html", status=problem.status, problem=problem.document, back=request.headers.get("referer", "/")
    )
    answer.headers.update(problem.headers)
    return answer


def pages() -> APIRouter:
    """A router of pages."""
    return APIRouter(route_class=Shown, include_in_schema=False, default_response_class=HTMLResponse)


def to(address: str) -> RedirectResponse:
    """After a form: another page, so that loading it again sends nothing again."""
    return RedirectResponse(address, 303, HEADERS)


def segment(text: str) -> str:
    """One part of an address's path, or a value of its query."""
    return quote(text.encode("utf-8", "surrogateescape"), safe=":")


def grouped(number: int) -> str:
    """``12,000``."""
    return f"{number:,}"


def iso(ns: int) -> str:
    """A time as programs read it."""
    return datetime.fromtimestamp(ns // 10**9, UTC).isoformat()


def zoned(ns: int) -> str:
    """A time with the zone that it is told in: the server's."""
    told = moment(ns)
    return told if told == "-" else f"{told} {datetime.fromtimestamp(ns / 1e9, UTC).astimezone():%Z}"


def ago(ns: int) -> str:
    """How long it is, in one unit: ``14 s``, ``2 h``, ``3 d``; never below zero, clocks differ."""
    seconds = max(0, ns // 10**9)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit} ago"
    return f"{seconds} s ago" if seconds >= 2 else "just now"
