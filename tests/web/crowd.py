"""Many clients at once, each with an event stream, while runs go on; what each of them heard.

A client cuts its stream off now and then and goes on with ``Last-Event-ID``, as browsers do.
"""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from http.client import HTTPConnection
from typing import Any

Heard = list[tuple[int, str, Any]]
"""Events of one run as one client heard them: number, kind, data."""

CUT_AFTER = 3
"""Events after which every other client loses its connection."""
PATIENCE_SECONDS = 120.0


@dataclass
class Crowd:
    """Clients and runs of one server.

    Args:
        port: Where the server listens, on this machine.
        token: May do everything.
        targets: Each has a run under way, again and again.
        clients: How many there are; each follows one target.
        edit: Changes something of a target, so that its next run has something to do.
    """

    port: int
    token: str
    targets: Sequence[str]
    clients: int
    edit: Callable[[str, int], None]
    heard: dict[str, list[Heard]] = field(default_factory=dict)
    """By run."""
    seconds: list[float] = field(default_factory=list)
    """Of every request that is no stream."""
    errors: list[BaseException] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def play(self, enough: Callable[[int], bool], *, pages: bool = False) -> None:
        """Let runs go on until, for each target, `enough` of how many it has had; then wait until all is told.

        Args:
            enough: Is asked after every run of every target.
            pages: Whether each client also asks for documents and pages, once a second.
        """
        follow: list[queue.Queue[str | None]] = [queue.Queue() for _ in range(self.clients)]
        listening = [
            threading.Thread(target=self._guarded, args=(self._listen, n, follow[n])) for n in range(len(follow))
        ]
        looking = [
            threading.Thread(target=self._guarded, args=(self._look, n)) for n in range(self.clients if pages else 0)
        ]
        running = []
        for n, target in enumerate(self.targets):
            followers = follow[n :: len(self.targets)]
            running.append(threading.Thread(target=self._guarded, args=(self._run, target, followers, enough)))
        for thread in (*listening, *looking, *running):
            thread.start()
        for thread in running:
            thread.join()
        for one in follow:
            one.put(None)
        for thread in listening:
            thread.join()
        self._over.set()
        for thread in looking:
            thread.join()
        if self.errors:
            raise self.errors[0]

    def lost(self) -> list[str]:
        """What somebody should have heard and has not, or heard otherwise than others; empty if all is well.

        What remains of a run's events is what everybody has heard: progress is forgotten when a run has ended, so
        whoever came late may have less of it.
        """
        found = []
        for run, streams in self.heard.items():
            kept = self._events(run, 0)
            everything = {number: (kind, data) for heard in streams for number, kind, data in heard}
            for heard in streams:
                numbers = [number for number, _, _ in heard]
                if numbers != sorted(set(numbers)):
                    found.append(f"{run}: out of order, or twice: {numbers}")
                if any(everything[number] != (kind, data) for number, kind, data in heard):
                    found.append(f"{run}: one event was told in two ways")
                missing = [number for number, kind, data in kept if (number, kind, data) not in heard]
                gone = [n for n, (kind, _) in everything.items() if kind != "progress" and n not in numbers]
                if missing or gone:
                    found.append(f"{run}: not heard: {sorted({*missing, *gone})}")
        return found

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """Ask; the document, or the text of a page.

        Raises:
            AssertionError: If the answer is not good.
        """
        begun = time.perf_counter()
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)) as connection:
            headers = {"authorization": f"Bearer {self.token}", "content-type": "application/json"}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            data = answer.read()
        self.seconds.append(time.perf_counter() - begun)
        if answer.status >= 400:
            raise AssertionError(f"{method} {path}: {answer.status} {data[:300]!r}")
        return json.loads(data) if "json" in answer.headers.get("content-type", "") else data.decode()

    # -- what each does ------------------------------------------------------------------------------------------

    def _guarded(self, work: Callable[..., None], *arguments: Any) -> None:
        try:
            work(*arguments)
        except BaseException as error:  # noqa: BLE001  # told by `play`, in the thread that asked
            self.errors.append(error)
            self._over.set()

    def _run(self, target: str, followers: Sequence[queue.Queue[str | None]], enough: Callable[[int], bool]) -> None:
        done = 0
        while not enough(done) and not self._over.is_set():
            self.edit(target, done)
            run = self.request("POST", f"/api/v1/targets/{target}/sync", {})["id"]
            for follower in followers:
                follower.put(run)
            for _, kind, data in self._stream(run, 0):
                if kind == "state" and not data["active"]:
                    break
            else:
                raise AssertionError(f"the stream of {run} ended before it")
            done += 1

    def _listen(self, number: int, follow: queue.Queue[str | None]) -> None:
        while (run := follow.get()) is not None:
            heard: Heard = []
            if number % 2:
                for event in self._stream(run, 0):
                    heard.append(event)
                    if len(heard) == CUT_AFTER:
                        break
            heard += self._events(run, heard[-1][0] if heard else 0)
            with self._lock:
                self.heard.setdefault(run, []).append(heard)

    def _look(self, number: int) -> None:
        target = self.targets[number % len(self.targets)]
        paths = [
            f"/api/v1/targets/{target}/status", "/api/v1/runs?limit=5", "/api/v1/targets", "/api/v1/history?limit=5",
            f"/targets/{target}",
        ]  # fmt: skip
        turn = number
        while not self._over.wait(1.0):
            self.request("GET", paths[turn % len(paths)])
            turn += 1

    def _events(self, run: str, after: int) -> Heard:
        return list(self._stream(run, after))

    def _stream(self, run: str, after: int) -> Iterator[tuple[int, str, Any]]:
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)) as connection:
            headers = {"authorization": f"Bearer {self.token}"} | ({"last-event-id": str(after)} if after else {})
            connection.request("GET", f"/api/v1/runs/{run}/events", headers=headers)
            answer = connection.getresponse()
            if answer.status not in (200, 204):
                raise AssertionError(f"the stream of {run}: {answer.status} {answer.read(300)!r}")
            number, kind = 0, ""
            for raw in answer:
                name, _, value = raw.decode().rstrip("\n").partition(": ")
                if name == "id":
                    number = int(value)
                elif name == "event":
                    kind = value
                elif name == "data":
                    yield number, kind, json.loads(value)
