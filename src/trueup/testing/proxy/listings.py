"""What can happen to a listing (ListObjectsV2): stale, in another order, cut short, with other people's keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from trueup.testing.proxy.answers import s3_error
from trueup.testing.proxy.exchange import Action, Exchange
from trueup.testing.proxy.page import Page, etag, in_bytes

RECORDED_PAGES: Final = 1_000
"""So many pages a rule remembers; more pass as they are."""

_FAILS: Final = s3_error("InternalError")

HOSTILE_NAMES: Final = (
    "../e",
    "/lead",
    "a//b",
    "a/./b",
    "a/../b",
    "dir/ ",
    "dir/",
    "new\nline",
    "bell\x07",
    "tab\tand\r",
    "back\\slash",
    "%2e%2e/percent",
    "plus+and space",
    "n" * 300,
    "nfd-e\u0301",
    "nfc-\u00e9",
    ".",
    "CON",
)
"""Keys that S3 stores and that no folder, or no local server, can hold; for `InjectedKeys`."""


class PageAction(Action):
    """Changes pages of listings, and leaves everything else alone."""

    async def answering(self, exchange: Exchange) -> None:
        """Take the page apart, change it, put it together."""
        reply = exchange.reply
        if reply is None or not exchange.request.lists or reply.head.status != 200:
            return
        page = Page.parse(exchange.request, await reply.hold())
        if page is not None and self.change(page, exchange):
            exchange.note(self)
            reply.put(page.encode())

    def change(self, page: Page, exchange: Exchange) -> bool:
        """Change the page; False if it stays as it is."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class EditedListing(PageAction):
    """Every page passes through a function."""

    edit: Callable[[Page], object]

    def change(self, page: Page, exchange: Exchange) -> bool:
        """Pass it through."""
        self.edit(page)
        return True


@dataclass(frozen=True, slots=True)
class UnorderedListing(PageAction):
    """The objects of a page come in an order drawn from the seed and their keys."""

    seed: int = 0

    def change(self, page: Page, exchange: Exchange) -> bool:
        """Reorder; if lots happen to draw byte order, backwards."""
        before = list(page.contents)
        page.contents.sort(key=lambda item: self._lot(page.name_of(item)))
        if page.contents == before:
            page.contents.reverse()
        return len(before) > 1

    def _lot(self, key: str) -> bytes:
        return blake2b(in_bytes(f"{self.seed} {key}"), digest_size=8).digest()


@dataclass(frozen=True, slots=True)
class StaleListing(Action):
    """A listing is answered as it was the first time since the rule was added, whatever has happened since."""

    async def arriving(self, exchange: Exchange) -> None:
        """Answer from memory."""
        recorded = exchange.memory(self).get(exchange.request.identity_with_token)
        if exchange.request.lists and recorded is not None:
            exchange.note(self)
            exchange.answer(200, "OK", [("Content-Type", "application/xml")], recorded)

    async def answering(self, exchange: Exchange) -> None:
        """Remember."""
        reply, memory = exchange.reply, exchange.memory(self)
        if reply is not None and exchange.request.lists and reply.head.status == 200 and len(memory) < RECORDED_PAGES:
            memory.setdefault(exchange.request.identity_with_token, await reply.hold())


@dataclass(frozen=True, slots=True)
class TruncatedListing(PageAction):
    """A page breaks off: it says that more follows, and the request for that goes wrong."""

    at: float = 0.5
    """After which part of its items."""
    then: Action | None = _FAILS
    """What happens to the request for the rest; it must not need the server. None: the page claims to be the last, and
    what is missing, is missing, as of a server that nobody can see through."""

    async def arriving(self, exchange: Exchange) -> None:
        """Let the request for the rest go wrong."""
        if self._is_rest(exchange) and self.then is not None:
            await self.then.arriving(exchange)

    def change(self, page: Page, exchange: Exchange) -> bool:
        """Break it off."""
        if self._is_rest(exchange):
            return False
        keep = int((len(page.contents) + len(page.prefixes)) * self.at)
        page.prefixes = page.prefixes[: max(0, keep - len(page.contents))]
        page.contents = page.contents[:keep]
        page.put("IsTruncated", "false" if self.then is None else "true")
        page.put("NextContinuationToken", None if self.then is None else self._token)
        return True

    @property
    def _token(self) -> str:
        return "trueup-truncated"

    def _is_rest(self, exchange: Exchange) -> bool:
        return exchange.request.lists and exchange.request.query.get("continuation-token") == self._token


@dataclass(frozen=True, slots=True)
class InjectedKeys(PageAction):
    """The bucket also holds these keys: listings show them in byte order, GET and HEAD find them.

    A page gets the keys that belong between its first and its last, so it may be longer than the client wished. Other
    methods, and a client that spells a key differently, reach the server, which knows nothing.
    """

    keys: tuple[str, ...] = HOSTILE_NAMES
    """With their prefix, if any."""
    data: bytes = b"hostile\n"
    """What each of them holds."""

    async def arriving(self, exchange: Exchange) -> None:
        """Answer for the objects."""
        request = exchange.request
        if request.method in ("GET", "HEAD") and request.key in self.keys and not request.query:
            exchange.note(self)
            headers = (
                ("Content-Type", "application/octet-stream"),
                ("ETag", f'"{etag(self.data)}"'),
                ("Last-Modified", "Tue, 02 Jan 2024 03:04:05 GMT"),
            )
            exchange.answer(200, "OK", headers, self.data)

    def change(self, page: Page, exchange: Exchange) -> bool:
        """Add those that belong on this page."""
        query, ends = page.request.query, exchange.memory(self)
        token = query.get("continuation-token")
        low = in_bytes(query.get("start-after", "")) if token is None else ends.get(token, b"")
        high = None
        if page.truncated:
            high = max((in_bytes(page.name_of(item)) for item in (*page.contents, *page.prefixes)), default=low)
            ends[page.get("NextContinuationToken")] = high
        wanted = [key for key in self.keys if key.startswith(query.get("prefix", ""))]
        for key in wanted:
            if low < in_bytes(key) and (high is None or in_bytes(key) <= high):
                page.insert(key, self.data)
        return bool(wanted)
