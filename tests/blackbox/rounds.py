"""One round: agreement, then edits on all sides while runs go on, fail and are killed, then runs until it is quiet."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from random import Random
from threading import Event, Thread
from typing import Any

from tests.blackbox.ledger import Ledger
from tests.blackbox.people import FolderPerson, Person
from tests.blackbox.places import WINDOW, BucketRemote, FolderRemote, Remote, environment, requests_by_key
from tests.engine.real_bucket import files
from tests.engine.real_tree import digest, trash
from tests.services import Service

from trueup.core.report import EXIT_CONFLICTS, EXIT_FAILED, EXIT_LOCKED, EXIT_OK, EXIT_PARTIAL, EXIT_REFUSED
from trueup.testing.proxy import Before, Rule

FILES = 36
RUN_SECONDS = 90.0
"""The longest that a run may take."""
QUIET_RUNS = 12
"""So often all machines run until nothing is left to do."""
LARGE = 9 << 20
"""Bytes; goes in parts."""

KINDS_OF = (("kind/0", "kind/1", "kind/2"), ("kind/3", "kind/4"))
"""What the person at each machine turns into folders and back."""

CONFIG = """\
[targets.site]
kind = "folder"
local = "{local}"
remote = "{remote}"
conflict = "backup_both"
deletes = "propagate"
max_delete = "100%"
retry_delay = 0.05
"""


class Failed(AssertionError):
    """A round did not end as it must; says its seed."""


@dataclass
class Figures:
    """What happened, in one round or in all."""

    rounds: int = 0
    runs: int = 0
    kills: int = 0
    """Runs that `kill -9` ended."""
    faults: int = 0
    """Requests that the proxy harmed."""
    locked: int = 0
    """Runs that another run kept out."""
    full: int = 0
    """Rounds in which the disk of a machine filled up."""
    two_machines: int = 0
    """Rounds in which two machines shared the remote side."""
    versions: int = 0
    """Contents that people wrote."""
    own: int = 0
    """Of these, what people destroyed themselves."""
    siblings: int = 0
    """Losers of conflicts that are live under a name of their own."""
    asked: int = 0
    """Conflicts that waited for a person: a file on one side, a folder on the other."""
    announced: int = 0
    """Lost on a weak server, in the window that every plan announced."""
    lost: int = 0

    def add(self, other: Figures) -> None:
        """Sum up."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))


@dataclass
class Machine:
    """A folder with a state of its own."""

    base: Path
    number: int
    remote: Remote

    def __post_init__(self) -> None:
        self.room = self.base / f"m{self.number}"
        self.root, self.desk, self.state = self.room / "local", self.room / "desk", self.room / "state"
        self.settings = self.base / f"settings{self.number}"
        for folder in (self.root, self.desk, self.state, self.settings):
            folder.mkdir(parents=True)
        text = CONFIG.format(local=self.root, remote=self.remote.url)
        (self.settings / "trueup.toml").write_text(text)

    def start(self, *flags: str, words: tuple[str, ...] = ("sync",)) -> subprocess.Popen[str]:
        """The installed command as a process of its own."""
        return subprocess.Popen(
            [str(Path(sys.executable).parent / "trueup"), *words, "--yes", *flags],
            cwd=self.settings,
            env=environment(self.remote, self.state),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def held(self) -> set[bytes]:
        """Digests of what is live or kept."""
        return set(files(self.root).values()) | trash(self.root)


@dataclass
class Round:
    """A world of its own, drawn from a seed."""

    base: Path
    seed: int
    remote: Remote
    short: bool = False
    """Whether one time of unrest is enough."""
    figures: Figures = field(default_factory=lambda: Figures(rounds=1))

    def __post_init__(self) -> None:
        self.rng = Random(self.seed)
        self.ledger = Ledger(self.seed)
        self.full = self.rng.random() < 0.15
        self.said: list[str] = []
        """What runs said, for the message if the round fails."""

    def play(self) -> Figures:
        """From the first file to the last check.

        Raises:
            Failed: If it did not end as it must.
        """
        with self._rooms():
            try:
                self.machines = [Machine(self.base, n, self.remote) for n in range(self.rng.choice([1, 1, 2]))]
                self.figures.two_machines = len(self.machines) - 1
                self._agree()
                self._storm()
                self.figures.faults = self.remote.stop_faults()
                self._settle()
                self._check()
            except (AssertionError, OSError, ValueError, subprocess.TimeoutExpired) as error:
                raise Failed(
                    f"{self.remote.kind}, --seed {self.seed}: {error}\n" + "\n".join(self.said[-60:])
                ) from error
            finally:
                self.remote.close()
        return self.figures

    @contextmanager
    def _rooms(self) -> Iterator[None]:
        """Where disks shall fill up, the first machine gets a small one: root, state and all."""
        room = self.base / "m0"
        room.mkdir(parents=True)
        mounted = self.full and mount(room)
        self.full = mounted
        self.figures.full = int(mounted)
        try:
            yield
        finally:
            if mounted:
                subprocess.run(["umount", "--lazy", str(room)], check=False)

    # -- before --------------------------------------------------------------------------------------------------

    def people(self) -> list[Person]:
        """One at each machine, one or two at the other side."""
        found: list[Person] = [
            FolderPerson(
                f"p{machine.number}",
                self.seed,
                self.ledger,
                root=machine.root,
                desk=machine.desk,
                in_place=not self.full,
                kinds=KINDS_OF[machine.number],
            )
            for machine in self.machines
        ]
        others = self.rng.choice([1, 1, 2])
        if self.remote.kind == "weak":  # there two people lose what the other one writes, whatever we do
            others = 1
        return [*found, *(self.remote.person(f"r{number}", self.ledger) for number in range(others))]

    def _agree(self) -> None:
        """Some files, which all sides hold."""
        first = FolderPerson("p0", self.seed, self.ledger, root=self.machines[0].root, desk=self.machines[0].desk)
        for number in range(FILES):
            first.create(f"d{number % 3}/{'deep/' * (number % 2)}f{number}")
        for name in (*KINDS_OF[0], *KINDS_OF[1], *(f"still/{number}" for number in range(12))):
            first.create(name)
        if self.rng.random() < 0.2 and not self.full:
            first.create("large", size=LARGE)
        for machine in self.machines:
            code, _ = self._wait(machine.start())
            assert code == EXIT_OK, f"the first run ended with {code}"

    # -- meanwhile -----------------------------------------------------------------------------------------------

    def _storm(self) -> None:
        """Runs, one after the other and at once, while everybody works and the proxy harms."""
        self.remote.start_faults(self.rng)
        people = self.people()
        ended = Event()
        filler = Thread(target=self._fill, args=(ended,))
        for person in people:
            person.start()
        if self.full:
            filler.start()
        try:
            for _ in range(1 if self.short else self.rng.choice([2, 3])):
                time.sleep(self.rng.uniform(0.05, 0.3))
                self._several()
        finally:
            ended.set()
            if self.full:
                filler.join()
            for person in people:
                person.stop()

    def _several(self) -> None:
        """One to three runs at once; some of them die."""
        chosen = [self.rng.choice(self.machines) for _ in range(self.rng.choice([1, 2, 2, 3]))]
        if len(self.machines) == 2 and len(chosen) > 1:
            chosen[:2] = self.machines
        processes = [machine.start() for machine in chosen]
        killers = [self._killer(process) for process in processes if self.rng.random() < 0.6]
        try:
            for process in processes:
                self._wait(process, stormy=True)
        finally:
            for killer in killers:
                killer.join()

    def _killer(self, process: subprocess.Popen[str]) -> Thread:
        """Will kill it: at one of its requests, or when a time is over."""
        after, number = self.rng.uniform(0.15, 1.6), self.rng.randint(1, 150)

        def kill(_: object = None) -> None:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)

        def later() -> None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(after)
            kill()

        if isinstance(self.remote, BucketRemote) and self.rng.random() < 0.5:
            self.remote.proxy.add(Rule(Before(kill), nth=number, times=1))
            after = 4.0
        thread = Thread(target=later)
        thread.start()
        return thread

    def _fill(self, ended: Event) -> None:
        """Fill the small disk, and make room again, several times."""
        rng, filler = Random(self.seed), self.machines[0].desk / "filler"
        while not ended.wait(rng.uniform(0.2, 0.8)):
            with suppress(OSError), filler.open("wb", buffering=0) as file:
                while not ended.is_set():
                    file.write(bytes(1 << 16))
            with suppress(OSError), filler.open("ab", buffering=0) as file:
                while not ended.is_set():
                    file.write(bytes(512))
            ended.wait(rng.uniform(0.1, 0.6))
            filler.unlink(missing_ok=True)

    def _wait(self, process: subprocess.Popen[str], *, stormy: bool = False) -> tuple[int, str]:
        """Wait for a run; its exit code and what it printed."""
        try:
            out, err = process.communicate(timeout=RUN_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
        code = process.returncode
        self.figures.runs += 1
        self.figures.kills += code == -signal.SIGKILL
        self.figures.locked += code == EXIT_LOCKED
        self.said += [f"-- exit code {code}", *err.splitlines()[-4:]]
        if "--json" not in process.args:  # type: ignore[operator]  # a list of words
            self.said += out.splitlines()[-40:]
        assert "Traceback" not in err, err
        assert "TU-BUG" not in err + out, err + out
        permitted = {EXIT_OK, EXIT_PARTIAL, EXIT_FAILED, EXIT_CONFLICTS, EXIT_LOCKED, -signal.SIGKILL}
        if self.full:
            permitted.add(EXIT_REFUSED)  # there is no room for what would be written
        assert code in permitted, f"exit code {code}: {err}{out}"
        if stormy and isinstance(self.remote, BucketRemote) and self.remote.weak and "\n  plan " in out:
            assert WINDOW in out, f"the plan did not say that this store {WINDOW}:\n{out}"
        return code, out

    # -- afterwards ----------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Run everywhere until nothing is left to do."""
        left: list[Any] = []
        for _ in range(QUIET_RUNS):
            left = [found for machine in self.machines for found in self._left(machine)]
            if not left:
                return
        raise AssertionError(f"after {QUIET_RUNS} runs without faults there is still something to do: {left[:5]}")

    def _left(self, machine: Machine) -> list[Any]:
        """What a run still found to do, or why it did not end well."""
        code, out = self._wait(machine.start("--json"))
        result: dict[str, Any] = json.loads(out)["results"][0] if out else {"error": "it printed nothing"}
        if result.get("report") is None:
            return [(code, result["error"])]
        report = result["report"]["report"]
        changes = [item for item in report["plan"]["items"] if any(step["verb"] != "adopt" for step in item["steps"])]
        undone = [outcome for outcome in report["outcomes"] if outcome["status"] != "done"]
        reasons = [(item["key"], item["reason"]) for item in report["plan"]["items"]]
        for key in [key for key, reason in reasons if "conflict" in reason] if code == EXIT_CONFLICTS else []:
            self._wait(machine.start("--keep", "local", words=("conflicts", "resolve", "site", key)))
            self.figures.asked += 1
        return [(code, undone or reasons)] if changes or code != EXIT_OK else []

    def _check(self) -> None:
        """All sides are equal, whole, and nothing is lost."""
        remote = self.remote.live()
        for machine in self.machines:
            local = files(machine.root)
            assert local == remote, f"not equal: {dict(set(local.items()) ^ set(remote.items()))}"
            left = [path for path in machine.root.rglob(".trueup-tmp*") if path.is_file()]
            assert not left, f"left behind: {left}"
        torn = {name for name, seen in remote.items() if seen not in self.ledger.versions} - self._emptied(remote)
        assert not torn, f"nobody ever wrote this: {torn}"
        held = self.remote.held(set(self.ledger.versions))
        for machine in self.machines:
            held |= machine.held()
        lost = self.ledger.lost(held)
        announced = {seen for seen, version in lost.items() if self.remote.explains(version)}
        self.figures.versions = len(self.ledger.versions)
        self.figures.own = len(self.ledger.replaced & self.ledger.versions.keys())
        self.figures.siblings = sum(".conflict-" in name for name in remote)
        self.figures.announced = len(announced)
        self.figures.lost = len(lost.keys() - announced)
        assert not self.figures.lost, self._story({lost[seen].name for seen in lost.keys() - announced}, lost)

    def _emptied(self, remote: dict[str, bytes]) -> set[str]:
        """Files that somebody had emptied and not yet written into when a run saw them."""
        return {name for name, seen in remote.items() if seen == digest(b"")}

    def _story(self, names: set[str], lost: dict[bytes, Any]) -> str:
        """All that is known of what was lost."""
        lines = [f"lost: {version}" for version in lost.values()]
        if isinstance(self.remote, BucketRemote):
            asked = requests_by_key(self.remote)
            lines += [f"{name}: {asked.get(name, [])}" for name in sorted(names)]
        lines += [str(version) for version in self.ledger.versions.values() if version.name in names]
        return "\n".join(lines)


def mount(room: Path) -> bool:
    """Put a small disk there; False where that is not permitted."""
    program = shutil.which("mount")
    if program is None or os.geteuid():
        return False
    options = ["-t", "tmpfs", "-o", "size=40m", "tmpfs", str(room)]
    return subprocess.run([program, *options], capture_output=True, check=False).returncode == 0


KINDS = ("strong", "file://", "weak")
TURNS = ("strong", "file://", "weak", "strong", "file://")


def play(kind: str, seed: int, base: Path, servers: dict[str, Service], *, short: bool = False) -> Figures:
    """One round on one kind of remote side.

    Raises:
        Failed: If it did not end as it must.
    """
    base.mkdir(parents=True)
    remote: Remote
    if kind == "file://":
        remote = FolderRemote(base)
    else:
        remote = BucketRemote(kind, servers[kind], f"round{seed}-{time.monotonic_ns()}", seed)
    return Round(base, seed, remote, short=short).play()
