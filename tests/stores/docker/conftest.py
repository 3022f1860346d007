"""A real engine with images of busybox, and a made-up one that answers what a test says."""

import io
import json
import socketserver
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import unquote, urlencode

import pytest
from anyio import to_thread

from trueup.core.model import Key, Row, key_from_bytes
from trueup.engine.ambient import Ambient
from trueup.protocols import Opening
from trueup.stores.docker import TIMEOUT_SECONDS, DockerStore
from trueup.testing.engines import DockerEngine, find


def store_at(url: str, wanted: dict[Key, str], *, timeout_seconds: float = TIMEOUT_SECONDS) -> DockerStore:
    ambient = Ambient()
    opening = Opening(ambient.clock, ambient.threads, ambient.unique)
    return DockerStore(url, lambda: wanted, opening, timeout_seconds=timeout_seconds)


async def rows(store: DockerStore) -> dict[Key, Row]:
    found = await to_thread.run_sync(store.rows)
    return {key_from_bytes(row[0]): row for row in found}


# -- real -------------------------------------------------------------------------------------------------------------


@dataclass
class Images:
    """The images and containers of a test, in an engine that tests have in turn."""

    engine: DockerEngine
    archive: bytes

    async def call(self, method: str, path: str, body: bytes = b"", kind: str = "application/json") -> bytes:
        return await to_thread.run_sync(lambda: self.engine.call(method, path, body, kind=kind))

    async def make(self, name: str, tag: str = "latest", **labels: str) -> str:
        """An image that can run busybox; its id."""
        changes = [("changes", f'LABEL "{label.replace("_", ".")}"="{value}"') for label, value in labels.items()]
        changes.append(("changes", f"ENV NAME={name}:{tag}"))  # another image than the last
        query = urlencode([("fromSrc", "-"), ("repo", name), ("tag", tag), *changes])
        answer = await self.call("POST", f"/images/create?{query}", self.archive, "application/x-tar")
        return str(json.loads(answer.splitlines()[-1])["status"])

    async def tag(self, name: str, repo: str, tag: str) -> None:
        await self.call("POST", f"/images/{name}/tag?" + urlencode({"repo": repo, "tag": tag}))

    async def run(self, image: str, name: str) -> None:
        command = ["/bin/busybox", "sleep", "1000"]
        how = {"HostConfig": {"NetworkMode": "none"}, "StopSignal": "SIGKILL"}  # to TERM, a first process is deaf
        body = json.dumps({"Image": image, "Cmd": command, **how}).encode()
        await self.call("POST", f"/containers/create?name={name}", body)
        await self.call("POST", f"/containers/{name}/start")

    def clear(self) -> None:
        for container in json.loads(self.engine.call("GET", "/containers/json?all=1")):
            self.engine.call("DELETE", f"/containers/{container['Id']}?force=1")
        for image in json.loads(self.engine.call("GET", "/images/json?all=1")):
            self.engine.call("DELETE", f"/images/{image['Id']}?force=1")


@pytest.fixture(scope="session")
def archive() -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        tar.add(find("busybox", "busybox-static from Debian"), "bin/busybox")
    return raw.getvalue()


@pytest.fixture
def images(container_engine: DockerEngine, archive: bytes) -> Iterator[Images]:
    images = Images(container_engine, archive)
    yield images
    images.clear()


# -- made up ----------------------------------------------------------------------------------------------------------

TRICKLED = 250
"""Bytes of an answer that never ends: it lasts five seconds, so that who waits for it fails, and does not hang."""

Answer = tuple[int, object]
"""Status, and what is sent as JSON."""


@dataclass
class Made:
    """An engine on a Unix socket that knows some images, and answers otherwise where a test says so."""

    url: str
    images: object = field(default_factory=list)
    inspected: dict[str, Answer] = field(default_factory=dict)
    """By the name that is asked for; all others are not there."""
    version: object = field(default_factory=lambda: {"ApiVersion": "1.41"})
    listed: int = 200
    asked: list[str] = field(default_factory=list)
    trickle: threading.Event | None = None
    """Until it is set, the list of images comes byte by byte."""
    before: Callable[[str], None] = lambda path: None

    def answer(self, path: str) -> Answer:
        self.asked.append(path)
        self.before(path)
        if path.endswith("/version"):
            return 200, self.version
        if path.endswith("/images/json"):
            return self.listed, self.images
        name = unquote(path.partition("/images/")[2].removesuffix("/json"))
        return self.inspected.get(name, (404, {"message": f"no such image: {name}"}))


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    made: Made

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a test has broken the connection."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def address_string(self) -> str:
        return "socket"

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  # its name for it
        """Say nothing."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        status, body = self.server.made.answer(path)
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        trickle = self.server.made.trickle if path.endswith("/images/json") else None
        self.send_header("Content-Length", str(len(data) + (1_000_000 if trickle else 0)))
        self.end_headers()
        self.wfile.write(data)
        try:
            for _ in range(TRICKLED):
                if trickle is None or trickle.wait(0.02):
                    break
                self.wfile.write(b" ")
        except BrokenPipeError:
            return


@pytest.fixture
def made() -> Iterator[Made]:
    with made_engine() as made:
        yield made


@contextmanager
def made_engine() -> Iterator[Made]:
    """A made-up engine without images, for as long as this lasts."""
    with TemporaryDirectory(prefix="trueup-") as directory:
        path = Path(directory) / "docker.sock"
        with _Server(str(path), _Handler) as server:
            server.made = Made(f"unix://{path}")
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            yield server.made
            server.shutdown()
            thread.join()
