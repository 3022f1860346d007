"""How differences are settled: direction, conflicts, deletes, what is kept."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from trueup.core.model import LOCAL, REMOTE, Side


class Direction(StrEnum):
    """Which sides may be written."""

    PULL = "pull"
    PUSH = "push"
    BIDIRECTIONAL = "bidirectional"

    @property
    def destination(self) -> Side | None:
        """The only side written, or None when both are."""
        return {Direction.PULL: LOCAL, Direction.PUSH: REMOTE}.get(self)

    def writes(self, side: Side) -> bool:
        """Whether this direction may write the side."""
        return self.destination in (None, side)


class Conflict(StrEnum):
    """Who wins when both sides changed."""

    REMOTE_WINS = "remote_wins"
    LOCAL_WINS = "local_wins"
    NEWEST_WINS = "newest_wins"
    MANUAL = "manual"
    BACKUP_BOTH = "backup_both"


class Deletes(StrEnum):
    """What a deletion on one side means for the other."""

    RESTORE = "restore"
    PROPAGATE = "propagate"
    REPORT = "report"


class Keep(StrEnum):
    """Which replaced and deleted versions go to the trash; the plan says what the others destroy."""

    ALL = "all"
    CONFLICTS = "conflicts"
    UNCONTESTED = "uncontested"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Policy:
    """The settings of one target that decisions depend on."""

    direction: Direction = Direction.BIDIRECTIONAL
    conflict: Conflict = Conflict.MANUAL
    deletes: Deletes = Deletes.RESTORE
    keep: Keep = Keep.ALL


TIE_NS = 2_000_000_000
"""Times closer than this are a tie: file systems and stores round to one or two seconds."""


def newest(local_ns: int, remote_ns: int, now_ns: int) -> Side | None:
    """The side modified later, or None for a tie, a missing time or a time in the future.

    The only rule that compares two clocks, hence the window.
    """
    if local_ns <= 0 or remote_ns <= 0 or max(local_ns, remote_ns) > now_ns + TIE_NS:
        return None
    if abs(local_ns - remote_ns) <= TIE_NS:
        return None
    return LOCAL if local_ns > remote_ns else REMOTE
