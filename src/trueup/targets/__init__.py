"""One file per kind of target. A kind names its sides, its settings and its table; it runs nothing."""

from __future__ import annotations

from trueup.targets.agents import Agents
from trueup.targets.caches import Caches
from trueup.targets.datasets import Datasets
from trueup.targets.environments import Environments
from trueup.targets.folders import Folders
from trueup.targets.models import Models
from trueup.targets.policies import Policies

__all__ = ["Agents", "Caches", "Datasets", "Environments", "Folders", "Models", "Policies", "Spec"]

Spec = Folders | Policies | Environments | Datasets | Models | Caches | Agents
"""A target of any kind, as it is configured."""
