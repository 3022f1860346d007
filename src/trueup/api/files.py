"""Which target a call means that names a kind, folders and a bucket: the configured one, or one made for the call."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

from trueup.config import Config
from trueup.core.errors import ConfigError, UsageError
from trueup.targets import NATURES, settings, static, templates
from trueup.targets.folders import Folders, Selection

PATTERNS = {templates.KIND: templates.PATTERNS, settings.KIND: settings.PATTERNS, static.KIND: static.PATTERNS}
"""Which files belong to a target of each kind, if nothing else is said."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a call says of its target; empty leaves it to the configuration."""

    kind: str
    paths: tuple[str, ...] = ()
    """Folders on this machine."""
    bucket: str = ""
    """A name of ``[buckets]``, a URL, or a path."""
    patterns: tuple[str, ...] = ()
    name: str = ""
    """Of a configured target."""


def find(config: Config, wish: Wish) -> Folders:
    """The target of a call.

    Without a name it is the only one of the kind that is configured. Without one, folder and bucket are called as
    the kind is: ``templates`` and ``bucket:templates``.

    Raises:
        UsageError: If it cannot be told which one is meant.
        ConfigError: If there is no such bucket.
    """
    known = {name: spec for name, spec in config.targets.items() if isinstance(spec, Folders)}
    own = {name: spec for name, spec in known.items() if spec.kind == wish.kind}
    if wish.name and wish.name not in own:
        raise UsageError(
            f"there is no target {wish.name} of kind {wish.kind}", why=f"there are {', '.join(own) or 'none'}"
        )
    base = own.get(wish.name) or _only(own, wish)
    if base is None:
        base = Folders(wish.kind, (_absolute(wish.kind),), "", selection=Selection(PATTERNS[wish.kind]))
        base = replace(base, nature=NATURES[wish.kind]())
    if wish.paths:
        base = replace(base, local=tuple(map(_absolute, wish.paths)))
    if wish.bucket or not base.remote:
        base = replace(base, remote=location(config, wish.bucket or wish.kind))
    if wish.patterns:
        base = replace(base, selection=replace(base.selection, include=wish.patterns))
    return base


def _only(own: dict[str, Folders], wish: Wish) -> Folders | None:
    if len(own) > 1 and not (wish.paths and wish.bucket):
        raise UsageError(
            f"which target of kind {wish.kind}?", why=f"there are {', '.join(own)}", attempt="the same with its name"
        )
    return next(iter(own.values())) if len(own) == 1 else None


def location(config: Config, bucket: str) -> str:
    """Where a bucket is.

    Raises:
        ConfigError: If it is no URL, no path, and no name of ``[buckets]``.
    """
    if "://" in bucket:
        return bucket
    name, _, rest = bucket.removeprefix("bucket:").partition("/")
    if name in config.buckets:
        url = config.buckets[name].url
        if ".." in rest.split("/"):
            raise UsageError(f"{bucket} must stay in its bucket")
        return f"{url.rstrip('/')}/{rest}" if rest else url
    if "/" in bucket and not bucket.startswith("bucket:"):
        return _absolute(bucket)
    near = get_close_matches(name, config.buckets, n=1)
    raise ConfigError(
        f"there is no bucket {name}",
        why=f"did you mean {near[0]}?" if near else f"[buckets] has {', '.join(config.buckets) or 'none'}",
        attempt=f'[buckets] {name} = "s3://..." in trueup.toml, or a URL in its place',
    )


def roots(paths: Sequence[str | os.PathLike[str]]) -> tuple[str, ...]:
    """Paths of any make (`str`, `pathlib.Path`, `anyio.Path`) as text."""
    return tuple(os.fspath(path) for path in paths)


def _absolute(path: str) -> str:
    return path if "://" in path else os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111 - links stay
