"""One run at a time: a lock object that is created, renewed and taken over by compare-and-swap.

Whether a holder is dead is judged by the service's own clock (the age of the lock against that of a scratch object), or
at once where the holder was a process of this machine that has gone. Machines' clocks are never compared.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from trueup.core.errors import Locked, NotFound, PreconditionFailed, StoreError
from trueup.core.model import Token
from trueup.stores.object.bucket import Bucket, Head, only_if
from trueup.stores.object.names import RESERVED
from trueup.stores.object.probe import Abilities, Prober

LOCK = f"{RESERVED}/lock"
LEASE_SECONDS = 120.0
"""A lock that was not renewed for so long is free."""


class Lease:
    """A hold on one place. Everything here blocks."""

    def __init__(
        self, bucket: Bucket, prober: Prober, unique: Callable[[], str], holder: str, *, seconds: float
    ) -> None:
        self._bucket = bucket
        self._prober = prober
        self._unique = unique
        self._holder = holder
        self._seconds = seconds
        self._id = unique() + unique()
        self._beats = 0
        self._token: Token | None = None

    def acquire(self) -> None:
        """Take the lock, or take it over.

        Raises:
            Locked: If somebody else holds it, or was faster.
        """
        abilities = self._prober.for_writing()
        for _ in range(3):
            head = self._bucket.head(LOCK)
            if head is not None:
                self._refuse_living(head)
            try:
                self._write(abilities, head.token if head is not None else None)
            except PreconditionFailed:
                continue
            return
        raise Locked(f"{self._bucket.place.url} is in use by another run", attempt="run this again")

    def _refuse_living(self, head: Head) -> None:
        try:
            held = json.loads(self._bucket.read(LOCK))
        except NotFound:
            return
        except ValueError:
            held = {}
        if held.get("id") == self._id or _is_dead(held.get("process")):
            return
        age_ns = self._now_ns() - head.modified_ns
        lease_seconds = float(held.get("seconds", LEASE_SECONDS))
        if age_ns > lease_seconds * 1e9:
            return
        left = max(0, round(lease_seconds - age_ns / 1e9))
        raise Locked(
            f"{self._bucket.place.url} is in use by another run",
            why=f"{held.get('holder', 'unknown')}, last heard of {age_ns / 1e9:.0f} s ago",
            attempt=f"wait for it to end, then run this again; if it was killed, it lets go in {left} s",
        )

    def _now_ns(self) -> int:
        """The service's clock."""
        key = f"{RESERVED}/now-{self._unique()}"
        self._bucket.put(key, b"", {}, {})
        head = self._bucket.head(key)
        self._bucket.delete(key)
        return head.modified_ns if head is not None else 0

    def _write(self, abilities: Abilities, expect: Token | None) -> None:
        self._beats += 1
        document = {
            "holder": self._holder,
            "id": self._id,
            "beat": self._beats,
            "seconds": self._seconds,
            "process": _process(),
        }
        able = bool(abilities.create if expect is None else abilities.replace)
        if not able and expect is not None and not self._holds(expect):
            raise PreconditionFailed("somebody else was faster")
        self._bucket.put(LOCK, json.dumps(document).encode(), {"trueup-write": self._id}, only_if(expect, able=able))
        head = self._bucket.head(LOCK)
        if head is None or (abilities.metadata and head.metadata.get("trueupwrite") != self._id):
            raise PreconditionFailed("somebody else was faster")
        self._token = head.token

    def renew(self) -> None:
        """Say that the holder is alive.

        Raises:
            Locked: If somebody has taken the lock over.
        """
        try:
            self._write(self._prober.known, self._token)
        except PreconditionFailed as error:
            raise Locked(
                f"another run has taken over {self._bucket.place.url}",
                why=f"this one did not renew its lock for {self._seconds:g} s",
                attempt="run the same command again",
            ) from error

    def release(self) -> None:
        """Let go, if it is still ours."""
        if self._token is None:
            return
        with suppress(StoreError):
            able = bool(self._prober.known.delete)
            if able or self._holds(self._token):
                self._bucket.delete(LOCK, only_if(self._token, able=able))

    def _holds(self, token: Token) -> bool:
        head = self._bucket.head(LOCK)
        return head is not None and head.token == token


def _process() -> dict[str, str | int]:
    """This process, so that another one on the same machine can tell whether it still lives."""
    return {"machine": _machine(), "pid": os.getpid(), "started": _started(os.getpid())}


def _machine() -> str:
    """Host, boot and process namespace: a number of a process means nothing elsewhere."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(parts)


def _started(pid: int) -> str:
    """When a process began, in the system's ticks; empty if that is not known."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _is_dead(process: object) -> bool:
    if not isinstance(process, dict) or process.get("machine") != _machine():
        return False
    pid = process.get("pid")
    if not isinstance(pid, int):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return bool(process.get("started")) and process.get("started") != _started(pid)
