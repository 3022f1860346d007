"""Two folders, the second reached by a URL: the general kind of target."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from trueup.core.check import Limits
from trueup.core.model import LOCAL, REMOTE, Side
from trueup.core.plan import Target
from trueup.core.strategy import Policy

KIND = "folder"


@dataclass(frozen=True, slots=True)
class Selection:
    """Which items belong to the target, by gitignore patterns and by size."""

    include: tuple[str, ...] = ()
    """Where given, only files that match one of these belong."""
    exclude: tuple[str, ...] = ()
    min_size: int | None = None
    """Bytes."""
    max_size: int | None = None
    """Bytes."""
    defaults: bool = True
    """Whether version control, caches and temporary files are excluded."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """How hard a run works; never what it decides."""

    max_concurrent: int = 8
    """Items in flight at once; fewer while a store asks to slow down."""
    timeout_seconds: float = 300.0
    """Per attempt at one item."""
    retry_attempts: int = 2
    """Further attempts after the first."""
    retry_delay_seconds: float = 0.5
    """Before the first further attempt; doubled, with jitter, for each one after."""
    bytes_per_second: int | None = None
    """Bandwidth of each side, all items together; None: no limit."""


class Nature(Protocol):
    """What is known of the files of a target, where it is more than that they are files."""

    @property
    def kind(self) -> str:
        """The kind of the target."""
        ...


@dataclass(frozen=True, slots=True)
class Folders:
    """Two folders: a target of kind ``folder``, or of a kind that knows more of its files."""

    name: str
    local: tuple[str, ...]
    """One or more folders. Several are named by their last component, and keys begin with that name."""
    remote: str
    """A path or a ``file://`` URL."""
    policy: Policy = field(default_factory=Policy)
    limits: Limits = field(default_factory=Limits)
    selection: Selection = field(default_factory=Selection)
    tuning: Tuning = field(default_factory=Tuning)
    trash: str | None = None
    """Another place for the trash of the local side, on the same file system."""
    retention_seconds: float | None = None
    """How long versions stay in the trash, the last copy of anything apart; None: until somebody prunes it."""
    nature: Nature | None = None

    @property
    def kind(self) -> str:
        """The kind of the target."""
        return KIND if self.nature is None else self.nature.kind

    def target(self, locations: Mapping[Side, str]) -> Target:
        """The identity of this target for canonical locations; neither name nor selection are part of it."""
        canonical = "\0".join((self.kind, locations[LOCAL], locations[REMOTE]))
        identity = hashlib.sha256(canonical.encode("utf-8", "surrogateescape")).hexdigest()[:16]
        return Target(identity, self.name, self.kind, dict(locations))
