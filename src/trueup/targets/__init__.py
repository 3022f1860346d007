"""One file per kind of target. A kind names its sides, its settings and its table; it runs nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from trueup.targets import settings, static, templates
from trueup.targets.agents import Agents
from trueup.targets.caches import Caches
from trueup.targets.datasets import Datasets
from trueup.targets.environments import Environments
from trueup.targets.folders import Folders, Nature
from trueup.targets.models import Models
from trueup.targets.policies import Policies
from trueup.targets.settings import Reload, Settings
from trueup.targets.static import Static
from trueup.targets.templates import Templates

__all__ = [
    "NATURES",
    "Agents",
    "Caches",
    "Datasets",
    "Environments",
    "Folders",
    "Models",
    "Policies",
    "Reload",
    "Settings",
    "Spec",
    "Static",
    "Templates",
]

NATURES: Mapping[str, Callable[[], Nature]] = {
    templates.KIND: Templates,
    settings.KIND: Settings,
    static.KIND: Static,
}
"""The kinds whose targets are two folders of which more is known."""

Spec = Folders | Policies | Environments | Datasets | Models | Caches | Agents
"""A target of any kind, as it is configured."""
