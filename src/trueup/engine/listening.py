"""What could keep a server of this machine from serving, and the command line from finding it."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from importlib.util import find_spec
from pathlib import Path

from trueup.engine.doctor import Diagnosis

FOLDER = "serve"
"""In the state directory: what a server leaves for the command line, a file for each port, for its owner only."""
HOST = "127.0.0.1"
PACKAGES = ("fastapi", "uvicorn", "jinja2", "prometheus_client", "cronsim")
"""Of the extra `web`."""
_SECONDS = 3.0
"""For an answer on loopback."""


def examine_server(directory: Path, port: int, *, meant: bool) -> list[Diagnosis]:
    """Examine packages, ports and what servers have left. Blocks; writes nothing.

    Args:
        directory: The state directory.
        port: Where a server listens if nothing else is said.
        meant: Whether somebody has set it.

    Returns:
        Nothing if nobody has a server here: none was configured, and none was ever started.
    """
    folder = directory / FOLDER
    if not meant and not folder.is_dir():
        return []
    left = {int(path.stem): path for path in folder.glob("*.json") if path.stem.isdecimal()}
    found = [_packages(), *_private(folder)]
    return found + [_port(number, left.get(number)) for number in sorted({port, *left})]


def _packages() -> Diagnosis:
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        detail = f"{', '.join(missing)} not installed"
        return Diagnosis("server packages", ok=False, detail=detail, fix="pip install 'trueup[web]'")
    return Diagnosis("server packages", ok=True, detail="installed")


def _private(folder: Path) -> Iterator[Diagnosis]:
    """What others than its owner may read there: a token opens everything."""
    for path in (folder, *sorted(folder.glob("*.json"))) if folder.is_dir() else ():
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            wanted = "700" if path == folder else "600"
            detail = f"{path} has the mode {mode:o}: others of this machine may read the token"
            yield Diagnosis(
                "server token", ok=False, detail=detail, fix=f"chmod {wanted} {path}; then restart the server"
            )


def _port(port: int, left: Path | None) -> Diagnosis:
    what = f"server port {port}"
    answers = _answers(port)
    pid = None if left is None else _pid(left)
    alive = pid is not None and _alive(pid)
    if alive and answers == "ours":
        return Diagnosis(what, ok=True, detail=f"answered by process {pid}")
    if alive and not answers:
        return Diagnosis(what, ok=True, detail=f"process {pid} listens elsewhere than on {HOST}")
    if left is not None and not alive:
        fix = f"trueup serve --port {port} takes it back; so does: trueup token revoke 'this machine {port}'"
        return Diagnosis(what, ok=False, detail="a server was killed there and has left its token", fix=fix)
    if answers:
        fix = "trueup serve --port N, or `port` in [serve]"
        return Diagnosis(what, ok=False, detail="another program listens there", fix=fix)
    return Diagnosis(what, ok=True, detail="free")


def _answers(port: int) -> str:
    """Who listens: ``ours``, ``others``, or nobody."""
    try:
        with closing(HTTPConnection(HOST, port, timeout=_SECONDS)) as connection:
            connection.request("GET", "/api/v1/health")
            answer = connection.getresponse()
            known = answer.status == 200 and json.loads(answer.read(1000)).keys() == {"status"}
    except ConnectionRefusedError:
        return ""
    except (OSError, HTTPException, ValueError, AttributeError):
        return "others"
    return "ours" if known else "others"


def _pid(left: Path) -> int | None:
    try:
        return int(json.loads(left.read_text("utf-8"))["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True
