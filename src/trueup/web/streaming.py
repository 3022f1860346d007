"""Server-sent events, as the HTML standard writes them (section 9.2)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import aclosing

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from trueup.web.problems import Problem
from trueup.web.service import Service

MOST_STREAMS = 200
"""Event streams at once, of all clients together."""
RETRY_SECONDS = 5


class EventStream(StreamingResponse):
    """Events of a run as they come. Streams are counted, and there are no more than so many.

    Args:
        service: Where events are.
        run_id: Of which run.
        after: Only those after this one.
    """

    def __init__(self, service: Service, run_id: str, after: int) -> None:
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        super().__init__(_written(service, run_id, after), media_type="text/event-stream", headers=headers)
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream, or refuse one too many."""
        if self._service.streams >= MOST_STREAMS:
            problem = Problem(
                429, "TU-LIMIT", "too many event streams are open", headers={"Retry-After": str(RETRY_SECONDS)}
            )
            await problem.response(scope, receive, send)
            return
        self._service.streams += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._service.streams -= 1


async def _written(service: Service, run_id: str, after: int) -> AsyncIterator[bytes]:
    async with aclosing(service.board.listen(run_id, after)) as events:  # type: ignore[type-var]  # a generator
        async for event in events:
            if event is None:
                yield b": alive\n\n"
            else:
                yield f"id: {event.n}\nevent: {event.kind}\ndata: {json.dumps(event.data)}\n\n".encode()
