"""The world in which a story happens, from its first tree until everything has come to rest."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Collection
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.simulation.loop import OWNER, SeededLoop, Stuck, simulate
from tests.simulation.machine import SHARED, Life, LifeClock, Machine, rest
from tests.simulation.person import Person, content
from tests.simulation.story import Act, Setting, Step, Story, Visit
from tests.simulation.witness import Place, Witness

from trueup.core.model import Ancestor, Content, Fingerprint, Key, Kind, is_directory, parents
from trueup.core.plan import Plan
from trueup.core.reconcile import Reason
from trueup.core.strategy import Conflict, Deletes, Direction
from trueup.engine.filter import PatternFilter
from trueup.engine.journal import Journal
from trueup.engine.run import look
from trueup.protocols import Clock
from trueup.stores.memory import MemoryStore
from trueup.stores.memory.state import MemoryState
from trueup.testing.clock import LogicalClock

START_NS = 1_800_000_000_000_000_000
ROUNDS = 10
"""So many undisturbed rounds at most until nothing is left to do."""
SHM = Path("/dev/shm")  # noqa: S108  # where there is none, an ordinary temporary folder will do


@dataclass
class Told:
    """What came of a story."""

    story: Story
    trace: list[str]
    broken: list[str]
    figures: Counter[str]
    ends: dict[str, dict[Key, bytes]]
    """What each place held in the end."""


def mixed(files: Collection[Key]) -> bool:
    """Whether a bucket holds a file and something below its name."""
    return any(above.rstrip("/") in files for key in files for above in parents(key))


def tell(story: Story, *, template: Path | None = None) -> Told:
    """Let it happen.

    Args:
        story: What happens.
        template: A state database without anything in it, which is faster to copy than to make.
    """
    base = Path(tempfile.mkdtemp(prefix="trueup-story-", dir=SHM if SHM.is_dir() else None))
    world = World(story, base, template)
    try:
        world.loop = simulate(Random(story.seed), story.setting.order, world.happen)
    except Stuck as error:
        world.witness.wrong("end", f"stuck: {error}")
    finally:
        for machine in world.machines.values():
            machine.close()
        shutil.rmtree(base, ignore_errors=True)
    return world.told()


class World:
    """Places, machines, a person and a witness. Implements `Around`."""

    def __init__(self, story: Story, base: Path, template: Path | None) -> None:
        self.story = story
        self.setting: Setting = story.setting
        self.loop: SeededLoop | None = None
        self.trace: list[str] = []
        self._ticks = self._names = 0
        self._skews = {SHARED: 0.0, **dict.fromkeys(self.setting.machines, 0.0), **dict(self.setting.skews)}
        states = {name: MemoryState() for name in (*self.setting.machines, SHARED)}
        self._hands = {name: self._opened(name, _HandClock(self, name), states[name]) for name in states}
        self.witness = Witness(
            {name: Place(name, states[name], hand.properties.names.folded) for name, hand in self._hands.items()},
            caseless=bool(self.setting.caseless),
            hidden=bool(self.setting.patterns) or self.setting.bucket,
        )
        self._persons = {
            name: Person(hand, self._others(name), bucket=self._is_bucket(name)) for name, hand in self._hands.items()
        }
        self.machines: dict[str, Machine] = {}
        for name in self.setting.machines:
            directory = base / name
            directory.mkdir()
            if template is not None:
                shutil.copyfile(template, directory / "state.db")
            self.machines[name] = Machine(name, directory, self)
        self.figures: Counter[str] = Counter()
        self._filter: PatternFilter | None = None

    # -- what the machines see (`Around`) ------------------------------------------------------------------------

    def seconds(self) -> float:
        """As `Around.seconds`."""
        return 0.0 if self.loop is None else self.loop.time()

    def wall_ns(self, place: str) -> int:
        """As `Around.wall_ns`; every look moves it on a little."""
        self._ticks += 1
        return START_NS + int((self.seconds() + self._skews.get(place, 0.0)) * 1e9) + self._ticks * 1000

    def say(self, text: str) -> None:
        """As `Around.say`."""
        self.trace.append(f"{self.seconds():.4f} {text}")

    def unique(self) -> str:
        """As `Around.unique`."""
        self._names += 1
        return f"{self._names:08x}"

    def store(self, place: str, clock: LifeClock, *, stale: bool = False) -> MemoryStore | None:
        """As `Around.store`."""
        state = self.witness.places[place].state
        if stale:
            earlier = self.witness.places[place].earlier
            if not earlier:
                return None
            state = MemoryState(nodes=dict(earlier[0 if len(earlier) < 3 else -2]))
        return self._opened(place, clock, state)

    def act(self, act: Act, hot: Key | None) -> None:
        """As `Around.act`."""
        done = self._persons[act.place].act(act, hot)
        changes = self.witness.look(act.place, None)
        self.figures["acts"] += bool(changes)
        if changes and act.what in ("rename case", "clash", "change kind"):
            self.figures[act.what] += 1
        if self.setting.bucket and act.place == "shared":
            self.figures["mixed"] += mixed(self.witness.places["shared"].files())
        self.say(f"somebody at {act.place} {done} | {'; '.join(changes)}")

    def _opened(self, place: str, clock: Clock, state: MemoryState) -> MemoryStore:
        return MemoryStore(
            f"memory://{place}",
            clock=clock,
            state=state,
            filter=None if isinstance(clock, _HandClock) else self._filter,
            directories=not self._is_bucket(place),
            case_sensitive=place not in self.setting.caseless,
            tick_ns=self.setting.tick_ns,
            free_fingerprints=self.setting.free_fingerprints,
            batch_rows=self.setting.batch_rows,
        )

    def _is_bucket(self, place: str) -> bool:
        return self.setting.bucket and place == SHARED

    def _others(self, place: str) -> Callable[[], dict[Key, bytes]]:
        def others() -> dict[Key, bytes]:
            return {
                key: data
                for name in self._hands
                if name != place and (name == SHARED or place == SHARED)
                for key, data in self.witness.places[name].files().items()
            }

        return others

    # -- the story -----------------------------------------------------------------------------------------------

    async def happen(self, loop: SeededLoop) -> None:
        """All of it; ends at the first thing that must not be."""
        self.loop = loop
        self._begin()
        for step in self.story.steps:
            await self._step(step)
            if self.witness.broken:
                return
        await self._rest()

    def _begin(self) -> None:
        for n, (name, size) in enumerate(self.story.files):
            for hand in self._hands.values():
                hand.put(name, content(n, size), modified_ns=START_NS - 3_600_000_000_000)
        for name in self._hands:
            self.witness.look(name, None)
        if self.setting.agreed:
            for machine in self.machines.values():
                number = machine.state.remember_target(machine.target)
                machine.state.set_ancestors(number, self._agreed(machine.name))
                Life(machine, Visit(machine.name)).remembered()

    def _agreed(self, name: str) -> list[tuple[Key, Ancestor]]:
        local, remote = self.witness.places[name].state.nodes, self.witness.places[SHARED].state.nodes
        agreed = []
        for key in sorted(local.keys() & remote.keys()):
            mine, theirs = local[key], remote[key]
            folder = mine.kind is Kind.DIRECTORY
            printed = None if folder else Fingerprint("blake3", self.witness.digest(mine.data))
            held = Content(mine.kind, len(mine.data), printed)
            agreed.append((mine.key, Ancestor(mine.token, theirs.token, held)))
        return agreed

    async def _step(self, step: Step) -> None:
        for act in step.acts:
            if act.place in self._persons:
                self.act(act, None)
        for place, seconds in step.jumps:
            if place in self._skews:
                self._skews[place] += seconds
                self.say(f"the clock of {place} jumps by {seconds} s")
        if step.excludes is not None:
            self._set_filter(applies=step.excludes)
        assert self.loop is not None
        self.loop.skip(0.01)
        lives = [Life(self.machines[v.machine], v) for v in step.visits if v.machine in self.machines]
        for n, life in enumerate(lives):
            if life.name in {earlier.name for earlier in lives[:n]}:
                life.open_state()
                self.figures["processes beside"] += 1
            self._start(life)
        for life in lives:
            await life.ended
            life.close_state()
            self.figures["locked out"] += life.locked_out
            self.figures["faults"] += life.troubles.injected
            self.figures["runs"] += 1
            self.figures["kills"] += life.dead

    def _set_filter(self, *, applies: bool) -> None:
        patterns = PatternFilter(exclude=self.setting.patterns) if applies else None
        self.figures["filter changes"] += (patterns is None) != (self._filter is None)
        self._filter = patterns
        self.say(f"the filter is {self.setting.patterns if applies else 'nothing'}")

        def excluded(key: Key) -> bool:
            return patterns is not None and (
                patterns.excludes(key.rstrip("/"), directory=is_directory(key))
                or any(patterns.excludes(directory[:-1], directory=True) for directory in parents(key))
            )

        self.witness.excluded = excluded

    def _start(self, life: Life) -> None:
        assert self.loop is not None
        context = copy_context()
        context.run(OWNER.set, life)
        life.say(f"{life.visit.what} begins")
        self.loop.create_task(life.live(), context=context)

    # -- rest ----------------------------------------------------------------------------------------------------

    async def _rest(self) -> None:
        """No faults, nobody who disturbs: everything comes to rest, and then nothing is done any more."""
        assert self.loop is not None
        for place, person in self._persons.items():
            person.clear_all()
            self.witness.look(place, None)
        self.say("nobody disturbs any more")
        self.loop.skip(7200.0)
        for n in range(ROUNDS):
            quiet = [await self._round(machine, n) for machine in self.machines.values()]
            if all(quiet):
                for life in filter(None, quiet):
                    self.witness.tidy(life)
            if all(quiet) or self.witness.broken:
                return
            self.loop.skip(60.0)
        self.witness.wrong("3", f"{ROUNDS} undisturbed rounds did not come to rest")

    async def _round(self, machine: Machine, n: int) -> Life | None:
        """One undisturbed run; None if there was something to do."""
        foreseen: Plan | None = None
        if n == 0 and self.story.seed % 3 == 0:
            foreseen = await self._look(machine)
        before = self._everything()
        life = rest(machine, self.story.seed + n)
        self._start(life)
        await life.ended
        self.figures["runs"] += 1
        report = life.report
        if report is None:
            self.witness.wrong("6", f"{machine.name} cannot run in a quiet world: {self.trace[-1]}")
            return life
        if foreseen is not None and self._outline(foreseen) != self._outline(report.plan):
            self.witness.wrong("5", f"{machine.name} did not do what it said before: {_apart(foreseen, report.plan)}")
        if report.plan.needs_apply:
            return None
        if self._everything() != before:
            self.witness.wrong("3", f"{machine.name} had nothing to do, and did something: {self.trace[-5:]}")
        self._check_rest(machine, life, report.plan)
        return life

    def _outline(self, plan: Plan) -> object:
        """The plan; but where listings tell no times, a second look need not ask for them: it knows the content.

        Then it does not know whether what is agreed is old enough to be remembered, either.
        """
        if self.setting.complete_rows:
            return plan.items
        return [
            (item.key, item.reason, item.phase, [(step.verb, step.side, step.expect) for step in item.steps])
            for item in plan.items
            if item.reason is not Reason.AGREE
        ]

    async def _look(self, machine: Machine) -> Plan:
        """A dry run, which writes nothing."""
        before = self._everything()
        life = rest(machine, self.story.seed)
        plan = await look(life.job())
        if self._everything() != before:
            self.witness.wrong("5", f"{machine.name} wrote something in a dry run")
        return plan

    def _check_rest(self, machine: Machine, life: Life, plan: Plan) -> None:
        number = machine.state.find_target(machine.target)
        if number is not None and (killed := Journal(machine.state).killed(number)):
            self.witness.wrong("6", f"runs of {machine.name} never ended: {killed}")
        self.witness.at_rest(life, plan, _open_reasons(self.setting))

    def _everything(self) -> object:
        """All that is durable, but for digests, which are a cache."""
        places = {
            name: (dict(place.state.nodes), set(place.state.trash), place.state.marker)
            for name, place in self.witness.places.items()
        }
        remembered = []
        for machine in self.machines.values():
            with machine.state.reading() as connection:
                remembered.append(connection.execute("SELECT * FROM ancestors ORDER BY target, key").fetchall())
        return places, remembered

    def told(self) -> Told:
        """What came of it."""
        assert self.loop is not None
        figures = self.figures + self.witness.figures
        figures["versions"] = len(self.witness.ever)
        figures["turns"] = self.loop.steps
        ends = {name: place.files() for name, place in self.witness.places.items()}
        return Told(self.story, self.trace, self.witness.broken, figures, ends)


class _HandClock(LogicalClock):
    """The wall clock of a place, for a person."""

    def __init__(self, world: World, place: str) -> None:
        super().__init__()
        self._world = world
        self._place = place

    def now_ns(self) -> int:
        """The place's wall clock."""
        return self._world.wall_ns(self._place)


def _open_reasons(setting: Setting) -> set[str]:
    """Why something may differ between the sides at rest."""
    policy = setting.policy
    reasons = {Reason.UNKNOWN, Reason.BLOCKED, Reason.HELD, Reason.SKIPPED}
    if policy.direction is not Direction.BIDIRECTIONAL:
        reasons |= {Reason.ONLY_LOCAL, Reason.ONLY_REMOTE, Reason.KEPT_LOCAL, Reason.KEPT_REMOTE}
        reasons |= {Reason.MISSING_LOCAL, Reason.MISSING_REMOTE, Reason.MOVED}
    if setting.bucket:
        reasons.add(Reason.KIND_CONFLICT)
    if setting.patterns:
        reasons.add(Reason.KIND_CONFLICT)  # a directory that holds what belongs to nobody makes way for no file
    if policy.deletes is Deletes.REPORT:
        reasons |= {Reason.MISSING_LOCAL, Reason.MISSING_REMOTE}
    if policy.conflict in (Conflict.MANUAL, Conflict.NEWEST_WINS):
        reasons.add(Reason.CONFLICT)
    if policy.conflict in (Conflict.MANUAL, Conflict.NEWEST_WINS, Conflict.BACKUP_BOTH):
        reasons.add(Reason.KIND_CONFLICT)
    if policy.conflict is Conflict.BACKUP_BOTH:
        reasons.add(Reason.CONFLICT)  # of a sibling
    return {reason.value for reason in reasons}


def _apart(one: Plan, other: Plan) -> str:
    before, after = ([i for i in a.items if i not in b.items] for a, b in ((one, other), (other, one)))
    return f"{before} and {after}"
