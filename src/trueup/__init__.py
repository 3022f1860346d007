"""trueup makes what is recorded and what is real agree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trueup.actions.sync import ConflictStrategy, SyncDirection, SyncStrategy, sync
    from trueup.api import Engine, Progress
    from trueup.blocking import BlockingEngine
    from trueup.core.check import Guard, Limits
    from trueup.core.errors import TrueupError
    from trueup.core.plan import Plan
    from trueup.core.report import Report
    from trueup.core.strategy import Conflict, Deletes, Direction, Keep, Policy
    from trueup.targets.folders import Folders

_HOMES = {
    "BlockingEngine": "trueup.blocking",
    "Conflict": "trueup.core.strategy",
    "ConflictStrategy": "trueup.actions.sync",
    "Deletes": "trueup.core.strategy",
    "Direction": "trueup.core.strategy",
    "Engine": "trueup.api",
    "Folders": "trueup.targets.folders",
    "Guard": "trueup.core.check",
    "Keep": "trueup.core.strategy",
    "Limits": "trueup.core.check",
    "Plan": "trueup.core.plan",
    "Policy": "trueup.core.strategy",
    "Progress": "trueup.api",
    "Report": "trueup.core.report",
    "SyncDirection": "trueup.actions.sync",
    "SyncStrategy": "trueup.actions.sync",
    "TrueupError": "trueup.core.errors",
    "sync": "trueup.actions.sync",
}

__all__ = [
    "BlockingEngine",
    "Conflict",
    "ConflictStrategy",
    "Deletes",
    "Direction",
    "Engine",
    "Folders",
    "Guard",
    "Keep",
    "Limits",
    "Plan",
    "Policy",
    "Progress",
    "Report",
    "SyncDirection",
    "SyncStrategy",
    "TrueupError",
    "sync",
]


def __getattr__(name: str) -> Any:
    """Load public names on first use: `import trueup` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'trueup' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
