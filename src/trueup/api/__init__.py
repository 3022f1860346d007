"""The asynchronous Python API. Every face (command line, blocking facade, later REST) calls this and nothing below."""

from __future__ import annotations

from trueup.api.engine import Engine, Select, yes
from trueup.api.trash import Pruned, TrashItem
from trueup.engine.doctor import Diagnosis
from trueup.engine.job import Progress
from trueup.engine.journal import RunRecord, RunSummary
from trueup.engine.run import Confirm

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
