"""One file served on loopback, for as long as one command runs: what ``file:///path/team.db`` as a remote means."""

from __future__ import annotations

import hmac
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import TCPServer
from typing import Any, Final

from trueup.replication import answers
from trueup.replication.answers import Asked, Reply
from trueup.replication.database import Database
from trueup.replication.limits import MIB, Limits
from trueup.replication.refused import Refused

IDLE_SECONDS: Final = 60.0
"""A client may be silent so long within a connection."""

_LOOK_SECONDS: Final = 0.02
"""How often the server looks whether it shall end."""
_END_SECONDS: Final = 5.0
"""How long an answer that is being sent may still take at the end."""
_DISCARD_BYTES: Final = 4 * MIB
"""Of a body that nobody wants, from a client without a token: it would not hear the answer before it has sent all."""


@dataclass(frozen=True, slots=True)
class Served:
    """Where a database can be reached now."""

    url: str
    """Base of the addresses, without a slash at the end."""
    token: str
    """Random; whoever has it may do everything with this database."""
    database: Database


@contextmanager
def serving(path: Path, *, limits: Limits | None = None) -> Iterator[Served]:
    """Serve one file until the block ends; on loopback, on a free port, behind a random token.

    Args:
        path: Of the file; made if it is not there.
        limits: Of requests.

    Raises:
        Locked: If another process serves it.
        StoreError: If it cannot be served.
    """
    limits = limits or Limits()
    token = secrets.token_urlsafe(32)
    with closing(Database(path, limits=limits)) as database, _Server(database, limits, token) as server:
        thread = threading.Thread(target=server.serve_forever, args=(_LOOK_SECONDS,), daemon=True)
        thread.start()
        try:
            yield Served(f"http://127.0.0.1:{server.server_address[1]}", token, database)
        finally:
            server.shutdown()
            thread.join()
            database.close()  # wakes those that wait
            server.hang_up()


class _Server(TCPServer):
    """A thread for each connection.

    Not the one of http.server: that asks for the name of this machine, which takes seconds without a network.
    """

    request_queue_size = 64

    def __init__(self, database: Database, limits: Limits, token: str) -> None:
        self.database = database
        self.limits = limits
        self._token = token.encode()
        self._mutex = threading.Lock()
        self._live: dict[threading.Thread, socket.socket] = {}
        super().__init__(("127.0.0.1", 0), _Handler)

    def is_token(self, token: str) -> bool:
        return hmac.compare_digest(token.encode(), self._token)

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(target=self._converse, args=(request, client_address), daemon=True)
        with self._mutex:
            self._live[thread] = request
        thread.start()

    def _converse(self, request: socket.socket, client_address: Any) -> None:
        try:
            with suppress(OSError):  # the client went away in the middle
                self.finish_request(request, client_address)
        finally:
            with self._mutex:
                del self._live[threading.current_thread()]
                self.shutdown_request(request)

    def hang_up(self) -> None:
        """End all connections: those that are silent at once, those that are answered when they have the answer."""
        for how, seconds in ((socket.SHUT_RD, _END_SECONDS), (socket.SHUT_RDWR, _END_SECONDS)):
            with self._mutex:
                threads = list(self._live)
                for connection in self._live.values():
                    with suppress(OSError):
                        connection.shutdown(how)
            for thread in threads:
                thread.join(seconds)


class _Handler(BaseHTTPRequestHandler):
    """One connection, of any number of requests."""

    server: _Server
    protocol_version = "HTTP/1.1"
    server_version = "trueup"
    sys_version = ""
    timeout = IDLE_SECONDS
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name there
        """Say nothing: standard error belongs to the command that serves."""

    def _serve(self) -> None:
        try:
            asked = self._asked()
        except Refused as refused:
            self._send(answers.refusal(refused))
            return
        with closing(self._reply(asked)) as reply:
            self._send(reply)
        answers.tidy(self.server.database, asked)

    def _asked(self) -> Asked:
        try:
            if not self.server.is_token(answers.bearer(self.headers.get("Authorization"))):
                raise answers.unauthorized()
            path = self.path.partition("?")[0].rstrip("/")
            answers.check(self.command, path)
            size = 0 if self.command == "GET" else self._length(self.server.limits.request_bytes)
        except Refused as refused:
            self._discard(refused)
            raise
        body = self.rfile.read(size)
        if len(body) < size:
            raise ConnectionResetError
        return Asked(self.command, path, body, self.headers.get(answers.CONDITION_HEADER))

    def _reply(self, asked: Asked) -> Reply:
        try:
            self._wait(asked)
            return answers.reply(self.server.database, asked)
        except Refused as refused:
            return answers.refusal(refused)

    def _length(self, most: int) -> int:
        return answers.length(self.headers.get("Content-Length"), most)

    def _discard(self, refused: Refused) -> None:
        """What was sent is not wanted, but a client hears the answer only after it has sent all."""
        self.close_connection = True
        with suppress(Refused):
            most = _DISCARD_BYTES if refused.status == 401 else 16 * self.server.limits.request_bytes
            left = self._length(most)
            while left and (part := self.rfile.read(min(left, MIB))):
                left -= len(part)

    def _wait(self, asked: Asked) -> None:
        changed = threading.Event()
        unsubscribe = self.server.database.subscribe(changed.set)
        try:
            # After subscribing: a change in between is seen by one or the other.
            if seconds := answers.patience(self.server.database, asked):
                changed.wait(seconds)
        finally:
            unsubscribe()

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        headers = {"Content-Type": reply.kind, "Content-Length": str(reply.size)} | dict(reply.headers)
        for name, value in headers.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if isinstance(reply.body, bytes):
            self.wfile.write(reply.body)
            return
        for chunk in reply.body.chunks():
            self.wfile.write(chunk)
