"""Runs that a server was asked for: one at a time for each target, a few at once, each to its end.

A run belongs to the server and not to the request that began it: who goes away misses nothing of it. Every change of
its state is on disk before anybody hears of it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
from anyio.abc import TaskGroup

from trueup.api import Engine, Progress
from trueup.config import Config
from trueup.core.report import Status
from trueup.engine.ambient import Ambient
from trueup.engine.served import ACTIVE, Ledger, ServedRun, Stage
from trueup.web.asked import Action, Asked
from trueup.web.board import Board
from trueup.web.carrying import Carrying, Ended
from trueup.web.problems import Problem, problem_of
from trueup.web.targets import Named

AT_ONCE = 4
"""Runs that work at the same time; others are queued."""
MOST_QUEUED = 64
PROGRESS_SECONDS = 0.25
"""Progress is told this often at most."""
MOST_FAILURES = 1000
"""Of one run that are told as they happen; the report has all."""
RETRY_SECONDS = 10

logger = logging.getLogger("trueup.web")


@dataclass(slots=True)
class Live:
    """A run that is under way in this process."""

    run: ServedRun
    named: Named
    asked: Asked
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    engine: Engine | None = None
    cancelled: bool = False
    """Whether somebody has asked to cancel it."""
    begun: anyio.Event = field(default_factory=anyio.Event)
    """It is past all checks, or has ended."""
    over: anyio.Event = field(default_factory=anyio.Event)
    telling: anyio.Lock = field(default_factory=anyio.Lock)
    """What is told is in the order in which it happened."""
    failures: int = 0
    pending: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    latest: dict[str, Any] | None = None
    """Progress that nobody has heard of."""
    problem: Problem | None = None
    """Why it ended without success."""
    answer: Any = None
    """What `Action.TRAINING` answers."""


class Runs:
    """All of them.

    Args:
        config: What is configured.
        ledger: Where they are kept.
        board: Who hears of them.
        ambient: Clock, threads, names.
        ended: Is called with every run that has ended.
    """

    def __init__(
        self, config: Config, ledger: Ledger, board: Board, ambient: Ambient, *, ended: Callable[[ServedRun], None]
    ) -> None:
        self._config = config
        self._ledger = ledger
        self._board = board
        self._ambient = ambient
        self._ended = ended
        self._live: dict[str, Live] = {}
        self._busy: dict[str, Live] = {}
        self._limiter = anyio.CapacityLimiter(AT_ONCE)
        self._tasks: TaskGroup | None = None
        self.stopping = False

    def serve(self, tasks: TaskGroup) -> None:
        """Take runs, and carry them out in this task group."""
        self._tasks = tasks

    @property
    def active(self) -> int:
        """How many are under way or queued."""
        return len(self._live)

    def live(self, run_id: str) -> Live | None:
        """A run that is under way here."""
        return self._live.get(run_id)

    async def begin(self, named: Named, asked: Asked, who: str, *, plan: str | None = None) -> Live:
        """Begin a run.

        Raises:
            Problem: 409 if the target has one, 429 if there are too many, 503 if the server stops.
        """
        now_ns = self._ambient.clock.now_ns()
        run_id = f"r{self._ambient.run_id()}"
        run = ServedRun(run_id, named.id, Stage.QUEUED, who, asked.document, now_ns, now_ns, plan)
        live = self._reserve(run, named, asked)
        try:
            await self._ambient.threads(self._ledger.add, run, ("state", document(run)))
        except BaseException:
            self._release(live)
            raise
        self._start(live)
        return live

    async def again(self, run: ServedRun, named: Named, asked: Asked) -> Live:
        """Go on with a run that waits or was interrupted.

        Raises:
            Problem: As `begin`.
        """
        changed_ns = self._ambient.clock.now_ns()
        queued = replace(run, state=Stage.QUEUED, asked=asked.document, error=None, changed_ns=changed_ns)
        live = self._reserve(queued, named, asked)
        try:
            await self._keep(live, Stage.QUEUED)
        except BaseException:
            self._release(live)
            raise
        self._start(live)
        return live

    async def cancel(self, run: ServedRun) -> ServedRun:
        """Stop a run: what is under way is finished first; asked again, it stops at once.

        Raises:
            Problem: 409 if it has ended.
        """
        live = self._live.get(run.id)
        if live is None or live.run.state not in ACTIVE:
            if run.ended:
                raise Problem(409, "TU-STAGE", "the run has ended", why=f"it is {run.state.value}")
            gone = replace(run, state=Stage.CANCELLED, changed_ns=self._ambient.clock.now_ns())
            await self._ambient.threads(self._ledger.save, gone, ("state", document(gone)))
            self._board.ring(run.id)
            return gone
        applying = live.run.state is Stage.APPLYING
        if applying and not live.cancelled and live.engine is not None:
            live.engine.drain()
        else:
            live.scope.cancel()
        live.cancelled = True
        return live.run

    def drain(self) -> None:
        """Begin nothing new, and finish what is under way."""
        self.stopping = True
        for live in list(self._live.values()):
            if live.run.state is Stage.APPLYING and live.engine is not None:
                live.engine.drain()
            else:
                live.scope.cancel()

    async def idle(self) -> None:
        """Wait until nothing is under way."""
        for live in list(self._live.values()):
            await live.over.wait()

    def stop(self) -> None:
        """Stop everything at once."""
        for live in list(self._live.values()):
            live.scope.cancel()

    # -- one run -------------------------------------------------------------------------------------------------

    def _reserve(self, run: ServedRun, named: Named, asked: Asked) -> Live:
        if self.stopping or self._tasks is None:
            raise Problem(503, "TU-LIMIT", "the server stops", headers={"Retry-After": str(RETRY_SECONDS)})
        if (holder := self._busy.get(named.id)) is not None:
            raise Problem(
                409,
                "TU-BUSY",
                f"a run of {named.id} is under way",
                why=f"{holder.run.who} began it: {holder.asked.action.value}",
                hint=f"wait for it, or POST /api/v1/runs/{holder.run.id}/cancel",
                more={"run": holder.run.id, "who": holder.run.who},
            )
        if len(self._live) >= MOST_QUEUED + AT_ONCE:
            raise Problem(429, "TU-LIMIT", "too many runs are queued", headers={"Retry-After": str(RETRY_SECONDS)})
        live = Live(run, named, asked)
        self._busy[named.id] = live
        self._live[run.id] = live
        return live

    def _release(self, live: Live) -> None:
        """Forget what is under way. Another one, of the same target or the same run, may have begun since."""
        self._let_go(live)
        if self._live.get(live.run.id) is live:
            del self._live[live.run.id]

    def _let_go(self, live: Live) -> None:
        if self._busy.get(live.named.id) is live:
            del self._busy[live.named.id]

    def _start(self, live: Live) -> None:
        if self._tasks is None:
            raise RuntimeError("`serve` comes first")
        self._tasks.start_soon(self._perform, live, name=live.run.id)

    async def _perform(self, live: Live) -> None:
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._tell, live)
                with live.scope:
                    await self._carry_out(live)
                tasks.cancel_scope.cancel()
            if live.run.state in ACTIVE:
                with anyio.CancelScope(shield=True):
                    await self._keep(live, Stage.CANCELLED if live.cancelled else Stage.INTERRUPTED)
        except Exception:  # the edge of a task: one run that cannot be kept must not end the server
            logger.exception("run %s of %s could not be kept", live.run.id, live.named.id)
        finally:
            self._release(live)
            live.begun.set()
            live.over.set()
            self._ended(live.run)

    async def _carry_out(self, live: Live) -> None:
        try:
            async with self._limiter:
                await self._keep(live, Stage.OBSERVING)
                async with Engine(
                    self._config, on_progress=lambda event: self._hear(live, event), ambient=self._ambient
                ) as engine:
                    live.engine = engine
                    ended = await Carrying(engine, self._ledger, self._ambient, live, self._keep).run()
        except Exception as error:  # noqa: BLE001 - the edge of a task: it must not end the server
            ended = self._failed(live, error)
        with anyio.CancelScope(shield=True):
            stage = self._cut_short(live) if ended.stage is Stage.INTERRUPTED else ended.stage
            await self._keep(live, stage, history=ended.history, result=ended.result, error=ended.error)
            await self._ambient.threads(self._ledger.forget_progress, live.run.id)

    def _cut_short(self, live: Live) -> Stage:
        return Stage.CANCELLED if live.cancelled else Stage.INTERRUPTED

    def _failed(self, live: Live, error: Exception) -> Ended:
        live.problem = problem_of(error)
        if live.problem.status >= 500 and live.problem.code == "TU-BUG":
            logger.error("run %s of %s failed", live.run.id, live.named.id, exc_info=error)
        refused = live.problem.code in ("TU-GUARD", "TU-STALE", "TU-STATE", "TU-SCOPE")
        return Ended(Stage.REFUSED if refused else Stage.FAILED, error=live.problem.document)

    # -- telling -------------------------------------------------------------------------------------------------

    async def _keep(self, live: Live, stage: Stage, **changes: Any) -> None:
        """Remember how the run stands, then tell of it. What came before is told before.

        Nobody sees an end that is not on disk: a stream would close before its last event. Who hears of the end may
        begin another run at once.
        """
        told = {name: value for name, value in changes.items() if value is not None}
        async with live.telling:
            run = replace(live.run, state=stage, changed_ns=self._ambient.clock.now_ns(), **told)
            events = [*self._collected(live), ("state", document(run))]
            await self._ambient.threads(self._ledger.save, run, *events)
            live.run = run
            if stage not in ACTIVE:
                self._let_go(live)
            self._board.ring(run.id)

    def _hear(self, live: Live, event: Progress) -> None:
        """Of the engine, in the event loop's thread, for everything that happens."""
        if event.outcome is not None and event.outcome.status is not Status.DONE and live.failures < MOST_FAILURES:
            live.failures += 1
            live.pending.append(
                (
                    "failure",
                    {"key": event.current, "status": event.outcome.status.value, "why": event.outcome.why},
                )
            )
        live.latest = {
            "phase": event.phase,
            "side": event.side,
            "done": event.done,
            "total": event.total,
            "bytes": event.bytes,
            "total_bytes": event.total_bytes,
            "current": event.current,
        }

    @staticmethod
    def _collected(live: Live) -> list[tuple[str, dict[str, Any]]]:
        events, live.pending = live.pending, []
        if live.latest is not None:
            events.append(("progress", live.latest))
            live.latest = None
        return events

    async def _tell(self, live: Live) -> None:
        while True:
            await anyio.sleep(PROGRESS_SECONDS)
            if live.asked.action is Action.TRAINING and live.run.state is Stage.OBSERVING and _executes(live):
                await self._keep(live, Stage.APPLYING)
                continue
            async with live.telling:
                if events := self._collected(live):
                    await self._board.post(live.run.id, *events)


def _executes(live: Live) -> bool:
    return live.latest is not None and live.latest["phase"] == "execute"


def document(run: ServedRun) -> dict[str, Any]:
    """A run as REST and events show it."""
    return {
        "id": run.id,
        "target": run.target,
        "state": run.state.value,
        "who": run.who,
        "asked": dict(run.asked),
        "plan": run.plan,
        "history": run.history,
        "error": None if run.error is None else dict(run.error),
        "result": None if run.result is None else dict(run.result),
        "created_ns": run.created_ns,
        "changed_ns": run.changed_ns,
        "active": run.state in ACTIVE,
        "ended": run.ended,
    }
