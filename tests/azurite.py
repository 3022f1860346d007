"""Azurite, the emulator of Azure Blob Storage; `make azurite` installs it."""

import base64
import hashlib
import hmac
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

from trueup.testing.engines import Missing, free_ports

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The key that every emulator has; Microsoft publishes it."""
CONTAINER = "test"
_INSTALLED = Path(__file__).parents[1] / ".azurite" / "node_modules" / ".bin" / "azurite-blob"


def azurite_program() -> str:
    """Its path.

    Raises:
        Missing: If it is not installed, or cannot run here.
    """
    program = str(_INSTALLED) if _INSTALLED.exists() else shutil.which("azurite-blob")
    if program is None or shutil.which("node") is None:
        raise Missing("azurite-blob is not installed. Try: make azurite")
    return program


@contextmanager
def azurite(directory: Path) -> Iterator[str]:
    """Start it with one container; its endpoint.

    Raises:
        Missing: If it is not installed.
    """
    program = azurite_program()
    (port,) = free_ports(1)
    command = [
        program, "--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(directory),
        "--skipApiVersionCheck", "--disableTelemetry", "--silent",
    ]  # fmt: skip
    with (directory / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
        try:
            _make_container(endpoint)
            yield endpoint
        finally:
            process.terminate()


def _make_container(endpoint: str, within_seconds: float = 20.0) -> None:
    until = time.monotonic() + within_seconds
    while True:
        try:
            urllib.request.urlopen(_request(endpoint), timeout=5).close()  # noqa: S310  # loopback
        except urllib.error.HTTPError:
            raise
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
            continue
        return


def _request(endpoint: str) -> urllib.request.Request:
    """Signed as in "Authorize with Shared Key", version 2015-02-21 and later."""
    headers = {"x-ms-date": format_datetime(datetime.now(UTC), usegmt=True), "x-ms-version": "2021-08-06"}
    named = "".join(f"{name}:{value}\n" for name, value in sorted(headers.items()))
    resource = f"/{ACCOUNT}/{ACCOUNT}/{CONTAINER}\nrestype:container"
    text = "PUT" + "\n" * 12 + named + resource
    digest = hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()
    headers["Authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}"
    headers["Content-Length"] = "0"
    url = f"{endpoint}/{CONTAINER}?restype=container"
    return urllib.request.Request(url, method="PUT", headers=headers)  # noqa: S310  # loopback
