"""From a target as it is configured to a job with its sides opened."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from trueup.config import Bucket
from trueup.core.errors import UsageError
from trueup.core.model import LOCAL, REMOTE, Side
from trueup.core.plan import Plan
from trueup.core.urls import local_path
from trueup.engine.ambient import Ambient
from trueup.engine.filter import DEFAULT_EXCLUDES, IGNORE_FILE, Below, PatternFilter, read_ignore_file
from trueup.engine.job import Job
from trueup.engine.notes import Notes
from trueup.engine.pace import Pace
from trueup.engine.state import State
from trueup.engine.wrap import BandwidthLimited, Patience, TimeLimited
from trueup.protocols import Access, Filter, Opening, Store
from trueup.stores import open_store
from trueup.stores.joined import JoinedStore, places
from trueup.targets import NATURES, Spec, agents, caches, datasets, environments, models, policies
from trueup.targets.agents import Agents
from trueup.targets.caches import Caches
from trueup.targets.datasets import Datasets
from trueup.targets.environments import Environments
from trueup.targets.folders import Folders, Tuning
from trueup.targets.models import Models
from trueup.targets.policies import Policies

_NO_TARGETS: Mapping[str, Spec] = MappingProxyType({})


def open_job(
    spec: Spec,
    state: State,
    ambient: Ambient,
    *,
    buckets: Iterable[Bucket] = (),
    targets: Mapping[str, Spec] = _NO_TARGETS,
) -> Job:
    """A job with its sides opened. Blocks.

    Args:
        spec: The target.
        state: Where it is remembered what was agreed on.
        ambient: Clock, threads, names.
        buckets: How to get to places that need keys.
        targets: All that are configured: some name others.

    Raises:
        UsageError: If the roots overlap, two of them have one name, or no store knows a scheme.
        StoreError: If a side is known not to be there.
    """
    opening = Opening(
        ambient.clock,
        ambient.threads,
        ambient.unique,
        access=tuple(_access(bucket) for bucket in buckets),
        remember=Notes(state),
    )
    if isinstance(spec, Folders):
        return _open_folders(spec, opening, state, ambient, targets)
    if isinstance(spec, Caches):
        from trueup.api.caching import open_cache_job

        return open_cache_job(spec, opening, state, ambient)
    if isinstance(spec, Agents):
        from trueup.api.agents import open_agent

        return open_agent(spec, opening, state, ambient)
    if isinstance(spec, Datasets):
        from trueup.api.datasets import open_dataset

        return open_dataset(spec, opening, state, ambient)
    if isinstance(spec, Models):
        from trueup.api.listed import open_models

        return open_models(spec, opening, state, ambient)
    from trueup.api.registries import open_registry  # stores that folders need not load

    return open_registry(spec, opening, state, ambient)


def _open_folders(spec: Folders, opening: Opening, state: State, ambient: Ambient, targets: Mapping[str, Spec]) -> Job:
    from trueup.api.content import attended, headers_of  # what plain folders need not load

    if spec.nature is not None and (headers := headers_of(spec)) is not None:
        opening = replace(opening, headers=headers)
    stores = {side: _limited(store, spec.tuning, ambient) for side, store in _open_sides(spec, opening).items()}
    locations = {side: store.properties.location for side, store in stores.items()}
    _refuse_overlap([(side, place) for side in locations for place in places(locations[side])], state.directory)
    job = Job(
        target=spec.target(locations),
        policy=spec.policy,
        stores=stores,
        state=state,
        ambient=ambient,
        limits=spec.limits,
        pace=Pace(spec.tuning.max_concurrent),
        patience=Patience(spec.tuning.retry_attempts, spec.tuning.retry_delay_seconds),
        retention_seconds=spec.retention_seconds,
    )
    return job if spec.nature is None else attended(spec, job, opening, targets)


def spec_from(plan: Plan) -> Spec:
    """A target made from what a plan says of it, for plans whose target is not configured."""
    locations, name = plan.target.locations, plan.target.name
    match plan.target.kind:
        case policies.KIND:
            return Policies(
                name, _registry(locations[policies.RECORD]), locations[policies.DISK], locations[policies.ENGINE]
            )
        case environments.KIND:
            return Environments(name, _registry(locations[environments.RECORD]), locations[environments.ENGINE])
        case caches.KIND:
            from trueup.api.caching import spec_of

            return spec_of(locations[caches.CACHE], name)
        case datasets.KIND:
            return Datasets(name, "", "", locations[datasets.MANIFEST], locations[LOCAL], locations[REMOTE])
        case models.KIND:
            return Models(name, locations[models.CATALOGUE], accounts=None)
        case _:
            return _two_sided(plan)


def _two_sided(plan: Plan) -> Spec:
    locations, name, kind = plan.target.locations, plan.target.name, plan.target.kind
    if kind == agents.KIND:
        return Agents(
            name, locations[LOCAL], locations[REMOTE], plan.policy, token=lambda: os.environ.get(agents.TOKEN)
        )
    nature = NATURES[kind]() if kind in NATURES else None
    return Folders(name, tuple(places(locations[LOCAL])), locations[REMOTE], plan.policy, nature=nature)


def _registry(location: str) -> str:
    """The file of a registry, whose location names the table too."""
    return location.rpartition("#")[0]


def _limited(store: Store, tuning: Tuning, ambient: Ambient) -> Store:
    limited: Store = TimeLimited(store, seconds=tuning.timeout_seconds)
    if tuning.bytes_per_second:
        limited = BandwidthLimited(limited, bytes_per_second=tuning.bytes_per_second, clock=ambient.clock)
    return limited


def _access(bucket: Bucket) -> Access:
    """What is configured for a bucket; its secrets are fetched when a store needs them."""
    access, secret = bucket.access_key, bucket.secret_key
    return Access(
        bucket.url,
        bucket.endpoint,
        bucket.region,
        None if access is None else access.reveal,
        None if secret is None else secret.reveal,
    )


def _open_sides(spec: Folders, opening: Opening) -> dict[Side, Store]:
    patterns = _filter_of(spec)

    def opened(url: str, belongs: Filter = patterns, trash: str | None = None) -> Store:
        return open_store(url, replace(opening, filter=belongs, trash=trash))

    if len(spec.local) == 1:
        local = opened(spec.local[0], trash=spec.trash)
    else:
        local = _joined(spec.local, lambda name, path: opened(path, Below(name, patterns)))
    return {LOCAL: local, REMOTE: opened(spec.remote)}


def _joined(roots: Sequence[str], opened: Callable[[str, str], Store]) -> Store:
    stores: dict[str, Store] = {}
    for path in roots:
        name = _root_name(path)
        if name in stores:
            raise UsageError(f"two local folders are named {name}", why="only the names tell them apart on the remote")
        stores[name] = opened(name, path)
    return JoinedStore(stores)


def _root_name(root: str) -> str:
    """The name that tells one of several roots from the others: its last component."""
    return Path(local_path(root) or root).expanduser().resolve().name


def _filter_of(spec: Folders) -> PatternFilter:
    """The target's own patterns after the defaults and the folder's ignore file, so that they win."""
    patterns = list(DEFAULT_EXCLUDES) if spec.selection.defaults else []
    for root in spec.local:
        if (path := local_path(root)) is not None:
            ignore = Path(path).expanduser() / IGNORE_FILE
            if ignore.is_file():
                name = _root_name(root) if len(spec.local) > 1 else ""
                patterns += read_ignore_file(ignore.read_text("utf-8", "surrogateescape"), root=name)
    return PatternFilter(
        include=spec.selection.include,
        exclude=[*patterns, *spec.selection.exclude],
        min_size=spec.selection.min_size,
        max_size=spec.selection.max_size,
    )


def _refuse_overlap(roots: Sequence[tuple[Side, str]], state: Path) -> None:
    """Two roots inside each other would sync their own traces for ever."""
    state = state.resolve()
    paths = [(side, Path(root)) for side, root in roots if Path(root).is_absolute()]
    for index, (side, path) in enumerate(paths):
        for other_side, other in paths[index + 1 :]:
            if path == other or path in other.parents or other in path.parents:
                raise UsageError(
                    f"{side} {path} and {other_side} {other} overlap",
                    why="a folder cannot be kept in agreement with itself",
                )
        if path == state or path in state.parents:
            raise UsageError(
                f"the state directory {state} lies in {side} {path}",
                attempt="set TRUEUP_STATE to a directory outside",
            )
