"""Servers whose ETags are not what everybody takes them for."""

from __future__ import annotations

import re
from dataclasses import dataclass

from trueup.testing.proxy.actions import resign
from trueup.testing.proxy.exchange import Action, Exchange
from trueup.testing.sigv4 import Credentials

_HEX = re.compile(r"[0-9a-f]{32}")
_ELEMENT = re.compile(r"<ETag>(.*?)</ETag>", re.DOTALL)
_CONDITIONS = ("if-match", "if-none-match", "x-amz-copy-source-if-match", "x-amz-copy-source-if-none-match")


class _ETags(Action):
    """Changes the ETags of objects in headers, listings and results; those of parts stay."""

    def etag(self, value: str) -> str | None:
        """What stands instead of an ETag; None if nothing does."""
        raise NotImplementedError

    async def answering(self, exchange: Exchange) -> None:
        """Change them."""
        reply, query = exchange.reply, exchange.request.query
        if reply is None or "partNumber" in query or (exchange.request.method == "GET" and "uploadId" in query):
            return
        value = reply.head.get("etag")
        if value is not None:
            exchange.note(self)
            other = self.etag(value)
            reply.head = reply.head.without({"etag"}) if other is None else reply.head.having("ETag", other)
        if "xml" in (reply.head.get("content-type") or "") and reply.length and _results(exchange):
            text = (await reply.hold()).decode("utf-8", errors="surrogateescape")
            changed = _ELEMENT.sub(self._element, text)
            if changed != text:
                exchange.note(self)
                reply.put(changed.encode("utf-8", errors="surrogateescape"))

    def _element(self, match: re.Match[str]) -> str:
        other = self.etag(match[1])
        return "" if other is None else f"<ETag>{other}</ETag>"


def _results(exchange: Exchange) -> bool:
    """Whether the body of the answer is the server's own, and names ETags: a listing, a copy, a completed upload."""
    request = exchange.request
    return request.lists or "x-amz-copy-source" in request.headers or request.method == "POST"


@dataclass(frozen=True, slots=True)
class NoETags(_ETags):
    """The server gives no ETags."""

    def etag(self, value: str) -> str | None:
        """Nothing."""
        return None


@dataclass(frozen=True, slots=True)
class OtherETags(_ETags):
    """ETags look like MD5 and are something else, as of encrypted objects: here, their digits stand in reverse.

    They are the same in every answer, and conditions understand them: such requests are signed anew.
    """

    credentials: Credentials

    def etag(self, value: str) -> str | None:
        """Its digits in reverse, which undoes itself."""
        return _HEX.sub(lambda match: match[0][::-1], value)

    async def arriving(self, exchange: Exchange) -> None:
        """Tell the server what it calls them."""
        changed = exchange.head
        for name in _CONDITIONS:
            value = changed.get(name)
            if value is not None and _HEX.search(value):
                changed = changed.having(name, self.etag(value) or "")
        if changed is not exchange.head:
            exchange.head = changed
            resign(exchange, self.credentials)
