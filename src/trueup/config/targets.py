"""From the tables of targets to targets, each of its kind."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from trueup.config.layers import Values
from trueup.config.problems import Origin, Problem, dotted, nearest, shown
from trueup.config.secret import Approved, Secret
from trueup.config.sections import Bucket, resolve, usable
from trueup.config.settings import (
    AGENTS,
    CACHES,
    DATASET,
    DATASETS,
    ENVIRONMENTS,
    FOLDER,
    KINDS,
    LAYOUT,
    POLICIES,
    SETTINGS,
    STATIC,
    TEMPLATES,
    Setting,
)
from trueup.core.strategy import Policy
from trueup.targets import Reload, Settings, Spec, Static, Templates, agents, caches, environments, policies
from trueup.targets.datasets import Layout
from trueup.targets.folders import KIND, Folders, Nature, Selection, Tuning


def layout_of(values: Values, buckets: Mapping[str, Bucket], problems: list[Problem]) -> Layout | None:
    """Where the datasets of all actors are; None: nobody has said so, or not rightly."""
    if (DATASETS,) not in values:
        return None
    required = [name for name, setting in LAYOUT.items() if setting.required]
    resolve(values, (DATASETS,), buckets, problems)
    settings = usable(values, (DATASETS,), required, LAYOUT, problems)
    if settings is None:
        return None
    origin = values[DATASETS, "local"].origin
    folder = str(origin.path.parent) if origin.path is not None else ""
    limits = settings["max_delete"]
    return Layout(settings["local"], settings["remote"], settings["manifest"], settings["conflict"], limits, folder)


def targets_of(
    values: Values, buckets: Mapping[str, Bucket], layout: Layout | None, problems: list[Problem]
) -> dict[str, Spec]:
    """All targets that can be built; a remote that names a bucket becomes its URL in `values` too."""
    targets: dict[str, Spec] = {}
    for section, name in [path for path in values if path[0] == "targets" and len(path) == 2]:
        path = (section, name)
        resolve(values, path, buckets, problems)
        kind = values.get((*path, "kind"))
        table = KINDS.get(str(kind.value) if kind else KIND, FOLDER)
        _refuse_foreign(values, path, table, problems)
        required = ["kind", *(key for key, setting in table.items() if setting.required)]
        settings = usable(values, path, required, table, problems)
        if table is DATASET and layout is None and (DATASETS,) not in values:
            what = f"{dotted(path)} is a dataset, and there is no [{DATASETS}]"
            problems.append(Problem(values[path].origin, what, "it says where datasets are"))
        elif settings is not None and (layout is not None or table is not DATASET):
            targets[name] = _target(name, table, settings, layout, values[path].origin, problems)
    _check_caches(values, targets, problems)
    return targets


def _check_caches(values: Values, targets: Mapping[str, Spec], problems: list[Problem]) -> None:
    """What templates name as their caches must be some."""
    known = [name for name, spec in targets.items() if isinstance(spec, caches.Caches)]
    for name, spec in targets.items():
        for cache in spec.nature.caches if isinstance(spec, Folders) and isinstance(spec.nature, Templates) else ():
            if cache not in known:
                found = values["targets", name, "cache"]
                what = f"{dotted(('targets', name, 'cache'))} names {shown(cache)}, which is no target of kind cache"
                problems.append(Problem(found.origin, what, nearest(cache, known)))


def _refuse_foreign(
    values: Values, path: tuple[str, str], table: Mapping[str, Setting], problems: list[Problem]
) -> None:
    """A setting of another kind means nothing here."""
    for place, found in values.items():
        if len(place) == 3 and place[:2] == path and place[2] not in ("kind", *table):
            what = f"{dotted(place)} is no setting of this kind of target"
            problems.append(Problem(found.origin, what, nearest(place[2], table)))


def _target(
    name: str,
    table: Mapping[str, Setting],
    settings: Mapping[str, Any],
    layout: Layout | None,
    origin: Origin,
    problems: list[Problem],
) -> Spec:
    if table is DATASET and layout is not None:
        actor = (settings["actor_id"], settings["actor_name"])
        return layout.actor(*actor, name=name, delete_orphans=settings["delete_orphans"])
    if table is POLICIES:
        return policies.Policies(name, **settings)
    if table is ENVIRONMENTS:
        return environments.Environments(name, **settings)
    if table is AGENTS:
        return _agent(name, settings)
    if table is CACHES:
        return _caches(name, settings)
    return _folders(name, settings, origin, problems, _nature(table, settings))


def _nature(table: Mapping[str, Setting], settings: Mapping[str, Any]) -> Nature | None:
    if table is TEMPLATES:
        return Templates(
            settings["check"],
            settings["extensions"],
            settings["delimiters"],
            bytecode=settings["bytecode"],
            caches=settings["cache"],
            warm=settings["warm"],
        )
    if table is SETTINGS:
        return Settings(settings["check"], settings["schemas"], _reload(settings))
    if table is STATIC:
        return Static(settings["types"], settings["cache_control"], settings["uncached"])
    return None


def _reload(settings: Mapping[str, Any]) -> Reload:
    pidfile: Approved | None = settings["reload_pidfile"]
    url: Approved | None = settings["reload_url"]

    def permit() -> None:
        for said in (pidfile, url):
            if said is not None:
                said.reveal()

    return Reload(
        settings["reload_signal"],
        "" if pidfile is None else pidfile.said[0],
        "" if url is None else url.said[0],
        permit=permit,
    )


def _agent(name: str, settings: Mapping[str, Any]) -> agents.Agents:
    secret: Secret | None = settings.get("token")

    def token() -> str | None:
        return os.environ.get(agents.TOKEN) if secret is None else secret.reveal()

    return agents.Agents(
        name,
        settings["database"],
        settings["remote"],
        policy=Policy(settings["direction"], settings["conflict"], settings["deletes"], settings["keep"]),
        limits=settings["max_delete"],
        timeout_seconds=settings["timeout"],
        token=token,
    )


def _caches(name: str, settings: Mapping[str, Any]) -> caches.Caches:
    code: Approved | None = settings["environment"]
    pages: Approved | None = settings["urls"]

    def environment() -> Any:
        from trueup.stores.cache.templates import load_environment

        assert code is not None  # noqa: S101  # else it is not handed on
        return load_environment(code.reveal()[0], code.place.folder)

    return caches.Caches(
        name,
        settings["url"],
        settings["preset"].value,
        settings["app"],
        settings["version"],
        settings["keys"],
        None if code is None else environment,
        None if pages is None else pages.reveal,
    )


def _folders(
    name: str, settings: Mapping[str, Any], origin: Origin, problems: list[Problem], nature: Nature | None
) -> Folders:
    smallest, largest = settings["min_size"], settings["max_size"]
    if smallest is not None and largest is not None and smallest > largest:
        what = f"{dotted(('targets', name))} selects nothing"
        problems.append(Problem(origin, what, f"min_size {smallest} is more than max_size {largest}"))
    return Folders(
        name,
        settings["local"],
        settings["remote"],
        policy=Policy(settings["direction"], settings["conflict"], settings["deletes"], settings["keep"]),
        limits=settings["max_delete"],
        selection=Selection(settings["include"], settings["exclude"], smallest, largest, settings["defaults"]),
        tuning=Tuning(
            settings["max_concurrent"],
            settings["timeout"],
            settings["retry_attempts"],
            settings["retry_delay"],
            settings["bandwidth"],
        ),
        trash=settings["trash"],
        retention_seconds=settings["retention"],
        nature=nature,
    )
