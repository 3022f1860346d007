"""A story: everything that happens, as a value. A seed makes one; what shrinks it takes something away."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random

from tests.simulation.loop import Order

from trueup.core.strategy import Conflict, Deletes, Direction, Keep, Policy

NAMES = ("a", "b.txt", "c.d.e", "d/a", "d/b.txt", "d/e/c", "d/e/f", "g/h", "i", "j.txt", "k/l", "m", "n.txt")
CLASHES = ("a/x", "d", "g/h/y", "k")
"""Names that are a directory, or lie below a file, where the usual ones are otherwise."""
HOSTILE = ("../e", "/lead", "a//b", "o/")
"""Names that no file system holds; a bucket can."""

PLACES = ("A", "B", "shared")
"""The local sides of two machines, and the remote side that they share."""

WORDS = (
    "write", "write", "write", "write", "write", "create", "create", "delete", "delete", "rename", "rename", "copy",
    "touch", "delete folder", "rename folder", "make folder", "change kind", "obstruct", "clear",
)  # fmt: skip
"""What a person does."""

EACH = 8
"""One seed in so many knows nothing but crashes: its story is told twice, with and without, to the same end."""

PATTERNS = (("*.txt",), ("a", "i"), ("d",))
"""What belongs to nobody, as long as the filter says so."""

HARMS = ("fault", "fault", "fault", "effect", "effect", "listing", "stale", "lie")


@dataclass(frozen=True, slots=True)
class Act:
    """Something that a person does. Which item it concerns follows from what is there when it happens."""

    what: str
    place: str
    which: int
    """Negative: what the engine has just called a store about, if that can be."""
    to: int = 0
    n: int = 0
    """Makes contents unique."""
    size: int = 8


@dataclass(frozen=True, slots=True)
class Trouble:
    """What happens to a call of a store."""

    at: int
    """The call's number within the visit."""
    what: str
    pick: int = 0
    part: float = 0.5


@dataclass(frozen=True, slots=True)
class Visit:
    """One use of the engine on one machine."""

    machine: str
    what: str = "run"
    """``run``, ``undo``, ``prune``, or ``apply``: plan first, carry it out later."""
    seed: int = 0
    troubles: tuple[Trouble, ...] = ()
    acts: tuple[tuple[int, Act], ...] = ()
    """Before the so-manieth await of a store or a thread."""
    crash_at: int | None = None
    """The turn of the loop, counted for this machine, that is its last."""


@dataclass(frozen=True, slots=True)
class Step:
    """First the person, then the clocks, then the visits, all of them at once."""

    acts: tuple[Act, ...] = ()
    jumps: tuple[tuple[str, float], ...] = ()
    """By how many seconds whose wall clock jumps."""
    visits: tuple[Visit, ...] = ()
    """Several of one machine are as many processes with one state."""
    excludes: bool | None = None
    """Whether the filter applies from now on; None: as before."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What does not change during a story."""

    policy: Policy = field(default_factory=Policy)
    machines: tuple[str, ...] = ("A",)
    bucket: bool = False
    agreed: bool = True
    """Whether the trees were in agreement at first; if not, there are no ancestors."""
    order: Order = Order.EVEN
    most: int = 4
    """Items in flight at once."""
    attempts: int = 2
    batch_rows: int = 4
    tick_ns: int = 0
    free_fingerprints: bool = False
    ordered: bool = True
    complete_rows: bool = True
    locks: bool = True
    """Whether the shared side keeps a second machine away."""
    skews: tuple[tuple[str, float], ...] = ()
    caseless: tuple[str, ...] = ()
    """Where ``A`` and ``a`` are one name."""
    patterns: tuple[str, ...] = ()
    """The filter."""


@dataclass(frozen=True, slots=True)
class Story:
    """A seed's story, or what is left of it."""

    seed: int
    setting: Setting
    files: tuple[tuple[str, int], ...]
    """Names and sizes of the tree before it was perturbed."""
    steps: tuple[Step, ...]

    @property
    def crashes_only(self) -> bool:
        """Whether nobody and nothing disturbs a single machine but the loss of its power.

        What is unreadable becomes readable in the end, so that it matters how many runs there were before.
        """
        visits = [visit for step in self.steps for visit in step.visits]
        return (
            len(self.setting.machines) == 1
            and not any(step.acts or step.jumps for step in self.steps[1:])
            and not any(act.what == "obstruct" for step in self.steps for act in step.acts)
            and not any(visit.acts or visit.troubles or visit.what != "run" for visit in visits)
            and any(visit.crash_at is not None for visit in visits)
        )

    @property
    def has_mirror(self) -> bool:
        """Whether the sides can be swapped: they can do the same, and nothing tells them apart but the policy."""
        s = self.setting
        told_apart = s.policy.conflict is Conflict.NEWEST_WINS and bool(
            s.skews
        )  # the future is the local side's to say
        present = {*s.machines, "shared"}
        if any(act.place not in present for step in self.steps for act in step.acts):
            return False  # one that was shortened
        return self.crashes_only and not (
            s.bucket or s.caseless or told_apart or s.policy.conflict is Conflict.BACKUP_BOTH
        )

    def text(self) -> str:
        """For people."""
        s = self.setting
        policy = f"{s.policy.direction} {s.policy.conflict} {s.policy.deletes} keep={s.policy.keep}"
        lines = [f"seed {self.seed}: {policy}, {s}", f"  files: {', '.join(f'{n}:{z}' for n, z in self.files)}"]
        for n, step in enumerate(self.steps, 1):
            lines += [f"  step {n}"]
            lines += [] if step.excludes is None else [f"    filter: {step.excludes}"]
            lines += [f"    {act}" for act in step.acts]
            lines += [f"    clock of {who} jumps by {seconds} s" for who, seconds in step.jumps]
            for visit in step.visits:
                crash = "" if visit.crash_at is None else f", dies at its turn {visit.crash_at}"
                lines += [f"    {visit.machine} does {visit.what} (seed {visit.seed}){crash}"]
                lines += [f"      {trouble}" for trouble in visit.troubles]
                lines += [f"      at await {moment}: {act}" for moment, act in visit.acts]
        return "\n".join(lines)


def write(seed: int) -> Story:
    """The story of a seed."""
    return _Author(seed).story()


def calm(story: Story) -> Story:
    """The same story without crashes, and in another order."""
    steps = [
        replace(step, visits=tuple(replace(v, crash_at=None, seed=v.seed + 1) for v in step.visits))
        for step in story.steps
    ]
    setting = replace(story.setting, order=Order.FIRST, most=9 - story.setting.most)
    return replace(story, setting=setting, steps=tuple(steps))


def mirrored(story: Story) -> Story:
    """The same with the sides swapped."""
    places = {"A": "shared", "shared": "A"}
    setting = story.setting
    mirror = {
        Direction.PULL: Direction.PUSH,
        Direction.PUSH: Direction.PULL,
        Conflict.LOCAL_WINS: Conflict.REMOTE_WINS,
        Conflict.REMOTE_WINS: Conflict.LOCAL_WINS,
    }
    policy = setting.policy
    direction, conflict = mirror.get(policy.direction, policy.direction), mirror.get(policy.conflict, policy.conflict)
    policy = replace(policy, direction=Direction(direction), conflict=Conflict(conflict))
    skews = tuple((places[place], seconds) for place, seconds in setting.skews if place in places)
    steps = [
        replace(step, acts=tuple(replace(act, place=places[act.place]) for act in step.acts)) for step in story.steps
    ]
    return replace(story, setting=replace(setting, policy=policy, skews=skews), steps=tuple(steps))


class _Author:
    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.more = Random(f"{seed} more")
        self.contents = 1000

    def story(self) -> Story:
        random = self.random
        only_crashes = self.seed % EACH == 0
        setting = self.named(self.setting())
        if only_crashes:
            setting = replace(setting, machines=("A",), patterns=())
        names = random.sample(NAMES, random.randint(3, min(12, len(NAMES))))
        files = tuple((name, self.size()) for name in sorted(names))
        first = Step(tuple(self.act(place) for place in self.places(setting) for _ in range(random.randint(0, 4))))
        steps = [replace(first, acts=(*self.about_names(setting, clashes=not only_crashes), *first.acts))]
        if only_crashes:
            visits = [Visit("A", seed=random.randrange(2**32), crash_at=random.randint(20, 300)) for _ in range(3)]
            steps += [Step(visits=(visit,)) for visit in visits[: random.randint(1, 3)]]
            return Story(self.seed, setting, files, tuple(steps))
        for _ in range(random.randint(1, 3)):
            steps.append(self.step(setting))
        return Story(self.seed, setting, files, tuple(self.crowded(step, setting) for step in steps))

    # -- drawn apart from the rest, which stays as it was ------------------------------------------------------------

    def named(self, setting: Setting) -> Setting:
        """The setting, some with names that are one or that nobody wants; some whose bucket clashes are settled."""
        more, policy = self.more, setting.policy
        caseless = more.choice([("A", "B"), ("shared",)]) if more.random() < 0.12 else ()
        patterns = more.choice(PATTERNS) if more.random() < 0.15 else ()
        insists = len(setting.machines) > 1 and policy.direction is Direction.PUSH
        if setting.bucket and more.random() < 0.2 and not insists:
            policy = replace(policy, conflict=Conflict.LOCAL_WINS)
        return replace(setting, caseless=caseless, patterns=patterns, policy=policy)

    def about_names(self, setting: Setting, *, clashes: bool) -> tuple[Act, ...]:
        """Done first of all, while both trees are the same: so that the same choice meets the same item."""
        more, acts = self.more, []
        if clashes and setting.bucket and more.random() < 0.4:
            which, to = more.randrange(1000), more.randrange(3)
            acts += [Act("clash", "shared", which, to, 1), Act("write below", "A", which, to, 2)]
        if setting.caseless:
            places = self.places(setting)
            acts += [Act("rename case", more.choice(places), more.randrange(1000), n=n) for n in (3, 4)]
        return tuple(acts)

    def crowded(self, step: Step, setting: Setting) -> Step:
        """The step, some with another process on the same machine, a prune, or another filter."""
        more = self.more
        if not step.visits:
            return step
        visits = list(step.visits)
        machine = more.choice(visits).machine
        if more.random() < 0.15:
            visits.append(replace(self.another(machine), crash_at=more.choice([None, more.randint(1, 300)])))
        if more.random() < 0.25:
            visits.append(replace(self.another(machine), what="prune"))
        excludes = more.choice([True, True, False]) if setting.patterns else None
        return replace(step, visits=tuple(visits), excludes=excludes)

    def another(self, machine: str) -> Visit:
        return Visit(machine, seed=self.more.randrange(2**32))

    # ----------------------------------------------------------------------------------------------------------------

    @staticmethod
    def places(setting: Setting) -> tuple[str, ...]:
        return (*setting.machines, "shared")

    def setting(self) -> Setting:
        random = self.random
        machines = ("A", "B") if random.random() < 0.3 else ("A",)
        policy = self.policy(both=len(machines) > 1)
        # Whether a time is too young to be trusted is for one clock to say: two that differ by more cannot.
        tick_ns = random.choice([0, 0, 50_000_000, 2_000_000_000]) if policy.keep is Keep.ALL else 0
        skewed = [machine for machine in machines if random.random() < 0.3 and not tick_ns]
        return Setting(
            policy=policy,
            machines=machines,
            bucket=random.random() < 0.4,
            agreed=random.random() < 0.8,
            order=random.choice([Order.EVEN, Order.EVEN, Order.RANKED, Order.FIRST, Order.LAST]),
            most=random.choice([1, 2, 4, 8]),
            attempts=random.choice([0, 2, 2]),
            batch_rows=random.choice([2, 5, 100, 100]),
            tick_ns=tick_ns,
            free_fingerprints=random.random() < 0.2,
            ordered=random.random() < 0.95,
            complete_rows=random.random() < 0.6,
            locks=random.random() < 0.5,
            skews=tuple((machine, random.uniform(-7200, 7200)) for machine in skewed),
        )

    def policy(self, *, both: bool) -> Policy:
        random = self.random
        direction = random.choice([Direction.BIDIRECTIONAL, Direction.BIDIRECTIONAL, Direction.PULL, Direction.PUSH])
        conflict = random.choice(list(Conflict))
        if both and direction is Direction.PUSH and conflict in (Conflict.LOCAL_WINS, Conflict.BACKUP_BOTH):
            conflict = Conflict.MANUAL  # two machines that both insist never come to rest
        keep = random.choice([Keep.ALL, Keep.ALL, Keep.ALL, Keep.CONFLICTS, Keep.NONE])
        return Policy(direction, conflict, random.choice([Deletes.PROPAGATE, *Deletes]), keep)

    def size(self) -> int:
        return self.random.choice([8, 8, 8, 16, 40])

    def act(self, place: str, *, aimed: bool = False) -> Act:
        random = self.random
        self.contents += 1
        which = -1 if aimed and random.random() < 0.6 else random.randrange(1000)
        return Act(random.choice(WORDS), place, which, random.randrange(1000), self.contents, self.size())

    def step(self, setting: Setting) -> Step:
        random = self.random
        places = self.places(setting)
        acts = tuple(self.act(random.choice(places)) for _ in range(random.choice([0, 0, 1, 2, 4])))
        jumps: tuple[tuple[str, float], ...] = ()
        if random.random() < 0.15 and not setting.tick_ns:
            jumps = ((random.choice(places), random.choice([-86_400.0, -5.0, 3.0, 3600.0])),)
        machines = list(setting.machines)
        random.shuffle(machines)
        together = machines if random.random() < 0.7 else machines[:1]
        return Step(acts, jumps, tuple(self.visit(machine, setting) for machine in together))

    def visit(self, machine: str, setting: Setting) -> Visit:
        random, places = self.random, self.places(setting)
        what = random.choices(["run", "undo", "apply"], [8, 1, 1])[0]
        troubles = tuple(self.trouble(setting) for _ in range(random.choice([0, 0, 1, 2, 5])))
        acts = tuple(
            (random.randint(1, 80), self.act(random.choice(places), aimed=True))
            for _ in range(random.choice([0, 0, 1, 2, 4]))
        )
        crash_at = random.randint(1, 400) if random.random() < 0.35 else None
        return Visit(machine, what, random.randrange(2**32), troubles, tuple(sorted(acts, key=_moment)), crash_at)

    def trouble(self, setting: Setting) -> Trouble:
        random = self.random
        # A store that lies about a sibling, and no trash: nobody could save that.
        harms = HARMS if setting.policy.keep is Keep.ALL else HARMS[:-1]
        return Trouble(random.randint(1, 45), random.choice(harms), random.randrange(1000), random.random())


def _moment(pair: tuple[int, Act]) -> int:
    return pair[0]
