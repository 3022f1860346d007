"""A job: everything one run of one target needs, put together before it begins."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from trueup.core.audit import Method
from trueup.core.check import Guard, Limits
from trueup.core.model import Key, Shown, Side
from trueup.core.plan import Item, Plan, Step, Target
from trueup.core.report import Outcome
from trueup.core.strategy import Conflict, Policy
from trueup.core.table import Verb
from trueup.engine.ambient import Ambient
from trueup.engine.journal import Journal
from trueup.engine.pace import Pace
from trueup.engine.state import State
from trueup.engine.wrap import Patience, Protected
from trueup.protocols import Store


@dataclass(frozen=True, slots=True)
class Progress:
    """Something happened. Counts are of the whole phase so far."""

    phase: str
    """``observe``, ``look closer`` or ``execute``."""
    side: Side | None = None
    done: int = 0
    """Items."""
    total: int | None = None
    bytes: int = 0
    total_bytes: int | None = None
    current: str = ""
    """The key at hand."""
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True)
class Audit:
    """Recorded against real: what the engine has to know of a kind whose sides have no ancestor."""

    method: Method
    record: Side
    """The side that records."""
    closer: Callable[[Job, Sights], Awaitable[tuple[Sights, Method]]] | None = None
    """Finds out what listings do not tell and the comparison needs, digests usually, and with it how to compare: the
    method that it answers counts in place of `method`, and writes no sides but those that `method` writes."""

    @property
    def writes(self) -> frozenset[Side]:
        """The sides that some rule of the table writes."""
        return frozenset(act.side for rule in self.method.table.rules.values() for act in rule.acts)


Sights = Mapping[Side, Mapping[Key, Shown]]
"""What each side showed."""


@dataclass(frozen=True, slots=True)
class Check:
    """Judges content before it may replace anything, on either side."""

    problem: Callable[[Key, bytes], str | None]
    """Why the content must not be published under this key; None if it may. Blocks."""
    most_bytes: int
    """Larger content is not read, and not published."""
    seconds: float = 300.0
    """For reading one candidate."""


@dataclass(frozen=True, slots=True)
class Job:
    """One target, its sides opened, and how this run goes about it."""

    target: Target
    policy: Policy
    stores: Mapping[Side, Store]
    state: State
    ambient: Ambient
    limits: Limits = field(default_factory=Limits)
    pace: Pace = field(default_factory=lambda: Pace(8))
    patience: Patience = field(default_factory=Patience)
    command: str = ""
    """What a person typed, for the history."""
    verify: bool = False
    """Whether every byte is read and compared, whatever the versions say."""
    glance: bool = False
    """Whether no content is read to compare with a record: what versions and digests of before do not tell stays open,
    and size and time decide."""
    allow: frozenset[Guard] = frozenset()
    """Guards that let this one run pass."""
    resolve: Mapping[Key, Conflict] = field(default_factory=lambda: MappingProxyType({}))
    """Strategies for single keys, a person's decision."""
    select: Callable[[Item], bool] | None = None
    """Which changes of the plan are wanted; None: all."""
    on_progress: Callable[[Progress], None] = lambda _: None
    act: Callable[[Step], Awaitable[None]] | None = None
    """Carries out a step that is no change of a side: stops a container, empties a cache."""
    check: Check | None = None
    """What content must be like to be written; None: anything is."""
    after: Callable[[Plan, Sequence[Item]], Awaitable[tuple[Item, ...]]] | None = None
    """The after-steps that a plan calls for, and those that the latest run has left undone, as far as they still are
    wanted; `act` carries them out."""
    permit: Callable[[Plan], None] | None = None
    """Raises, before anything is written, where the plan does what nobody has approved; None: all of it may be done."""
    needs: Mapping[str, Callable[[], str]] = field(default_factory=lambda: MappingProxyType({}))
    """What a run needs beside its sides, by name: each says where it is, or raises TrueupError. They block."""
    retention_seconds: float | None = None
    """How long versions stay in the trash, the last copy of anything apart; None: until somebody prunes it."""
    audit: Audit | None = None
    """How sides that have no ancestor are compared, with a record; None: two sides with an ancestor."""
    draining: Callable[[], bool] = lambda: False
    """Whether the run has been asked to finish what is under way and stop."""

    @property
    def journal(self) -> Journal:
        """The journal in the job's state."""
        return Journal(self.state)

    def writes(self, side: Side) -> bool:
        """Whether a run may write the side."""
        if self.audit is not None:
            return side in self.audit.writes
        return self.policy.direction.writes(side)

    @property
    def written(self) -> tuple[Side, ...]:
        """The sides that a run may write."""
        return tuple(side for side in self.stores if self.writes(side))

    @property
    def movable(self) -> tuple[Side, ...]:
        """Sides on which an item may, and can, be given another name."""
        return tuple(
            side for side in self.stores if self.writes(side) and Verb.MOVE in self.stores[side].properties.verbs
        )

    async def number(self) -> int | None:
        """The target's row in the state; None if it was never applied."""
        return await self.ambient.threads(self.state.find_target, self.target)

    async def markers(self) -> Mapping[Side, str]:
        """Identities of the roots when the target was last applied."""
        return await self.ambient.threads(self.state.markers, await self.number())

    def protected(self) -> Job:
        """The same job, unable to write any side."""
        return replace(self, stores={side: Protected(store) for side, store in self.stores.items()})

    def policy_for(self, key: Key) -> Policy:
        """The policy, with a person's decision about this key."""
        chosen = self.resolve.get(key)
        return self.policy if chosen is None else replace(self.policy, conflict=chosen)
