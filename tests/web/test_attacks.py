"""What strangers, other sites and impatient programs try, and how each is refused. One test for each attack."""

from __future__ import annotations

import json
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from starlette.types import Message, Receive, Scope, Send
from tests.actors import ID, NAME, Actor
from tests.web.conftest import serving
from tests.web.server import Client, Served, Site

from trueup.testing.clock import LogicalClock
from trueup.web import gate
from trueup.web.access import TRIES, WINDOW_SECONDS, Throttle
from trueup.web.problems import Problem

JSON = {"content-type": "application/json"}
ELSEWHERE = "0.0.0.0"  # noqa: S104 - refused, which is the test


def refused(answer: httpx2.Response, status: int, code: str) -> Any:
    """The answer says no, in our form, and tells nothing of the inside."""
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert "Traceback" not in answer.text
    return answer.json()


def raw(served: Served, *lines: str, body: bytes = b"", waits: bool = False) -> tuple[int, bytes]:
    """Send exactly this; the status (0: nothing came) and what was answered, until the connection ends.

    A client that does not wait has nothing more to say, which the server may take for its end.
    """
    answer = b""
    with socket.create_connection(("127.0.0.1", served.port), timeout=30) as connection, suppress(ConnectionError):
        connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        if not waits:
            with suppress(OSError):  # the server has ended the connection already
                connection.shutdown(socket.SHUT_WR)
        while part := connection.recv(65536):
            answer += part
    return int(answer[9:12] or 0), answer


def host(served: Served) -> str:
    return f"Host: 127.0.0.1:{served.port}"


# -- names and paths -----------------------------------------------------------------------------------------------


def train(client: Client, actor_id: str, actor_name: str) -> httpx2.Response:
    path = f"/api/actors/{actor_id}/training-data/comprehensive-sync"
    return client.post(path, json={"actor_name": actor_name})


@pytest.mark.parametrize(
    "name", ["../../etc", "0042/../../x", "0042_\\..\\x", ".0042", "-rf", "0042_a\x00b", "0042_a?b"]
)
def test_traversal_in_an_actors_name(actors: Served, name: str) -> None:
    refused(train(actors.client(), "0042", name), 422, "TU-USAGE")


@pytest.mark.parametrize("actor_id", ["..%2f..%2fetc", "%2e%2e", "..%5c..%5c", "-rf", "%00"])
def test_traversal_in_an_actors_id(actors: Served, actor_id: str) -> None:
    answer = train(actors.client(), actor_id, "0042_x")
    assert answer.status_code in (404, 422), "a slash ends the path: there is nothing at that address"
    assert not [path for path in actors.path.rglob("*") if "etc" in path.name]


def test_a_name_that_is_another_actors(actors: Served) -> None:
    refused(train(actors.client(), "0042", "0043_somebody_else"), 422, "TU-USAGE")


def test_a_target_named_by_a_path(client: Client) -> None:
    refused(client.get("/api/v1/targets/..%2f..%2fetc%2fpasswd"), 404, "TU-NOT-FOUND")


def test_an_actor_target_named_by_a_path(actors: Served) -> None:
    refused(actors.client().get("/api/v1/targets/actor:..:..%5cx"), 422, "TU-USAGE")


def test_a_page_outside_the_server(served: Served) -> None:
    for path in ("/../../etc/passwd", "/static/../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd"):
        status, answer = raw(served, f"GET {path} HTTP/1.1", host(served), "Connection: close", waits=True)
        assert status in (400, 404)
        assert b"root:" not in answer


def test_a_handle_into_somebody_elses_trash(site: Site, client: Client) -> None:
    site.fill(a="1")
    client.run(f"/targets/{site}/sync")
    (site.local / "a").unlink()
    client.run(f"/targets/{site}/sync", {"approve": "all"})
    for handle in ("../../../../etc/passwd", "/etc/passwd", "a\x00b", ".."):
        body = {"side": "remote", "handle": handle}
        refused(client.post(f"/api/v1/targets/{site}/trash/restore", json=body), 404, "TU-NOT-FOUND")
    assert site.arrived == {}


def test_script_in_a_file_name_stays_text(site: Site, client: Client) -> None:
    name = "<img src=x onerror=alert(1)>"
    site.fill(**{name: "1"})
    plan = client.plan(str(site))
    answer = client.get(f"/api/v1/plans/{plan['id']}")
    assert plan["rows"][0]["key"] == name, "as it is: in JSON, which no browser runs"
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "unsafe-inline" not in answer.headers["content-security-policy"]


def test_a_line_break_in_a_file_name_forges_no_event(site: Site, client: Client) -> None:
    site.fill(**{"a\n\nid: 999\nevent: state\ndata: {}\n\n": "1"})
    run = client.run(f"/targets/{site}/sync")
    assert run["state"] == "succeeded"
    numbers = [number for number, _, _ in client.events(run["id"])]
    assert numbers == sorted(set(numbers))
    assert max(numbers) < 999


# -- foreign names and foreign sites -------------------------------------------------------------------------------


def test_dns_rebinding(served: Served) -> None:
    """A stranger's name that means this machine by now."""
    headers = {"host": f"evil.example:{served.port}", "authorization": f"Bearer {served.own_token}"}
    refused(served.bare(headers).get("/api/v1/targets"), 421, "TU-ORIGIN")


@pytest.mark.parametrize("named", ["127.0.0.1.evil.example", "localhost.evil.example", "127.0.0.1@evil.example", ""])
def test_hosts_that_look_like_ours(served: Served, named: str) -> None:
    status, _ = raw(served, "GET /api/v1/health HTTP/1.1", f"Host: {named}", "Connection: close")
    assert status in (400, 421)


def test_another_port_of_this_machine(served: Served) -> None:
    status, _ = raw(served, "GET /api/v1/health HTTP/1.1", "Host: 127.0.0.1:1", "Connection: close")
    assert status == 421


def test_two_hosts_in_one_request(served: Served) -> None:
    lines = ("GET /api/v1/health HTTP/1.1", host(served), "Host: evil.example", "Connection: close")
    assert raw(served, *lines)[0] in (400, 421)


def test_a_host_in_forwarded_headers_is_not_believed(served: Served) -> None:
    headers = {"x-forwarded-host": "127.0.0.1", "forwarded": "host=127.0.0.1", "host": "evil.example"}
    refused(served.bare(headers).get("/api/v1/health"), 421, "TU-ORIGIN")


def test_a_cross_site_post_by_its_origin(served: Served, site: Site) -> None:
    browser = served.browser()
    del browser.headers["sec-fetch-site"]
    answer = browser.post(f"/api/v1/targets/{site}/sync", json={}, headers={"origin": "https://evil.example"})
    refused(answer, 403, "TU-ORIGIN")


def test_a_cross_site_post_by_what_the_browser_says(served: Served, site: Site) -> None:
    for said in ("cross-site", "same-site"):
        answer = served.browser().post(f"/api/v1/targets/{site}/sync", json={}, headers={"sec-fetch-site": said})
        refused(answer, 403, "TU-ORIGIN")


def test_a_post_by_cookie_that_does_not_say_where_it_comes_from(served: Served, site: Site) -> None:
    browser = served.browser()
    del browser.headers["sec-fetch-site"]
    refused(browser.post(f"/api/v1/targets/{site}/sync", json={}), 403, "TU-ORIGIN")


def test_a_post_from_a_sandboxed_frame(served: Served, site: Site) -> None:
    answer = served.browser().post(f"/api/v1/targets/{site}/sync", json={}, headers={"origin": "null"})
    refused(answer, 403, "TU-ORIGIN")


def test_a_post_from_another_port_of_this_machine(served: Served, site: Site) -> None:
    answer = served.browser().post(
        f"/api/v1/targets/{site}/sync", json={}, headers={"origin": "http://127.0.0.1:1", "sec-fetch-site": "none"}
    )
    refused(answer, 403, "TU-ORIGIN")


def test_a_form_of_another_site(served: Served, site: Site) -> None:
    """A form can send text, and no JSON."""
    for said in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        answer = served.browser().post(f"/api/v1/targets/{site}/sync", content="{}", headers={"content-type": said})
        refused(answer, 415, "TU-REQUEST")


def test_another_site_may_not_read_an_answer(client: Client) -> None:
    headers = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    for answer in (
        client.get("/api/v1/targets", headers=headers),
        client.request("OPTIONS", "/api/v1/targets", headers=headers),
    ):
        assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_a_frame_around_a_page(client: Client) -> None:
    answer = client.get("/login")
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-frame-options"] == "DENY"


# -- who asks ------------------------------------------------------------------------------------------------------


def every_operation(served: Served) -> Iterator[tuple[str, str]]:
    for path, methods in served.bare().get("/api/v1/openapi.json").json()["paths"].items():
        for method in methods:
            yield method.upper(), path.replace("{", "").replace("}", "")


def test_nothing_is_answered_to_nobody(served: Served) -> None:
    nobody = served.bare()
    operations = list(every_operation(served))
    assert len(operations) > 25
    for method, path in operations:
        if path != "/api/v1/health":
            answer = nobody.request(method, path, content=b"{}" if method in ("POST", "PUT") else None, headers=JSON)
            assert answer.status_code in (401, 404), (method, path, answer.text)
            if answer.status_code == 404:
                assert answer.json()["title"] in ("there is no such run", "there is no such plan"), answer.text


def test_an_unknown_token(served: Served) -> None:
    refused(served.bare({"authorization": "Bearer tu_wrong"}).get("/api/v1/targets"), 401, "TU-AUTH")


def test_other_ways_to_say_who_asks(served: Served) -> None:
    token = served.own_token
    for said in (f"Basic {token}", token, "Bearer", f"Token {token}", f"Bearer {token} x"):
        refused(served.bare({"authorization": said}).get("/api/v1/targets"), 401, "TU-AUTH")


def test_a_token_in_the_address(served: Served) -> None:
    refused(served.bare().get(f"/api/v1/targets?token={served.own_token}"), 401, "TU-AUTH")


def test_a_token_as_a_session_and_a_session_as_a_token(served: Served) -> None:
    browser = served.browser()
    name, session = next(iter(browser.cookies.items()))
    refused(served.bare({"authorization": f"Bearer {session}"}).get("/api/v1/targets"), 401, "TU-AUTH")
    refused(served.bare({"cookie": f"{name}={served.own_token}"}).get("/api/v1/targets"), 401, "TU-AUTH")


def test_a_login_link_a_second_time(served: Served) -> None:
    link = served.trueup("token", "login", "--port", str(served.port)).strip()
    assert served.bare().get(link).status_code == 303
    again = served.bare().get(link)
    assert (again.status_code, "set-cookie" in again.headers) == (401, False)


def test_a_session_after_logging_out(served: Served) -> None:
    browser = served.browser()
    kept = dict(browser.cookies)
    assert browser.get("/api/v1/me").status_code == 200
    assert browser.post("/logout").status_code == 303
    cookie = "; ".join(f"{name}={value}" for name, value in kept.items())
    refused(served.bare({"cookie": cookie}).get("/api/v1/me"), 401, "TU-AUTH")


def test_the_cookie_is_out_of_reach_of_scripts_and_sites(served: Served) -> None:
    answer = served.bare().get(served.trueup("token", "login", "--port", str(served.port)).strip())
    said = answer.headers["set-cookie"].lower()
    assert "httponly" in said
    assert "samesite=strict" in said
    assert answer.headers["referrer-policy"] == "no-referrer", "the link holds a code"


def test_a_revoked_token(served: Served) -> None:
    secret = served.trueup("token", "create", "gone", "--scope", "read").strip()
    program = served.bare({"authorization": f"Bearer {secret}"})
    assert program.get("/api/v1/targets").status_code == 200
    served.trueup("token", "revoke", "gone")
    refused(program.get("/api/v1/targets"), 401, "TU-AUTH")


def test_more_than_the_scope_allows(served: Served, site: Site) -> None:
    reader, syncer = served.client("read"), served.client("read", "sync")
    refused(reader.post(f"/api/v1/targets/{site}/plans", json={}), 403, "TU-SCOPE")
    refused(reader.get("/api/v1/tokens"), 403, "TU-SCOPE")
    refused(syncer.post("/api/v1/tokens", json={"name": "x", "scopes": ["admin"]}), 403, "TU-SCOPE")
    refused(syncer.post(f"/api/v1/targets/{site}/sync", json={"approve": "all"}), 403, "TU-SCOPE")
    refused(syncer.post(f"/api/v1/targets/{site}/sync", json={"allow": ["max-delete"]}), 403, "TU-SCOPE")
    refused(syncer.post(f"/api/v1/targets/{site}/trash/prune", json={"dry_run": False}), 403, "TU-SCOPE")


def test_a_deletion_approved_by_a_token_that_may_not(served: Served, site: Site, client: Client) -> None:
    site.fill(a="1", b="2")
    client.run(f"/targets/{site}/sync")
    (site.local / "a").unlink()
    syncer = served.client("read", "sync")
    plan = syncer.plan(str(site))
    answer = syncer.post(f"/api/v1/plans/{plan['id']}/apply", json={"digest": plan["digest"]})
    refused(answer, 403, "TU-SCOPE")
    assert site.arrived == {"a": "1", "b": "2"}


def test_guessing_logins(tmp_path: Path) -> None:
    served = serving(tmp_path, 1).start()
    try:
        guesser = served.bare()
        for _ in range(TRIES):
            assert guesser.get("/login?code=tu_guess").status_code == 401
        answer = guesser.get("/login?code=tu_guess")
        assert answer.status_code == 429
        assert 0 < int(answer.headers["retry-after"]) <= WINDOW_SECONDS + 1
        assert guesser.post("/login", data={"token": "tu_guess"}).status_code == 429
        refused(served.bare({"authorization": "Bearer tu_guess"}).get("/api/v1/targets"), 429, "TU-LIMIT")
        assert served.client().get("/api/v1/targets").status_code == 200, "who guesses locks nobody out"
    finally:
        served.stop()


def test_the_throttle_forgets_after_a_while() -> None:
    clock = LogicalClock()
    throttle = Throttle(clock.monotonic)
    for _ in range(TRIES):
        throttle.check("1.2.3.4")
        throttle.wrong("1.2.3.4")
    with pytest.raises(Problem):
        throttle.check("1.2.3.4")
    throttle.check("5.6.7.8")
    clock.pause(WINDOW_SECONDS)
    throttle.check("1.2.3.4")


def test_secrets_at_rest(served: Served, client: Client) -> None:
    """Whoever reads the state finds hashes; what holds a token is its owner's alone."""
    secret = served.token("read")
    for path in served.state.rglob("*"):
        if path.is_file() and path.parent.name != "serve":
            assert secret.encode() not in path.read_bytes(), path
            assert served.own_token.encode() not in path.read_bytes(), path
    (left,) = (served.state / "serve").iterdir()
    assert stat.S_IMODE(left.stat().st_mode) == 0o600
    assert stat.S_IMODE(left.parent.stat().st_mode) == 0o700
    assert secret not in json.dumps(client.ask("GET", "/tokens"))


def test_listening_elsewhere_without_authentication(tmp_path: Path) -> None:
    served = serving(tmp_path, 1)

    def tried(*arguments: str) -> str:
        command = [sys.executable, "-m", "trueup", "serve", "--port", "0", "--host", ELSEWHERE, *arguments]
        done = subprocess.run(command, cwd=served.path, env=served.environment, capture_output=True, text=True)
        assert done.returncode == 64
        return done.stderr

    assert "--allowed-host" in tried()
    assert "nobody has a token" in tried("--allowed-host", "sync.example.org")


# -- too much ------------------------------------------------------------------------------------------------------


def test_an_oversized_body(client: Client, site: Site) -> None:
    answer = client.post(f"/api/v1/targets/{site}/sync", content=b" " * (gate.MAX_BODY_BYTES + 1), headers=JSON)
    refused(answer, 413, "TU-REQUEST")


def test_an_oversized_body_that_does_not_say_so(client: Client, site: Site) -> None:
    def parts() -> Iterator[bytes]:
        for _ in range(gate.MAX_BODY_BYTES // 65536 + 2):
            yield b" " * 65536

    refused(client.post(f"/api/v1/targets/{site}/sync", content=parts(), headers=JSON), 413, "TU-REQUEST")


@pytest.mark.parametrize("length", ["-1", "1e9", "9" * 30, "0x10"])
def test_lengths_that_are_none(served: Served, length: str) -> None:
    lines = ("POST /api/v1/targets/site0/sync HTTP/1.1", host(served), f"Content-Length: {length}", "Connection: close")
    assert raw(served, *lines)[0] in (400, 413)


def test_two_lengths_that_disagree(served: Served) -> None:
    """What one part of a chain takes for the end, another takes for the next request."""
    lines = ("POST /api/v1/health HTTP/1.1", host(served), "Content-Length: 5", "Content-Length: 6")
    assert raw(served, *lines, body=b"hello!")[0] == 400
    lines = ("POST /api/v1/health HTTP/1.1", host(served), "Content-Length: 5", "Transfer-Encoding: chunked")
    assert raw(served, *lines, body=b"0\r\n\r\n")[0] in (400, 401, 405, 415)


def test_an_oversized_head(served: Served) -> None:
    status, _ = raw(served, "GET /api/v1/health HTTP/1.1", host(served), "X-Large: " + "x" * 200_000)
    assert status in (0, 400, 431)
    assert served.bare().get("/api/v1/health").status_code == 200


def test_an_oversized_address(served: Served) -> None:
    refused(served.bare().get("/api/v1/health?" + "x" * gate.MAX_TARGET_BYTES), 414, "TU-REQUEST")


async def test_a_body_that_arrives_byte_by_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "BODY_SECONDS", 0.05)
    sent: list[Message] = []

    async def never_reached(_: Scope, __: Receive, ___: Send) -> None:
        raise AssertionError("the body never arrived")

    async def receive() -> Message:
        await anyio.sleep(0.01)
        return {"type": "http.request", "body": b" ", "more_body": True}

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"host", b"localhost:1"), (b"content-type", b"application/json"), (b"transfer-encoding", b"chunked")]
    scope = {"type": "http", "method": "POST", "path": "/api/v1/x", "query_string": b"", "headers": headers}
    await gate.Gate(never_reached, hosts={"localhost"}, port=1, cookie="c")(scope, receive, send)
    assert sent[0]["status"] == 408


def test_a_head_that_arrives_byte_by_byte(tmp_path: Path) -> None:
    """The connection is closed, although a byte came now and then."""
    code = "import sys; from trueup.web import serving; serving.HEAD_SECONDS = 1.0; from trueup.cli import main; main()"
    served = serving(tmp_path, 1)
    served.program = ("-c", code)
    served.start()
    try:
        with socket.create_connection(("127.0.0.1", served.port), timeout=30) as connection:
            connection.sendall(b"GET /api/v1/health HTTP/1.1\r\nX-Slow: ")
            assert connection.recv(100) == b"", "nothing is answered, and nobody waits any longer"
        assert served.bare().get("/api/v1/health").status_code == 200
    finally:
        served.stop()


def test_a_flood_of_event_streams(tmp_path: Path) -> None:
    served = serving(tmp_path, 1)
    served.program = (
        "-c",
        "from trueup.web import streaming; streaming.MOST_STREAMS = 3; from trueup.cli import main; main()",
    )
    served.start()
    client = served.client()
    try:
        Site(served.path, "site0").fill(a="1")
        run = client.run("/targets/site0/plans")  # it waits for an approval: its streams stay open
        path = f"/api/v1/runs/{run['id']}/events"
        with ExitStack() as stack:
            streams = [stack.enter_context(client.stream("GET", path)).iter_lines() for _ in range(3)]
            assert [next(lines) for lines in streams] == ["id: 1"] * 3
            answer = client.get(path)
            refused(answer, 429, "TU-LIMIT")
            assert int(answer.headers["retry-after"]) > 0
    finally:
        served.stop()


def test_a_page_of_everything(client: Client, site: Site) -> None:
    for limit in ("1001", "0", "-1", "99999999999999999999", "x"):
        refused(client.get(f"/api/v1/targets/{site}/runs?limit={limit}"), 422, "TU-REQUEST")


def test_a_body_of_another_form(client: Client, site: Site) -> None:
    bodies: list[bytes] = [
        b"[]", b"null", b"{", b'{"verify": "yes"}', b'{"unknown": 1}', b"\xff\xfe", b'{"allow": ["everything"]}',
        b'{"namespaces": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    ]  # fmt: skip
    for body in bodies:
        answer = client.post(f"/api/v1/targets/{site}/sync", content=body, headers=JSON)
        assert answer.status_code in (400, 422), (body[:40], answer.text)
        assert answer.json()["code"] == "TU-REQUEST"
    assert client.ask("GET", f"/targets/{site}/runs")["runs"] == []


def test_an_error_repeats_no_secret(client: Client) -> None:
    answer = client.post("/api/v1/tokens", json={"name": "x", "scopes": "tu_this_is_secret"})
    assert "tu_this_is_secret" not in json.dumps(refused(answer, 422, "TU-REQUEST"))


def test_an_idempotency_key_of_somebody_else(served: Served, site: Site, client: Client) -> None:
    """The key of one token says nothing to another."""
    key = {"idempotency-key": "the-same"}
    first = client.post(f"/api/v1/targets/{site}/plans", headers=key, json={})
    client.until(first.json()["id"])
    other = served.client("read", "sync").post(f"/api/v1/targets/{site}/plans", headers=key, json={})
    assert other.status_code == 202
    assert other.json()["id"] != first.json()["id"]
    refused(served.bare().post(f"/api/v1/targets/{site}/plans", headers=key, json={}), 401, "TU-AUTH")


def test_an_idempotency_key_that_is_none(client: Client, site: Site) -> None:
    answer = client.post(f"/api/v1/targets/{site}/plans", headers={"idempotency-key": "x" * 500}, json={})
    refused(answer, 400, "TU-REQUEST")


def test_a_websocket(served: Served) -> None:
    lines = (
        "GET /api/v1/health HTTP/1.1", host(served), "Connection: Upgrade", "Upgrade: websocket",
        "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )  # fmt: skip
    status, _ = raw(served, *lines)
    assert status != 101


@pytest.fixture(scope="module")
def actors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server over the datasets of actors."""
    path = tmp_path_factory.mktemp("actors")
    home = path / "home"
    home.mkdir()
    actor = Actor(home)
    actor.configure()
    actor.put(actor.local, "a.png", "a")
    server = Served(home, path / "state").start()
    assert train(server.client(), ID, NAME).status_code == 200
    yield server
    server.stop()
