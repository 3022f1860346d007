"""A real server on a free port, over real folders, and a client of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

STOP_SECONDS = 60


@dataclass(frozen=True)
class Site:
    """A target, and its two folders."""

    home: Path
    name: str

    def __str__(self) -> str:
        return self.name

    @property
    def local(self) -> Path:
        return self.home / self.name / "here"

    @property
    def remote(self) -> Path:
        return self.home / self.name / "there"

    def fill(self, **files: str) -> None:
        """Write files on the local side."""
        for name, text in files.items():
            (self.local / name).write_text(text)

    @property
    def arrived(self) -> dict[str, str]:
        """What the remote side holds."""
        return {path.name: path.read_text() for path in sorted(self.remote.iterdir()) if path.is_file()}


@dataclass
class Served:
    """`trueup serve` as a process, in a folder with a configuration."""

    path: Path
    state: Path
    sites: Iterator[Site] = field(default_factory=lambda: iter(()))
    arguments: Sequence[str] = ()
    program: Sequence[str] = ("-m", "trueup")
    """What Python runs."""
    address: str = ""
    link: str = ""
    process: subprocess.Popen[str] | None = None
    clients: list[httpx2.Client] = field(default_factory=list)

    def start(self, *more: str, port: int = 0) -> Served:
        """Start it, and wait until it says that it serves."""
        command = [sys.executable, *self.program, "serve", "--port", str(port), "--output", "jsonl"]
        self.process = subprocess.Popen(
            [*command, *self.arguments, *more],
            cwd=self.path,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        told = json.loads(self.process.stdout.readline())
        self.address, self.link = told["address"], told["login"]
        return self

    @property
    def environment(self) -> dict[str, str]:
        """Nobody's settings but these."""
        ours = {name: value for name, value in os.environ.items() if not name.startswith("TRUEUP_")}
        none = str(self.path / "none")
        return ours | {"TRUEUP_STATE": str(self.state), "XDG_CONFIG_HOME": none, "XDG_CONFIG_DIRS": none}

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.address.rpartition(":")[2])

    def trueup(self, *arguments: str) -> str:
        """Run the command beside it; what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "trueup", *arguments],
            cwd=self.path,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    def token(self, *scopes: str) -> str:
        """A new token with these scopes."""
        answer = self.client().ask(
            "POST", "/tokens", code=201, json={"name": f"t{len(self.clients)}", "scopes": [*scopes]}
        )
        return str(answer["secret"])

    @property
    def own_token(self) -> str:
        """The one that the server leaves for the command line."""
        found = json.loads((self.state / "serve" / f"{self.port}.json").read_text())
        return str(found["token"])

    def client(self, *scopes: str) -> Client:
        """A client with a new token, or (no scopes) with the command line's."""
        return self.bare({"authorization": f"Bearer {self.token(*scopes) if scopes else self.own_token}"})

    def bare(self, headers: dict[str, str] | None = None) -> Client:
        """A client as nobody."""
        client = Client(base_url=self.address, headers=headers or {}, timeout=60)
        self.clients.append(client)
        return client

    def browser(self) -> Client:
        """A client that has logged in, and sends what browsers send."""
        client = self.bare()
        assert client.post("/login", data={"token": self.own_token}).status_code == 303
        client.headers["sec-fetch-site"] = "same-origin"
        return client

    def kill(self) -> None:
        """End it without a word."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(STOP_SECONDS)

    def stop(self) -> int:
        """Stop it in good order; its exit code."""
        for client in self.clients:
            client.close()
        self.clients.clear()
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code


class Client(httpx2.Client):
    """A client that knows runs."""

    def ask(self, method: str, path: str, *, code: int = 200, **options: Any) -> Any:
        """A request to REST, whose answer must have the code; its document."""
        answer = self.request(method, f"/api/v1{path}", **options)
        assert answer.status_code == code, f"{method} {path}: {answer.status_code} {answer.text}"
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == "application/problem+json"
            assert {"type", "title", "status", "detail", "code", "hint"} <= answer.json().keys()
        return answer.json() if answer.content else None

    def events(self, run: str, *, after: int = 0) -> Iterator[tuple[int, str, Any]]:
        """What happens in a run, until it ends or the stream does."""
        headers = {"last-event-id": str(after)} if after else {}
        with self.stream("GET", f"/api/v1/runs/{run}/events", headers=headers) as stream:
            assert stream.status_code in (200, 204), stream.status_code
            number, kind = 0, ""
            for line in stream.iter_lines():
                name, _, value = line.partition(": ")
                if name == "id":
                    number = int(value)
                elif name == "event":
                    kind = value
                elif name == "data":
                    yield number, kind, json.loads(value)

    def until(self, run: str, *states: str) -> Any:
        """Listen until a run is in one of these states; default: until it ends or waits."""
        wanted = states or ("planned", "awaiting_approval", "succeeded", "partial", "failed", "cancelled", "refused")
        document: Any = self.ask("GET", f"/runs/{run}")
        begun_ns = document["changed_ns"]
        if document["state"] in wanted and not document["active"]:
            return document
        for _, kind, data in self.events(run):
            if kind == "state":
                document = data
                if document["state"] in wanted and document["changed_ns"] >= begun_ns:
                    return document  # older ones are of before it went on
        raise AssertionError(f"run {run} ended otherwise: {document}")

    def run(self, path: str, body: Any = None, *states: str) -> Any:
        """Ask for a run, and wait for it."""
        return self.until(self.ask("POST", path, code=202, json=body or {})["id"], *states)

    def plan(self, target: str, **body: Any) -> Any:
        """Make a plan; its first page."""
        run = self.run(f"/targets/{target}/plans", body)
        return self.ask("GET", f"/plans/{run['plan']}")

    def apply(self, plan: Any, **body: Any) -> Any:
        """Approve a plan, and wait."""
        return self.run(f"/plans/{plan['id']}/apply", {"digest": plan["digest"], **body})
