"""A provider on a real socket, on loopback. Answers are scripts: a list of replies for each path."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Reply:
    """One answer."""

    body: Any = None
    """Bytes as they are; anything else as JSON."""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    hang: bool = False
    """Whether nothing is answered until the server ends."""


@dataclass(frozen=True)
class Request:
    """What arrived."""

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""


Answer = Callable[[Request], Reply]


@dataclass
class Server:
    """Add answers, look at requests."""

    address: str
    answers: dict[str, Answer] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def says(self, path: str, *replies: Reply | Any) -> None:
        """One after the other; the last one for ever."""
        left = [one if isinstance(one, Reply) else Reply(one) for one in replies]

        def answer(_: Request) -> Reply:
            return left.pop(0) if len(left) > 1 else left[0]

        self.answers[path] = answer

    def asked(self, path: str) -> list[Request]:
        return [request for request in self.requests if request.path == path]


class _Listening(ThreadingHTTPServer):
    """Of more than five that come at once, Python's own lets some wait for a second."""

    request_queue_size = 128


@contextmanager
def serving() -> Iterator[Server]:
    """A server that lives as long as the context."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            length = int(self.headers.get("content-length", "0"))
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(parts.path, query, headers, self.rfile.read(length))
            server.requests.append(request)
            found = server.answers.get(parts.path)
            reply = found(request) if found is not None else Reply({"error": {"message": "no such path"}}, 404)
            if reply.hang:
                server.ended.wait(60)
                return
            body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            self.send_response(reply.status)
            for name, value in ({"content-type": "application/json"} | dict(reply.headers)).items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815  # as http.server calls it

        def log_message(self, *_: Any) -> None:
            pass

    listening = _Listening(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    server = Server(f"http://127.0.0.1:{listening.server_address[1]}")
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.ended.set()
        listening.shutdown()
        thread.join()
        listening.server_close()


# -- recorded shapes ---------------------------------------------------------------------------------------------

OPENAI_15 = [
    *["gpt-4", "gpt-4-turbo", "gpt-3.5-turbo", "gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-3.5-turbo-instruct"],
    *["gpt-3.5-turbo-0125", "text-embedding-3-small", "text-embedding-3-large", "whisper-1", "tts-1", "o3", "o4-mini"],
    "dall-e-3",
]
GEMINI_8 = [
    *["gemini-2.5-pro", "gemini-2.0-pro-exp", "gemini-1.5-pro", "gemini-2.5-flash", "gemini-2.5-flash-lite"],
    *["gemini-2.0-flash", "gemini-2.0-flash-lite", "gemini-1.5-flash"],
]


def openai(ids: list[str], **more: Any) -> dict[str, Any]:
    """As ``GET /v1/models`` answers."""
    return {
        "object": "list",
        "data": [{"id": i, "object": "model", "created": 1687882411, "owned_by": "openai", **more} for i in ids],
    }


def gemini(ids: list[str], cursor: str = "") -> dict[str, Any]:
    """As ``GET /v1beta/models`` answers."""
    entries = [
        {
            "name": f"models/{i}",
            "version": "001",
            "displayName": i.title(),
            "inputTokenLimit": 1048576,
            "outputTokenLimit": 65536,
            "supportedGenerationMethods": ["generateContent", "countTokens"],
        }
        for i in ids
    ]
    return {"models": entries} | ({"nextPageToken": cursor} if cursor else {})


def anthropic(ids: list[str], *, more: bool) -> dict[str, Any]:
    """As ``GET /v1/models`` of Anthropic answers."""
    data = [{"type": "model", "id": i, "display_name": i.title(), "created_at": "2026-02-19T00:00:00Z"} for i in ids]
    return {"data": data, "has_more": more, "first_id": ids[0] if ids else None, "last_id": ids[-1] if ids else None}


def cohere(ids: list[str], cursor: str = "") -> dict[str, Any]:
    """As ``GET /v1/models`` of Cohere answers."""
    entries = [
        {"name": i, "endpoints": ["chat"], "context_length": 128000, "features": ["tools"], "is_deprecated": False}
        for i in ids
    ]
    return {"models": entries} | ({"next_page_token": cursor} if cursor else {})


def paged(ids: list[str], sizes: list[int], size_param: str, cursor_param: str, page: Callable[..., Any]) -> Answer:
    """Pages of these sizes, whatever size is asked for; a cursor is the number of those before."""
    starts = [sum(sizes[:n]) for n in range(len(sizes))]

    def answer(request: Request) -> Reply:
        assert size_param in request.query
        start = int(request.query.get(cursor_param, "t0")[1:])
        n = starts.index(start)
        part = ids[start : start + sizes[n]]
        following = f"t{start + sizes[n]}" if n + 1 < len(sizes) else ""
        return Reply(page(part, following))

    return answer
