"""The asynchronous Python API. Every face (command line, blocking facade, later REST) calls this and nothing below."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trueup.api.engine import Engine, Select, yes
    from trueup.api.trash import Pruned, TrashItem
    from trueup.engine.doctor import Diagnosis
    from trueup.engine.job import Progress
    from trueup.engine.journal import RunRecord, RunSummary
    from trueup.engine.run import Confirm

_HOMES = {
    "Confirm": "trueup.engine.run",
    "Diagnosis": "trueup.engine.doctor",
    "Engine": "trueup.api.engine",
    "Progress": "trueup.engine.job",
    "Pruned": "trueup.api.trash",
    "RunRecord": "trueup.engine.journal",
    "RunSummary": "trueup.engine.journal",
    "Select": "trueup.api.engine",
    "TrashItem": "trueup.api.trash",
    "yes": "trueup.api.engine",
}

__all__ = [
    "Confirm",
    "Diagnosis",
    "Engine",
    "Progress",
    "Pruned",
    "RunRecord",
    "RunSummary",
    "Select",
    "TrashItem",
    "yes",
]


def __getattr__(name: str) -> Any:
    """Load public names on first use: parts of the API that need no engine load none."""
    if name not in _HOMES:
        raise AttributeError(f"module 'trueup.api' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
