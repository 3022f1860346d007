"""One machine: its own clock, state and local side, and lives that may end at any turn of the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from random import Random
from typing import Any, Protocol, TypeVar

from filelock import FileLock
from tests.simulation.faults import Shaky, Troubles, Watched
from tests.simulation.loop import turn
from tests.simulation.story import Act, Setting, Visit
from tests.simulation.witness import Seen, Witness

from trueup.api.trash import Prunable, prune
from trueup.core.check import Guard
from trueup.core.errors import Locked, TrueupError
from trueup.core.model import LOCAL, REMOTE, Fingerprint, Key, Side, Token, key_from_bytes
from trueup.core.plan import Phase, Plan, Target
from trueup.core.report import Report, Status
from trueup.core.strategy import Policy
from trueup.core.tree import SIDES
from trueup.engine.ambient import Ambient
from trueup.engine.apply import apply
from trueup.engine.job import Job, Progress
from trueup.engine.pace import Pace
from trueup.engine.run import look, run
from trueup.engine.state import State
from trueup.engine.undo import undo
from trueup.engine.wrap import Patience, TimeLimited
from trueup.protocols import Store, Written
from trueup.stores.memory import MemoryStore
from trueup.testing.faulty import Faulty

T = TypeVar("T")

TIMEOUT_SECONDS = 20.0
RETRY_SECONDS = 0.01
SHARED = "shared"


class Dead(BaseException):
    """Said to whoever still tries to do something after the power has gone."""


class Around(Protocol):
    """The world that a machine is in."""

    witness: Witness
    setting: Setting

    def seconds(self) -> float:
        """Since the beginning."""
        ...

    def wall_ns(self, place: str) -> int:
        """What the clock of a place shows."""
        ...

    def say(self, text: str) -> None:
        """A line of the trace."""
        ...

    def store(self, place: str, clock: LifeClock, *, stale: bool = False) -> MemoryStore | None:
        """What there is at a place."""
        ...

    def act(self, act: Act, hot: Key | None) -> None:
        """A person does something."""
        ...

    def unique(self) -> str:
        """A name that nobody else uses."""
        ...


class LifeClock:
    """A `trueup.protocols.Clock`: the wall clock of a place, the awaits of a life."""

    def __init__(self, life: Life, place: str) -> None:
        self._life = life
        self._place = place

    def now_ns(self) -> int:
        """The place's wall clock."""
        return self._life.machine.world.wall_ns(self._place)

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return self._life.machine.world.seconds()

    async def sleep(self, seconds: float) -> None:
        """Let others go on, for so long."""
        await self._life.moment()
        if seconds > 0:
            await asyncio.sleep(seconds)

    def pause(self, seconds: float) -> None:
        """Nobody is held up here."""


class Machine:
    """What outlives a crash: the state on disk."""

    def __init__(self, name: str, directory: Path, world: Around) -> None:
        self.name = name
        self.directory = directory
        self.world = world
        self._state: State | None = None
        target = {LOCAL: f"memory://{name}", REMOTE: "memory://shared"}
        self.target = Target(f"id-{name}", f"target-{name}", "folder", target)

    @property
    def state(self) -> State:
        """Opened anew after a crash."""
        if self._state is None:
            self._state = State(self.directory)
        return self._state

    def close(self) -> None:
        """Close the database, as the end of a process does."""
        if self._state is not None:
            self._state.close()
            self._state = None


class Life:
    """One use of the engine. Implements `Owner` and `Acting`."""

    def __init__(self, machine: Machine, visit: Visit, *, allow: frozenset[Guard] = frozenset()) -> None:
        self.machine = machine
        self.visit = visit
        self.name = machine.name
        self.policy: Policy = machine.world.setting.policy
        self.places: Mapping[Side, str] = {LOCAL: machine.name, REMOTE: SHARED}
        self.seen = Seen(before=dict(machine.world.witness.agreed[machine.name]))
        self.random = Random(visit.seed)
        self.holds: set[str] = set()
        self.prunes = (visit.seed % 4 == 0) if visit.what == "prune" else None
        self.bore: Mapping[str, Collection[str]] = {}
        self.undoes = visit.what == "undo"
        self.locked_out = False
        self._state: State | None = None
        self.dead = False
        self.turns = self._moments = 0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.report: Report | None = None
        self.plan: Plan | None = None
        self._acts = list(visit.acts)
        self._locks: list[FileLock] = []
        self._allow = allow
        self.troubles = Troubles(visit.troubles, self.say, self._lost_listing)

    def say(self, text: str) -> None:
        """A line of the trace."""
        self.machine.world.say(f"{self.name}: {text}")

    @property
    def state(self) -> State:
        """The machine's, or a connection of its own to the same database."""
        return self._state or self.machine.state

    def open_state(self) -> None:
        """Be a process beside another one."""
        self._state = State(self.machine.directory)

    def close_state(self) -> None:
        """As the end of a process does; the machine's own stays for the next."""
        if self._state is not None:
            self._state.close()
            self._state = None

    # -- time and death ------------------------------------------------------------------------------------------

    def turn(self) -> None:
        """As `Owner.turn`."""
        self.turns += 1
        if self.turns == self.visit.crash_at:
            self.die()

    def die(self) -> None:
        """The power has gone: what is durable stays, what was held is free again."""
        self.dead = True
        self.say("dies")
        if self._state is None:
            self.machine.close()
        self.close_state()
        for lock in self._locks:
            lock.release(force=True)
        for place in self.places.values():
            if place in self.holds:
                self.machine.world.witness.places[place].state.crash()
        if not self.ended.done():
            self.ended.set_result(None)

    async def moment(self) -> None:
        """Before anything has an effect, others may go on, and people act."""
        if self.dead:
            raise Dead
        self._moments += 1
        while self._acts and self._acts[0][0] <= self._moments:
            self.machine.world.act(self._acts.pop(0)[1], self.troubles.hot)
        await turn()
        if self.random.random() < 0.1:
            await asyncio.sleep(self.random.random() * 0.02)
        if self.dead:
            raise Dead

    async def threads(self, function: Callable[..., T], /, *args: Any) -> T:
        """As `trueup.protocols.Threads`, in the only thread there is."""
        await self.moment()
        result = function(*args)
        if isinstance(result, FileLock):
            self._locks.append(result)
        if function.__name__ in ("record", "set_ancestors"):
            self.say(f"state {function.__name__}")
            self.remembered()
        if self.random.random() < 0.5:
            await turn()  # it is done, and nobody knows yet
        return result

    def remembered(self) -> None:
        """Show the witness what this machine takes for agreed."""
        state = self.state
        with state.reading() as connection:
            keys = [key_from_bytes(row[0]) for row in connection.execute("SELECT key FROM ancestors ORDER BY key")]
        ancestors, damaged = state.ancestors(state.find_target(self.machine.target), keys)
        if damaged:
            self.machine.world.witness.wrong("8", f"damaged ancestors of {damaged}")
        self.machine.world.witness.remembered(self, ancestors)

    # -- the engine ----------------------------------------------------------------------------------------------

    async def live(self) -> None:
        """Do what the visit is for, and say what came of it."""
        try:
            if self.prunes is not None:
                await self._prune(self.job())
                return
            self.report = await self._use(self.job())
            counts = self.report.counts
            told = " ".join(f"{status}={counts[status]}" for status in Status if counts[status])
            self.say(f"{self.visit.what} ends: {self.report.ending} {told}".rstrip())
        except TrueupError as error:
            self.locked_out = isinstance(error, Locked)
            # Who holds a lock is told by the number of a process, which no seed draws.
            told = "" if self.locked_out else f": {error}"
            self.say(f"{self.visit.what} ends: {type(error).__name__}{told}")
        except Exception as error:  # noqa: BLE001  # whatever it is, it must not come out of the engine
            if self.dead:
                return
            self.machine.world.witness.wrong("errors", f"{self.visit.what} raised {_told(error)}")
        finally:
            if not self.ended.done() and not self.dead:
                self.ended.set_result(None)

    async def _prune(self, job: Job) -> None:
        places = self.machine.world.witness.places
        self.bore = {name: set(places[name].state.nodes) for name in self.places.values()}
        pruned = await prune(job, Prunable(last_copies=bool(self.prunes)), dry_run=False)
        self.say(f"prune ends: {pruned.removed} gone, {len(pruned.refused)} refused")
        self.machine.world.witness.figures["last copies kept"] += len(pruned.refused)

    async def _use(self, job: Job) -> Report:
        match self.visit.what:
            case "apply":
                plan = await look(job)
                return await apply(plan, job, skip_stale=True, confirm=self._confirm)
            case "undo":
                record = await self.threads(job.journal.find, "last")
                return await undo(record, job, confirm=self._confirm)
            case _:
                return await run(job, confirm=self._confirm)

    async def _confirm(self, plan: Plan) -> bool:
        self.plan = plan
        self.seen.confirmed(plan)
        for item in plan.items:
            if item.steps:
                verbs = " ".join(f"{step.verb}@{step.side}" for step in item.steps)
                self.say(f"plan {item.key}: {item.reason} {verbs}")
        await self.moment()
        return True

    def job(self) -> Job:
        """Everything one run needs, on top of stores that fail."""
        setting, world = self.machine.world.setting, self.machine.world
        ambient = Ambient(LifeClock(self, self.name), self.threads, world.unique, self.random)
        return Job(
            target=self.machine.target,
            policy=self.policy,
            stores={side: self._store(side) for side in SIDES},
            state=self.state,
            ambient=ambient,
            pace=Pace(setting.most),
            patience=Patience(setting.attempts, RETRY_SECONDS),
            allow=self._allow,
            on_progress=self._progress,
        )

    def _store(self, side: Side) -> Store:
        place, world = self.places[side], self.machine.world
        clock = LifeClock(self, place)
        inner = world.store(place, clock)
        assert inner is not None
        setting = world.setting
        watched: Store = Watched(
            inner,
            place,
            self,
            world.witness,
            self.say,
            locks=setting.locks or place != SHARED,
            ordered=setting.ordered or place != SHARED,
            complete_rows=setting.complete_rows or place != SHARED,
        )
        shaky = Shaky(watched, side, self.troubles, self) if self.visit.troubles else watched
        decide = Faulty(shaky, decide=lambda call: self.troubles.decide(side, call), clock=clock)
        return TimeLimited(decide, seconds=TIMEOUT_SECONDS)

    def late(self, side: str) -> MemoryStore | None:
        """As `Lying.late`."""
        place = self.places[Side(side)]
        return self.machine.world.store(place, LifeClock(self, place), stale=True)

    def lie(self, side: str, key: Key, data: bytes) -> Written:
        """As `Lying.lie`."""
        token = Token(f"lie-{self.machine.world.unique()}")
        printed = self.machine.world.witness.lie(self.places[Side(side)], key, token, data)
        self.say(f"{side} says that it has written {key}")
        return Written(token, Fingerprint("blake3", printed))

    def _lost_listing(self) -> None:
        self.seen.listing_lost = True

    def _progress(self, event: Progress) -> None:
        if event.outcome is not None and event.outcome.status is not Status.DONE:
            self.say(f"{event.current} is {event.outcome.status}: {event.outcome.why}")
            self.seen.failed |= Phase.DELETE not in self.seen.phases[Key(event.current)]


def rest(machine: Machine, seed: int, what: str = "run") -> Life:
    """An undisturbed use of the engine, past every guard."""
    return Life(machine, Visit(machine.name, what, seed), allow=frozenset(Guard))


def _told(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return f"{error}: " + "; ".join(_told(part) for part in error.exceptions)
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    where = "" if at is None else f" in {Path(at.tb_frame.f_code.co_filename).name}:{at.tb_lineno}"
    return f"{error!r}{where}"
