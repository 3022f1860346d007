"""One HTTP client for all providers: pages to the end or said not to be, retries that fit, keys that stay here."""

from __future__ import annotations

import json
import math
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

import anyio

from trueup.core.errors import StoreError
from trueup.stores.http.entries import Entry, entry, identifier, named, too_deep
from trueup.stores.http.spec import Detail, Provider, at
from trueup.stores.http.words import Refusal, redacted, refusal

if TYPE_CHECKING:
    import httpx2

    from trueup.protocols import Clock, Threads
    from trueup.stores.http.credentials import Credential

MOST_BYTES = 32 * 1024 * 1024
"""Of one answer, unpacked. The largest real list (OpenRouter's) has under 1 MB."""
MOST_PAGES = 200
MOST_TRIES = 4
MOST_AT_ONCE = 8
"""Questions about single models of one provider."""
FIRST_WAIT_SECONDS = 0.5
"""Before the second try, where the service does not say; doubled for each one after."""


@dataclass(frozen=True, slots=True)
class Account:
    """One provider as one credential sees it."""

    provider: Provider
    base_url: str
    """Without a slash at its end."""
    fingerprint: str
    """Names credential, organisation, region and address, and tells none of them."""
    key: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Of the account: its organisation."""
    credential: Credential | None = field(default=None, repr=False)
    """What proves who asks, where there is no key."""
    token: str = field(default="", repr=False)
    """What the credential was exchanged for."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no message may hold."""
        own = () if self.credential is None else self.credential.secrets
        return (self.key, self.token, *self.headers.values(), *own)


@dataclass(frozen=True, slots=True)
class _Question:
    """One request; it is made anew for every try."""

    url: str
    headers: Callable[[datetime], Mapping[str, str]]
    secrets: tuple[str, ...]
    bad_key: tuple[str, ...] = ()
    form: Mapping[str, str] | None = None
    """To post; None: nothing is."""
    json: Mapping[str, str] | None = None
    """To post; None: nothing is."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What a provider answered."""

    entries: tuple[Entry, ...] = ()
    """In the provider's order, each id once."""
    complete: bool = False
    """Whether every page was seen. Nothing is missing from a list that is not."""
    error: str = ""
    """Why there is no list: a page of it could not be had. Without any key."""
    note: str = ""
    """What else is wrong with it: it is not complete, and good for what it does hold."""


class _Refused(Exception):
    """There is no (further) answer."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@dataclass(slots=True)
class Client:
    """Asks providers for their models. Use it as a context manager through `opened`."""

    http: httpx2.AsyncClient
    clock: Clock
    on_page: Callable[[str, int], None] = lambda _name, _models: None

    async def models(self, account: Account, *, timeout_seconds: float) -> Listing:
        """All models of an account. Failure is part of the answer.

        Args:
            account: Whom to ask, and as whom.
            timeout_seconds: For everything together: all pages, all tries, all waits.
        """
        if account.provider.fixed:
            return Listing(tuple(entry(account.provider, raw) for raw in account.provider.fixed), complete=True)
        pages: list[list[Mapping[str, Any]]] = []
        details: dict[str, dict[str, Mapping[str, Any]]] = {}
        deadline = self.clock.monotonic() + timeout_seconds
        error = ""
        try:
            with anyio.fail_after(timeout_seconds):
                account = await self._admitted(account, deadline)
                async for page in self._pages(account, deadline):
                    pages.append(page)
                    self.on_page(account.provider.name, sum(map(len, pages)))
                for detail in account.provider.details:
                    details[detail.path] = await self._detail(account, detail, pages, deadline)
        except TimeoutError:
            error = f"Request timeout after {timeout_seconds:g} seconds"
        except _Refused as refused:
            error = refused.why
        return _listing(account.provider, pages, details, error)

    async def _admitted(self, account: Account, deadline: float) -> Account:
        """The account with a token, if its credential is one that is exchanged for one.

        Raises:
            _Refused: If there is none to be had.
        """
        now = datetime.fromtimestamp(self.clock.now_ns() / 1e9, UTC)
        request = None if account.credential is None else account.credential.token_request(now)
        if request is None:
            return account
        secrets = (*account.secrets, *request.secrets)
        question = _Question(request.url, lambda _: {"accept": "application/json"}, secrets, form=request.form)
        try:
            token = at(await self._document(question, deadline), "access_token")
        except _Refused as refused:
            raise _Refused(f"No token: {refused.why}") from None
        if not (isinstance(token, str) and token and token.isascii() and token.isprintable()):
            raise _Refused("No token: the answer holds none")
        return replace(account, token=token)

    async def _detail(
        self, account: Account, detail: Detail, pages: list[list[Mapping[str, Any]]], deadline: float
    ) -> dict[str, Mapping[str, Any]]:
        """What another list tells, or an answer about each model, by the models' ids."""
        found: dict[str, Mapping[str, Any]] = {}

        async def ask(name: str | None) -> None:
            question = _question(account, detail.path, {}, None if name is None else {detail.each: name})
            try:
                document = await self._document(question, deadline)
            except _Refused as refused:
                if detail.optional and refused.why.startswith("HTTP 404"):
                    return
                raise
            for raw in _items(document, detail.items) if name is None else _items([document], ""):
                known = str(raw.get(account.provider.id)) if name is None else name
                found[known] = {part: value for part, value in raw.items() if part not in detail.drop}

        if not detail.each:
            await ask(None)
            return found
        refused: list[_Refused] = []
        limit = anyio.CapacityLimiter(MOST_AT_ONCE)

        async def ask_one(name: str) -> None:
            async with limit:
                try:
                    await ask(name)
                except _Refused as why:  # one is enough: the others need not be asked
                    refused.append(why)
                    tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            for name in {str(at(raw, account.provider.id)): None for page in pages for raw in page}:
                tasks.start_soon(ask_one, name)
        if refused:
            raise refused[0]
        return found

    async def _pages(self, account: Account, deadline: float) -> AsyncIterator[list[Mapping[str, Any]]]:
        """Page after page, to the end.

        Raises:
            _Refused: If there is a page that cannot be had.
        """
        provider = account.provider
        paging = provider.paging
        query = dict(provider.query) | ({paging.size_param: str(paging.size)} if paging else {})
        seen: set[str] = set()
        for _ in range(MOST_PAGES):
            document = await self._document(_question(account, provider.path, query), deadline)
            yield _items(document, provider.items)
            if paging is None:
                return
            cursor = at(document, paging.cursor)
            if not cursor or (paging.more and at(document, paging.more) is not True):
                if paging.more and at(document, paging.more) is True:
                    raise _Refused("there is a next page, and no cursor to ask for it")
                return
            if not isinstance(cursor, str) or cursor in seen:
                raise _Refused("the cursor of the next page was repeated")
            seen.add(cursor)
            query[paging.cursor_param] = cursor
        raise _Refused(f"the list has more than {MOST_PAGES} pages")

    async def _document(self, question: _Question, deadline: float) -> Any:
        """One answer, after as many tries as fit before the deadline."""
        wait = FIRST_WAIT_SECONDS
        for left in reversed(range(MOST_TRIES)):
            answer = await self._try(question)
            if not isinstance(answer, Refusal):
                return answer[0]
            pause = wait if answer.after_seconds is None else answer.after_seconds
            fits = math.isfinite(pause) and self.clock.monotonic() + pause < deadline
            if not (answer.retryable and left and fits):
                raise _Refused(answer.why)
            await self.clock.sleep(pause)
            wait *= 2
        raise AssertionError("the last try returns or raises")

    async def _try(self, question: _Question) -> tuple[Any] | Refusal:
        """One request. A document comes in a tuple, because it can be anything."""
        import httpx2

        secrets, url = question.secrets, question.url
        now = datetime.fromtimestamp(self.clock.now_ns() / 1e9, UTC)
        method = "GET" if question.form is None and question.json is None else "POST"
        try:
            async with self.http.stream(
                method, url, headers=question.headers(now), data=question.form, json=question.json
            ) as response:
                body = bytearray()
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > MOST_BYTES:
                        return Refusal(f"the answer is larger than {MOST_BYTES // 2**20} MiB")
                status, headers = response.status_code, {k.lower(): v for k, v in response.headers.items()}
        except (httpx2.UnsupportedProtocol, httpx2.LocalProtocolError, httpx2.InvalidURL) as error:
            return Refusal(f"The request cannot be made: {type(error).__name__}")  # its text may hold headers
        except httpx2.HTTPError as error:
            what = redacted(str(error), secrets) or type(error).__name__
            return Refusal(f"No connection to {urlsplit(url).hostname}: {what}", retryable=True)
        if status != 200:
            return refusal(status, headers, bytes(body), bad_key=question.bad_key, secrets=secrets, now=now)
        try:
            return (_loaded(bytes(body)),)
        except (ValueError, RecursionError):
            return Refusal("the answer is no JSON")


def _loaded(body: bytes) -> Any:
    """The document; half of a surrogate pair, which no database can hold, becomes a question mark."""
    document = json.loads(body)
    if b"\\ud" in body.lower():
        document = json.loads(json.dumps(document, ensure_ascii=False).encode("utf-8", "replace"))
    return document


def _question(
    account: Account, path: str, query: Mapping[str, str], body: Mapping[str, str] | None = None
) -> _Question:
    provider, credential = account.provider, account.credential
    url = account.base_url + path + (f"?{urlencode(query, quote_via=quote)}" if query else "")

    def headers(now: datetime) -> Mapping[str, str]:
        found = {"accept": "application/json"} | dict(provider.headers) | dict(account.headers)
        if account.key:
            found[provider.auth] = provider.auth_prefix + account.key
        if account.token:
            found["authorization"] = f"Bearer {account.token}"
        return found if credential is None else found | dict(credential.headers) | dict(credential.signed(url, now))

    return _Question(url, headers, account.secrets, provider.bad_key, json=body)


def _items(document: Any, path: str) -> list[Mapping[str, Any]]:
    """The list in an answer; a bare list where an object with one was promised will do."""
    found = document if isinstance(document, list) else at(document, path)
    if not isinstance(found, list) and path and isinstance(document, dict) and not document:
        found = []  # protobuf JSON leaves empty lists out
    if not isinstance(found, list) or not all(isinstance(raw, dict) for raw in found):
        raise _Refused(f"the answer holds no list of models{f' under {path}' if path else ''}")
    return found


def _listing(
    provider: Provider,
    pages: list[list[Mapping[str, Any]]],
    details: Mapping[str, Mapping[str, Mapping[str, Any]]],
    error: str,
) -> Listing:
    if error:
        return Listing(error=error)
    entries: dict[str, Entry] = {}
    note = ""
    for raw in (raw for page in pages for raw in page):
        try:
            name = identifier(provider, raw)
        except ValueError as wrong:  # one that cannot be named does not hide the others
            note = str(wrong)
            continue
        more = [(path, found[name]) for path, found in details.items() if name in found]
        if any(too_deep(one) for one in (raw, *(part for _, part in more))):
            note = "an entry is nested too deeply"
            continue
        if name not in entries:
            entries[name] = named(provider, name, raw, more)
    return Listing(tuple(entries.values()), not note, note=note)


@asynccontextmanager
async def opened(clock: Clock, threads: Threads, *, secure: bool = True) -> AsyncIterator[Client]:
    """A client with its connections.

    Args:
        clock: For deadlines and waits.
        threads: For what blocks.
        secure: Whether any address is an ``https`` one. Without the certificates, which take 50 ms, none can be asked.

    Raises:
        StoreError: If the HTTP library is not installed.
    """
    http = await threads(_connect, secure)
    async with http:
        yield Client(http, clock)


def _connect(secure: bool) -> httpx2.AsyncClient:
    """In a thread: it reads certificates."""
    try:
        import httpx2
    except ImportError as error:
        raise StoreError("no provider can be asked", why=str(error), attempt="pip install 'trueup[models]'") from error
    return httpx2.AsyncClient(
        follow_redirects=False,  # the next address would be sent the key
        timeout=httpx2.Timeout(None),  # the deadline is one for everything
        limits=httpx2.Limits(max_connections=64),
        headers={"user-agent": "trueup"},
        verify=True
        if secure
        else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),  # one that knows no certificate trusts nobody
    )


def without_key(account: Account) -> Account:
    """The account as it may be kept."""
    return replace(account, key="", headers={}, credential=None)
