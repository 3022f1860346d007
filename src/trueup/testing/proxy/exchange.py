"""One request and its answer, on their way through the proxy."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any, Final

from trueup.testing.proxy.rules import Armed, Request
from trueup.testing.proxy.wire import LIMIT, UNTIL_CLOSE, Body, Broken, Head, Link, Piece, read_body, read_head, whole

ANSWER_SECONDS: Final = 60.0
"""How long the server may take until its answer begins."""

BODY_SECONDS: Final = 30.0
"""How long a client may take to send a body that is thrown away."""

HELD_BYTES: Final = 64 * 1024 * 1024
"""The longest answer that can be looked at, or changed, as a whole."""

_FRAMING = frozenset({"content-length", "transfer-encoding", "trailer", "content-md5", "content-encoding"})


class Reset(Exception):
    """An action wants both connections to end here, without another byte."""


class Action:
    """What a rule does. One object may serve many requests at once: what it remembers is in `Exchange.memory`."""

    async def arriving(self, exchange: Exchange) -> None:
        """The head of the request has arrived, and the server knows nothing of it.

        Raises:
            Reset: To end both connections.
        """

    async def answering(self, exchange: Exchange) -> None:
        """The head of the answer has arrived, and the client knows nothing of it.

        Raises:
            Reset: To end both connections.
        """


@dataclass(slots=True)
class Reply:
    """An answer that the client has not seen yet."""

    head: Head
    length: int
    """Of the body in bytes, or CHUNKED, or UNTIL_CLOSE."""
    body: Body

    async def hold(self) -> bytes:
        """The whole payload, which is also kept to be sent.

        Raises:
            ValueError: If it is longer than HELD_BYTES.
        """
        pieces: list[Piece] = []
        held = 0
        async for piece in self.body:
            pieces.append(piece)
            held += len(piece.data)
            if held > HELD_BYTES:
                raise ValueError("the answer is too long to be looked at as a whole")
        self.body = _all(pieces)
        return b"".join(piece.data for piece in pieces if piece.payload)

    async def drain(self) -> None:
        """Read it to its end, and throw it away: now the server has finished."""
        async for _ in self.body:
            pass

    def put(self, data: bytes) -> None:
        """Send this body instead."""
        names = {name.lower() for name, _ in self.head.headers}
        self.head = self.head.without(_FRAMING | {name for name in names if name.startswith("x-amz-checksum-")})
        self.head = self.head.having("Content-Length", str(len(data)))
        self.length = len(data)
        self.body = whole(data)


async def _all(pieces: Collection[Piece]) -> Body:
    for piece in pieces:
        yield piece


@dataclass(slots=True)
class Record:
    """What became of a request."""

    request: Request
    status: int | None = None
    """Of the answer that the client got, or got the beginning of."""
    injected: tuple[Action, ...] = ()
    """What was done to it."""
    reached: bool = False
    """Whether anything of it was sent to the server."""
    ended: str = ""
    """Why there was no answer, or only part of one."""


class Exchange:
    """A request and its answer, for actions to change.

    Args:
        request: As rules see it.
        head: As it is sent to the server.
        client: Who asks.
        armed: The rules that apply.
        connect: Gives the connection to the server; raises `OSError`.
        proxy: Who may be told to do what concerns more than one request.
        record: What the log says of it.
    """

    def __init__(
        self,
        *,
        request: Request,
        head: Head,
        client: Link,
        armed: list[Armed],
        connect: Callable[[], Awaitable[Link]],
        proxy: Control,
        record: Record,
    ) -> None:
        self.request = request
        self.head = head
        self.body = read_body(client.reader, head.body_length)
        self.reply: Reply | None = None
        self.proxy = proxy
        self._client = client
        self._armed = armed
        self._connect = connect
        self._record = record
        self._server: Link | None = None
        self._upload: asyncio.Task[None] | None = None
        self._failure: Exception | None = None

    # -- for actions ---------------------------------------------------------------------------------------------

    def memory(self, action: Action) -> dict[str, Any]:
        """What the rule of this action remembers from one request to the next."""
        return next(armed.memory for armed in self._armed if armed.rule.action is action)

    def note(self, action: Action) -> None:
        """Put into the log that this was done."""
        self._record.injected += (action,)

    def answer(self, status: int, reason: str, headers: Collection[tuple[str, str]], data: bytes) -> None:
        """Answer instead of the server."""
        head = Head(f"HTTP/1.1 {status} {reason}", tuple(headers)).without({"content-length"})
        head = head.having("Content-Length", str(len(data)))
        if self.request.method == "HEAD":
            data = b""
        self.reply = Reply(head, len(data), whole(data))

    async def client_gone(self) -> None:
        """Wait until the client gives up; throws the body of the request away."""
        with suppress(OSError):
            while await self._client.reader.read(LIMIT):
                pass

    async def released(self) -> None:
        """Wait until nothing may hang any longer."""
        await self.proxy.released.wait()

    # -- for the proxy -------------------------------------------------------------------------------------------

    async def run(self) -> bool:
        """Do it.

        Returns:
            Whether the client's connection can take another request.
        """
        try:
            async with aclosing(self.body), asyncio.TaskGroup() as group:
                try:
                    return await self._run(group)
                except (Reset, Broken, OSError) as error:
                    self._end(self._failure or error)
                    return False
                except Exception as error:
                    self._end(error)
                    raise
                finally:
                    if self._upload is not None:
                        self._upload.cancel()
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from errors
        return False

    async def _run(self, group: asyncio.TaskGroup) -> bool:
        for armed in self._armed:
            await armed.rule.action.arriving(self)
        if self.reply is None:
            await self._forward(group)
        for armed in self._armed:
            await armed.rule.action.answering(self)
        return await self._send()

    def _end(self, error: Exception) -> None:
        self._record.ended = str(error) or type(error).__name__
        self._client.reset()
        if self._server is not None:
            self._server.reset()

    async def _forward(self, group: asyncio.TaskGroup) -> None:
        """Send the request to the server, and wait for the head of its answer."""
        server = self._server = await self._connect()
        self._record.reached = True
        await server.send(self.head.encode())
        self._upload = group.create_task(self._pass_body(server))
        async with asyncio.timeout(ANSWER_SECONDS):
            head = await self._final_head(server)
        length = head.answer_length(self.request.method)
        self.reply = Reply(head, length, read_body(server.reader, length))

    async def _final_head(self, server: Link) -> Head:
        while True:
            head = await read_head(server.reader)
            if head is None:
                raise Broken("the server closed the connection instead of answering")
            if head.status >= 200:
                return head
            await self._client.send(head.encode())

    async def _pass_body(self, server: Link) -> None:
        """Pass the body of the request to the server. Does not raise: who waits for the answer does."""
        try:
            async for piece in self.body:
                await server.send(piece.data)
        except (Reset, Broken) as error:
            self._failure = error
            server.reset()
        except OSError:
            return  # The server wants no more; perhaps it has answered why.

    async def _send(self) -> bool:
        """Send the answer to the client; whether both connections can be used again."""
        reply = self.reply
        if reply is None:
            raise AssertionError("an exchange without an answer")
        whole_body = await self._body_read()
        reusable = whole_body and self.head.keeps_alive and reply.head.keeps_alive and reply.length != UNTIL_CLOSE
        if not whole_body:
            reply.head = reply.head.having("Connection", "close")
        self._record.status = reply.head.status
        await self._client.send(reply.head.encode())
        async for piece in reply.body:
            await self._client.send(piece.data)
        if not whole_body:
            await self._abandon()
        return reusable

    async def _body_read(self) -> bool:
        """Whether the body of the request has been read to its end; one that the server does not get is thrown away."""
        if self._upload is not None:
            await asyncio.wait([self._upload], timeout=0.05)
            return self._upload.done() and self._failure is None
        if self.head.has("expect", "100-continue"):
            return self.head.body_length == 0
        async with asyncio.timeout(BODY_SECONDS):
            async for _ in self.body:
                pass
        return True

    async def _abandon(self) -> None:
        """The client has its answer, and is still sending."""
        if self._upload is not None:
            self._upload.cancel()
            await asyncio.wait([self._upload])
        if self._server is not None:
            self._server.close()
        await self._client.finish()


class Control:
    """What an action may ask of the proxy, on its loop."""

    released: asyncio.Event
    """Is set when rules are cleared or the proxy ends: what hangs, ends."""

    def refuse(self, seconds: float | None) -> None:
        """Refuse connections and reset those that exist, for so long, or until `FaultProxy.up`."""
        raise NotImplementedError
