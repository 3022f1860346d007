"""What every request has to pass before any of our code reads it, and what every answer carries.

The page is on loopback, where any site that a browser shows can send requests: a foreign name (DNS rebinding) and a
foreign origin (forgery) are refused here, for all paths alike.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trueup.web.problems import Problem

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
MAX_BODY_BYTES = 1024 * 1024
BODY_SECONDS = 20.0
"""For a whole body to arrive; a client that sends byte after byte holds a place no longer."""
MAX_TARGET_BYTES = 8192

_CONTENT_SECURITY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": _CONTENT_SECURITY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "same-origin",  # other sites learn nothing; without it no form names its origin
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}

_HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[^:\[\]@/?#\s]+)(?::(?P<port>\d{1,5}))?")
_JSON = ("application/json", "application/problem+json")
_FORM = ("application/x-www-form-urlencoded",)


class Gate:
    """ASGI middleware around everything.

    Args:
        app: What is behind it.
        hosts: Names under which the server may be asked, without ports.
        port: The port that requests name, where they name one; None: a proxy in front decides.
        cookie: Name of the session's cookie.
        api: Prefixes of paths that take JSON only.
        unlimited: Prefixes of paths that have limits of their own.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Collection[str],
        port: int | None,
        cookie: str,
        api: tuple[str, ...] = ("/api/",),
        unlimited: tuple[str, ...] = (),
    ) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)
        self._port = port
        self._cookie = cookie
        self._api = api
        self._unlimited = unlimited

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or hand on with the body bounded and the headers added."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # no websocket is offered: the connection is closed
        guarded = _with_headers(send, api=scope["path"].startswith(self._api))
        try:
            self._check(scope)
        except Problem as problem:
            await problem.response(scope, receive, guarded)
            return
        if scope["path"].startswith(self._unlimited or ("\0",)):
            await self._app(scope, receive, guarded)
            return
        try:
            body = await _read(receive)
        except Problem as problem:
            await problem.response(scope, receive, guarded)
            return
        await self._app(scope, _replayed(body, receive), guarded)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MAX_TARGET_BYTES:
            raise Problem(414, "TU-REQUEST", "the address is too long", why=f"{MAX_TARGET_BYTES} bytes are the limit")
        self._check_host(headers.getlist("host"))
        if scope["method"] not in SAFE:
            self._check_origin(scope, headers)
            self._check_body(scope, headers)

    def _check_host(self, named: list[str]) -> None:
        found = _HOST.fullmatch(named[0]) if len(named) == 1 else None
        known = found is not None and found["name"].lower() in self._hosts
        right = found is not None and (self._port is None or int(found["port"] or 80) == self._port)
        if not (known and right):
            raise Problem(
                421,
                "TU-ORIGIN",
                "the server is not known under this name",
                hint="use the address that it printed, or start it with --allowed-host NAME",
            )

    def _check_origin(self, scope: Scope, headers: Headers) -> None:
        """A browser says where a request comes from; a program that has a token need not."""
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        foreign = site not in (None, "same-origin", "none") or (
            origin is not None and urlsplit(origin).netloc.lower() != headers["host"].lower()
        )
        by_cookie = "authorization" not in headers and self._cookie in _cookies(headers)
        if foreign or (by_cookie and origin is None and site is None):
            raise Problem(
                403, "TU-ORIGIN", "a page of another site must not do that", hint="do it from the server's own page"
            )

    def _check_body(self, scope: Scope, headers: Headers) -> None:
        length = headers.get("content-length")
        if length is not None and (not length.isdecimal() or len(length) > 18):
            raise Problem(400, "TU-REQUEST", "Content-Length is no number")
        if scope["path"].startswith(self._unlimited or ("\0",)):
            return
        if length is not None and int(length) > MAX_BODY_BYTES:
            raise _too_large()
        if length in (None, "0") and "transfer-encoding" not in headers:
            return
        said = headers.get("content-type", "").partition(";")[0].strip().lower()
        wanted = _JSON if scope["path"].startswith(self._api) else (*_JSON, *_FORM)
        if said not in wanted:
            raise Problem(415, "TU-REQUEST", "the body has another type", why=f"wanted: {', '.join(wanted)}")


async def _read(receive: Receive) -> bytes:
    """The whole body, no more of it than is allowed, and no slower.

    Raises:
        Problem: If it is too large, or does not arrive.
    """
    body = bytearray()
    with anyio.move_on_after(BODY_SECONDS):
        while True:
            message = await receive()
            if message["type"] != "http.request":  # the client has gone; nobody hears an answer
                return bytes(body)
            body += message.get("body", b"")
            if len(body) > MAX_BODY_BYTES:
                raise _too_large()
            if not message.get("more_body", False):
                return bytes(body)
    raise Problem(408, "TU-REQUEST", "the body did not arrive", why=f"{BODY_SECONDS:.0f} seconds are the limit")


def _replayed(body: bytes, receive: Receive) -> Receive:
    """The body in one piece, then what else arrives: that the client has gone."""
    told = False

    async def replay() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _with_headers(send: Send, *, api: bool) -> Send:
    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            if api:
                headers.setdefault("cache-control", "no-store")
        await send(message)

    return guarded


def _cookies(headers: Headers) -> SimpleCookie:
    try:
        return SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return SimpleCookie()


def _too_large() -> Problem:
    return Problem(413, "TU-REQUEST", "the body is too large", why=f"{MAX_BODY_BYTES} bytes are the limit")
