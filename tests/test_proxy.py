"""The fault proxy: what it must not touch, and what each rule does to a client and to a server."""

import hashlib
import http.client
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest

from trueup.testing.engines import free_ports
from trueup.testing.proxy import (
    ANY,
    HOSTILE_NAMES,
    Action,
    After,
    Before,
    Credentials,
    CutAnswer,
    CutRequest,
    DropAnswer,
    DropRequest,
    EditedListing,
    Exchange,
    FaultProxy,
    FlipAnswer,
    FlipRequest,
    Hang,
    IgnoreConditions,
    InjectedKeys,
    Latency,
    NoETags,
    OtherETags,
    Page,
    Refuse,
    Request,
    Rule,
    StaleListing,
    TruncatedListing,
    UnorderedListing,
    s3_error,
)
from trueup.testing.sigv4 import Response

BROKEN = (ConnectionError, http.client.HTTPException)
"""What a client sees of a connection that ends."""

Headers = dict[str, str]


# -- a tiny server ---------------------------------------------------------------------------------------------------


class Handler(BaseHTTPRequestHandler):
    """Keeps objects in a dictionary, lists them in byte order, and remembers what it was asked."""

    protocol_version = "HTTP/1.1"
    server: "Tiny"

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True

    def log_message(self, *args: object) -> None:
        pass

    def body(self) -> bytes:
        if self.headers.get("transfer-encoding") == "chunked":
            raw = b""
            while not raw.endswith(b"\r\n\r\n"):
                raw += self.rfile.readline()
            return raw
        length = int(self.headers.get("content-length") or 0)
        data = b""
        while len(data) < length:
            try:
                piece = self.rfile.read1(length - len(data))
            except ConnectionError:
                piece = b""
            if not piece:
                self.server.cut.append(len(data))
                raise ConnectionResetError
            data += piece
        return data

    def answer(self, status: int, data: bytes = b"", headers: Headers | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def handle_any(self) -> None:
        path = unquote(urlsplit(self.path).path)
        query = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
        data = self.body()
        self.server.seen.append((self.command, self.path, self.headers.items(), data))
        if path == "/chunked":
            self.chunked()
        elif "list-type" in query:
            self.list({name: values[0] for name, values in query.items()})
        elif self.command == "PUT":
            self.put(path, data)
        elif self.command == "DELETE":
            self.server.objects.pop(path, None)
            self.answer(204)
        elif path in self.server.objects:
            found = self.server.objects[path]
            self.answer(200, found, {"ETag": f'"{hashlib.md5(found).hexdigest()}"'})  # noqa: S324 - as S3 does
        else:
            self.answer(404)

    do_GET = do_PUT = do_HEAD = do_DELETE = handle_any  # noqa: N815 - the names that http.server calls

    def put(self, path: str, data: bytes) -> None:
        if self.headers.get("if-none-match") == "*" and path in self.server.objects:
            self.answer(412)
            return
        self.server.objects[path] = data
        self.answer(200, headers={"ETag": f'"{hashlib.md5(data).hexdigest()}"'})  # noqa: S324 - as S3 does

    def chunked(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\nx-trailer: yes\r\n\r\n")

    def list(self, query: Headers) -> None:
        keys = sorted(path.removeprefix("/b/") for path in self.server.objects)
        after = query.get("continuation-token", query.get("start-after", ""))
        keys = [key for key in keys if key > after and key.startswith(query.get("prefix", ""))]
        page, more = keys[: int(query.get("max-keys", "1000"))], len(keys) > int(query.get("max-keys", "1000"))
        items = "".join(
            f'<Contents><Key>{quote(k)}</Key><ETag>"{"0" * 31}1"</ETag><Size>1</Size></Contents>' for k in page
        )
        token = f"<NextContinuationToken>{page[-1]}</NextContinuationToken>" if more else ""
        truncated = f"<IsTruncated>{str(more).lower()}</IsTruncated>"
        document = f"<ListBucketResult><KeyCount>{len(page)}</KeyCount>{truncated}{token}{items}</ListBucketResult>"
        self.answer(200, document.encode(), {"Content-Type": "application/xml"})


class Tiny(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.objects: dict[str, bytes] = {}
        self.seen: list[tuple[str, str, list[tuple[str, str]], bytes]] = []
        self.cut: list[int] = []

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_port}"


@pytest.fixture(scope="module")
def _tiny() -> Iterator[Tiny]:
    with Tiny() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def tiny(_tiny: Tiny) -> Tiny:
    _tiny.objects.clear()
    _tiny.seen.clear()
    _tiny.cut.clear()
    return _tiny


@pytest.fixture
def proxy(tiny: Tiny) -> Iterator[FaultProxy]:
    with FaultProxy(tiny.address) as running:
        yield running


def ask(proxy: FaultProxy, method: str, target: str, body: bytes = b"", headers: Headers | None = None) -> Response:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection(proxy.address, timeout=5)
    try:
        connection.request(method, target, body=body or None, headers=headers or {})
        answer = connection.getresponse()
        return Response(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def raw(proxy: FaultProxy, data: bytes, until: bytes) -> bytes:
    """Bytes to the proxy, and its bytes until these have come."""
    with socket.create_connection(("127.0.0.1", int(proxy.address.partition(":")[2])), timeout=5) as connection:
        connection.sendall(data)
        return receive(connection, until)


def receive(connection: socket.socket, until: bytes) -> bytes:
    got = b""
    while until not in got:
        piece = connection.recv(65_536)
        if not piece:
            raise ConnectionResetError(got)
        got += piece
    return got


def keys(answer: Response) -> list[str]:
    return [unquote(key) for key in re.findall("<Key>(.*?)</Key>", answer.body.decode())]


def listing(proxy: FaultProxy, **query: str) -> Response:
    return ask(proxy, "GET", "/b?" + "&".join(f"{name.replace('_', '-')}={quote(q)}" for name, q in query.items()))


def injected(proxy: FaultProxy) -> list[type[Action]]:
    return [type(action) for record in proxy.log for action in record.injected]


# -- what it does not touch ------------------------------------------------------------------------------------------


def test_host_target_headers_and_body_arrive_as_they_were_sent(proxy: FaultProxy, tiny: Tiny) -> None:
    head = f"PUT /b/a%2Fb//c%20+?x=%41&y HTTP/1.1\r\nhOsT: {proxy.address}\r\nX-Odd:  two  blanks \r\n"
    raw(proxy, head.encode() + b"Content-Length: 3\r\n\r\nabc", b"\r\n\r\n")
    method, target, headers, body = tiny.seen[0]
    assert (method, target, body) == ("PUT", "/b/a%2Fb//c%20+?x=%41&y", b"abc")
    assert headers == [("hOsT", proxy.address), ("X-Odd", "two  blanks "), ("Content-Length", "3")]
    request = proxy.log[0].request
    assert (request.bucket, request.key, request.query) == ("b", "a/b//c +", {"x": "A", "y": ""})


def test_one_connection_takes_many_requests(proxy: FaultProxy, tiny: Tiny) -> None:
    connection = http.client.HTTPConnection(proxy.address, timeout=5)
    for n in range(20):
        connection.request("PUT", f"/b/{n}", body=b"x" * n)
        assert connection.getresponse().read() == b""
    local = connection.sock.getsockname()
    connection.request("GET", "/b/7")
    assert connection.getresponse().read() == b"x" * 7
    assert connection.sock.getsockname() == local
    connection.close()
    assert [record.status for record in proxy.log] == [200] * 21


def test_pipelined_requests_are_answered_in_order(proxy: FaultProxy, tiny: Tiny) -> None:
    tiny.objects |= {"/b/1": b"one", "/b/2": b"two-end"}
    requests = b"".join(f"GET /b/{n} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for n in (1, 2))
    got = raw(proxy, requests, b"two-end")
    assert got.index(b"one") < got.index(b"two-end")


def test_chunks_extensions_and_trailers_pass_both_ways(proxy: FaultProxy, tiny: Tiny) -> None:
    body = b"5;chunk-signature=abc\r\nhello\r\n1\r\n!\r\n0\r\nx-amz-trailer-signature:def\r\n\r\n"
    head = b"PUT /b/chunks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert b" 200 " in raw(proxy, head + body, b"\r\n\r\n")
    assert tiny.seen[0][3] == body
    got = raw(proxy, b"GET /chunked HTTP/1.1\r\nHost: x\r\n\r\n", b"yes\r\n\r\n")
    assert got.endswith(b"5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\nx-trailer: yes\r\n\r\n")


def test_a_client_that_expects_100_continue_gets_it_from_the_server(proxy: FaultProxy, tiny: Tiny) -> None:
    head = b"PUT /b/e HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
    with socket.create_connection(("127.0.0.1", int(proxy.address.partition(":")[2])), timeout=5) as connection:
        connection.sendall(head)
        assert receive(connection, b"\r\n\r\n").startswith(b"HTTP/1.1 100")
        connection.sendall(b"data")
        assert receive(connection, b"\r\n\r\n").startswith(b"HTTP/1.1 200")
    assert tiny.objects["/b/e"] == b"data"


def test_head_keeps_the_length_and_has_no_body(proxy: FaultProxy, tiny: Tiny) -> None:
    tiny.objects["/b/h"] = b"12345"
    both = b"HEAD /b/h HTTP/1.1\r\nHost: x\r\n\r\nGET /b/h HTTP/1.1\r\nHost: x\r\n\r\n"
    got = raw(proxy, both, b"12345")
    assert got.count(b"Content-Length: 5") == 2
    assert got.count(b"12345") == 1


def test_a_large_body_passes_in_flat_memory(tiny: Tiny) -> None:
    script = f"""
import http.client, resource, socket, sys, threading
from trueup.testing.proxy import FaultProxy
sink = socket.create_server(("127.0.0.1", 0))
def serve():
    peer, _ = sink.accept()
    with peer:
        head = b""
        while b"\\r\\n\\r\\n" not in head:
            head += peer.recv(1024)
        left = {200 << 20} - len(head.partition(b"\\r\\n\\r\\n")[2])
        while left:
            left -= len(peer.recv(1 << 20))
        peer.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: {200 << 20}\\r\\n\\r\\n")
        for _ in range(200):
            peer.sendall(b"x" * (1 << 20))
thread = threading.Thread(target=serve); thread.start()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with FaultProxy(f"127.0.0.1:{{sink.getsockname()[1]}}") as proxy:
    connection = http.client.HTTPConnection(proxy.address, timeout=20)
    body = (b"x" * (1 << 20) for _ in range(200))
    connection.request("PUT", "/b/large", body, {{"Content-Length": str({200 << 20})}})
    answer = connection.getresponse(); got = 0
    while data := answer.read(1 << 20):
        got += len(data)
    connection.close()
thread.join(); sink.close()
print(got, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    got, grown = map(int, subprocess.check_output([sys.executable, "-c", script], text=True, timeout=30).split())
    assert got == 200 << 20
    assert grown < 32 * 1024  # KiB


def test_an_early_answer_reaches_a_client_that_is_still_sending() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def refuse() -> None:
            peer, _ = listening.accept()
            with peer:
                receive(peer, b"x" * 100)
                peer.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
                with suppress(ConnectionError):
                    peer.recv(1)

        thread = threading.Thread(target=refuse)
        thread.start()
        with FaultProxy(f"127.0.0.1:{listening.getsockname()[1]}") as proxy:
            head = b"PUT /b/x HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n"
            got = raw(proxy, head + b"x" * 100, b"\r\n\r\nno")
        thread.join()
    assert got.startswith(b"HTTP/1.1 403")
    assert b"Connection: close" in got


def test_a_server_that_is_not_there_is_a_reset() -> None:
    with FaultProxy(f"127.0.0.1:{free_ports(1)[0]}") as proxy:
        with pytest.raises(BROKEN):
            ask(proxy, "GET", "/b/x")
        assert proxy.log[0].status is None
        assert proxy.log[0].ended


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
def test_it_speaks_https_with_a_certificate_of_the_tests(tiny: Tiny, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    options = f"-newkey rsa:2048 -nodes -keyout {key} -out {certificate} -days 2 -subj /CN=127.0.0.1"
    command = f"openssl req -x509 {options} -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(command.split(" "), check=True, capture_output=True, timeout=20)
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain(certificate, key)
    tiny.objects["/b/x"] = b"x" * 300_000
    with FaultProxy(tiny.address, tls=ours) as proxy:
        assert proxy.endpoint.startswith("https://")
        context = ssl.create_default_context(cafile=certificate)
        trusting = http.client.HTTPSConnection(proxy.address, context=context, timeout=5)
        trusting.request("GET", "/b/x")
        assert trusting.getresponse().read() == tiny.objects["/b/x"]
        trusting.close()
        distrusting = http.client.HTTPSConnection(proxy.address, context=ssl.create_default_context(), timeout=5)
        with pytest.raises(ssl.SSLCertVerificationError):
            distrusting.request("GET", "/b/x")
        distrusting.close()


# -- rules -----------------------------------------------------------------------------------------------------------

NO = s3_error("AccessDenied")


@pytest.mark.parametrize(
    ("rule", "hit"),
    [
        (Rule(NO), ["GET /b/a?x=1", "GET /b/d/%C3%A9", "PUT /b/a"]),
        (Rule(NO, method="PUT"), ["PUT /b/a"]),
        (Rule(NO, method="PU"), []),
        (Rule(NO, path="^/b/d/é$"), ["GET /b/d/%C3%A9"]),
        (Rule(NO, path="a"), ["GET /b/a?x=1", "PUT /b/a"]),
        (Rule(NO, query={"x": ANY}), ["GET /b/a?x=1"]),
        (Rule(NO, query={"x": "2"}), []),
        (Rule(NO, query={"x": None}), ["GET /b/d/%C3%A9", "PUT /b/a"]),
        (Rule(NO, headers={"if-match": None}, method="PUT"), ["PUT /b/a"]),
        (Rule(NO, nth=2), ["GET /b/d/%C3%A9"]),
        (Rule(NO, nth=(1, 3)), ["GET /b/a?x=1", "PUT /b/a"]),
        (Rule(NO, nth=1, method="PUT"), ["PUT /b/a"]),
        (Rule(NO, times=2), ["GET /b/a?x=1", "GET /b/d/%C3%A9"]),
        (Rule(NO, probability=0.0), []),
    ],
)
def test_a_rule_picks_requests(proxy: FaultProxy, tiny: Tiny, rule: Rule, hit: list[str]) -> None:
    tiny.objects |= {"/b/a": b"", "/b/d/é": b""}
    proxy.add(rule)
    asked = [("GET", "/b/a?x=1"), ("GET", "/b/d/%C3%A9"), ("PUT", "/b/a")]
    assert [f"{method} {target}" for method, target in asked if ask(proxy, method, target).status == 403] == hit
    assert proxy.fired(rule) == len(hit)


def test_lots_depend_on_seed_and_request_and_not_on_their_order(tiny: Tiny) -> None:
    targets = [f"/b/{n}" for n in range(40)]

    def harmed(order: list[str], seed: int) -> set[str]:
        with FaultProxy(tiny.address, [Rule(NO, probability=0.5, seed=seed)]) as proxy:
            return {target for target in order if ask(proxy, "PUT", target).status == 403}

    first = harmed(targets, 1)
    assert 8 < len(first) < 32
    assert harmed(targets[::-1], 1) == first
    assert harmed(targets, 2) != first


def test_rules_come_and_go(proxy: FaultProxy) -> None:
    with proxy.rule(Rule(NO)):
        assert ask(proxy, "PUT", "/b/x").status == 403
    assert ask(proxy, "PUT", "/b/x").status == 200
    proxy.add(Rule(NO))
    proxy.clear()
    assert ask(proxy, "PUT", "/b/x").status == 200
    proxy.forget()
    assert proxy.log == ()


# -- what rules do ---------------------------------------------------------------------------------------------------


def test_latency(proxy: FaultProxy) -> None:
    proxy.add(Rule(Latency(0.1, jitter_seconds=0.05, seed=3), nth=1))
    begin = time.monotonic()
    ask(proxy, "PUT", "/b/x")
    middle = time.monotonic()
    ask(proxy, "PUT", "/b/x")
    assert middle - begin > 0.1
    assert time.monotonic() - middle < 0.1


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("SlowDown", 503),
        ("TooManyRequests", 429),
        ("InternalError", 500),
        ("RequestTimeTooSkewed", 403),
        ("SignatureDoesNotMatch", 403),
        ("AccessDenied", 403),
        ("AuthorizationHeaderMalformed", 400),
        ("NoSuchBucket", 404),
    ],
)
def test_an_error_is_answered_instead_of_the_server(proxy: FaultProxy, tiny: Tiny, code: str, status: int) -> None:
    proxy.add(Rule(s3_error(code, retry_after=7), times=1))
    connection = http.client.HTTPConnection(proxy.address, timeout=5)
    connection.request("PUT", "/b/x", body=b"y" * 200_000)
    answer = connection.getresponse()
    body = answer.read().decode()
    assert (answer.status, answer.headers["Retry-After"]) == (status, "7")
    assert f"<Code>{code}</Code>" in body
    assert tiny.seen == []
    assert not proxy.log[0].reached
    connection.request("PUT", "/b/x", body=b"y")  # the connection is still good
    assert connection.getresponse().status == 200
    connection.close()


def test_an_error_has_no_body_for_head_and_needs_none_of_the_request(proxy: FaultProxy) -> None:
    proxy.add(Rule(s3_error("SlowDown")))
    assert ask(proxy, "HEAD", "/b/x").body == b""
    head = b"PUT /b/e HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
    assert raw(proxy, head, b"</Error>").startswith(b"HTTP/1.1 503")


def test_an_error_after_the_server_has_done_it(proxy: FaultProxy, tiny: Tiny) -> None:
    proxy.add(Rule(s3_error("InternalError", committed=True)))
    assert ask(proxy, "PUT", "/b/x", b"done").status == 500
    assert tiny.objects == {"/b/x": b"done"}


def test_a_cut_request_reaches_the_server_in_part(proxy: FaultProxy, tiny: Tiny) -> None:
    proxy.add(Rule(CutRequest(at=0.25), times=1))
    with pytest.raises(BROKEN):
        ask(proxy, "PUT", "/b/x", b"z" * 400_000)
    deadline = time.monotonic() + 5
    while not tiny.cut and time.monotonic() < deadline:
        time.sleep(0.005)
    assert tiny.objects == {}
    assert len(tiny.cut) == 1
    assert tiny.cut[0] <= 100_000
    assert ask(proxy, "PUT", "/b/x", b"z").status == 200


def test_a_cut_request_without_a_body_does_not_happen(proxy: FaultProxy, tiny: Tiny) -> None:
    tiny.objects["/b/x"] = b"kept"
    proxy.add(Rule(CutRequest()))
    with pytest.raises(BROKEN):
        ask(proxy, "DELETE", "/b/x")
    assert tiny.objects == {"/b/x": b"kept"}


@pytest.mark.parametrize("target", ["/b/x", "/chunked"])
def test_a_cut_answer_breaks_off_in_the_middle(proxy: FaultProxy, tiny: Tiny, target: str) -> None:
    tiny.objects["/b/x"] = b"hello world"
    proxy.add(Rule(CutAnswer(at=0.5), times=1))
    with pytest.raises(ConnectionResetError) as caught:
        raw(proxy, f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode(), b"world")
    assert caught.value.args[0] in (104, 54)  # the operating system's number: a reset, and not an end
    assert (proxy.log[0].status, proxy.log[0].ended) == (200, "the answer was cut")
    assert ask(proxy, "GET", target).body == b"hello world"


@pytest.mark.parametrize("target", ["/b/x", "/chunked"])
def test_a_flipped_answer_differs_in_one_bit(proxy: FaultProxy, tiny: Tiny, target: str) -> None:
    tiny.objects["/b/x"] = b"hello world"
    proxy.add(Rule(FlipAnswer(at=0.0), nth=1))
    proxy.add(Rule(FlipAnswer(at=0.99), nth=2))
    assert ask(proxy, "GET", target).body == b"iello world"
    assert ask(proxy, "GET", target).body == b"hello worle"
    assert ask(proxy, "GET", target).body == b"hello world"


def test_a_flipped_request_is_stored_wrong(proxy: FaultProxy, tiny: Tiny) -> None:
    proxy.add(Rule(FlipRequest(at=0.5)))
    assert ask(proxy, "PUT", "/b/x", b"abcd").status == 200
    assert tiny.objects == {"/b/x": b"abbd"}


def test_a_dropped_answer_happened(proxy: FaultProxy, tiny: Tiny) -> None:
    proxy.add(Rule(DropAnswer()))
    with pytest.raises(BROKEN):
        ask(proxy, "PUT", "/b/x", b"done")
    assert tiny.objects == {"/b/x": b"done"}
    assert (proxy.log[0].reached, proxy.log[0].status) == (True, None)


def test_a_dropped_request_did_not_happen(proxy: FaultProxy, tiny: Tiny) -> None:
    proxy.add(Rule(DropRequest()))
    with pytest.raises(BROKEN):
        ask(proxy, "PUT", "/b/x", b"done")
    assert (tiny.objects, tiny.seen) == ({}, [])


@pytest.mark.parametrize("committed", [False, True])
def test_a_hang_lasts_until_the_client_gives_up(proxy: FaultProxy, tiny: Tiny, *, committed: bool) -> None:
    proxy.add(Rule(Hang(committed=committed)))
    connection = http.client.HTTPConnection(proxy.address, timeout=0.3)
    connection.request("PUT", "/b/x", body=b"done")
    with pytest.raises(TimeoutError):
        connection.getresponse()
    assert proxy.log[0].ended == ""
    connection.close()
    proxy.wait(lambda log: log[0].ended == "hung", seconds=2)
    assert tiny.objects == ({"/b/x": b"done"} if committed else {})


@pytest.mark.parametrize("end", [FaultProxy.clear, lambda proxy: proxy.__exit__(None, None, None)])
def test_a_hang_ends_with_the_rules_or_the_proxy(tiny: Tiny, end: Callable[[FaultProxy], None]) -> None:
    with FaultProxy(tiny.address, [Rule(Hang())]) as proxy:
        connection = http.client.HTTPConnection(proxy.address, timeout=5)
        connection.request("GET", "/b/x")
        proxy.wait(lambda log: log and log[0].injected)
        end(proxy)
        with pytest.raises(BROKEN):
            connection.getresponse()
        connection.close()


def test_a_refusing_server_refuses_connections_until_it_is_up_again(proxy: FaultProxy) -> None:
    proxy.add(Rule(Refuse(), nth=2))
    idle = http.client.HTTPConnection(proxy.address, timeout=5)
    idle.request("PUT", "/b/1")
    idle.getresponse().read()
    with pytest.raises(BROKEN):
        ask(proxy, "PUT", "/b/2")
    for _ in range(3):
        with pytest.raises(ConnectionRefusedError):
            ask(proxy, "PUT", "/b/3")
    with pytest.raises(ConnectionResetError):
        idle.sock.recv(1)
    idle.close()
    proxy.up()
    assert ask(proxy, "PUT", "/b/5").status == 200
    proxy.down()
    with pytest.raises(ConnectionRefusedError):
        ask(proxy, "PUT", "/b/6")


def test_a_server_can_be_down_for_some_time(proxy: FaultProxy) -> None:
    proxy.add(Rule(Refuse(seconds=0.2), nth=1))
    with pytest.raises(BROKEN):
        ask(proxy, "PUT", "/b/1")
    with pytest.raises(ConnectionRefusedError):
        ask(proxy, "PUT", "/b/2")
    time.sleep(0.3)
    assert ask(proxy, "PUT", "/b/3").status == 200


def test_somebody_edits_just_before_or_after_and_may_use_the_proxy(proxy: FaultProxy, tiny: Tiny) -> None:
    tiny.objects["/b/x"] = b"old"

    def edit(request: Request) -> None:
        ask(proxy, "PUT", "/b/" + request.key, b"somebody's")

    proxy.add(Rule(Before(edit), method="GET", nth=1))
    assert ask(proxy, "GET", "/b/x").body == b"somebody's"
    tiny.objects["/b/x"] = b"old"
    proxy.add(Rule(After(edit), method="GET", nth=1))
    assert ask(proxy, "GET", "/b/x").body == b"old"
    assert ask(proxy, "GET", "/b/x").body == b"somebody's"


def test_what_a_hook_raises_is_raised_at_the_end(tiny: Tiny) -> None:
    def fail(request: Request) -> None:
        raise AssertionError(request.key)

    proxy = FaultProxy(tiny.address, [Rule(Before(fail))]).__enter__()
    with pytest.raises(BROKEN):
        ask(proxy, "GET", "/b/x")
    with pytest.raises(AssertionError, match="x"):
        proxy.__exit__(None, None, None)


def test_several_rules_apply_in_their_order(proxy: FaultProxy, tiny: Tiny) -> None:
    proxy.add(Rule(Latency(0)))
    proxy.add(Rule(FlipRequest(at=0)))
    proxy.add(Rule(DropAnswer()))
    with pytest.raises(BROKEN):
        ask(proxy, "PUT", "/b/x", b"a")
    assert tiny.objects == {"/b/x": b"`"}
    assert injected(proxy) == [Latency, FlipRequest, DropAnswer]


def test_an_action_of_ones_own(proxy: FaultProxy) -> None:
    class Teapot(Action):
        async def answering(self, exchange: Exchange) -> None:
            assert exchange.reply is not None
            exchange.reply.head = exchange.reply.head.having("X-Teapot", "yes")

    proxy.add(Rule(Teapot()))
    assert ask(proxy, "PUT", "/b/x").headers["x-teapot"] == "yes"


def test_conditions_are_ignored_by_signing_anew(proxy: FaultProxy, tiny: Tiny) -> None:
    star = {"If-None-Match": "*", "X-Amz-Meta-A": "b", "Authorization": "theirs"}
    assert ask(proxy, "PUT", "/b/x", b"1", star).status == 200
    assert ask(proxy, "PUT", "/b/x", b"2", star).status == 412
    proxy.add(Rule(IgnoreConditions(Credentials("test", "testtest"))))
    assert ask(proxy, "PUT", "/b/x", b"3", star).status == 200
    assert tiny.objects == {"/b/x": b"3"}
    headers = {name.lower(): value for name, value in tiny.seen[-1][2]}
    assert headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=test/")
    assert "host;x-amz-content-sha256;x-amz-date;x-amz-meta-a" in headers["authorization"]
    assert (headers["host"], "if-none-match" in headers) == (proxy.address, False)
    signed_chunks = star | {"x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"}
    assert ask(proxy, "PUT", "/b/x", b"4", signed_chunks).status == 501


# -- listings --------------------------------------------------------------------------------------------------------


@pytest.fixture
def full(tiny: Tiny) -> list[str]:
    names = ["a", "b/1", "b/2", "c", "d"]
    tiny.objects.update({f"/b/{name}": b"x" for name in names})
    return names


def test_a_stale_listing_is_the_one_of_before(proxy: FaultProxy, tiny: Tiny, full: list[str]) -> None:
    rule = proxy.add(Rule(StaleListing()))
    assert keys(listing(proxy, list_type="2")) == full
    ask(proxy, "PUT", "/b/new")
    assert keys(listing(proxy, list_type="2")) == full
    assert keys(listing(proxy, list_type="2", prefix="n")) == ["new"]  # another listing
    proxy.remove(rule)
    assert keys(listing(proxy, list_type="2")) == [*full, "new"]


def test_an_unordered_listing_has_the_same_keys(proxy: FaultProxy, full: list[str]) -> None:
    proxy.add(Rule(UnorderedListing(seed=1)))
    got = keys(listing(proxy, list_type="2"))
    assert got != full
    assert sorted(got) == full
    assert keys(listing(proxy, list_type="2")) == got
    assert len(keys(ask(proxy, "GET", "/b/a"))) == 0


def test_a_truncated_listing_fails_on_the_way(proxy: FaultProxy, full: list[str]) -> None:
    rule = proxy.add(Rule(TruncatedListing(at=0.5)))
    first = listing(proxy, list_type="2")
    assert keys(first) == full[:2]
    assert b"<IsTruncated>true</IsTruncated>" in first.body
    assert b"<KeyCount>2</KeyCount>" in first.body
    token = re.findall("<NextContinuationToken>(.*?)</Next", first.body.decode())[0]
    assert listing(proxy, list_type="2", continuation_token=token).status == 500
    proxy.remove(rule)
    proxy.add(Rule(TruncatedListing(at=0.5, then=DropRequest())))
    listing(proxy, list_type="2")
    with pytest.raises(BROKEN):
        listing(proxy, list_type="2", continuation_token=token)


def test_a_truncated_listing_can_claim_to_be_whole(proxy: FaultProxy, full: list[str]) -> None:
    proxy.add(Rule(TruncatedListing(at=0.5, then=None)))
    got = listing(proxy, list_type="2")
    assert keys(got) == full[:2]
    assert b"<IsTruncated>false</IsTruncated>" in got.body


def test_injected_keys_stand_where_they_belong_and_can_be_read(proxy: FaultProxy, full: list[str]) -> None:
    proxy.add(Rule(InjectedKeys(("../e", "/lead", "b//x", "c\n", "zz"))))
    pages = [listing(proxy, list_type="2", max_keys="2", encoding_type="url")]
    while token := re.findall("<NextContinuationToken>(.*?)</Next", pages[-1].body.decode()):
        pages.append(listing(proxy, list_type="2", max_keys="2", encoding_type="url", continuation_token=token[0]))
    assert [keys(page) for page in pages] == [["../e", "/lead", "a", "b//x", "b/1"], ["b/2", "c"], ["c\n", "d", "zz"]]
    assert ask(proxy, "GET", "/b/b//x").body == b"hostile\n"
    assert ask(proxy, "HEAD", "/b//lead").headers["content-length"] == "8"
    assert ask(proxy, "GET", "/b/other").status == 404


def test_injected_keys_obey_prefix_and_delimiter(proxy: FaultProxy, full: list[str]) -> None:
    proxy.add(Rule(InjectedKeys(("b/3", "b/x/y", "b/x/z", "q"))))
    got = listing(proxy, list_type="2", prefix="b/", delimiter="/")
    assert keys(got) == ["b/1", "b/2", "b/3"]
    assert re.findall("<CommonPrefixes><Prefix>(.*?)<", got.body.decode()) == ["b/x/"]
    assert b"<KeyCount>4</KeyCount>" in got.body


def test_control_characters_are_references_unless_the_client_wants_them_encoded(proxy: FaultProxy) -> None:
    proxy.add(Rule(InjectedKeys(HOSTILE_NAMES)))
    plain = listing(proxy, list_type="2").body
    assert b"<Key>bell&#x7;</Key>" in plain
    assert b"<Key>new&#xa;line</Key>" in plain
    encoded = listing(proxy, list_type="2", encoding_type="url")
    assert b"bell%07" in encoded.body
    assert sorted(keys(encoded)) == sorted(HOSTILE_NAMES)
    assert max(map(len, HOSTILE_NAMES)) == 300


def test_a_listing_can_be_edited_by_a_function(proxy: FaultProxy, full: list[str]) -> None:
    def forget_first(page: Page) -> None:
        del page.contents[0]

    proxy.add(Rule(EditedListing(forget_first)))
    assert keys(listing(proxy, list_type="2")) == full[1:]


def test_no_etags_anywhere(proxy: FaultProxy, full: list[str]) -> None:
    assert b"<ETag>" in listing(proxy, list_type="2").body
    proxy.add(Rule(NoETags()))
    assert b"<ETag>" not in listing(proxy, list_type="2").body
    assert "etag" not in ask(proxy, "GET", "/b/a").headers
    assert "etag" not in ask(proxy, "PUT", "/b/a").headers
    assert "etag" in ask(proxy, "PUT", "/b/a?partNumber=1&uploadId=u").headers


def test_other_etags_are_consistent_and_no_md5(proxy: FaultProxy, tiny: Tiny, full: list[str]) -> None:
    proxy.add(Rule(OtherETags(Credentials("test", "testtest"))))
    real = hashlib.md5(b"x").hexdigest()  # noqa: S324 - as S3 does
    etag = ask(proxy, "GET", "/b/a").headers["etag"]
    assert etag == f'"{real[::-1]}"'
    assert ask(proxy, "PUT", "/b/a", b"x").headers["etag"] == etag
    assert f'"1{"0" * 31}"'.encode() in listing(proxy, list_type="2").body
    ask(proxy, "PUT", "/b/a", b"y", {"If-Match": etag})
    assert dict(tiny.seen[-1][2])["If-Match"] == f'"{real}"'
