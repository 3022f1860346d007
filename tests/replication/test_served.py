"""Both ways to serve: the little server of one file, and the application below a path of another's server."""

import http.client
import json
import sqlite3
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.replication.clients import Remote, ask, pipeline, replica, rows, write
from tests.replication.mounted import mounted

from trueup.core.errors import Locked
from trueup.replication import Limits, serving
from trueup.replication.wire import varint

FILL = ("CREATE TABLE t (id INTEGER PRIMARY KEY, text)", "INSERT INTO t VALUES (1, 'x')")
LIMITS = Limits(request_bytes=100_000)


@contextmanager
def begun(kind: str, folder: Path) -> Iterator[Remote]:
    if kind == "embedded":
        with serving(folder / "team.db", limits=LIMITS) as served:
            yield Remote(served.url, served.token)
        return
    with mounted(folder, limits=LIMITS) as remote:
        team = Remote(f"{remote.url}/team", remote.token)
        assert ask(team, "POST", "/pull-updates", b"").status == 200
        yield team


@pytest.fixture(params=["embedded", "mounted"])
def team(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Remote]:
    """An empty database."""
    with begun(request.param, tmp_path) as remote:
        yield remote


def pull(*, since: str = "", wait_ms: int = 0) -> bytes:
    name = since.encode()
    return b"\x1a" + varint(len(name)) + name + b"\x20" + varint(wait_ms)


def revision(remote: Remote) -> str:
    found: str = ask(remote, "GET", "").json["revision"]
    return found


# -- what is asked for and answered ----------------------------------------------------------------------------------


def test_two_clients_meet(tmp_path: Path, team: Remote) -> None:
    with replica(tmp_path / "a.db", team) as a, replica(tmp_path / "b.db", team) as b:
        write(a, *FILL)
        a.push()
        assert b.pull()
        assert rows(b, "SELECT * FROM t") == [(1, "x")]


def test_the_state_is_told(team: Remote) -> None:
    before = ask(team, "GET", "")
    assert before.json["pages"] == 1
    after = ask(team, "POST", "/v2/pipeline", pipeline(*FILL))
    assert after.headers["trueup-revision"] == revision(team)
    assert revision(team) != before.json["revision"]


def test_a_backup_is_a_database(tmp_path: Path, team: Remote) -> None:
    ask(team, "POST", "/v2/pipeline", pipeline(*FILL))
    (tmp_path / "copy.db").write_bytes(ask(team, "GET", "/backup").body)
    with closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        assert copy.execute("SELECT * FROM t").fetchall() == [(1, "x")]


def test_a_connection_serves_many_requests(team: Remote) -> None:
    address = urlsplit(team.url)
    headers = {"Authorization": f"Bearer {team.token}"}
    with closing(http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)) as connection:
        connection.connect()
        first = connection.sock
        for _ in range(3):
            connection.request("POST", f"{address.path}/v2/pipeline", pipeline("SELECT 1"), headers)
            response = connection.getresponse()
            assert response.status == 200
            response.read()
            assert connection.sock is first


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer ", "Bearer no", "Basic eDp5", "Bearer \u00e9"])
def test_without_the_token_nothing_is_told(team: Remote, authorization: str) -> None:
    for method, path, body in (("GET", "", None), ("GET", "/other", None), ("POST", "/pull-updates", b"\xff" * 50_000)):
        answer = ask(team, method, path, body, {"Authorization": authorization})
        assert (answer.status, answer.json["code"]) == (401, "UNAUTHORIZED")


def test_a_client_is_told_that_its_token_is_wrong(tmp_path: Path, team: Remote) -> None:
    with pytest.raises(Exception, match="status=401"), replica(tmp_path / "a.db", Remote(team.url, "no")):
        pass


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/pull-updates", 405),
        ("GET", "/v2/pipeline", 405),
        ("POST", "/backup", 405),
        ("POST", "", 405),
        ("GET", "/other", 404),
        ("POST", "/v3/pipeline", 404),
        ("POST", "/pull-updates/more", 404),
    ],
)
def test_an_address_that_is_none(team: Remote, method: str, path: str, status: int) -> None:
    assert ask(team, method, path, b"" if method == "POST" else None).status == status


def test_malformed_requests_are_the_clients_fault(team: Remote) -> None:
    selector = struct.pack("<I", 12346) + b"\xff\xff\xff"
    for path, body in (
        ("/pull-updates", b"\xff"),
        ("/pull-updates", b"\x08\x01"),
        ("/pull-updates", b"\x2a" + varint(len(selector)) + selector),
        ("/v2/pipeline", b"{"),
        ("/v2/pipeline", b"{}"),
    ):
        answer = ask(team, "POST", path, body)
        assert (answer.status, answer.json["code"]) == (400, "MALFORMED")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["/pull-updates", "/v2/pipeline"]), st.binary(max_size=100))
def test_no_bytes_break_it(team: Remote, path: str, body: bytes) -> None:
    assert ask(team, "POST", path, body).status in (200, 400, 409)


def test_too_large_a_request_is_refused_and_the_client_hears_it(team: Remote) -> None:
    body = pipeline("SELECT '" + "x" * 1_000_000 + "'")
    answer = ask(team, "POST", "/v2/pipeline", body)
    assert (answer.status, answer.json["code"]) == (413, "TOO_LARGE")
    assert "100000 bytes" in answer.json["error"]
    assert ask(team, "POST", "/v2/pipeline", pipeline("SELECT 1")).status == 200


def test_another_revision_is_a_conflict(team: Remote) -> None:
    old = revision(team)
    first = ask(team, "POST", "/v2/pipeline", pipeline(*FILL), {"If-Revision": old})
    second = ask(team, "POST", "/v2/pipeline", pipeline("DELETE FROM t"), {"If-Revision": old})
    assert (first.status, second.status, second.json["code"]) == (200, 409, "CHANGED")
    assert second.json["revision"] == revision(team)


def test_a_client_of_another_database_is_refused(tmp_path: Path, team: Remote) -> None:
    answer = ask(team, "POST", "/pull-updates", pull(since="5.1"))
    assert (answer.status, answer.json["code"]) == (409, "REPLACED")
    assert answer.json["error"].startswith("remote was replaced")


@pytest.mark.parametrize("kind", ["embedded", "mounted"])
def test_a_replica_is_not_emptied_by_a_remote_that_was_replaced(tmp_path: Path, kind: str) -> None:
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
    with begun(kind, tmp_path / "first") as remote, replica(tmp_path / "a.db", remote) as a:
        write(a, *FILL)
        a.push()
        a.pull()
    with begun(kind, tmp_path / "second") as remote, replica(tmp_path / "a.db", remote) as a:
        with pytest.raises(Exception, match="remote was replaced"):
            a.pull()
        assert rows(a, "SELECT * FROM t") == [(1, "x")]


# -- waiting -----------------------------------------------------------------------------------------------------------


def test_who_waits_hears_of_a_change(team: Remote) -> None:
    old = revision(team)
    answers = []
    waiting = threading.Thread(
        target=lambda: answers.append(ask(team, "POST", "/pull-updates", pull(since=old, wait_ms=50_000)))
    )
    waiting.start()
    ask(team, "POST", "/v2/pipeline", pipeline(*FILL))
    waiting.join(40)
    assert not waiting.is_alive()  # long before it would have been answered anyway
    assert revision(team).encode() in answers[0].body


def test_who_waits_in_vain_is_told_so(team: Remote) -> None:
    old = revision(team)
    answer = ask(team, "POST", "/pull-updates", pull(since=old, wait_ms=1))
    assert old.encode() in answer.body
    assert len(answer.body) < 100


# -- the end -----------------------------------------------------------------------------------------------------------


def test_the_end_waits_for_nobody(tmp_path: Path) -> None:
    """Neither for a connection that is silent, nor for one that waits, nor for one that is half sent."""
    answers = []
    with serving(tmp_path / "team.db") as served:
        remote = Remote(served.url, served.token)
        address = urlsplit(served.url)
        silent = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
        silent.connect()
        half = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
        half.putrequest("POST", "/v2/pipeline")
        half.putheader("Authorization", f"Bearer {served.token}")
        half.putheader("Content-Length", "100")
        half.endheaders(b"{")
        body = pull(since=served.database.revision, wait_ms=60_000)
        waiting = threading.Thread(target=lambda: answers.append(ask(remote, "POST", "/pull-updates", body)))
        waiting.start()
        while not served.database._listeners:
            time.sleep(0.01)
    waiting.join(30)
    assert not waiting.is_alive()
    assert answers[0].status == 503
    for connection in (silent, half):
        assert connection.sock.recv(1) == b""  # it was hung up
        connection.close()
    with serving(tmp_path / "team.db"):
        pass


def test_one_server_for_one_file(tmp_path: Path) -> None:
    with (
        serving(tmp_path / "team.db"),
        pytest.raises(Locked, match="served by another process"),
        serving(tmp_path / "team.db"),
    ):
        pass


# -- names -------------------------------------------------------------------------------------------------------------


def test_names_are_databases_of_their_own(tmp_path: Path) -> None:
    with mounted(tmp_path / "served") as remote:
        one, two = (Remote(f"{remote.url}/{name}", remote.token) for name in ("one", "t.w-o_2"))
        with replica(tmp_path / "a.db", one) as a, replica(tmp_path / "b.db", two) as b:
            write(a, *FILL)
            a.push()
            assert not b.pull()
    assert sorted(path.name for path in (tmp_path / "served").glob("*.db")) == ["one.db", "t.w-o_2.db"]


@pytest.mark.parametrize(
    "name",
    [
        "..",
        ".",
        "%2e%2e",
        "..%2f..%2fetc",
        "%2fetc%2fpasswd",
        "a%2fb",
        "a%00b",
        ".hidden",
        "-wal",
        "",
        "a" * 101,
        "%c3%a9",
        "a%0a",
    ],
)
def test_a_name_never_leaves_the_folder(tmp_path: Path, name: str) -> None:
    with mounted(tmp_path / "served") as remote:
        for method, path in (("POST", "/pull-updates"), ("GET", "")):
            answer = ask(Remote(f"{remote.url}/{name}", remote.token), method, path, b"" if method == "POST" else None)
            assert answer.status == 404
    assert not list(tmp_path.rglob("*.db"))


def test_the_verifier_is_asked_for_each_name(tmp_path: Path) -> None:
    with mounted(tmp_path) as remote:
        assert ask(Remote(f"{remote.url}/private", remote.token), "POST", "/pull-updates", b"").status == 401
        assert ask(Remote(f"{remote.url}/other", remote.token), "POST", "/pull-updates", b"").status == 200


def test_only_a_client_that_knows_nothing_begins_a_database(tmp_path: Path) -> None:
    with mounted(tmp_path) as remote:
        team = Remote(f"{remote.url}/team", remote.token)
        assert ask(team, "GET", "").status == 404
        assert ask(team, "POST", "/v2/pipeline", pipeline(*FILL)).status == 404
        assert ask(team, "POST", "/pull-updates", pull(since="e.5")).json["code"] == "REPLACED"
        assert not list(tmp_path.glob("*.db"))
        assert ask(team, "POST", "/pull-updates", b"").status == 200
        assert ask(team, "POST", "/v2/pipeline", pipeline(*FILL)).status == 200


def test_databases_begin_only_where_that_is_allowed(tmp_path: Path) -> None:
    with mounted(tmp_path, create=False) as remote:
        answer = ask(Remote(f"{remote.url}/team", remote.token), "POST", "/pull-updates", b"")
        assert (answer.status, answer.json["code"]) == (404, "NO_DATABASE")


def test_what_cannot_be_opened_is_said_without_its_path(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("no database " * 20)
    with mounted(tmp_path) as remote, serving(tmp_path / "busy.db"):
        text = ask(Remote(f"{remote.url}/text", remote.token), "GET", "")
        busy = ask(Remote(f"{remote.url}/busy", remote.token), "GET", "")
    assert (text.status, text.json["code"]) == (503, "UNUSABLE")
    assert (busy.status, busy.json["code"]) == (503, "IN_USE")
    assert str(tmp_path) not in json.dumps([text.json, busy.json])
