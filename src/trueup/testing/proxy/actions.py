"""What can happen to a request and to its answer, listings aside."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from trueup.testing.proxy.exchange import Action, Exchange, Reply, Reset
from trueup.testing.proxy.rules import Request
from trueup.testing.proxy.wire import Body, Head, Piece
from trueup.testing.sigv4 import CHUNKS_SIGNED, Credentials, sign

HANG_SECONDS: Final = 120.0
"""The longest hang: longer than a test waits, and not for ever."""

CONDITIONS: Final = ("if-match", "if-none-match")
"""The headers that make a request conditional."""


# -- time and availability -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Latency(Action):
    """The request waits before it goes on."""

    seconds: float
    jitter_seconds: float = 0.0
    """Up to so much longer, drawn from the seed and the request."""
    seed: int = 0

    async def arriving(self, exchange: Exchange) -> None:
        """Wait."""
        exchange.note(self)
        await asyncio.sleep(self.seconds + self.jitter_seconds * exchange.request.draw(self.seed))


@dataclass(frozen=True, slots=True)
class Hang(Action):
    """Nothing more is heard, until the client gives up, the rules are cleared or the proxy ends."""

    committed: bool = False
    """Whether the server does what it was asked for; only its answer stays away."""

    async def arriving(self, exchange: Exchange) -> None:
        """Hang before the server knows."""
        if not self.committed:
            await self._hang(exchange)

    async def answering(self, exchange: Exchange) -> None:
        """Hang after the server has answered."""
        if self.committed and exchange.reply is not None:
            await exchange.reply.drain()
            await self._hang(exchange)

    async def _hang(self, exchange: Exchange) -> None:
        exchange.note(self)
        async with asyncio.TaskGroup() as group:
            ends = [group.create_task(exchange.client_gone()), group.create_task(exchange.released())]
            await asyncio.wait(ends, timeout=HANG_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            for end in ends:
                end.cancel()
        raise Reset("hung")


@dataclass(frozen=True, slots=True)
class Refuse(Action):
    """From this request on the server is down: connections are reset, and new ones refused."""

    seconds: float | None = None
    """For so long; None until `FaultProxy.up`."""

    async def arriving(self, exchange: Exchange) -> None:
        """Go down."""
        exchange.note(self)
        exchange.proxy.refuse(self.seconds)
        raise Reset("refused")


# -- connections that break ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DropRequest(Action):
    """The connection is reset before the server knows of the request."""

    async def arriving(self, exchange: Exchange) -> None:
        """Reset."""
        exchange.note(self)
        raise Reset("the request was dropped")


@dataclass(frozen=True, slots=True)
class DropAnswer(Action):
    """The connection is reset after the server has done what it was asked for."""

    async def answering(self, exchange: Exchange) -> None:
        """Reset."""
        if exchange.reply is not None:
            await exchange.reply.drain()
        exchange.note(self)
        raise Reset("the answer was dropped")


@dataclass(frozen=True, slots=True)
class CutRequest(Action):
    """The connections are reset in the middle of the body of the request."""

    at: float = 0.5
    """After which part of it; of a chunked body, whose length nobody knows, after the first chunk's."""

    async def arriving(self, exchange: Exchange) -> None:
        """Prepare the cut; a request without a body is dropped."""
        exchange.note(self)
        if exchange.head.body_length == 0:
            raise Reset("the request was cut")
        exchange.body = _cut(exchange.body, _place(exchange.head.body_length, self.at), "the request was cut")


@dataclass(frozen=True, slots=True)
class CutAnswer(Action):
    """The connections end in the middle of the body of the answer."""

    at: float = 0.5
    """After which part of it."""

    async def answering(self, exchange: Exchange) -> None:
        """Prepare the cut."""
        if exchange.reply is not None:
            place = await _place_in(exchange.reply, self.at)
            exchange.note(self)
            exchange.reply.body = _cut(exchange.reply.body, place, "the answer was cut")


def _place(length: int, at: float) -> int | None:
    return None if length < 0 else int(length * at)


async def _place_in(reply: Reply, at: float) -> int:
    length = reply.length
    if length < 0:
        length = len(await reply.hold())
    return int(length * at)


async def _cut(body: Body, left: int | None, why: str) -> Body:
    async for piece in body:
        if not piece.payload:
            yield piece
            continue
        if left is None:
            left = len(piece.data) // 2
        if len(piece.data) > left:
            yield Piece(piece.data[:left], payload=True)
            break
        left -= len(piece.data)
        yield piece
    raise Reset(why)


# -- bytes that change ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FlipAnswer(Action):
    """One bit of the body of the answer is another."""

    at: float = 0.5
    """In the byte after which part of it; at least 0, less than 1."""

    async def answering(self, exchange: Exchange) -> None:
        """Flip it on its way."""
        if exchange.reply is not None and exchange.reply.length:
            place = await _place_in(exchange.reply, self.at)
            exchange.note(self)
            exchange.reply.body = _flipped(exchange.reply.body, place)


@dataclass(frozen=True, slots=True)
class FlipRequest(Action):
    """One bit of the body of the request is another; a server that checks a hash or a checksum refuses it."""

    at: float = 0.5
    """In the byte after which part of it; a chunked body: in the first byte."""

    async def arriving(self, exchange: Exchange) -> None:
        """Flip it on its way."""
        if exchange.head.body_length:
            exchange.note(self)
            exchange.body = _flipped(exchange.body, _place(exchange.head.body_length, self.at) or 0)


async def _flipped(body: Body, left: int) -> Body:
    async for piece in body:
        data = piece.data
        if piece.payload and 0 <= left < len(data):
            data = data[:left] + bytes([data[left] ^ 1]) + data[left + 1 :]
        if piece.payload:
            left -= len(data)
        yield Piece(data, piece.payload)


# -- servers that lie ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class IgnoreConditions(Action):
    """The server does not know the headers that make a request conditional, as weak servers do not.

    A signature covers them, so they cannot just be taken away: the request goes on without them, signed anew with
    credentials of ours. Bodies pass as they are; one whose chunks are signed cannot, and is answered with 501.
    """

    credentials: Credentials
    names: tuple[str, ...] = CONDITIONS
    """In lower case; ``x-amz-copy-source-if-match`` is another."""

    async def arriving(self, exchange: Exchange) -> None:
        """Take them away."""
        if any(exchange.head.get(name) is not None for name in self.names):
            exchange.note(self)
            exchange.head = exchange.head.without(set(self.names))
            resign(exchange, self.credentials)


def resign(exchange: Exchange, credentials: Credentials) -> None:
    """Sign the request anew, after its headers were changed."""
    if (exchange.head.get("x-amz-content-sha256") or "").startswith(CHUNKS_SIGNED):
        message = b"the fault proxy cannot sign chunks anew"
        exchange.answer(501, "Not Implemented", [("Content-Type", "text/plain")], message)
        return
    method, target, version = exchange.head.start.split(" ")
    target, headers = sign(method, target, list(exchange.head.headers), credentials)
    exchange.head = Head(f"{method} {target} {version}", tuple(headers))


# -- other people --------------------------------------------------------------------------------------------------

Hook = Callable[[Request], object]
"""Is called in a thread of its own, so it may block and may use the proxy. What it raises, `FaultProxy` raises."""


@dataclass(frozen=True, slots=True)
class Before(Action):
    """Something happens just before the server gets the request."""

    hook: Hook

    async def arriving(self, exchange: Exchange) -> None:
        """Call it, and wait for it."""
        exchange.note(self)
        await asyncio.to_thread(self.hook, exchange.request)


@dataclass(frozen=True, slots=True)
class After(Action):
    """Something happens after the server has answered, before the client sees any of the answer."""

    hook: Hook

    async def answering(self, exchange: Exchange) -> None:
        """Call it, and wait for it. An answer of known length over 1 MiB may still be under way from the server."""
        reply = exchange.reply
        if reply is not None and reply.length <= 1024 * 1024:
            await reply.hold()
        exchange.note(self)
        await asyncio.to_thread(self.hook, exchange.request)
