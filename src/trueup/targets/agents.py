"""Agent filesystems: an agent's own database against the one that a team shares."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from trueup.core.check import Limits
from trueup.core.model import LOCAL, REMOTE, Side
from trueup.core.plan import Target
from trueup.core.strategy import Conflict, Deletes, Policy

KIND = "agent"

TOKEN = "TURSO_DB_AUTH_TOKEN"  # noqa: S105  # the name of a variable
"""Holds the bearer token of remotes of which nothing else is said."""
POLICY = Policy(conflict=Conflict.BACKUP_BOTH, deletes=Deletes.PROPAGATE)
"""Agents cannot be asked: what both changed is there twice, what one deleted goes, and all of it is in the trash."""


@dataclass(frozen=True, slots=True)
class Agents:
    """One target of kind ``agent``."""

    name: str
    database: str
    """Path of the agent's database."""
    remote: str
    """``file:///path/team.db``, ``http://``, ``https://`` or ``libsql://``."""
    policy: Policy = POLICY
    limits: Limits = field(default_factory=Limits)
    timeout_seconds: float = 30.0
    """The longest silence of the network."""
    token: Callable[[], str | None] = lambda: None
    """Gives the bearer token of the remote when it is needed."""

    def target(self, locations: Mapping[Side, str]) -> Target:
        """The identity of this target: which database, and which remote."""
        canonical = "\0".join((KIND, locations[LOCAL], locations[REMOTE]))
        identity = hashlib.sha256(canonical.encode("utf-8", "surrogateescape")).hexdigest()[:16]
        return Target(identity, self.name, KIND, dict(locations))
