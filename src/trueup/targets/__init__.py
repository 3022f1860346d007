"""One file per kind of target. A kind names its sides, its settings and its table; it runs nothing."""

from __future__ import annotations

from trueup.targets.caches import Caches
from trueup.targets.environments import Environments
from trueup.targets.folders import Folders
from trueup.targets.policies import Policies

__all__ = ["Caches", "Environments", "Folders", "Policies", "Spec"]

Spec = Folders | Policies | Environments | Caches
"""A target of any kind, as it is configured."""
