"""All layers together: system, user and project file, environment, flags; the later one wins, setting by setting."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from trueup.config.document import Document, locate
from trueup.config.document import read as read_document
from trueup.config.forms import Wrong
from trueup.config.layers import WRONG, Found, Layer, Reader, Values
from trueup.config.problems import Origin, Problem, Source, dotted, nearest, refuse, shown
from trueup.config.secret import Place, absolute
from trueup.config.sections import PORT, SECTIONS, Alert, Bucket, Notify, ProviderSettings, buckets_of, tables_of
from trueup.config.settings import (
    CATALOGUE,
    FILES,
    FOLDER,
    KINDS,
    SERVER,
    TABLES,
    Setting,
)
from trueup.config.targets import layout_of, targets_of
from trueup.config.values import plain
from trueup.core.errors import UsageError
from trueup.targets import Spec, environments, policies
from trueup.targets.datasets import Layout
from trueup.targets.folders import KIND
from trueup.targets.models import Source as DataSource

APP = "trueup"
PERSONAL = "config.toml"
"""Name of the user's and the system's file, in a folder of their own."""
DEFAULTS = (policies.KIND, environments.KIND)
"""Names that mean a target where none is configured under them."""


@dataclass(frozen=True, slots=True)
class Config:
    """What is configured, for one profile."""

    state_dir: Path
    path: Path | None = None
    """The project's file, if there is one."""
    profile: str | None = None
    profiles: tuple[str, ...] = ()
    """All there are, sorted."""
    targets: Mapping[str, Spec] = field(default_factory=lambda: MappingProxyType({}))
    """By name, in the order of the files."""
    buckets: Mapping[str, Bucket] = field(default_factory=lambda: MappingProxyType({}))
    providers: Mapping[str, ProviderSettings] = field(default_factory=lambda: MappingProxyType({}))
    alerts: Mapping[str, Alert] = field(default_factory=lambda: MappingProxyType({}))
    enrich: tuple[DataSource, ...] = ()
    """Data packages that tell more of models than their providers, by precedence."""
    notify: Mapping[str, Notify] = field(default_factory=lambda: MappingProxyType({}))
    port: int = PORT
    """Of the server."""
    settings: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    """Every setting in effect by its dotted name, as JSON types; secrets as how they are got."""
    origins: Mapping[str, Origin] = field(default_factory=lambda: MappingProxyType({}))
    """Where each of them comes from."""

    datasets: Layout | None = None
    """Where the datasets of all actors are; None: nobody has said so."""

    def target(self, name: str) -> Spec:
        """The target of that name.

        Raises:
            UsageError: If there is none.
        """
        if name in self.targets:
            return self.targets[name]
        if self.targets:
            raise UsageError(
                f"there is no target {shown(name)}",
                why=nearest(name, [*self.targets, *DEFAULTS]),
                attempt="trueup status",
            )
        near = nearest(name, DEFAULTS)
        if near.startswith("did"):
            raise UsageError(f"there is no target {shown(name)}", why=near)
        raise UsageError(
            f"there is no target {shown(name)}",
            why="none is configured, here or in a folder above",
            attempt="trueup init",
        )


def load(
    start: Path,
    *,
    env: Mapping[str, str],
    profile: str | None = None,
    file: Path | None = None,
    flags: Mapping[str, object] | None = None,
) -> Config:
    """Read everything that is configured for a folder.

    Args:
        start: Where the search for the project's file begins, upwards.
        env: The environment; `VARIABLES` says what is read from it.
        profile: The profile to use; else ``TRUEUP_PROFILE`` or ``TRUEUP_ENV`` names it.
        file: The project's file, in place of a search.
        flags: Settings of the command line, by the names of a folder's settings. They apply to every target.

    Raises:
        ConfigError: With everything that is wrong.
    """
    problems: list[Problem] = []
    start = start.resolve()
    outside = Place(start, env, start)
    directory, state_origin = _state_dir(outside)
    documents = _documents(start, env, file, problems)
    layers = [_layer(document, env, directory, problems) for document in documents]
    profiles = tuple(sorted({name for layer in layers for name in layer.profiles}))
    chosen, chosen_origin = _profile(profile, env, profiles, problems)
    _check_profiles(layers, problems)
    values = _merge(layer.chosen(chosen) for layer in layers)
    _complete(values, _overrides(outside, flags or {}, problems))
    buckets = buckets_of(values, problems)
    layout = layout_of(values, buckets, problems)
    targets = targets_of(values, buckets, layout, problems)
    providers = {name: ProviderSettings(**found) for name, found in tables_of(values, "providers", problems)}
    alerts = {name: Alert(name, **found) for name, found in tables_of(values, "alerts", problems)}
    enrich = values.get((CATALOGUE, "enrich"))
    notify = {name: Notify(name, **found) for name, found in tables_of(values, "notify", problems)}
    refuse(problems)
    listed = _listed(values)
    head = {"state_dir": (str(directory), state_origin), "profile": (chosen, chosen_origin)}
    return Config(
        directory,
        path=next((document.path for document in documents if document.source is Source.PROJECT), None),
        profile=chosen,
        profiles=profiles,
        targets=MappingProxyType(targets),
        datasets=layout,
        buckets=MappingProxyType(buckets),
        providers=MappingProxyType(providers),
        alerts=MappingProxyType(alerts),
        enrich=() if enrich is None else enrich.value,
        notify=MappingProxyType(notify),
        port=values[SERVER, "port"].value if (SERVER, "port") in values else PORT,
        settings=MappingProxyType(
            {name: value for name, (value, _) in head.items()}
            | {dotted(path): plain(found.value) for path, found in listed}
        ),
        origins=MappingProxyType(
            {name: origin for name, (_, origin) in head.items()}
            | {dotted(path): found.origin for path, found in listed}
        ),
    )


def state_dir(start: Path, *, env: Mapping[str, str]) -> Path:
    """Where state is kept: what ``TRUEUP_STATE`` names, else the platform's place. No file can change it.

    Raises:
        ConfigError: If ``TRUEUP_STATE`` names the home of a user that there is not.
    """
    return _state_dir(Place(start, env, start))[0]


def find(start: Path, *, env: Mapping[str, str], file: Path | None = None) -> Path | None:
    """The project's file: the named one, that of ``TRUEUP_CONFIG``, or the nearest in a folder or above it."""
    start = start.resolve()
    named = file or Path(env.get("TRUEUP_CONFIG") or "")
    return start / named if named != Path() else locate(start)


def _state_dir(outside: Place) -> tuple[Path, Origin]:
    if named := outside.env.get("TRUEUP_STATE"):
        origin = Origin(Source.ENVIRONMENT, name="TRUEUP_STATE")
        try:
            return absolute(named, outside), origin
        except ValueError as error:
            refuse([Problem(origin, "must be a folder", str(error))])
    if xdg := _xdg(outside.env, "XDG_STATE_HOME"):
        return xdg, Origin(Source.DEFAULT)
    import platformdirs

    return platformdirs.user_state_path(APP), Origin(Source.DEFAULT)


def _xdg(env: Mapping[str, str], variable: str) -> Path | None:
    """Our folder below the one that a variable of the XDG base directory specification names, if it is absolute."""
    first = env.get(variable, "").partition(":")[0]
    return Path(first) / APP if first.startswith("/") else None


def _documents(start: Path, env: Mapping[str, str], file: Path | None, problems: list[Problem]) -> list[Document]:
    """System, user, project, as far as they are there."""
    system, user = _xdg(env, "XDG_CONFIG_DIRS"), _xdg(env, "XDG_CONFIG_HOME")
    if system is None or user is None:
        import platformdirs

        system = system or platformdirs.site_config_path(APP)
        user = user or platformdirs.user_config_path(APP)
    project = find(start, env=env, file=file)
    paths = [(system / PERSONAL, Source.SYSTEM), (user / PERSONAL, Source.USER)]
    present = [(path, source) for path, source in paths if _may_exist(path)]
    if project is not None:
        present.append((project, Source.PROJECT))
    read = [read_document(path, source, problems) for path, source in present]
    return [document for document in read if document is not None]


def _may_exist(path: Path) -> bool:
    """Whether the file is there, or cannot be looked for: then reading it says why."""
    try:
        return path.exists()
    except OSError:
        return True


def _layer(document: Document, env: Mapping[str, str], state_dir: Path, problems: list[Problem]) -> Layer:
    own = document.source is not Source.PROJECT and document.private
    place = Place(document.path.parent, env, state_dir, document.path, document.digest, own)
    return Reader(document, place, problems).layer()


def _profile(
    asked: str | None, env: Mapping[str, str], profiles: tuple[str, ...], problems: list[Problem]
) -> tuple[str | None, Origin]:
    """The name of the profile. A variable counts only where there are profiles: it may be meant for other programs."""
    if asked:
        origin = Origin(Source.FLAG, name="--profile")
    else:
        variable = "TRUEUP_PROFILE" if env.get("TRUEUP_PROFILE") else "TRUEUP_ENV"
        asked, origin = env.get(variable), Origin(Source.ENVIRONMENT, name=variable)
        if not asked or not profiles:
            return None, Origin(Source.DEFAULT)
    if asked not in profiles:
        problems.append(Problem(origin, f"there is no profile {shown(asked)}", nearest(asked, profiles)))
    return asked, origin


def _check_profiles(layers: list[Layer], problems: list[Problem]) -> None:
    """A profile changes targets and buckets that there are, or describes a whole new one."""
    base = {path[:2] for layer in layers for path in layer.base}
    for layer in layers:
        for name, values in layer.profiles.items():
            for path, found in values.items():
                if path[0] in TABLES:
                    continue
                whole = (
                    path[0] in ("providers", "alerts", "notify")
                    or (*path, "kind") in values
                    or (*path, "url") in values
                )
                if len(path) == 2 and path not in base and not whole:
                    known = [other[1] for other in base if other[0] == path[0]]
                    what = f"{dotted(('profiles', name, *path))} changes something that there is not"
                    problems.append(Problem(found.origin, what, nearest(path[1], known)))


def _merge(layers: Iterable[Values]) -> Values:
    """Setting by setting; but what has keys comes from one file, so that none can send another's keys elsewhere."""
    merged: Values = {}
    for values in layers:
        replaced = {path for path in values if len(path) == 2 and path[0] in SECTIONS}
        merged = {path: found for path, found in merged.items() if path[:2] not in replaced} | values
    return merged


def _overrides(outside: Place, flags: Mapping[str, object], problems: list[Problem]) -> dict[str, Found]:
    """What environment and flags say of every target; a flag wins."""
    texts = {
        name: (outside.env[setting.variable], Origin(Source.ENVIRONMENT, name=setting.variable))
        for name, setting in FOLDER.items()
        if setting.variable and outside.env.get(setting.variable)
    }
    said: dict[str, tuple[object, Origin]] = dict(texts)
    for name, value in flags.items():
        if value is not None:
            said[name] = value, Origin(Source.FLAG, name=f"--{name.replace('_', '-')}")
    return {
        name: Found(_said(FOLDER[name], value, outside, origin, problems), origin)
        for name, (value, origin) in said.items()
    }


def _said(setting: Setting, value: object, outside: Place, origin: Origin, problems: list[Problem]) -> Any:
    try:
        if isinstance(value, str):
            return setting.form.read_text(value, outside)
        return setting.form.read(list(value) if isinstance(value, tuple) else value, outside)
    except Wrong as error:
        why = f"it is {shown(value)}" + (f": {error}" if str(error) else "")
        problems.append(Problem(origin, f"must be {setting.form.allowed}", why))
        return WRONG


def _complete(values: Values, overrides: Mapping[str, Found]) -> None:
    """Add what environment and flags say, and the defaults."""
    default = Origin(Source.DEFAULT)
    for table in (table for table in TABLES if (table,) in values):
        for name, setting in TABLES[table].items():
            if not setting.required:
                values.setdefault((table, name), Found(setting.default, default))
    for path in [path for path in values if _is_named(path)]:
        kind = values.get((*path, "kind"))
        settings = SECTIONS.get(path[0]) or KINDS.get(str(kind.value) if kind else KIND, {})
        for name, setting in settings.items():
            if path[0] == "targets" and name in overrides and settings in FILES.values():
                values[*path, name] = overrides[name]
            elif not setting.required:
                values.setdefault((*path, name), Found(setting.default, default))


def _listed(values: Values) -> list[tuple[tuple[str, ...], Found]]:
    """All settings, table by table, in the order in which they are documented."""
    known = [name for settings in (*KINDS.values(), *SECTIONS.values(), *TABLES.values()) for name in settings]
    order = {name: number for number, name in enumerate(dict.fromkeys(["kind", *known]))}
    tables: dict[tuple[str, ...], int] = {
        path: number for number, path in enumerate(path for path in values if len(path) == 1 or _is_named(path))
    }
    settings = [item for item in values.items() if item[0] not in tables]
    return sorted(settings, key=lambda item: (tables[item[0][:-1]], order[item[0][-1]]))


def _is_named(path: tuple[str, ...]) -> bool:
    """Whether it is that of one target or one bucket."""
    return len(path) == 2 and path[0] not in TABLES
