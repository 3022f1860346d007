"""Everything that trueup raises on purpose.

::

    TrueupError
    |-- UsageError               64  the request makes no sense
    |-- ConfigError              78  trueup.toml or the environment is wrong
    |-- PlanRefused               5  a guard stopped the run before the first write
    |-- StalePlan                 5  the plan no longer matches what is there
    |-- StateDamaged              5  the state database cannot be believed
    |-- CodecError               64  a document is not what it should be (lives in `trueup.core.codec`)
    |-- Locked                    6  another run holds the target
    |-- ConflictError (ValueError) 4 a person has to decide
    `-- StoreError                1  one side refused or failed
        |-- Unavailable              did not answer; trying again may help
        |   |-- Throttled            asks us to slow down
        |   `-- TimedOut             no answer within the limit; the effect is unknown
        |-- PreconditionFailed       somebody else's version is there
        |-- NotFound                 the item is not there
        |-- AccessDenied             permission is missing
        |-- NoSpace                  the side is full
        |-- Unaddressable            the side cannot hold an item of that name
        |-- ReadOnly                 the side must not be written in this run
        `-- Corrupt                  bytes arrived that are not the bytes promised
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType


class TrueupError(Exception):
    """Base of all errors that trueup raises on purpose.

    ``what`` happened, ``why``, and the next command to ``attempt``; faces print the three parts.
    """

    code = "TU-ERROR"
    exit_code = 1
    retryable = False

    def __init__(self, what: str, *, why: str = "", attempt: str = "") -> None:
        super().__init__(" - ".join(part for part in (what, why) if part))
        self.what = what
        self.why = why
        self.attempt = attempt


class UsageError(TrueupError):
    """The request makes no sense."""

    code = "TU-USAGE"
    exit_code = 64


class ConfigError(TrueupError):
    """The configuration is wrong."""

    code = "TU-CONFIG"
    exit_code = 78


class PlanRefused(TrueupError):
    """A guard stopped the run before the first write; carries the plan, and the refusals of `core.check`."""

    code = "TU-GUARD"
    exit_code = 5

    def __init__(
        self, what: str, *, why: str = "", attempt: str = "", plan: object = None, refusals: tuple[object, ...] = ()
    ) -> None:
        super().__init__(what, why=why, attempt=attempt)
        self.plan = plan
        self.refusals = refusals


class StalePlan(TrueupError):
    """The plan no longer matches what is there; ``changed`` says of items what is different."""

    code = "TU-STALE"
    exit_code = 5

    def __init__(
        self, what: str, *, why: str = "", attempt: str = "", changed: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        super().__init__(what, why=why, attempt=attempt)
        self.changed = changed


class StateDamaged(TrueupError):
    """The state database cannot be believed."""

    code = "TU-STATE"
    exit_code = 5


class Locked(TrueupError):
    """Another run holds the target."""

    code = "TU-LOCKED"
    exit_code = 6


class ConflictError(TrueupError, ValueError):
    """A person has to decide; everything else was done."""

    code = "TU-CONFLICT"
    exit_code = 4

    def __init__(self, what: str, *, why: str = "", attempt: str = "", result: object = None) -> None:
        super().__init__(what, why=why, attempt=attempt)
        self.result = result
        """What was done, where a call that has a result raises."""


class StoreError(TrueupError):
    """One side refused or failed."""

    code = "TU-STORE"


class Unavailable(StoreError):
    """The store did not answer; trying again may help."""

    code = "TU-UNAVAILABLE"
    retryable = True


class Throttled(Unavailable):
    """The store asks us to slow down; ``after_seconds`` is its wish, if it said one."""

    code = "TU-THROTTLED"

    def __init__(self, what: str, *, why: str = "", attempt: str = "", after_seconds: float | None = None) -> None:
        super().__init__(what, why=why, attempt=attempt)
        self.after_seconds = after_seconds


class TimedOut(Unavailable):
    """No answer within the limit; whether the effect happened is unknown."""

    code = "TU-TIMEOUT"


class PreconditionFailed(StoreError):
    """Somebody else's version is there; nothing was written."""

    code = "TU-CHANGED"


class NotFound(StoreError):
    """The item is not there."""

    code = "TU-NOT-FOUND"


class AccessDenied(StoreError):
    """Permission is missing."""

    code = "TU-DENIED"


class NoSpace(StoreError):
    """The side is full."""

    code = "TU-NO-SPACE"


class Unaddressable(StoreError):
    """The side cannot hold an item of that name."""

    code = "TU-NAME"


class ReadOnly(StoreError):
    """The side must not be written in this run."""

    code = "TU-READ-ONLY"


class Corrupt(StoreError):
    """Bytes arrived that are not the bytes promised."""

    code = "TU-CORRUPT"
    retryable = True
