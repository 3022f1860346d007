"""Play a scenario with a tool: agreement, edits, the race, the run, and a look at what is left."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.compare.scenario import Ending, Outcome, Race, Scenario, Verdict, Way, judge
from benchmarks.compare.stage import AGREED_SECONDS, Stage
from benchmarks.compare.tools import Tool
from tests.services import Service

from trueup.testing.proxy import (
    Action,
    After,
    Before,
    CutAnswer,
    FaultProxy,
    FlipAnswer,
    InjectedKeys,
    Rule,
    TruncatedListing,
)

MISSED = "the moment never came"
SECONDS = 60.0
"""The longest that a tool may take; what takes longer is killed and counts as a failure."""
EVIL = ("../evil.txt", "/evil.txt", "a//evil.txt", "a/../../evil.txt")
_NOISE = re.compile(r"\x1b\[[0-9;]*m|^\S*\d{4}[-/]\d\d[-/]\d\d[ T][\d:.,]+(?:Z|[+-]\d+)?\s*|^\d\d:\d\d:\d\d\s*")
_TELLS = re.compile(
    r"error|fail|refus|abort|cannot|unable|must|empty|lost|denied|timed out|too many|conflict", re.IGNORECASE
)


@dataclass
class Play:
    """One scenario with one tool."""

    tool: Tool
    scenario: Scenario
    stage: Stage
    happened: bool = False
    """Whether the moment of the race came."""
    said: list[str] = field(default_factory=list)
    _processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def run(self) -> Verdict:
        """From agreement to verdict."""
        scenario, stage = self.scenario, self.stage
        machines = [stage]
        if scenario.race is Race.ANOTHER_MACHINE:
            machines.append(stage.another())
        self._agree(machines)
        stage.edit(scenario.local, scenario.remote, age_seconds=scenario.age_seconds, same_time=scenario.same_time)
        if len(machines) > 1:
            machines[1].write("f00", scenario.during)
        if scenario.race is Race.LOCAL_GONE:
            stage.empty_local()
        before = stage.local_tree(), stage.remote_tree()
        with self._race():
            codes = self._start_all(machines)
        for _ in range(scenario.runs - 1):
            codes += [self._wait(self._start(machine)) for machine in machines]
        kept = self.tool.kept(stage).union(*(self.tool.kept(one) | set(one.local_tree().values()) for one in machines))
        ending = Ending(
            stage.local_tree(), stage.remote_tree(), before, frozenset(kept), tuple(codes), self._why(), stage.outside()
        )
        verdict = judge(scenario, ending)
        if scenario.race in _HOOKED and not self.happened:  # then nobody wrote what would be looked for
            return Verdict(Outcome.ABSENT, MISSED)
        return verdict

    def _agree(self, machines: Sequence[Stage]) -> None:
        if not self.scenario.agreed:
            return
        for name, content in self.scenario.agreed.items():
            self.stage.write(name, content, age_seconds=AGREED_SECONDS)
        for machine in machines:
            code = self._wait(self._start(machine, first=True))
            assert code == 0, f"{self.tool.name}: the first run ended with {code}: {self._why()}"
        if self.scenario.way is Way.PULL and Way.BOTH not in self.tool.ways:
            self._wait(self._start(self.stage))
        assert self.stage.remote_tree() == dict(self.scenario.agreed), f"{self.tool.name} did not bring them together"
        self.said.clear()
        if not self.tool.on_bucket:
            time.sleep(1.1)  # so that edits are of another second, as they are on the bucket

    # -- the tool ------------------------------------------------------------------------------------------------

    def _start(self, stage: Stage, *, first: bool = False) -> subprocess.Popen[str]:
        scenario = self.scenario
        way = Way.PUSH if first and Way.BOTH not in self.tool.ways else scenario.way
        first = first or not scenario.agreed
        settings = replace(scenario.settings, dry=False) if first and scenario.agreed else scenario.settings
        words = self.tool.words(stage, settings, way, first=first)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "RCLONE", "TRUEUP"))}
        process = subprocess.Popen(
            [str(self.tool.path), *words],
            env={**kept, "HOME": str(stage.home), **self.tool.env(stage)},
            cwd=stage.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self._processes.append(process)
        return process

    def _wait(self, process: subprocess.Popen[str]) -> int:
        try:
            out, _ = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            out, _ = process.communicate()
            out += f"\nerror: killed after {SECONDS:.0f} s"
        self.said += out.splitlines()
        return process.returncode

    def _start_all(self, machines: Sequence[Stage]) -> list[int]:
        times = 2 if self.scenario.race is Race.AT_ONCE else 1
        return [self._wait(process) for process in [self._start(machine) for machine in machines for _ in range(times)]]

    def _why(self) -> str:
        """The last line that sounds like a reason, without what differs from machine to machine."""
        lines = [_NOISE.sub("", line).strip() for line in self.said if _TELLS.search(line)]
        text = lines[-1] if lines else next((line for line in reversed(self.said) if line.strip()), "it said nothing")
        text = (
            text.replace(f"{self.stage.local.parent}/", "")
            .replace("../below/", "")
            .replace(str(self.stage.base), "")
            .replace(self.stage.prefix, "PREFIX")
        )
        text = re.sub(r"(/machine1)?/home/(work|unison|aside)/\S*", "(its own folder)", text)
        text = re.sub(r" at \d\d:\d\d:\d\d", "", text)
        text = re.sub(r"127\.0\.0\.1:\d+", "HOST", text)
        text = re.sub(r"\s+", " ", text.replace("|", "/").replace("`", "'").replace("<", "(").replace(">", ")"))
        return text if len(text) < 140 else text[:137] + "..."

    # -- the race ------------------------------------------------------------------------------------------------

    def _once(self, act: Callable[[], object]) -> Callable[[object], None]:
        """What happens, once."""
        lock = threading.Lock()

        def hook(_: object = None) -> None:
            with lock:
                if self.happened:
                    return
                self.happened = True
            act()

        return hook

    def _edit_local(self) -> None:
        self.stage.write("z", self.scenario.during)

    def _edit_remote(self) -> None:
        self.stage.edit_remote("z", self.scenario.during)

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            self._processes[-1].send_signal(signal.SIGKILL)

    @contextmanager
    def _race(self) -> Iterator[None]:
        """In force during the first run."""
        with ExitStack() as stack:
            if self.scenario.race is Race.REMOTE_DOWN:
                stack.enter_context(self.stage.gone())
            elif self.stage.proxy is not None:
                for rule in self._rules():
                    stack.enter_context(self.stage.proxy.rule(rule))
            elif self.scenario.race in _HOOKED:
                stack.enter_context(self._watched())
            yield

    def _rules(self) -> list[Rule]:
        bucket, prefix = self.stage.bucket, re.escape(self.stage.prefix)
        z, a = f"^/{bucket}/{prefix}/z$", f"^/{bucket}/{prefix}/a$"
        items = f"^/{bucket}/{prefix}/(?!\\.trueup)"
        local, remote, kill = (Before(self._once(act)) for act in (self._edit_local, self._edit_remote, self._kill))
        found: dict[Race, tuple[Action, str, str]] = {
            Race.LOCAL_EDIT_BEFORE_UPLOAD: (local, "PUT", z),
            Race.REMOTE_EDIT_BEFORE_UPLOAD: (remote, "PUT", z),
            Race.REMOTE_EDIT_BEFORE_DELETE: (remote, "DELETE", z),
            Race.LOCAL_EDIT_BEFORE_DOWNLOAD: (After(self._once(self._edit_local)), "GET", z),
            Race.LOCAL_EDIT_DURING_RUN: (local, "PUT", a),
            Race.LISTING_BREAKS: (TruncatedListing(at=0.7), "GET", ""),
            Race.LISTING_LIES: (TruncatedListing(at=0.7, then=None), "GET", ""),
            Race.HOSTILE_KEYS: (InjectedKeys(tuple(f"{self.stage.prefix}/{key}" for key in EVIL)), ".*", ""),
        }
        match self.scenario.race:
            case Race.CUT:
                return [Rule(CutAnswer(), method="GET", path=z, times=1)]
            case Race.TURNED_BIT:
                return [Rule(FlipAnswer(), method="GET", path=z, times=1)]
            case Race.KILLED:
                return [Rule(kill, method="PUT", path=items, nth=2, times=1)]
            case race if race in found:
                action, method, path = found[race]
                return [Rule(action, method=method, path=path)]
            case _:
                return []

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Where no proxy is: at the first sign of a write on the side that is written."""
        race, stage = self.scenario.race, self.stage
        watched = stage.local if race is Race.LOCAL_EDIT_BEFORE_DOWNLOAD else stage.folder
        remote = race in (Race.REMOTE_EDIT_BEFORE_UPLOAD, Race.REMOTE_EDIT_BEFORE_DELETE)
        act = self._kill if race is Race.KILLED else self._edit_remote if remote else self._edit_local
        hook, over = self._once(act), threading.Event()
        first = _look(watched)

        def watch() -> None:
            while not over.is_set():
                if _look(watched) != first:
                    hook(None)
                    return

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


_HOOKED = {
    Race.LOCAL_EDIT_BEFORE_UPLOAD,
    Race.REMOTE_EDIT_BEFORE_UPLOAD,
    Race.REMOTE_EDIT_BEFORE_DELETE,
    Race.LOCAL_EDIT_BEFORE_DOWNLOAD,
    Race.LOCAL_EDIT_DURING_RUN,
    Race.KILLED,
}


def _look(root: Path) -> set[tuple[str, int]]:
    """What there is on top, and since when; a tool's own folder aside."""
    with suppress(OSError), os.scandir(root) as entries:
        return {(entry.name, entry.stat().st_ino) for entry in entries if entry.name != ".trueup"}
    return set()


def play(tool: Tool, scenario: Scenario, base: Path, server: Service) -> Verdict:
    """One scenario with one tool, on a stage of its own."""
    base.mkdir(parents=True)
    if not tool.on_bucket:
        return Play(tool, scenario, Stage(base, None)).run()
    with FaultProxy(server.endpoint) as proxy:
        return Play(tool, scenario, Stage(base, server, proxy)).run()
