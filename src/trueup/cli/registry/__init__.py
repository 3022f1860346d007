"""Policies and environments: the commands of the registry, worded as the tool that owns most registries words them."""

from __future__ import annotations

from trueup.cli.registry.commands import registry
from trueup.cli.registry.removing import remove

registry.add_command(remove)

__all__ = ["registry"]
