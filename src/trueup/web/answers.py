"""``Idempotency-Key``: a POST that is sent again is answered again, and not done again.

An answer is kept for a day, for whoever asked. The same key with another request is refused; while the first one is
under way, the second is told so.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trueup.web.problems import Problem
from trueup.web.service import Service

KEPT_SECONDS = 24 * 3600
MOST_BYTES = 256 * 1024
"""Of an answer that is kept."""
_LONGEST = 200


class Idempotent:
    """ASGI middleware around the application.

    Args:
        app: What is behind it.
        service: Who asks, and the state.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer from memory, or hand on and remember."""
        key = Headers(scope=scope).get("idempotency-key") if scope["type"] == "http" else None
        if key is None or scope["method"] != "POST" or not scope["path"].startswith("/api/"):
            await self._app(scope, receive, send)
            return
        try:
            await self._answer(key, scope, receive, send)
        except Problem as problem:
            await problem.response(scope, receive, send)

    async def _answer(self, key: str, scope: Scope, receive: Receive, send: Send) -> None:
        if not key or len(key) > _LONGEST or not key.isascii() or not key.isprintable():
            raise Problem(400, "TU-REQUEST", "Idempotency-Key must be up to 200 printable characters")
        who = await self._service.access.principal(Request(scope))
        message = await receive()  # the gate hands the body on in one piece
        body = message.get("body", b"")
        name = _digest((who.token, key))
        asked = _digest((scope["method"], scope["path"], scope["query_string"].decode("latin-1"), body.hex()))
        known = await self._service.threads(self._reserve, name, asked)
        if known is not None:
            await _replay(known, send)
            return

        kept = _Kept(send)
        try:
            await self._app(scope, _again(message, receive), kept)
        finally:
            await self._service.threads(self._remember, name, kept)

    def _reserve(self, name: str, asked: str) -> tuple[int, str, bytes] | None:
        """The answer that is known; None: it is ours to find, and nobody else's.

        Raises:
            Problem: If the key was used for something else, or the first request is under way.
        """
        now_ns = self._service.ambient.clock.now_ns()
        with self._service.state.transaction() as connection:
            connection.execute("DELETE FROM answers WHERE at_ns < ?", (now_ns - KEPT_SECONDS * 10**9,))
            query = "SELECT request, status, headers, body FROM answers WHERE name = ?"
            row = connection.execute(query, (name,)).fetchone()
            if row is None:
                insert = "INSERT INTO answers (name, request, at_ns) VALUES (?, ?, ?)"
                connection.execute(insert, (name, asked, now_ns))
                return None
        request, status, headers, body = row
        if request != asked:
            raise Problem(422, "TU-REQUEST", "this Idempotency-Key was used for another request")
        if status is None:
            raise Problem(
                409, "TU-BUSY", "the first request with this Idempotency-Key is under way", headers={"Retry-After": "1"}
            )
        return int(status), str(headers), bytes(body)

    def _remember(self, name: str, kept: _Kept) -> None:
        """Only what was decided: what failed may be tried again with the same key."""
        with self._service.state.transaction() as connection:
            if kept.status is None or kept.status >= 500 or kept.status in (401, 408, 409, 429) or kept.broken:
                connection.execute("DELETE FROM answers WHERE name = ?", (name,))
                return
            connection.execute(
                "UPDATE answers SET status = ?, headers = ?, body = ? WHERE name = ?",
                (kept.status, json.dumps(kept.headers), bytes(kept.body), name),
            )


class _Kept:
    """Sends an answer, and keeps it."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status: int | None = None
        self.headers: list[tuple[str, str]] = []
        self.body = bytearray()
        self.broken = True

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in message["headers"]]
        else:
            self.body += message.get("body", b"")
            self.broken = bool(message.get("more_body", False)) or len(self.body) > MOST_BYTES
        await self._send(message)


async def _replay(known: tuple[int, str, bytes], send: Send) -> None:
    status, headers, body = known
    pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in json.loads(headers)]
    pairs.append((b"idempotent-replayed", b"true"))
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


def _again(message: Message, receive: Receive) -> Receive:
    told = False

    async def replay() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return message

    return replay


def _digest(parts: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
