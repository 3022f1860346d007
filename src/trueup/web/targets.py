"""Targets as addresses name them: those that are configured, every actor of a dataset, and a few that need no file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from trueup.api import Engine
from trueup.api.datasets import actors
from trueup.config import Config
from trueup.config.problems import dotted
from trueup.core.errors import TrueupError
from trueup.targets import Environments, Models, Policies, Spec
from trueup.targets.datasets import Datasets, Layout
from trueup.targets.folders import Folders
from trueup.web.problems import not_found

ACTOR = "actor:"
"""``actor:ID:NAME``; no configured name holds a colon."""

_UNCONFIGURED: Mapping[str, Spec] = {"policies": Policies(), "envs": Environments(), "models": Models(accounts=None)}
"""Words that mean a target whether or not one is configured; no configured target can be called so."""


@dataclass(frozen=True, slots=True)
class Named:
    """A target, and its id in addresses."""

    id: str
    spec: Spec
    configured: bool = True

    @property
    def kind(self) -> str:
        """The kind's name; folders whose files are known better have one of their own."""
        if isinstance(self.spec, Folders):
            return self.spec.kind
        kind: str = import_module(type(self.spec).__module__).KIND
        return kind


def actor_id_of(actor_id: str, actor_name: str) -> str:
    """The id of an actor's target."""
    return f"{ACTOR}{actor_id}:{actor_name}"


def find(engine: Engine, target_id: str) -> Named:
    """The target of an id.

    Raises:
        Problem: 404 if there is none.
        UsageError: If an actor's id or name cannot be a part of a path.
    """
    if target_id in engine.targets:
        return Named(target_id, engine.targets[target_id])
    if target_id in _UNCONFIGURED:
        kind = type(_UNCONFIGURED[target_id])
        alike = [spec for spec in engine.targets.values() if isinstance(spec, kind)]
        return Named(target_id, alike[0] if len(alike) == 1 else _UNCONFIGURED[target_id], configured=False)
    actor_id, found, actor_name = target_id.removeprefix(ACTOR).partition(":")
    if target_id.startswith(ACTOR) and found:
        return Named(target_id, engine.dataset(actor_id, actor_name), configured=False)
    raise not_found("there is no such target", hint="GET /api/v1/targets")


def everything(config: Config) -> list[Named]:
    """All configured targets in the order of the files, then all actors that have a manifest. Blocks."""
    named = [Named(name, spec) for name, spec in config.targets.items()]
    if config.datasets is not None:
        known = {(spec.actor_id, spec.actor_name) for spec in config.targets.values() if isinstance(spec, Datasets)}
        named += _actors(config.datasets, known)
    return named


def _actors(layout: Layout, known: set[tuple[str, str]]) -> Iterator[Named]:
    for actor in actors(layout):
        if isinstance(actor, TrueupError) or actor in known:
            continue  # nameless ones: `trueup sync dataset --all` says why
        try:
            yield Named(actor_id_of(*actor), layout.actor(*actor), configured=False)
        except TrueupError:
            continue  # a manifest that names what cannot be a path


def settings(config: Config, named: Named) -> dict[str, Any]:
    """What is set for a target, each with where it comes from; secrets as how they are got."""
    prefix = dotted(("targets", named.id) if named.configured else ("datasets",)) + "."
    if not named.configured and not isinstance(named.spec, Datasets):
        return {}
    return {
        name.removeprefix(prefix): {"value": value, "origin": str(config.origins[name])}
        for name, value in config.settings.items()
        if name.startswith(prefix)
    }
