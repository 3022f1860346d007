"""Robot policies: what a registry records against the weights on disk. Images inform, and decide nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field

from trueup.core.audit import Method
from trueup.core.check import Limits
from trueup.core.model import Entry, Key, Record, Recorded, Shown, Side
from trueup.core.plan import Target
from trueup.core.table import Act, Rule, Standing, Table, Verb

KIND = "policies"
RECORD, DISK, ENGINE = Side("record"), Side("disk"), Side("engine")

MISSING = "weights_missing"
DAMAGED = "weights_damaged"
UNREGISTERED = "unregistered"


@dataclass(frozen=True, slots=True)
class Policies:
    """One target of kind ``policies``."""

    name: str = KIND
    registry: str = ""
    """Path of the registry; empty: `trueup.stores.registry` says where it is."""
    root: str = ""
    """Folder of the weights; empty: beside the registry."""
    docker: str = ""
    """URL of the container engine; empty: as its own client finds it."""
    adopt: bool = False
    """Whether weights that nothing records are recorded."""
    limits: Limits = field(default_factory=Limits)
    only: tuple[Key, ...] = ()
    """Entries whose weights are read where all is verified; empty: all."""

    def target(self, locations: Mapping[Side, str]) -> Target:
        """The identity of this target: which registry, and which folder."""
        canonical = "\0".join((KIND, locations[RECORD], locations[DISK]))
        identity = hashlib.sha256(canonical.encode("utf-8", "surrogateescape")).hexdigest()[:16]
        return Target(identity, self.name, KIND, dict(locations))


def table(*, adopt: bool) -> Table:
    """What is to be done for each thing that registry and disk can hold. Weights are never touched.

    Args:
        adopt: Whether weights without a record are recorded.
    """
    unregistered = Rule(UNREGISTERED, standing=Standing.UNREGISTERED, why="weights that no entry of the registry names")
    if adopt:
        unregistered = Rule("adopted", (Act(Verb.RECORD_ADD, RECORD, DISK),), why="weights on disk: recorded")
    return Table(
        (RECORD, DISK),
        {
            "aa": Rule("agree"),
            "ab": Rule("differs", standing=Standing.DAMAGED, why="other weights than were recorded"),
            "a-": Rule(MISSING, (Act(Verb.RECORD_REMOVE, RECORD),), why="recorded, and its weights are not on disk"),
            "ax": Rule(DAMAGED, standing=Standing.DAMAGED, why="{disk}"),
            "-a": unregistered,
            "-x": Rule("unregistered_damaged", standing=Standing.DAMAGED, why="no entry names it, and {disk}"),
        },
        damageable=(DISK,),
    )


def method(*, adopt: bool, path_of: Callable[[str, str], str] = lambda name, version: f"{name}/{version}") -> Method:
    """How the sides are compared: weights are whole or they are not, which their side says itself.

    Args:
        adopt: As `table`.
        path_of: The folder of the weights of a name and a version.
    """

    def record(key: Key, seen: Mapping[Side, Shown], _: Act) -> Record:
        name, version = key.split(":", 1)
        disk = seen.get(DISK)
        pulled = disk.modified_ns / 1e9 if isinstance(disk, Entry) else 0.0
        fields = {"name": name, "version": version, "image": "", "path": path_of(name, version), "repo": None}
        return Record.of({**fields, "pulled_at": pulled})

    return Method(table(adopt=adopt), _identity, record)


def _identity(_: Side, __: Entry | Recorded) -> Hashable:
    return "present"
