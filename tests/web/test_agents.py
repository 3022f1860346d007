"""The remote of agents' databases, mounted: unmodified clients push and pull with the server's tokens."""

from __future__ import annotations

from pathlib import Path

from tests.replication.clients import Remote, ask, replica, rows, write
from tests.web.server import Served

from trueup.web.access import TRIES, WINDOW_SECONDS


def remote(served: Served, token: str) -> Remote:
    return Remote(f"{served.address}/agents/notes", token)


def test_a_client_pushes_and_another_one_pulls_across_a_restart(fresh: Served, tmp_path: Path) -> None:
    fresh.start()
    with replica(tmp_path / "one.db", remote(fresh, fresh.own_token)) as one:
        write(one, "CREATE TABLE t (a)", ("INSERT INTO t VALUES (?)", ("hello",)))
        one.push()
    assert fresh.stop() == 0
    fresh.start()
    with replica(tmp_path / "two.db", remote(fresh, fresh.own_token)) as two:
        two.pull()
        assert rows(two, "SELECT a FROM t") == [("hello",)]


def test_a_token_without_the_scope_opens_nothing(served: Served) -> None:
    body = b'{"requests": []}'
    for token in (served.token("read"), "tu_wrong"):
        assert ask(remote(served, token), "POST", "/v2/pipeline", body).status == 401
    known = ask(remote(served, served.token("sync")), "POST", "/v2/pipeline", body)
    assert (known.status, known.json["code"]) == (404, "NO_DATABASE"), "it is heard, and there is none yet"


def test_wrong_tokens_are_counted_together_with_those_of_rest(fresh: Served) -> None:
    fresh.start()
    body = b'{"requests": []}'
    reader = remote(fresh, fresh.token("read"))
    for _ in range(TRIES):
        assert ask(reader, "POST", "/v2/pipeline", body).status == 401, "a right one is no guess"
    for _ in range(TRIES - 1):
        assert ask(remote(fresh, "tu_wrong"), "POST", "/v2/pipeline", body).status == 401
    assert fresh.bare({"authorization": "Bearer tu_wrong"}).get("/api/v1/targets").status_code == 401
    answer = ask(remote(fresh, "tu_wrong"), "POST", "/v2/pipeline", body)
    assert (answer.status, answer.json["code"]) == (429, "TU-LIMIT")
    assert 0 < int(answer.headers["retry-after"]) <= WINDOW_SECONDS + 1
    known = ask(remote(fresh, fresh.own_token), "POST", "/v2/pipeline", body)
    assert known.status == 404, "who guesses locks nobody out"


def test_the_cookie_of_a_page_opens_no_database(served: Served) -> None:
    answer = served.browser().post("/agents/notes/v2/pipeline", json={"requests": []})
    assert answer.status_code == 401


def test_a_foreign_name_opens_no_database(served: Served) -> None:
    headers = {"host": "evil.example", "authorization": f"Bearer {served.own_token}"}
    assert served.bare(headers).get("/agents/notes").status_code == 421


def test_a_name_that_is_a_path(served: Served) -> None:
    client = served.client()
    for name in ("..%2fstate", "%2e%2e", ".hidden"):
        answer = client.post(f"/agents/{name}/v2/pipeline", json={"requests": []})
        assert answer.status_code in (401, 404), answer.text
    assert not list((served.state / "agents").glob("*state*"))
