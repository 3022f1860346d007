"""The application by itself, on an event loop that may not be blocked."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.replication.clients import pipeline
from tests.replication.mounted import TOKEN, verify
from tests.replication.test_database import FILL

from trueup.replication import Databases, Limits, Replication


class Call:
    """Talks to an application without a server."""

    def __init__(self, application: Replication) -> None:
        self._application = application

    async def __call__(
        self, method: str, path: str, *parts: bytes, root: str = "", token: str = TOKEN
    ) -> tuple[int, bytes]:
        left = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
        left.append({"type": "http.request"})
        sent: list[Any] = []

        async def receive() -> Any:
            return left.pop(0)

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [(b"Authorization", f"Bearer {token}".encode())]
        scope = {"type": "http", "method": method, "path": path, "root_path": root, "headers": headers}
        await self._application(scope, receive, send)
        assert not sent[-1].get("more_body")
        return sent[0]["status"], b"".join(message["body"] for message in sent[1:])


@pytest.fixture
def databases(tmp_path: Path) -> Iterator[Databases]:
    opened = Databases(tmp_path, limits=Limits(memory_bytes=1000, request_bytes=10_000))
    yield opened
    opened.close()


@pytest.fixture
def call(databases: Databases) -> Call:
    return Call(Replication(databases, verify))


async def test_requests_that_come_in_parts_and_answers_that_are_spooled(call: Call) -> None:
    assert (await call("POST", "/team/pull-updates"))[0] == 200
    body = pipeline(*FILL)
    assert (await call("POST", "/team/v2/pipeline", body[:50], body[50:]))[0] == 200
    status, content = await call("GET", "/team/backup")
    assert (status, content[:15], len(content) % 4096) == (200, b"SQLite format 3", 0)
    assert len(content) > 100 * 3000


async def test_the_path_may_have_the_mount_in_it_or_not(call: Call) -> None:
    for path, root in (
        ("/a/pull-updates", ""),
        ("/agents/a/pull-updates", "/agents"),
        ("/a/pull-updates", "/agents"),
    ):
        assert (await call("POST", path, root=root))[0] == 200
    assert (await call("GET", "/agents/a", root="/agents"))[0] == 200
    assert (await call("GET", "/agents/a/", root="/agents"))[0] == 200


async def test_a_body_too_large_is_refused_without_its_length(call: Call) -> None:
    await call("POST", "/team/pull-updates")
    assert (await call("POST", "/team/v2/pipeline", *[bytes(5000)] * 3))[0] == 413


async def test_a_client_that_hangs_up_gets_nothing(databases: Databases) -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"authorization", f"Bearer {TOKEN}".encode())]
    scope = {"type": "http", "method": "POST", "path": "/team/v2/pipeline", "headers": headers}
    await Replication(databases, verify)(scope, receive, send)
    assert sent == []


async def test_who_waits_hears_of_a_change(call: Call, databases: Databases) -> None:
    await call("POST", "/team/pull-updates")
    team = databases.get("team", begin=False)
    name = team.revision.encode()
    body = b"\x1a" + bytes([len(name)]) + name + b"\x20\xe0\xd4\x03"  # 60 seconds
    waiting = asyncio.create_task(call("POST", "/team/pull-updates", body))
    while not team._listeners:  # noqa: ASYNC110  # nothing tells of it
        await asyncio.sleep(0)
    assert not waiting.done()
    await call("POST", "/team/v2/pipeline", pipeline(*FILL))
    async with asyncio.timeout(30):
        status, answer = await waiting
    assert status == 200
    assert team.revision.encode() in answer


async def test_a_closed_folder_is_refused(call: Call, databases: Databases) -> None:
    await call("POST", "/team/pull-updates")
    databases.close()
    assert (await call("POST", "/team/pull-updates"))[0] == 503


async def test_only_http_is_spoken(databases: Databases) -> None:
    async def nothing(*_: Any) -> Any:
        return None

    with pytest.raises(NotImplementedError, match="websocket"):
        await Replication(databases, verify)({"type": "websocket"}, nothing, nothing)
