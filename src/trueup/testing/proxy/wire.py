"""HTTP/1.1 as it goes over the wire (RFC 9112): heads, bodies, and both ends of a connection.

Bodies pass as the bytes that arrived, with their chunk sizes, extensions and trailers; every piece says whether it is
payload, so that harm can be done to the payload alone.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncGenerator, Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, NamedTuple

LIMIT: Final = 65_536
"""Bytes: the longest head, the longest line, the largest piece."""

LINGER_SECONDS: Final = 2.0
"""How long a client may go on sending a body that nobody wants."""

CHUNKED: Final = -1
"""Instead of a length: the body says itself where it ends."""
UNTIL_CLOSE: Final = -2
"""Instead of a length: the body ends with the connection."""


class Broken(Exception):
    """One end went away, or did not speak HTTP/1.1."""


class Piece(NamedTuple):
    """Some bytes of a body."""

    data: bytes
    payload: bool
    """Whether they belong to the content, and not to its framing."""


Body = AsyncGenerator[Piece, None]


@dataclass(frozen=True, slots=True)
class Head:
    """A start line and headers."""

    start: str
    headers: tuple[tuple[str, str], ...]
    raw: bytes | None = None
    """As it arrived, unless it was changed since."""

    @property
    def status(self) -> int:
        """Of an answer."""
        return int(self.start.split(" ")[1])

    def get(self, name: str) -> str | None:
        """The value of a header, whose name is in lower case."""
        return next((value for other, value in self.headers if other.lower() == name), None)

    def has(self, name: str, word: str) -> bool:
        """Whether a header that is a list holds a word; both in lower case."""
        return any(
            word in (part.strip() for part in value.lower().split(","))
            for other, value in self.headers
            if other.lower() == name
        )

    def without(self, names: Collection[str]) -> Head:
        """The same, but for the headers of these names, which are in lower case."""
        return Head(self.start, tuple(pair for pair in self.headers if pair[0].lower() not in names))

    def having(self, name: str, value: str) -> Head:
        """The same, with this header, spelled and placed as it was, and no other of that name."""
        first = next((n for n, (other, _) in enumerate(self.headers) if other.lower() == name.lower()), None)
        others = list(self.without({name.lower()}).headers)
        if first is None:
            return Head(self.start, (*others, (name, value)))
        others.insert(first, (self.headers[first][0], value))
        return Head(self.start, tuple(others))

    def encode(self) -> bytes:
        """As bytes on the wire."""
        if self.raw is not None:
            return self.raw
        lines = [self.start, *(f"{name}: {value}" for name, value in self.headers)]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    @property
    def body_length(self) -> int:
        """Bytes of the body of a request, or CHUNKED."""
        if self.has("transfer-encoding", "chunked"):
            return CHUNKED
        return int(self.get("content-length") or 0)

    def answer_length(self, method: str) -> int:
        """Bytes of the body of the answer to such a request, or CHUNKED, or UNTIL_CLOSE."""
        if method == "HEAD" or self.status in (204, 304) or self.status < 200:
            return 0
        if self.get("content-length") is None and not self.has("transfer-encoding", "chunked"):
            return UNTIL_CLOSE
        return self.body_length

    @property
    def keeps_alive(self) -> bool:
        """Whether another message may follow on the connection."""
        if "HTTP/1.0" in self.start:
            return self.has("connection", "keep-alive")
        return not self.has("connection", "close")


async def read_head(reader: Reader) -> Head | None:
    """The next head; None if the connection ends before it.

    Raises:
        Broken: If it ends in the middle, is too long, or is no head.
    """
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial.strip():
            raise Broken("the connection ended inside a head") from error
        return None
    except (asyncio.LimitOverrunError, OSError) as error:
        raise Broken(str(error)) from error
    lines = raw.decode("latin-1").strip("\r\n").split("\r\n")
    pairs = [line.partition(":") for line in lines[1:]]
    if len(lines[0].split(" ")) < 2 or not all(colon for _, colon, _ in pairs):
        raise Broken(f"no head of HTTP/1.1: {lines[0]!r}")
    return Head(lines[0], tuple((name, value.strip()) for name, _, value in pairs), raw)


async def read_body(reader: Reader, length: int) -> Body:
    """The pieces of a body.

    Raises:
        Broken: If the connection ends before it does.
    """
    try:
        if length == CHUNKED:
            async for piece in _chunks(reader):
                yield piece
        elif length == UNTIL_CLOSE:
            while data := await reader.read(LIMIT):
                yield Piece(data, payload=True)
            if reader.broke:
                raise Broken("the connection broke inside a body")
        else:
            async for piece in _exactly(reader, length):
                yield piece
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError, ValueError) as error:
        raise Broken("the connection ended inside a body") from error


async def _exactly(reader: Reader, left: int) -> Body:
    while left:
        data = await reader.read(min(left, LIMIT))
        if not data:
            raise Broken("the connection ended inside a body")
        left -= len(data)
        yield Piece(data, payload=True)


async def _chunks(reader: Reader) -> Body:
    while True:
        line = await reader.readuntil(b"\n")
        yield Piece(line, payload=False)
        size = int(line.partition(b";")[0], 16)
        if not size:
            break
        async for piece in _exactly(reader, size):
            yield piece
        yield Piece(await reader.readexactly(2), payload=False)
    while True:
        line = await reader.readuntil(b"\n")
        yield Piece(line, payload=False)
        if not line.strip():
            return


async def whole(data: bytes) -> Body:
    """A body of these bytes."""
    yield Piece(data, payload=True)


class Reader(asyncio.StreamReader):
    """A reader that gives what has arrived before it says that the connection broke, as sockets do."""

    def __init__(self) -> None:
        super().__init__(limit=LIMIT)
        self.broke = False
        """Whether the end is not the other end's doing, or a reset."""

    def set_exception(self, exc: BaseException) -> None:
        """End instead."""
        self.broke = True
        self.feed_eof()


class Link:
    """One end of a connection.

    Nothing waits in a buffer of ours: what `send` has returned from has left for the other end.
    """

    def __init__(self, reader: Reader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer
        writer.transport.set_write_buffer_limits(high=1, low=0)  # TLS never goes on after a pause at 0.

    @classmethod
    async def accepted(cls, peer: socket.socket, tls: ssl.SSLContext | None) -> Link:
        """The end that has connected to us."""
        loop, reader = asyncio.get_running_loop(), Reader()
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, peer, ssl=tls)
        return cls(reader, asyncio.StreamWriter(transport, protocol, reader, loop))

    @classmethod
    async def connected(cls, host: str, port: int) -> Link:
        """The end that we connect to."""
        loop, reader = asyncio.get_running_loop(), Reader()
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.create_connection(lambda: protocol, host, port)
        return cls(reader, asyncio.StreamWriter(transport, protocol, reader, loop))

    @property
    def ended(self) -> bool:
        """Whether the other end has said that it is done."""
        return self.reader.at_eof() or self._writer.is_closing()

    async def send(self, data: bytes) -> None:
        """Send, and wait until it is sent.

        Raises:
            OSError: If the other end is gone.
        """
        self._writer.write(data)
        await self._writer.drain()

    def reset(self) -> None:
        """End it with a reset, as a crash or a middlebox does."""
        with suppress(OSError):
            peer = self._writer.get_extra_info("socket")
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    def close(self) -> None:
        """End it in good order."""
        self._writer.close()

    async def finish(self) -> None:
        """End it in good order though the other end is still sending: a reset would destroy the answer on its way."""
        with suppress(OSError, TimeoutError):
            if self._writer.can_write_eof():
                self._writer.write_eof()
            async with asyncio.timeout(LINGER_SECONDS):
                while await self.reader.read(LIMIT):
                    pass
        self.close()
