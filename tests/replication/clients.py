"""Unmodified clients, and plain requests."""

import http.client
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import turso.sync

from trueup.replication import Refused


@dataclass(frozen=True)
class Remote:
    """Where a database is served."""

    url: str
    token: str | None


@contextmanager
def replica(path: Path, remote: Remote, **options: Any) -> Iterator[Any]:
    """A connection of `turso.sync`, closed at the end."""
    connection = turso.sync.connect(str(path), remote.url, auth_token=remote.token, **options)
    try:
        yield connection
    finally:
        connection.close()


def write(connection: Any, *statements: str | tuple[str, tuple[object, ...]]) -> None:
    """One transaction."""
    _refresh(connection)
    for statement in statements:
        connection.execute(*((statement, ()) if isinstance(statement, str) else statement))
    connection.commit()


def rows(connection: Any, sql: str) -> list[tuple[Any, ...]]:
    """What a query finds."""
    _refresh(connection)
    return [tuple(row) for row in connection.execute(sql).fetchall()]


def _refresh(connection: Any) -> None:
    """The driver sees a table that a pull brought only after it has run another statement."""
    connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    remote: Remote, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> Answer:
    """One plain request, with the token unless the headers have another."""
    address = urlsplit(remote.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
    try:
        sent = {"Authorization": f"Bearer {remote.token}"} | dict(headers or {})
        connection.request(method, address.path + path, body, sent)
        response = connection.getresponse()
        return Answer(
            response.status, {name.lower(): value for name, value in response.headers.items()}, response.read()
        )
    finally:
        connection.close()


def status_of(function: Callable[..., object], *args: object) -> int:
    """200, or why it was refused."""
    try:
        function(*args)
    except Refused as refused:
        return refused.status
    return 200


def pipeline(*statements: str, **more: object) -> bytes:
    """A batch, as the body of a request."""
    steps = [{"stmt": {"sql": sql}} for sql in statements]
    return json.dumps({"baton": None, "requests": [{"type": "batch", "batch": {"steps": steps}}]} | more).encode()
