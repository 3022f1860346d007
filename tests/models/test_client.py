"""One client for all providers, on real sockets: pages, refusals, retries, deadlines."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from tests.models.home import KEY
from tests.models.server import Reply, Request, Server, anthropic, cohere, gemini, openai, paged

from trueup.engine.ambient import Ambient
from trueup.stores.http import client as under_test
from trueup.stores.http.accounts import Configured, Skipped, account
from trueup.stores.http.client import Account, Listing, opened
from trueup.stores.http.spec import known

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
IDS = [f"model-{n:03}" for n in range(70)]


class Clock:
    """Sleeps take no time and are remembered."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now_ns(self) -> int:
        return int(NOW.timestamp()) * 10**9

    def monotonic(self) -> float:
        return sum(self.slept)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def pause(self, seconds: float) -> None:
        raise AssertionError(f"nobody may wait {seconds} s in a thread")


@pytest.fixture
def clock() -> Clock:
    return Clock()


def known_account(server: Server, provider: str = "openai", path: str = "/v1") -> Account:
    spec = known()[provider]
    key = dict.fromkeys(spec.key_env[:1], KEY)
    found = account(spec, Configured(server.address + path), key, asked=True, production=False)
    assert not isinstance(found, Skipped)
    return found


async def ask(server: Server, clock: Clock, provider: str = "openai", *, timeout_seconds: float = 30) -> Listing:
    async with opened(clock, Ambient().threads) as client:
        return await client.models(known_account(server, provider), timeout_seconds=timeout_seconds)


def ids(listing: Listing) -> list[str]:
    assert listing.complete, listing.error
    return [entry.id for entry in listing.entries]


# -- pages -------------------------------------------------------------------------------------------------------


async def test_all_of_openai_comes_in_one_page(server: Server, clock: Clock) -> None:
    server.says("/v1/models", openai(IDS))
    assert ids(await ask(server, clock)) == IDS


async def test_gemini_serves_50_and_13(server: Server, clock: Clock) -> None:
    server.answers["/v1/models"] = paged(IDS[:63], [50, 13], "pageSize", "pageToken", gemini)
    assert ids(await ask(server, clock, "gemini")) == IDS[:63]


async def test_anthropic_serves_20_and_20_and_5_after_the_last_id(server: Server, clock: Clock) -> None:
    def answer(request: Request) -> Reply:
        assert request.query["limit"] == "1000"
        start = IDS.index(request.query["after_id"]) + 1 if "after_id" in request.query else 0
        return Reply(anthropic(IDS[start : min(start + 20, 45)], more=start + 20 < 45))

    server.answers["/v1/models"] = answer
    assert ids(await ask(server, clock, "anthropic")) == IDS[:45]
    assert server.requests[0].headers["anthropic-version"] == "2023-06-01"
    assert server.requests[0].headers["x-api-key"] == KEY


async def test_cohere_serves_20_and_20_and_5(server: Server, clock: Clock) -> None:
    server.answers["/v1/models"] = paged(IDS[:45], [20, 20, 5], "page_size", "page_token", cohere)
    assert ids(await ask(server, clock, "cohere")) == IDS[:45]


async def test_a_list_without_its_second_page_is_no_list(server: Server, clock: Clock) -> None:
    server.says("/v1/models", gemini(IDS[:50], "more"), Reply({"error": {"message": "gone"}}, 404))
    listing = await ask(server, clock, "gemini")
    assert (listing.entries, listing.complete, listing.error) == ((), False, "HTTP 404: gone")


async def test_a_cursor_that_is_repeated_ends_the_questions(server: Server, clock: Clock) -> None:
    server.says("/v1/models", gemini(IDS[:50], "again"))
    assert (await ask(server, clock, "gemini")).error == "the cursor of the next page was repeated"
    assert len(server.requests) == 2


async def test_there_are_only_so_many_pages(server: Server, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "MOST_PAGES", 5)
    count = iter(range(1000))
    server.answers["/v1/models"] = lambda _: Reply(gemini(IDS[:1], f"t{next(count)}"))
    assert (await ask(server, clock, "gemini")).error == "the list has more than 5 pages"
    assert len(server.requests) == 5


async def test_more_without_a_cursor_is_no_end(server: Server, clock: Clock) -> None:
    server.says("/v1/models", anthropic(IDS[:2], more=True) | {"last_id": None})
    assert "no cursor" in (await ask(server, clock, "anthropic")).error


async def test_an_empty_list_is_a_list(server: Server, clock: Clock) -> None:
    server.says("/v1/models", openai([]))
    assert ids(await ask(server, clock)) == []


async def test_one_entry_without_an_id_makes_the_list_incomplete_and_hides_no_other(
    server: Server, clock: Clock
) -> None:
    document = openai(IDS[:3])
    del document["data"][1]["id"]
    server.says("/v1/models", document)
    listing = await ask(server, clock)
    assert [entry.id for entry in listing.entries] == [IDS[0], IDS[2]]
    assert (listing.complete, listing.error, listing.note) == (False, "", "an entry has no usable id")


async def test_half_characters_and_deep_entries_stop_nothing(server: Server, clock: Clock) -> None:
    deep = b'{"id": "deep", "x": ' + b"[" * 100 + b"]" * 100 + b"}"
    half = b'{"id": "half", "owned_by": "a\\ud800b"}, {"id": "whole", "owned_by": "\\ud83d\\ude00"}'
    server.says("/v1/models", Reply(b'{"data": [' + deep + b", " + half + b"]}"))
    listing = await ask(server, clock)
    assert [(entry.id, entry.facts["owner"]) for entry in listing.entries] == [("half", "a?b"), ("whole", "\U0001f600")]
    assert (listing.complete, listing.note) == (False, "an entry is nested too deeply")


@pytest.mark.parametrize("document", [{"data": "x"}, {"data": [1]}, {"object": "list"}, 7, None, "text"])
async def test_what_is_no_list_is_an_error(server: Server, clock: Clock, document: object) -> None:
    server.says("/v1/models", Reply(document))
    assert (await ask(server, clock)).error == "the answer holds no list of models under data"


async def test_a_bare_array_is_a_list(server: Server, clock: Clock) -> None:
    server.says("/v1/models", openai(IDS)["data"])
    assert ids(await ask(server, clock, "together")) == IDS


# -- refusals ----------------------------------------------------------------------------------------------------

GEMINI_BAD_KEY = {
    "error": {
        "code": 400,
        "message": "API key not valid. Please pass a valid API key.",
        "status": "INVALID_ARGUMENT",
        "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}],
    }
}
XAI_BAD_KEY = {"code": "Client specified an invalid argument", "error": f"Incorrect API key provided: {KEY[:4]}***11."}
PAGE = b"<html><body><h1>502 Bad Gateway</h1></body></html>"

REFUSALS = {
    "401": ("openai", Reply({"error": {"message": f"Incorrect API key provided: {KEY}"}}, 401), "Invalid API key"),
    "bad key of gemini": ("gemini", Reply(GEMINI_BAD_KEY, 400), "Invalid API key"),
    "bad key of xai": ("xai", Reply(XAI_BAD_KEY, 400), "Invalid API key"),
    "another 400": ("openai", Reply({"error": {"message": "no"}}, 400), "HTTP 400: no"),
    "403": ("openai", Reply({"error": {"message": f"{KEY} may not"}}, 403), "Access denied: *** may not"),
    "quota": (
        "openai",
        Reply(
            {"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}, 429, {"retry-after": "1"}
        ),
        "Quota exhausted: You exceeded your quota",
    ),
    "301": (
        "openai",
        Reply(b"", 301, {"location": "/elsewhere"}),
        "HTTP 301: redirected, and a redirect is not followed with a key",
    ),
    "no JSON": ("openai", Reply(b"{"), "the answer is no JSON"),
    "a page": ("openai", Reply(PAGE), "the answer is no JSON"),
}


@pytest.mark.parametrize(("provider", "reply", "error"), REFUSALS.values(), ids=REFUSALS)
async def test_a_refusal_is_told_and_not_asked_again(
    server: Server, clock: Clock, provider: str, reply: Reply, error: str
) -> None:
    server.says("/v1/models", reply)
    server.says("/elsewhere", openai(IDS))
    listing = await ask(server, clock, provider)
    assert (listing.error, listing.complete, clock.slept) == (error, False, [])
    assert [request.path for request in server.requests] == ["/v1/models"]


RETRIED = {
    "500": (Reply({"error": {"message": "oops"}}, 500), "HTTP 500: oops"),
    "502": (Reply(PAGE, 502), "HTTP 502: answered with a web page instead of JSON"),
    "529": (Reply({"error": {"type": "overloaded_error", "message": "Overloaded"}}, 529), "HTTP 529: Overloaded"),
    "429": (Reply({}, 429), "Rate limit exceeded"),
}


@pytest.mark.parametrize(("reply", "error"), RETRIED.values(), ids=RETRIED)
async def test_a_passing_failure_is_tried_again_a_few_times(
    server: Server, clock: Clock, reply: Reply, error: str
) -> None:
    server.says("/v1/models", reply)
    assert (await ask(server, clock)).error == error
    assert clock.slept == [0.5, 1, 2]
    server.says("/v1/models", reply, openai(IDS))
    assert ids(await ask(server, clock)) == IDS


RETRY_INFO = {"error": {"details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "3.5s"}]}}
WAITS = {
    "retry-after-ms": (Reply({}, 429, {"retry-after-ms": "1500", "retry-after": "2"}), 1.5),
    "a number": (Reply({}, 429, {"retry-after": "7"}), 7),
    "a date": (Reply({}, 429, {"retry-after": format_datetime(NOW.replace(second=9), usegmt=True)}), 9),
    "RetryInfo": (Reply(RETRY_INFO, 429), 3.5),
}


@pytest.mark.parametrize(("reply", "seconds"), WAITS.values(), ids=WAITS)
async def test_each_way_to_ask_for_patience_is_heard(
    server: Server, clock: Clock, reply: Reply, seconds: float
) -> None:
    server.says("/v1/models", reply, openai(IDS))
    assert ids(await ask(server, clock)) == IDS
    assert clock.slept == [seconds]


async def test_a_wait_that_does_not_fit_before_the_deadline_is_not_begun(server: Server, clock: Clock) -> None:
    server.says("/v1/models", Reply({}, 429, {"retry-after": "60"}))
    assert (await ask(server, clock)).error == "Rate limit exceeded, retry after 60 seconds"
    assert (clock.slept, len(server.requests)) == ([], 1)


async def test_a_server_that_hangs_is_given_up_at_the_deadline(server: Server, clock: Clock) -> None:
    server.says("/v1/models", Reply(hang=True))
    assert (await ask(server, clock, timeout_seconds=0.2)).error == "Request timeout after 0.2 seconds"


async def test_the_deadline_is_for_all_pages_together(server: Server, clock: Clock) -> None:
    server.says("/v1/models", gemini(IDS[:50], "more"), Reply(hang=True))
    listing = await ask(server, clock, "gemini", timeout_seconds=0.5)
    assert (listing.error, listing.entries) == ("Request timeout after 0.5 seconds", ())


async def test_nobody_there_is_an_error_like_others(clock: Clock) -> None:
    listing = await ask(Server("http://127.0.0.1:9"), clock)
    assert listing.error.startswith("No connection to 127.0.0.1")


async def test_an_answer_without_end_is_given_up(server: Server, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "MOST_BYTES", 2**20)
    server.says("/v1/models", Reply(b" " * (2**20 + 1)))
    assert (await ask(server, clock)).error == "the answer is larger than 1 MiB"


@pytest.fixture(autouse=True)
def _no_key_comes_out(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever a service says, no listing repeats the key."""
    made: list[Listing] = []
    original = under_test._listing

    def watched(*args: object) -> Listing:
        made.append(original(*args))  # type: ignore[arg-type]  # passed on as they are
        return made[-1]

    monkeypatch.setattr(under_test, "_listing", watched)
    yield
    assert not any(KEY in listing.error for listing in made)
