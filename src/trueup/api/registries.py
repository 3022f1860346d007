"""Open policies and environments: the registry, the weights, the container engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from trueup.core.audit import Method
from trueup.core.model import Key, Side
from trueup.core.plan import Target
from trueup.core.strategy import Policy
from trueup.engine.ambient import Ambient
from trueup.engine.job import Audit, Job
from trueup.engine.state import State
from trueup.protocols import Opening, Store
from trueup.stores.docker import DockerStore
from trueup.stores.registry import RegistryStore
from trueup.stores.weights import WeightsStore
from trueup.targets import environments, policies
from trueup.targets.environments import Environments
from trueup.targets.policies import Policies

T = TypeVar("T")

MAPLE = Path("~/.maple/state.db")
"""The registry of the tool that owns most of them; used where it exists."""
OWN = "registry.db"
"""Name of trueup's own registry, in the state directory, of the same schema."""
MODELS = "models"
"""Folder of the weights, beside a registry."""


def registry_path(named: str, state: Path) -> Path:
    """The registry that is meant."""
    if named:
        return Path(named).expanduser().absolute()
    maple = MAPLE.expanduser()
    return maple if maple.exists() else state / OWN


def open_registry(spec: Policies | Environments, opening: Opening, state: State, ambient: Ambient) -> Job:
    """A job that compares a registry with what it speaks of."""
    if isinstance(spec, Policies):
        return _open_policies(spec, opening, state, ambient)
    return _open_environments(spec, opening, state, ambient)


def _open_policies(spec: Policies, opening: Opening, state: State, ambient: Ambient) -> Job:
    """A job that compares the registry's policies with the weights on disk."""
    path = registry_path(spec.registry, state.directory)
    root = Path(spec.root).expanduser().absolute() if spec.root else path.parent / MODELS
    record = RegistryStore(path, policies.KIND, opening)
    stores: dict[Side, Store] = {
        policies.RECORD: record,
        policies.DISK: WeightsStore(root, opening, _fields_of(record, "path", Path)),
        policies.ENGINE: DockerStore(spec.docker, _fields_of(record, "image", str), opening),
    }
    return _job(spec, stores, policies.method(adopt=spec.adopt), state, ambient)


def _open_environments(spec: Environments, opening: Opening, state: State, ambient: Ambient) -> Job:
    """A job that compares the registry's environments with the images of the container engine."""
    record = RegistryStore(registry_path(spec.registry, state.directory), environments.KIND, opening)
    stores: dict[Side, Store] = {
        environments.RECORD: record,
        environments.ENGINE: DockerStore(spec.docker, _fields_of(record, "image", str), opening),
    }
    return _job(spec, stores, environments.method(adopt=spec.adopt), state, ambient)


def _fields_of(record: RegistryStore, name: str, form: Callable[[str], T]) -> Callable[[], Mapping[Key, T]]:
    """One column of the registry, by item, as it is when it is asked for."""
    return lambda: {key: form(row.fields[name]) for key, row in record.read().items() if row.fields.get(name)}


def _job(
    spec: Policies | Environments, stores: Mapping[Side, Store], how: Method, state: State, ambient: Ambient
) -> Job:
    target: Target = spec.target({side: store.properties.location for side, store in stores.items()})
    return Job(
        target=target,
        policy=Policy(),
        stores=stores,
        state=state,
        ambient=ambient,
        limits=spec.limits,
        audit=Audit(how, record=how.table.sides[0]),
    )
