"""Calls of the sync engine in worker processes, and what its error texts mean."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from trueup.core.errors import (
    AccessDenied,
    Corrupt,
    NoSpace,
    NotFound,
    StoreError,
    TimedOut,
    Unavailable,
)
from trueup.stores.agentfs.worker import TOKEN

HARD = 20
"""A call that takes so many times what one silence of the network may take is stopped."""
PROGRAM = Path(__file__).with_name("worker.py")
EXTRA = "the extra is missing: pip install 'trueup[agents]'"

_STATUS = re.compile(r"status\D{0,3}(\d{3})")


class Replaced(StoreError):
    """The remote does not know the version that the mirror has: it is another database now."""


@dataclass(frozen=True, slots=True)
class Call:
    """What is asked of the engine."""

    do: str
    """``pull``, ``push``, ``checkpoint`` or ``stats``."""
    path: Path
    url: str
    token: str | None
    seconds: float
    """The longest silence of the network."""


def call(asked: Call) -> dict[str, Any]:
    """One call. Blocks.

    Returns:
        The engine's statistics, and for a pull whether anything came.

    Raises:
        StoreError: What went wrong, in the words of `classified`.
    """
    if find_spec("turso") is None:
        raise StoreError("agents cannot be synced", why=EXTRA)
    request = {"do": asked.do, "path": str(asked.path), "url": asked.url, "seconds": asked.seconds}
    environment = {name: value for name, value in os.environ.items() if name != TOKEN}
    if asked.token is not None:
        environment[TOKEN] = asked.token
    try:
        done = subprocess.run(  # noqa: S603  # our own file
            [sys.executable, "-P", str(PROGRAM)],
            input=json.dumps(request),
            env=environment,
            capture_output=True,
            text=True,
            timeout=asked.seconds * HARD,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise TimedOut(f"{asked.url} took longer than {asked.seconds * HARD:g} s to {asked.do}") from error
    return _answer(asked, done)


def _answer(asked: Call, done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        last = done.stderr.strip().splitlines()[-1:] or [""]
        raise StoreError(f"the sync engine crashed ({name}) at {asked.do}", why=last[0][:300])
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError as error:
        raise StoreError(f"the sync engine gave no answer to {asked.do}", why=done.stderr.strip()[-300:]) from error
    if "error" in answer:
        raise classified(asked.url, str(answer["error"]))
    found: dict[str, Any] = answer["ok"]
    return found


def classified(url: str, text: str) -> StoreError:
    """The engine tells errors by text only; these texts were measured with pyturso 0.4.4."""
    match = _STATUS.search(text)
    if match is not None:
        return by_status(url, int(match[1]), text)
    for sign, error in _SIGNS.items():
        if sign in text:
            return error(f"{url}: {_MEANINGS[sign]}", why=text)
    return StoreError(f"{url}: the sync engine failed", why=text)


def by_status(url: str, status: int, text: str) -> StoreError:
    """What a status of HTTP means."""
    if status in (401, 403):
        return AccessDenied(
            f"{url} refuses the token", why=f"status {status}", attempt="set TURSO_DB_AUTH_TOKEN to one that it knows"
        )
    if status == 404:
        return NotFound(f"{url} is not there", why="status 404")
    if status == 409:
        return Replaced(f"{url} was replaced by another database", why=_tail(text))
    if status == 429 or status >= 500:
        return Unavailable(f"{url} cannot serve now", why=f"status {status} {_tail(text)}".strip())
    return StoreError(f"{url} refused", why=f"status {status} {_tail(text)}".strip())


def _tail(text: str) -> str:
    return text[-200:].strip()


_MEANINGS = {
    "timed out": "no answer in time",
    "network error": "cannot be reached",
    "http error": "broke off",
    "unexpected end of protobuf message": "the answer was cut off",
    "protobuf": "the answer makes no sense",
    "Locking error": "the mirror is in use",
    "No space left": "no room for the mirror",
}
_SIGNS: dict[str, type[StoreError]] = {
    "timed out": TimedOut,
    "network error": Unavailable,
    "http error": Unavailable,
    "unexpected end of protobuf message": Corrupt,
    "protobuf": Corrupt,
    "Locking error": Unavailable,
    "No space left": NoSpace,
}
