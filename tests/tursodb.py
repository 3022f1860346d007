"""The reference of the sync protocol, and the client for JavaScript; `make turso` installs both."""

import shutil
from collections.abc import Sequence
from http.client import HTTPConnection
from pathlib import Path

from trueup.testing.engines import Missing, Server

_FOLDER = Path(__file__).parents[1] / ".tursodb"


class SyncServer(Server):
    """`tursodb --sync-server` with one database. Knows no token, and is busy with one connection at a time."""

    origin = "npm turso 0.6.0: make turso"

    def start(self) -> None:
        self.program = str(_binary())
        super().start()

    def arguments(self) -> Sequence[str]:
        return [str(self.directory / "reference.db"), "--sync-server", self.address]

    def ready(self) -> bool:
        connection = HTTPConnection(self.address, timeout=5)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status == 404
        finally:
            connection.close()


def _binary() -> Path:
    for path in sorted(_FOLDER.glob("node_modules/@tursodatabase/cli-*/tursodb")):
        return path
    raise Missing("tursodb is not installed. Try: make turso")


def javascript() -> tuple[str, Path]:
    """Node.js, and the folder of the client's package.

    Raises:
        Missing: If one of them is not installed.
    """
    node = shutil.which("node")
    package = _FOLDER / "node_modules" / "@tursodatabase" / "sync"
    if node is None or not package.is_dir():
        raise Missing("@tursodatabase/sync is not installed. Try: make turso")
    return node, package
