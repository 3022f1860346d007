"""The remote of agents' databases, below ``/agents``, with the server's tokens.

Who may use a database needs a token with the scope ``sync``; the cookie of a page opens none.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import anyio

from trueup.engine.ambient import Ambient
from trueup.engine.tokens import Kind, Scope, Token, Tokens
from trueup.replication import Databases, Replication
from trueup.replication.asgi import Receive, Send
from trueup.web.access import Throttle
from trueup.web.problems import Problem

PREFIX = "/agents"
FOLDER = "agents"
"""Of the databases, in the state directory."""

_ADDRESS: ContextVar[str] = ContextVar("_ADDRESS")
"""Where the request comes from that is being answered; the remote asks about its token only."""


class Agents:
    """The remote, which ends with the server: a client that waits for changes keeps it from stopping no longer.

    Args:
        directory: The state directory.
        tokens: Who may ask.
        ambient: Clock and threads.
        throttle: Counts wrong tokens, together with those of REST.
    """

    def __init__(self, directory: Path, tokens: Tokens, ambient: Ambient, throttle: Throttle) -> None:
        self._databases = Databases(directory / FOLDER)
        self._remote = Replication(self._databases, self._verify)
        self._tokens = tokens
        self._ambient = ambient
        self._throttle = throttle
        self._stopping = anyio.Event()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request, unless the server stops."""

        async def give_up(tasks: anyio.CancelScope) -> None:
            await self._stopping.wait()
            tasks.cancel()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(give_up, tasks.cancel_scope)
            await self._answer(scope, receive, send)
            tasks.cancel_scope.cancel()

    def stop(self) -> None:
        """Answer nobody any more."""
        self._stopping.set()

    def close(self) -> None:
        """Close all databases. Blocks."""
        self._databases.close()

    async def _answer(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        _ADDRESS.set((scope.get("client") or ("",))[0])
        try:
            await self._remote(scope, receive, send)
        except Problem as problem:
            await problem.response(scope, receive, send)

    async def _verify(self, secret: str, _: str) -> bool:
        """Whether a token opens databases.

        Raises:
            Problem: 429 if it is wrong, and the address has guessed too often.
        """
        token = await self._ambient.threads(self._find, secret)
        if token is None:
            self._throttle.check(_ADDRESS.get())
            self._throttle.wrong(_ADDRESS.get())
        return token is not None and Scope.SYNC in token.scopes

    def _find(self, secret: str) -> Token | None:
        return self._tokens.find(secret, Kind.TOKEN, now_ns=self._ambient.clock.now_ns())
