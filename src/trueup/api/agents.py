"""Agent filesystems from programs: sync, pull and push by the engine's own plan; statistics; restore points."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from trueup.api import agent_files
from trueup.api.agent_files import AgentStats, Pending
from trueup.core.check import Guard
from trueup.core.errors import Locked, StoreError, UsageError
from trueup.core.model import LOCAL, REMOTE, Side
from trueup.core.plan import Item, Plan
from trueup.core.report import Outcome, Report, Status
from trueup.core.table import Verb
from trueup.engine.ambient import Ambient
from trueup.engine.job import Job
from trueup.engine.pace import Pace
from trueup.engine.run import Confirm
from trueup.engine.state import State
from trueup.engine.wrap import Patience
from trueup.protocols import Opening, Store
from trueup.stores.agentfs import Beside, LocalAgent, Mirror, RemoteAgent
from trueup.stores.agentfs.mirror import Reach
from trueup.targets.agents import Agents

if TYPE_CHECKING:
    from trueup.api.engine import Engine

AT_ONCE = 4
"""Items in flight; more would wait for the one database."""
ROUNDS = 8
"""A sync that others overtake is planned again so often."""
FILE_WAIT_SECONDS = 20.0
"""For another run that serves the same ``file://`` remote."""


def open_agent(spec: Agents, opening: Opening, state: State, ambient: Ambient) -> Job:
    """A job with both sides of an agent opened. Blocks; reaches nothing yet.

    Raises:
        UsageError: If the remote is no URL of a kind that is known.
        StoreError: If the database cannot be used.
        Locked: If an agent has it open.
    """
    database = Path(spec.database)
    remote = location(spec.remote)
    if remote == f"file://{database}":
        raise UsageError(
            f"{database} cannot be its own remote", attempt="--remote-url with the address of another database"
        )
    target = spec.target({LOCAL: str(database), REMOTE: remote})
    folder = state.directory / "agents" / target.id
    local = LocalAgent(database, opening, Beside(folder / "local.db"))
    local.usable()
    mirror = Mirror(folder / "mirror", remote, reach(spec, remote), spec.timeout_seconds)
    stores: dict[Side, Store] = {LOCAL: local, REMOTE: RemoteAgent(mirror, opening, Beside(folder / "remote.db"))}
    return Job(
        target=target,
        policy=spec.policy,
        stores=stores,
        state=state,
        ambient=ambient,
        limits=spec.limits,
        pace=Pace(AT_ONCE),
        patience=Patience(),
    )


def location(remote: str) -> str:
    """The remote's URL in the one form that names it; a plain path is a ``file://``.

    Raises:
        UsageError: If it is a URL that nothing here can speak with.
    """
    scheme, separator, rest = remote.partition("://")
    if not separator:
        return f"file://{Path(remote).expanduser().absolute()}"
    match scheme:
        case "file":
            return f"file://{Path(rest).absolute()}"
        case "http" | "https" | "libsql":
            return remote.rstrip("/")
        case _:
            raise UsageError(
                f"{scheme}:// is no remote of an agent",
                why="there are file://, http://, https:// and libsql://",
                attempt="--remote-url file:///path/team.db",
            )


def reach(spec: Agents, remote: str) -> Reach:
    """How to get to a remote: at its URL, or by serving its file for as long as it is needed."""
    if remote.startswith("file://"):
        path = Path(remote.removeprefix("file://"))
        return lambda: _SERVERS.serving(path)
    url = remote.replace("libsql://", "https://", 1)

    @contextmanager
    def reached() -> Iterator[tuple[str, str | None]]:
        yield url, spec.token()

    return reached


class _Servers:
    """One server for each file that somebody in this process needs just now."""

    def __init__(self) -> None:
        self._gate = threading.Lock()
        self._running: dict[Path, tuple[ExitStack, tuple[str, str], int]] = {}

    @contextmanager
    def serving(self, path: Path) -> Iterator[tuple[str, str | None]]:
        """The URL and the token under which a file is served, together with whoever needs it at the same time."""
        with self._gate:
            stack, where, users = self._running.get(path) or self._started(path)
            self._running[path] = (stack, where, users + 1)
        try:
            yield where
        finally:
            with self._gate:
                stack, where, users = self._running.pop(path)
                if users > 1:
                    self._running[path] = (stack, where, users - 1)
                else:
                    stack.close()

    def _started(self, path: Path) -> tuple[ExitStack, tuple[str, str], int]:
        from trueup.replication.embedded import serving  # an HTTP server that others need not load

        until = Ambient().clock.monotonic() + FILE_WAIT_SECONDS
        while True:
            stack = ExitStack()
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                served = stack.enter_context(serving(path))
            except OSError as error:
                raise StoreError(
                    f"{path} cannot be served", why=error.strerror or "", attempt=f"ls -ld {path.parent}"
                ) from error
            except Locked:
                if Ambient().clock.monotonic() > until:
                    raise
                Ambient().clock.pause(0.02)
                continue
            return stack, (served.url, served.token), 0


_SERVERS = _Servers()


# -- runs ------------------------------------------------------------------------------------------------------------


def pulls(item: Item) -> bool:
    """Whether a change writes the agent's own database only."""
    return all(step.side == LOCAL or step.verb is Verb.ADOPT for step in item.steps)


def pushes(item: Item) -> bool:
    """Whether a change writes the remote; those that both sides need, because of a conflict, do."""
    return not pulls(item)


Select = Callable[[Item], bool]


@dataclass(slots=True)
class Rounds:
    """What became of a sync, and of the further ones that it took because others were at work."""

    reports: list[Report] = field(default_factory=list)

    @property
    def last(self) -> Report:
        """What is left open is in this one."""
        return self.reports[-1]

    @property
    def done(self) -> int:
        """Changes that were carried out."""
        return sum(len({o.key for o in _changes_done(report)}) for report in self.reports)

    @property
    def troubles(self) -> list[str]:
        """What was not done, and why, one sentence each."""
        plan = self.last.plan
        lost = [
            f"{side} could not be looked at: {seen.why}" for side, seen in plan.observed.items() if not seen.complete
        ]
        failed = [f"{one.key}: {one.why}" for one in self.last.outcomes if one.status is not Status.DONE]
        return [*lost, *failed, *(f"conflict: {item.key}" for item in plan.conflicts)]


def overtaken(report: Report) -> bool:
    """Whether somebody else was faster: then it is planned again."""
    return any(outcome.status is Status.CHANGED for outcome in report.outcomes)


async def sync(
    engine: Engine,
    target: Agents | str,
    *,
    select: Select | None = None,
    confirm: Confirm | None = None,
    allow: Iterable[Guard] = (),
    command: str = "",
) -> Rounds:
    """Bring both sides of an agent into agreement, again and again while others are faster.

    Args:
        engine: An open engine.
        target: A configured target's name, or a target.
        select: `pulls`, `pushes`, or None for all changes.
        confirm: Is shown each plan; False ends it with nothing more done. None: agrees.
        allow: Guards that let this pass.
        command: What a person typed, for the history.

    Raises:
        PlanRefused: If a guard stops a plan.
        Locked: If an agent has the database open, or another run holds the target.
        StoreError: If the database cannot be used.
    """
    rounds = Rounds()
    for _ in range(ROUNDS):
        report = await engine.run(target, confirm=confirm or _yes, allow=allow, select=select, command=command)
        rounds.reports.append(report)
        if not overtaken(report):
            break
    return rounds


async def _yes(_: Plan) -> bool:
    return True


def needless(plan: Plan) -> bool:
    """Whether nobody has to be asked: nothing is deleted, nothing destroyed."""
    return not plan.destroys and not any(step.verb is Verb.DELETE for item in plan.changes for step in item.steps)


def _changes_done(report: Report) -> list[Outcome]:
    agreed = {step.id for item in report.plan.items for step in item.steps if step.verb is Verb.ADOPT}
    return [one for one in report.outcomes if one.status is Status.DONE and one.step not in agreed]


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent whose sides are opened."""

    job: Job

    async def stats(self) -> AgentStats:
        """How it stands, as far as is known without asking the remote."""
        return await self.job.ambient.threads(agent_files.statistics, self.job)

    async def pending(self) -> Pending:
        """What the agent has changed since both sides agreed."""
        return await self.job.ambient.threads(agent_files.pending, self.job)

    async def checkpoint(self, restore_point: str | None = None) -> int:
        """Fold the write-ahead log into the database, and keep a copy under a name if one is given.

        Returns:
            How many bytes the log had.
        """
        local, _ = agent_files.sides(self.job)
        folded = await self.job.ambient.threads(agent_files.fold, local)
        if restore_point is not None:
            await self.job.ambient.threads(agent_files.keep_point, local, restore_point)
        return folded

    async def points(self) -> list[str]:
        """Names of the restore points."""
        local, _ = agent_files.sides(self.job)
        return await self.job.ambient.threads(agent_files.points, local.beside)

    async def restore(self, restore_point: str) -> str:
        """Put a restore point in the place of the database.

        Returns:
            The name of the restore point that holds what was there before.
        """
        local, _ = agent_files.sides(self.job)
        bring_back = partial(agent_files.bring_back, unique=self.job.ambient.unique())
        kept = await self.job.ambient.threads(bring_back, local, restore_point)
        return kept.stem
