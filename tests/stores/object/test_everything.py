"""A large listing, divided by folders among several listers, is the same listing: whole, in order, each key once."""

import threading
from collections.abc import Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

import pytest
from tests.services import Service

from trueup.core.errors import StoreError
from trueup.stores.object.listing import SAMPLE, Everything

PAGE = 1000
ROOT = "root/"
ITEM = (
    "<Contents><Key>%s</Key><LastModified>2024-01-02T03:04:05.000Z</LastModified><ETag>&quot;abc&quot;</ETag>"
    "<Size>7</Size></Contents>"
)


class Server(ThreadingHTTPServer):
    """Lists made-up keys, as Amazon S3 does: in byte order, a thousand a page, with prefix and delimiter."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.keys: list[str] = []
        self.asked: list[str] = []
        self.refused = ""
        """A prefix that nobody may list."""

    def hold(self, keys: Iterable[str]) -> None:
        self.keys = sorted((ROOT + key for key in keys), key=str.encode)

    def listing(self) -> Everything:
        return Everything(Service(f"http://127.0.0.1:{self.server_port}").store(ROOT.rstrip("/")).place)


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:  # the library's name
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        prefix, after = query.get("prefix", ""), query.get("continuation-token", "")
        self.server.asked.append(prefix)
        if self.server.refused and prefix.startswith(self.server.refused):
            self.answer(403, "<Error><Code>AccessDenied</Code><Message>no</Message></Error>")
            return
        names: dict[str, bool] = {}
        for key in self.server.keys:
            rest = key[len(prefix) :]
            if key.startswith(prefix) and key > after and not (after.endswith("/") and key.startswith(after)):
                folder = "delimiter" in query and "/" in rest
                names[prefix + rest.partition("/")[0] + "/" if folder else key] = folder
        page = list(names)[:PAGE]
        more = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if len(names) > PAGE else ""
        items = "".join(
            f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>" if names[name] else ITEM % escape(name)
            for name in page
        )
        self.answer(
            200,
            "<ListBucketResult>"
            f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>{more}{items}</ListBucketResult>",
        )

    def answer(self, status: int, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Silence."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as serving:
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


def listed(listing: Everything) -> list[str]:
    keys = []
    while page := listing.next():
        keys += [row[0].decode() for row in page if not row[0].endswith(b"/")]
    return keys


def told(server: Server) -> list[str]:
    return [key.removeprefix(ROOT) for key in server.keys]


WIDE = [f"d{d:02}/f{n:03}" for d in range(20) for n in range(700)]


def test_a_bucket_of_large_folders_is_divided(server: Server) -> None:
    server.hold([*WIDE, "d05!between", "d05", "zz"])
    listing = server.listing()
    assert listed(listing) == told(server)
    assert listing.ordered
    assert len(set(server.asked)) > 10
    assert len(server.asked) < len(WIDE) / PAGE + 2 * 20


def test_one_large_folder_is_divided_below(server: Server) -> None:
    server.hold([f"data/train/{key}" for key in WIDE] + ["data/a", "data/train!", "data/z/1", "last"])
    listing = server.listing()
    assert listed(listing) == told(server)
    assert listing.ordered
    assert any(prefix.startswith(f"{ROOT}data/train/d1") for prefix in server.asked)


def test_small_folders_are_not_worth_a_request_each(server: Server) -> None:
    server.hold(f"d{d:04}/f{n}" for d in range(2000) for n in range(4))
    assert listed(server.listing()) == told(server)
    assert len(server.asked) == len(server.keys) / PAGE


def test_a_small_bucket_is_listed_once(server: Server) -> None:
    server.hold(WIDE[: SAMPLE - 1])
    assert listed(server.listing()) == told(server)
    assert len(server.asked) == SAMPLE / PAGE


@pytest.mark.parametrize("name", ["..", ".", "", "blank ", "of \ufffd"])
def test_where_a_folder_could_be_taken_for_another_nothing_is_divided(server: Server, name: str) -> None:
    """Asked for by its name, it would be listed as that other one, and its own keys would be missing."""
    server.hold([*WIDE, f"{name}/of others", f"e/{name}/of others"])
    listing = server.listing()
    assert len(listed(listing)) == len(server.keys)
    assert set(server.asked) == {ROOT}


def test_a_folder_that_cannot_be_listed_is_an_error_and_no_short_list(server: Server) -> None:
    server.hold(WIDE)
    server.refused = f"{ROOT}d15/"
    with pytest.raises(StoreError):
        listed(server.listing())


def test_after_an_error_the_next_listing_is_whole(server: Server) -> None:
    server.hold(WIDE)
    server.refused = f"{ROOT}d15/"
    with pytest.raises(StoreError):
        listed(server.listing())
    server.refused = ""
    assert listed(server.listing()) == told(server)


def test_a_listing_that_is_not_wanted_any_more_does_not_harm_the_next(server: Server) -> None:
    server.hold(WIDE)
    listing = server.listing()
    for _ in range(7):
        assert listing.next()
    listing.close()
    assert listing.next() == []
    assert listed(server.listing()) == told(server)


@pytest.mark.parametrize("seed", range(6))
def test_whatever_the_folders_the_listing_is_whole_and_in_order(server: Server, seed: int) -> None:
    rng = Random(seed)
    names = ["a", "a!", "a0", "b", "b-", "\u00e9", "x y", "%41"]
    keys: set[str] = set()
    while len(keys) < 9_000:
        folder = "/".join(rng.choice(names) for _ in range(rng.choice([0, 1, 1, 2, 3, 4])))
        keys |= {f"{folder}/{n:04}" if folder else f"{n:04}" for n in range(rng.choice([3, 400, 1500]))}
    server.hold(keys)
    listing = server.listing()
    assert listed(listing) == told(server)
    assert listing.ordered
