"""The tables beside targets: buckets, providers, alerts, and who is told of targets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trueup.config.hidden import Delivery
from trueup.config.layers import WRONG, Found, Values
from trueup.config.places import BUCKET as BUCKET_SCHEME
from trueup.config.places import Address
from trueup.config.problems import Problem, dotted, nearest, shown
from trueup.config.secret import Secret
from trueup.config.settings import (
    ALERT,
    BUCKET,
    KINDS,
    NOTIFY,
    PROVIDER,
    SERVE,
    Setting,
)

_BUCKET = re.compile(rf"{BUCKET_SCHEME}:(?://)?([^/]+)/?(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Bucket:
    """A named place, and the keys to it."""

    url: str
    endpoint: str | None = None
    region: str | None = None
    access_key: Secret | None = None
    secret_key: Secret | None = None


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """What is set of a service that lists AI models."""

    base_url: Address | None = None
    api_key: Secret | None = None
    organization: str | None = None
    fresh: float = 12 * 3600.0
    """Seconds."""


@dataclass(frozen=True, slots=True)
class Alert:
    """What is told about models, and where."""

    name: str
    deliver: Delivery
    days: tuple[int, ...] = (90, 60, 30, 7)
    changes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Notify:
    """Where it is told that a target stands otherwise than before."""

    name: str
    deliver: Delivery
    secret: Secret | None = None
    targets: tuple[str, ...] = ()


PORT: int = SERVE["port"].default  # type: ignore[assignment]  # its form reads nothing else
SECTIONS: Mapping[str, Mapping[str, Setting]] = {
    "buckets": BUCKET,
    "providers": PROVIDER,
    "alerts": ALERT,
    "notify": NOTIFY,
}
"""The settings of each section that is not about targets."""


def buckets_of(values: Values, problems: list[Problem]) -> dict[str, Bucket]:
    """The buckets that can be used, by name."""
    names = [path[1] for path in values if path[0] == "buckets" and len(path) == 2]
    buckets = {name: usable(values, ("buckets", name), ["url"], BUCKET, problems) for name in names}
    return {name: Bucket(**settings) for name, settings in buckets.items() if settings is not None}


def resolve(values: Values, path: tuple[str, ...], buckets: Mapping[str, Bucket], problems: list[Problem]) -> None:
    """A remote that names a bucket becomes its URL."""
    known = [path[1] for path in values if path[0] == "buckets" and len(path) == 2]
    remote = values.get((*path, "remote"))
    if remote is not None and remote.value is not WRONG:
        values[*path, "remote"] = Found(_resolved(remote, path, buckets, known, problems), remote.origin)


def tables_of(values: Values, section: str, problems: list[Problem]) -> list[tuple[str, dict[str, Any]]]:
    """The tables of a section that can be used, by name."""
    table = SECTIONS[section]
    required = [name for name, setting in table.items() if setting.required]
    names = [path[1] for path in values if path[0] == section and len(path) == 2]
    found = [(name, usable(values, (section, name), required, table, problems)) for name in names]
    return [(name, settings) for name, settings in found if settings is not None]


def usable(
    values: Values, path: tuple[str, ...], required: list[str], settings: Mapping[str, Setting], problems: list[Problem]
) -> dict[str, Any] | None:
    """The settings of one table; None if one is missing, which is a problem, or was refused, which is one already."""
    missing = [name for name in required if (*path, name) not in values]
    kind = values.get((*path, "kind"))
    if kind is not None and kind.value is WRONG:
        return None
    for name in missing:
        why = f"kinds: {', '.join(KINDS)}" if name == "kind" else settings[name].doc
        problems.append(Problem(values[path].origin, f"{dotted(path)} has no {name}", why))
    found = {name: values[*path, name].value for name in settings if (*path, name) in values}
    return None if missing or any(value is WRONG for value in found.values()) else found


def _resolved(
    remote: Found, path: tuple[str, ...], buckets: Mapping[str, Bucket], known: list[str], problems: list[Problem]
) -> Any:
    match = _BUCKET.fullmatch(remote.value)
    if match is None:
        return remote.value
    name, rest = match[1], match[2]
    if name not in known:
        what = f"{dotted((*path, 'remote'))} names bucket {shown(name)}, which is not in [buckets]"
        problems.append(Problem(remote.origin, what, nearest(name, known)))
    if name not in buckets:
        return WRONG
    if ".." in rest.split("/"):
        what = f"{dotted((*path, 'remote'))} must stay in its bucket"
        problems.append(Problem(remote.origin, what, f"it is {shown(remote.value)}"))
        return WRONG
    return f"{buckets[name].url.rstrip('/')}/{rest}" if rest else buckets[name].url
