"""Our application on a real server, below a path, as an application of others would mount it."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from tests.replication.clients import Remote

from trueup.replication import Databases, Limits, Replication

TOKEN = "letmein"
MOUNT = "/agents"


async def verify(token: str, name: str) -> bool:
    """One token for all but what is private."""
    return token == TOKEN and name != "private"


@contextmanager
def mounted(folder: Path, *, limits: Limits | None = None, create: bool = True) -> Iterator[Remote]:
    """Its address; a database is below it."""
    databases = Databases(folder, limits=limits, create=create)
    application = Replication(databases, verify)

    async def outer(scope: Any, receive: Any, send: Any) -> None:
        assert scope["path"].startswith(MOUNT)
        await application(scope | {"root_path": MOUNT}, receive, send)

    server = uvicorn.Server(uvicorn.Config(outer, lifespan="off", log_level="warning"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
        thread.start()
        try:
            yield Remote(f"http://127.0.0.1:{listener.getsockname()[1]}{MOUNT}", TOKEN)
        finally:
            server.should_exit = True
            thread.join()
            databases.close()
