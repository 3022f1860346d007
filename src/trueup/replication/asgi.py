"""The remote as an application of ASGI, to be mounted wherever there is a server.

`/NAME/pull-updates`, `/NAME/v2/pipeline`, `/NAME/backup` and `/NAME` below where it is mounted.
Source: https://asgi.readthedocs.io/en/latest/specs/www.html.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import closing, suppress
from typing import Any, Final, TypeAlias, TypeVar, TypeVarTuple

import anyio
from anyio import to_thread

from trueup.replication import answers
from trueup.replication.answers import Asked, Reply
from trueup.replication.database import Database
from trueup.replication.databases import Databases
from trueup.replication.refused import Refused

T = TypeVar("T")
Args = TypeVarTuple("Args")
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Verify: TypeAlias = Callable[[str, str], Awaitable[bool]]
"""Takes the token and the name of the database; says whether the one may use the other."""

_THREADS: Final = 8
"""Requests that work on disk at once. Those that wait for changes need none."""


class _Gone(Exception):
    """The client hung up."""


class Replication:
    """The application.

    Args:
        databases: What is served. Whoever made it closes it, after the last request.
        verify: Asked before anything else, for every request.
    """

    def __init__(self, databases: Databases, verify: Verify) -> None:
        self._databases = databases
        self._verify = verify
        self._threads: anyio.CapacityLimiter | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise NotImplementedError(f"the remote does not speak {scope['type']}")
        try:
            database, asked = await self._understood(scope, receive)
        except Refused as refused:
            await self._send(answers.refusal(refused), send)
        except _Gone:
            return
        else:
            with closing(await self._answer(database, asked)) as answer:
                await self._send(answer, send)
            await self._thread(answers.tidy, database, asked)

    async def _understood(self, scope: Message, receive: Receive) -> tuple[Database, Asked]:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        name, path = _below(scope)
        if not await self._verify(answers.bearer(headers.get("authorization")), name):
            raise answers.unauthorized()
        answers.check(scope["method"], path)
        body = await self._body(headers, receive)
        asked = Asked(scope["method"], path, body, headers.get(answers.CONDITION_HEADER.lower()))
        return await self._thread(self._database, name, asked), asked

    async def _answer(self, database: Database, asked: Asked) -> Reply:
        try:
            await _patiently(database, asked)
            return await self._thread(answers.reply, database, asked)
        except Refused as refused:
            return answers.refusal(refused)

    def _database(self, name: str, asked: Asked) -> Database:
        begin = not self._databases.exists(name) and answers.may_create(asked)
        return self._databases.get(name, begin=begin)

    async def _thread(self, function: Callable[[*Args], T], *args: *Args) -> T:
        if self._threads is None:
            self._threads = anyio.CapacityLimiter(_THREADS)  # belongs to the loop that runs now
        return await to_thread.run_sync(function, *args, limiter=self._threads)

    async def _body(self, headers: dict[str, str], receive: Receive) -> bytes:
        most = self._databases.limits.request_bytes
        declared = headers.get("content-length")
        refused = (
            answers.too_large(most) if declared is not None and declared.isdigit() and int(declared) > most else None
        )
        parts: list[bytes] = []
        size = 0
        more = True
        while more:  # to the end even if it is too large: a client that is still sending would not hear the answer
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Gone
            part = message.get("body", b"")
            more = message.get("more_body", False)
            size += len(part)
            if size > most:
                refused = answers.too_large(most)
            if refused is None:
                parts.append(part)
            else:
                parts.clear()
        if refused is not None:
            raise refused
        return b"".join(parts)

    async def _send(self, answer: Reply, send: Send) -> None:
        headers = {"content-type": answer.kind, "content-length": str(answer.size)} | dict(answer.headers)
        pairs = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": answer.status, "headers": pairs})
        if isinstance(answer.body, bytes):
            await send({"type": "http.response.body", "body": answer.body})
            return
        chunks: Iterator[bytes | memoryview] = answer.body.chunks()
        while chunk := await self._thread(next, chunks, b""):
            await send({"type": "http.response.body", "body": bytes(chunk), "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def _below(scope: Message) -> tuple[str, str]:
    """Name of the database, and what is below it; servers differ in whether the path has the mount in it."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if root and path.startswith(root + "/"):
        path = path[len(root) :]
    name, slash, rest = path.removeprefix("/").partition("/")
    return name, (slash + rest).rstrip("/")


async def _patiently(database: Database, asked: Asked) -> None:
    loop = asyncio.get_running_loop()
    changed = asyncio.Event()

    def notice() -> None:
        with suppress(RuntimeError):  # the loop has ended, and nobody waits
            loop.call_soon_threadsafe(changed.set)

    unsubscribe = database.subscribe(notice)
    try:
        # After subscribing: a change in between is seen by one or the other.
        if seconds := answers.patience(database, asked):
            with anyio.move_on_after(seconds):
                await changed.wait()
    finally:
        unsubscribe()
