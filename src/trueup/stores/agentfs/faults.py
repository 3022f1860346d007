"""What goes wrong with a remote and with a database, as errors: what happened, why, and the next command."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

from trueup.core.errors import AccessDenied, Corrupt, NoSpace, NotFound, StoreError, TimedOut, Unavailable

AGAIN = "run this again: what is done already is not done twice"
NEWER = "pip install --upgrade 'trueup[agents]', or make a new copy: trueup agent clone ID --remote-url URL"

_STATUS = re.compile(r"status\D{0,3}(\d{3})")
_FRONT = re.compile(r"^(?:\w*Error|sync engine operation failed|database sync engine error|(?:network|http) error): ")
_BODY = re.compile(r"body=(.*)$", re.DOTALL)
_SAID = re.compile(r'"error":\s*"([^"]*)"')


class Replaced(StoreError):
    """The remote does not know the version that the mirror has: it is another database now."""


class Unreached(Unavailable):
    """The request did not get there."""


# -- remotes -----------------------------------------------------------------------------------------------------------


def classified(url: str, text: str) -> StoreError:
    """The engine tells errors by text only; these texts were measured with pyturso 0.4.4."""
    match = _STATUS.search(text)
    if match is not None:
        body = _BODY.search(text)
        return by_status(url, int(match[1]), body[1] if body else "")
    make = next((make for sign, make in _SIGNS.items() if sign in text), _failed)
    return make(url, told(text))


def told(text: str) -> str:
    """An engine's message without the layers that it went through."""
    while shorter := _FRONT.match(text):
        text = text[shorter.end() :]
    return re.sub(r"^\[Errno -?\d+\] ", "", text).strip()[:300]


def by_status(url: str, status: int, body: str) -> StoreError:
    """What a status of HTTP means.

    Args:
        url: Of the remote.
        status: What it answered.
        body: How its answer begins.
    """
    said = _SAID.search(body)
    why = f"status {status}" + (f": {said[1]}" if said else "")
    if status in (401, 403):
        return AccessDenied(
            f"{url} refuses the token", why=why, attempt="export TURSO_DB_AUTH_TOKEN=TOKEN, one that it knows"
        )
    if status == 404:
        return NotFound(
            f"{url} is not there",
            why=why,
            attempt="give its address with --remote-url; that of a server of trueup ends with /agents/NAME",
        )
    if status == 409:
        return Replaced(f"{url} was replaced by another database", why=why, attempt=AGAIN)
    if status == 507:  # what was asked may have been done all the same
        return Unavailable(f"the disk of {url} is full", why=why, attempt="make room there, then run this again")
    if status == 429 or status >= 500:
        return Unavailable(
            f"{url} cannot serve now", why=why, attempt="run this again in a moment; the log of the server says more"
        )
    return StoreError(f"{url} refused", why=why, attempt=f"curl -i {url}, and see whether it is a remote of agents")


def unreached(url: str, why: str) -> StoreError:
    """Nobody is there."""
    return Unreached(f"{url} cannot be reached", why=why, attempt=f"curl -sS {url}; when that answers, run this again")


def timed_out(url: str, why: str) -> StoreError:
    """Somebody is there, and silent."""
    return TimedOut(
        f"{url} gave no answer in time",
        why=why,
        attempt=f"curl -sS {url}; when that answers, run this again",
    )


def broke_off(url: str, why: str) -> StoreError:
    """The connection ended within an answer."""
    return Unavailable(f"{url} broke off", why=why, attempt=AGAIN)


def cut_off(url: str, why: str) -> StoreError:
    """The answer is not whole, or no answer of such a server."""
    return Corrupt(f"the answer of {url} was cut off or makes no sense", why=why, attempt=AGAIN)


def _mirror_in_use(url: str, why: str) -> StoreError:
    return Unavailable(f"the mirror of {url} is in use", why=why, attempt="wait for the other run, then run this again")


def _no_room(url: str, why: str) -> StoreError:
    return NoSpace(f"no room for the mirror of {url}", why=why, attempt="free some space, then run this again")


def _failed(url: str, why: str) -> StoreError:
    return StoreError(f"the sync engine failed with {url}", why=why, attempt=AGAIN)


_SIGNS = {
    "timed out": timed_out,
    "network error": unreached,
    "http error": broke_off,
    "protobuf": cut_off,
    "Locking error": _mirror_in_use,
    "No space left": _no_room,
}


# -- databases ---------------------------------------------------------------------------------------------------------


def of_sqlite(path: Path, error: sqlite3.DatabaseError) -> StoreError:
    """SQLite's error as ours."""
    text, name = str(error), "_".join(getattr(error, "sqlite_errorname", "").split("_")[:2])
    match name:
        case "SQLITE_BUSY" | "SQLITE_LOCKED":
            return Unavailable(
                f"{path} is in use", why="another program has it open", attempt="close it, then run this again"
            )
        case "SQLITE_FULL":
            return NoSpace(f"no room for {path}", why=text, attempt="free some space, then run this again")
        case "SQLITE_CORRUPT":
            return StoreError(
                f"{path} is damaged",
                why=text,
                attempt=f"keep a copy, then: sqlite3 {path} .recover | sqlite3 recovered.db",
            )
        case "SQLITE_NOTADB":
            return StoreError(
                f"{path} is no database", why=text, attempt="name another, or make one: trueup agent init ID"
            )
        case "SQLITE_CANTOPEN" | "SQLITE_PERM" | "SQLITE_READONLY":
            return AccessDenied(f"no permission for {path}", why=text, attempt=f"ls -l {path}")
        case _:
            return StoreError(f"{path} could not be used", why=text, attempt=f"ls -l {path}, and look at the disk")
