"""Agents for tests: databases as the AgentFS SDK writes them, and what is in them."""

import os
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.tursodb import SyncServer

from trueup.core.model import Key
from trueup.engine.ambient import Ambient
from trueup.protocols import Opening
from trueup.stores.agentfs.schema import beginning
from trueup.testing.engines import Missing


def outside_write(path: Path, key: Key, data: bytes) -> None:
    """Write a file as the SDK does: whole seconds, the inode kept, its rows made anew."""
    now = int(time.time())
    with closing(sqlite3.connect(path, timeout=10, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("BEGIN IMMEDIATE")
        for statement in beginning(now):
            db.execute(*statement)
        parent = 1
        *above, name = key.split("/")
        for part in above:
            parent = _child(db, parent, part) or _add(db, parent, part, 0o040755, now)
        ino = _child(db, parent, name) or _add(db, parent, name, 0o100644, now)
        db.execute("DELETE FROM fs_data WHERE ino = ?", (ino,))
        for index, start in enumerate(range(0, len(data), 4096)):
            db.execute("INSERT INTO fs_data VALUES (?, ?, ?)", (ino, index, data[start : start + 4096]))
        db.execute("UPDATE fs_inode SET size = ?, mtime = ? WHERE ino = ?", (len(data), now, ino))
        db.execute("COMMIT")


def outside_delete(path: Path, key: Key) -> None:
    """Delete a file as the SDK does."""
    with closing(sqlite3.connect(path, timeout=10, isolation_level=None)) as db:
        parent = 1
        *above, name = key.split("/")
        for part in above:
            parent = _child(db, parent, part) or 0
        ino = _child(db, parent, name)
        db.execute("BEGIN IMMEDIATE")
        db.execute("DELETE FROM fs_dentry WHERE parent_ino = ? AND name = ?", (parent, name))
        db.execute("DELETE FROM fs_inode WHERE ino = ?", (ino,))
        db.execute("DELETE FROM fs_data WHERE ino = ?", (ino,))
        db.execute("COMMIT")


def _child(db: sqlite3.Connection, parent: int, name: str) -> int | None:
    row = db.execute("SELECT ino FROM fs_dentry WHERE parent_ino = ? AND name = ?", (parent, name)).fetchone()
    return None if row is None else int(row[0])


def _add(db: sqlite3.Connection, parent: int, name: str, mode: int, now: int) -> int:
    values = (mode, now, now, now)
    ino = db.execute("INSERT INTO fs_inode (mode, nlink, atime, mtime, ctime) VALUES (?, 1, ?, ?, ?)", values).lastrowid
    db.execute("INSERT INTO fs_dentry (name, parent_ino, ino) VALUES (?, ?, ?)", (name, parent, ino))
    assert ino is not None
    return ino


@contextmanager
def tursodb(database: Path) -> Iterator[str]:
    """Serve a database beside this path with the reference server; the URL.

    Raises:
        Missing: If it is not installed.
    """
    database.parent.mkdir(parents=True, exist_ok=True)
    with SyncServer(database.parent) as server:
        yield server.endpoint


@contextmanager
def served(database: Path) -> Iterator[str]:
    """The reference server, or a skipped test where it cannot be had."""
    with ExitStack() as stack:
        try:
            url = stack.enter_context(tursodb(database))
        except Missing as error:
            if os.environ.get("CI") == "true":
                raise
            pytest.skip(str(error))
        yield url


def opening() -> Opening:
    """What surrounds a store."""
    ambient = Ambient()
    return Opening(ambient.clock, ambient.threads, ambient.unique)


Answer = Callable[[BaseHTTPRequestHandler], object]


@contextmanager
def answering(answer: Answer) -> Iterator[str]:
    """A server that answers everything in one way."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer(self)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name there
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def status(number: int) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(number)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def cut_off(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b"\x40\x0a\x04")
    handler.close_connection = True


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True
