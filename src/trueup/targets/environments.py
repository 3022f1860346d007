"""Environments of robot simulations: what a registry records against the images that the container engine holds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field

from trueup.core.audit import Method
from trueup.core.check import Limits
from trueup.core.model import Entry, Key, Record, Recorded, Shown, Side
from trueup.core.plan import Target
from trueup.core.table import Act, Rule, Standing, Table, Verb

KIND = "envs"
RECORD, ENGINE = Side("record"), Side("engine")

MISSING = "image_missing"
UNREGISTERED = "unregistered"


@dataclass(frozen=True, slots=True)
class Environments:
    """One target of kind ``envs``."""

    name: str = KIND
    registry: str = ""
    """Path of the registry; empty: `trueup.stores.registry` says where it is."""
    docker: str = ""
    """URL of the container engine; empty: as its own client finds it."""
    adopt: bool = False
    """Whether images that are labelled as environments and recorded nowhere are recorded."""
    limits: Limits = field(default_factory=Limits)

    def target(self, locations: Mapping[Side, str]) -> Target:
        """The identity of this target: which registry, and which engine."""
        canonical = "\0".join((KIND, locations[RECORD], locations[ENGINE]))
        identity = hashlib.sha256(canonical.encode("utf-8", "surrogateescape")).hexdigest()[:16]
        return Target(identity, self.name, KIND, dict(locations))


def table(*, adopt: bool) -> Table:
    """What is to be done for each thing that registry and engine can hold. Images are never touched.

    Args:
        adopt: Whether labelled images without a record are recorded.
    """
    unregistered = Rule(
        UNREGISTERED, standing=Standing.UNREGISTERED, why="an environment that the registry does not name"
    )
    if adopt:
        unregistered = Rule(
            "adopted", (Act(Verb.RECORD_ADD, RECORD, ENGINE),), why="an image of an environment: recorded"
        )
    return Table(
        (RECORD, ENGINE),
        {
            "aa": Rule("agree"),
            "ab": Rule("differs", standing=Standing.DAMAGED, why="another image than was recorded"),
            "a-": Rule(
                MISSING, (Act(Verb.RECORD_REMOVE, RECORD),), why="recorded, and the engine does not hold its image"
            ),
            "ax": Rule("image_damaged", standing=Standing.DAMAGED, why="{engine}"),
            "-a": unregistered,
            "-x": Rule("unregistered_damaged", standing=Standing.DAMAGED, why="no entry names it, and {engine}"),
        },
        damageable=(ENGINE,),
    )


def method(*, adopt: bool, image_of: Callable[[Key], str | None] = lambda _: None) -> Method:
    """How the sides are compared: the engine holds the image that the record names, or it does not.

    Args:
        adopt: As `table`.
        image_of: The name of the image that the engine has shown as an item.
    """

    def record(key: Key, seen: Mapping[Side, Shown], _: Act) -> Record:
        engine = seen.get(ENGINE)
        pulled = engine.modified_ns / 1e9 if isinstance(engine, Entry) else 0.0
        return Record.of({"name": key, "image": image_of(key) or key, "pulled_at": pulled})

    return Method(table(adopt=adopt), _identity, record)


def _identity(_: Side, __: Entry | Recorded) -> Hashable:
    return "present"
