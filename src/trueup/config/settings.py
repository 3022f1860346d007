"""All settings, as tables: they are validated, documented and turned into a JSON Schema from here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from trueup.config import forms, hidden, places, values
from trueup.config.forms import Form
from trueup.core.check import Limits
from trueup.core.strategy import Conflict, Deletes, Direction, Keep, Policy
from trueup.targets import agents, caches, datasets, environments, folders, models, policies, static, templates
from trueup.targets import settings as settings_kind

NAME = re.compile(r"\w[\w.@-]*")
"""Of targets, buckets and profiles: they are typed as arguments and are parts of dotted names."""

RESERVED = frozenset(
    ["all", "folder", "policies", "envs", "templates", "settings", "static", "cache", "models", "agent", "dataset"]
)
"""Words that mean something else in `trueup sync WORD`."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of a table."""

    form: Form
    doc: str
    """One sentence."""
    default: object = None
    required: bool = False
    """In the end; one file of several may leave it out."""
    variable: str = ""
    """An environment variable that decides for all targets."""


_POLICY, _SELECTION, _TUNING = Policy(), folders.Selection(), folders.Tuning()

FOLDER: Mapping[str, Setting] = {
    "local": Setting(places.FOLDERS, "The folder, or several, on this machine.", required=True),
    "remote": Setting(
        places.location(buckets=True), "The other side: a path, a URL, or a name of [buckets].", required=True
    ),
    "direction": Setting(forms.one_of(Direction), "Which sides may be written.", _POLICY.direction),
    "conflict": Setting(forms.one_of(Conflict), "Who wins when both sides changed.", _POLICY.conflict),
    "deletes": Setting(
        forms.one_of(Deletes),
        "What a deletion on one side means: it comes back, it is repeated on the other side, or it is only reported.",
        _POLICY.deletes,
    ),
    "include": Setting(values.PATTERNS, "Where given, only files that match belong.", _SELECTION.include),
    "exclude": Setting(values.PATTERNS, "Files that match do not belong.", _SELECTION.exclude),
    "defaults": Setting(
        values.SWITCH, "Whether version control, caches and temporary files are excluded.", _SELECTION.defaults
    ),
    "min_size": Setting(values.SIZE, "Smaller files do not belong.", _SELECTION.min_size),
    "max_size": Setting(values.SIZE, "Larger files do not belong.", _SELECTION.max_size),
    "max_delete": Setting(values.LIMITS, "A run that would delete more is refused.", Limits()),
    "keep": Setting(forms.one_of(Keep), "Which replaced and deleted versions go to the trash.", _POLICY.keep),
    "trash": Setting(places.FOLDER, "Another place for the trash of the local side, on the same file system."),
    "retention": Setting(
        values.AGE,
        "How long versions stay in the trash of both sides; the last copy of anything stays. Without it: until "
        "`trueup trash prune`.",
    ),
    "max_concurrent": Setting(
        forms.whole(1, 1024), "Items in flight at once.", _TUNING.max_concurrent, variable="TRUEUP_MAX_CONCURRENT"
    ),
    "timeout": Setting(
        values.duration(zero=False),
        "Seconds for one attempt at one item.",
        _TUNING.timeout_seconds,
        variable="TRUEUP_TIMEOUT",
    ),
    "retry_attempts": Setting(
        forms.whole(0, 100),
        "Further attempts after the first.",
        _TUNING.retry_attempts,
        variable="TRUEUP_RETRY_ATTEMPTS",
    ),
    "retry_delay": Setting(
        values.duration(zero=True),
        "Seconds before the second attempt; doubled for each one after.",
        _TUNING.retry_delay_seconds,
        variable="TRUEUP_RETRY_DELAY",
    ),
    "bandwidth": Setting(
        values.RATE, "How much is written to each side per second, all items together.", _TUNING.bytes_per_second
    ),
}

_REGISTRY = Setting(
    places.FILE, "The registry, a SQLite database. Without it: `~/.maple/state.db`, or one of trueup's own.", ""
)
_DOCKER = Setting(forms.TEXT, "URL of the container engine. Without it: as the engine's own client finds it.", "")

POLICIES: Mapping[str, Setting] = {
    "registry": _REGISTRY,
    "root": Setting(places.FOLDER, "Folder of the weights. Without it: `models` beside the registry.", ""),
    "docker": _DOCKER,
    "adopt": Setting(values.SWITCH, "Whether weights that nothing records are recorded.", default=False),
}
ENVIRONMENTS: Mapping[str, Setting] = {
    "registry": _REGISTRY,
    "docker": _DOCKER,
    "adopt": Setting(
        values.SWITCH, "Whether images labelled as environments and recorded nowhere are recorded.", default=False
    ),
}

AGENTS: Mapping[str, Setting] = {
    "database": Setting(places.FILE, "The agent's database.", required=True),
    "remote": Setting(
        places.AGENT_REMOTE, "The database that is shared: file://, http://, https:// or libsql://.", required=True
    ),
    "direction": Setting(forms.one_of(Direction), "Which sides may be written.", agents.POLICY.direction),
    "conflict": Setting(forms.one_of(Conflict), "Who wins when both sides changed.", agents.POLICY.conflict),
    "deletes": Setting(forms.one_of(Deletes), "What a deletion on one side means.", agents.POLICY.deletes),
    "max_delete": Setting(values.LIMITS, "A run that would delete more is refused.", Limits()),
    "keep": Setting(forms.one_of(Keep), "Which replaced and deleted versions go to the trash.", agents.POLICY.keep),
    "timeout": Setting(values.duration(zero=False), "Seconds of silence after which the remote counts as gone.", 30.0),
    "token": Setting(hidden.SECRET, "The remote's bearer token. Without it: `TURSO_DB_AUTH_TOKEN`."),
}

CACHES: Mapping[str, Setting] = {
    "url": Setting(places.CACHE, "Where the cache is; for its password see `[buckets]`.", required=True),
    "preset": Setting(forms.one_of(caches.Library), "Which library names the keys.", caches.Library.FASTBLOCKS),
    "app": Setting(
        forms.TEXT, "What its keys begin with: the application, Django's prefix, a namespace of aiocache.", ""
    ),
    "version": Setting(forms.TEXT, "Django's version of keys. Without it: 1.", ""),
    "keys": Setting(
        values.PATTERNS, "Further namespaces, as `NAME=TEMPLATE`, with `{app}` and free parts in braces.", ()
    ),
    "environment": Setting(
        hidden.ATTRIBUTE, "The Jinja environment whose templates are compiled when the cache is warmed."
    ),
    "urls": Setting(hidden.PAGES, "Pages to ask for when responses are warmed."),
}

DATASET: Mapping[str, Setting] = {
    "actor_id": Setting(values.ACTOR, "Id of the actor; a part of paths.", required=True),
    "actor_name": Setting(values.ACTOR, "Name of the actor: its id, or beginning with the id and `_`.", required=True),
    "delete_orphans": Setting(
        values.SWITCH, "Whether what the manifest does not name goes to the trash.", default=False
    ),
}

LAYOUT: Mapping[str, Setting] = {
    "local": Setting(places.template(urls=False), "Folder of an actor's files.", required=True),
    "remote": Setting(
        places.template(urls=True), "The other copy: a path, a URL, or a name of [buckets].", required=True
    ),
    "manifest": Setting(places.template(urls=False), "The manifest of an actor, a JSON file.", required=True),
    "conflict": Setting(
        forms.one_of(Conflict, without=(Conflict.BACKUP_BOTH,)),
        "Who wins where both copies differ and neither is as recorded.",
        _POLICY.conflict,
    ),
    "max_delete": Setting(values.LIMITS, "A run that would delete more is refused.", Limits()),
}
"""Where the datasets of all actors are."""

MODELS: Mapping[str, Setting] = {
    "enrich": Setting(
        forms.several(models.Source),
        "Data packages that tell prices and sizes which a provider does not list; the first that knows one counts.",
        (),
    ),
}

SERVE: Mapping[str, Setting] = {
    "port": Setting(forms.whole(1, 65535), "Where `trueup serve` listens, and `--port` finds it.", 8000),
}

DATASETS, CATALOGUE, SERVER = "datasets", "models", "serve"
TABLES: Mapping[str, Mapping[str, Setting]] = {DATASETS: LAYOUT, CATALOGUE: MODELS, SERVER: SERVE}
"""The settings of tables that there are once, and that have no name of their own."""

_CHECK = Setting(values.SWITCH, "Whether files that are not valid are held back, on either side.", default=True)
_RELOAD = settings_kind.Reload()


def _files(patterns: tuple[str, ...], more: Mapping[str, Setting]) -> Mapping[str, Setting]:
    """The settings of a folder, with other patterns, and more."""
    return {**FOLDER, "include": replace(FOLDER["include"], default=patterns), **more}


TEMPLATES = _files(
    templates.PATTERNS,
    {
        "check": _CHECK,
        "extensions": Setting(values.WORDS, "Extensions of Jinja2 that the templates use, as `do` or `i18n`.", ()),
        "delimiters": Setting(
            values.DELIMITERS, "Begin and end of blocks, of variables and of comments.", templates.DELIMITERS
        ),
        "bytecode": Setting(
            places.FOLDER, "Folder of Jinja2's bytecode cache; what was compiled from changed templates is cleared.", ""
        ),
        "cache": Setting(
            values.NAMES, "Targets of kind `cache` from which the keys of changed templates are taken out.", ()
        ),
        "warm": Setting(
            values.SWITCH, "Whether those are compiled again, through the `environment` of the cache.", default=False
        ),
    },
)
SETTINGS = _files(
    settings_kind.PATTERNS,
    {
        "check": _CHECK,
        "schemas": Setting(places.FOLDER, "Folder of JSON Schemas, `ADAPTER.json` each.", ""),
        "reload_signal": Setting(
            forms.one_of(settings_kind.Signal), "What the process of `reload_pidfile` gets.", _RELOAD.signal
        ),
        "reload_pidfile": Setting(
            hidden.APPROVED_FILE, "A file with the number of the process that is to read its settings again."
        ),
        "reload_url": Setting(hidden.PAGE, "Is asked by POST to have the settings read again; 2xx is yes."),
    },
)
STATIC = _files(
    static.PATTERNS,
    {
        "types": Setting(values.TYPES, "Types of further suffixes, as `.glb=model/gltf-binary`.", ()),
        "cache_control": Setting(forms.TEXT, "The `Cache-Control` of what a bucket serves.", static.CACHED),
        "uncached": Setting(
            values.PATTERNS, f"Files that get `{static.UNCACHED}` in its place.", static.Static().uncached
        ),
    },
)

FILES: Mapping[str, Mapping[str, Setting]] = {
    folders.KIND: FOLDER,
    templates.KIND: TEMPLATES,
    settings_kind.KIND: SETTINGS,
    static.KIND: STATIC,
}
"""The kinds whose targets are two folders."""

KINDS: Mapping[str, Mapping[str, Setting]] = {
    **FILES,
    policies.KIND: POLICIES,
    environments.KIND: ENVIRONMENTS,
    caches.KIND: CACHES,
    agents.KIND: AGENTS,
    datasets.KIND: DATASET,
}
"""The settings of each kind of target, `kind` itself apart."""

BUCKET: Mapping[str, Setting] = {
    "url": Setting(places.location(buckets=False), "Where it is.", required=True),
    "endpoint": Setting(places.URL, "Address of the service, if it is not the public one."),
    "region": Setting(forms.TEXT, "Its region, where the service has regions."),
    "access_key": Setting(hidden.SECRET, "Who asks."),
    "secret_key": Setting(hidden.SECRET, "The proof of it."),
}

PROVIDER: Mapping[str, Setting] = {
    "base_url": Setting(places.ADDRESS, "Everything before `/models`. Without it: the provider's own address."),
    "api_key": Setting(hidden.SECRET, "The key. Without it: the environment variable that the vendor's tools read."),
    "organization": Setting(forms.TEXT, "The organisation that is asked for, where one key has several."),
    "fresh": Setting(
        values.duration(zero=True),
        "For how long a list counts as fresh; `--force` asks all the same.",
        12 * 3600.0,
    ),
}

ALERT: Mapping[str, Setting] = {
    "deliver": Setting(hidden.DELIVERY, "Where it goes; each thing is told once.", required=True),
    "days": Setting(values.DAYS, "How many days before a model retires, each time.", (90, 60, 30, 7)),
    "changes": Setting(values.PATTERNS, "Kinds of change that are told too, such as `removed` or `price`.", ()),
}

NOTIFY: Mapping[str, Setting] = {
    "deliver": Setting(hidden.DELIVERY, "Where it goes; each change of a target is told once.", required=True),
    "secret": Setting(hidden.SECRET, "What the server signs with, so that a webhook can tell who speaks."),
    "targets": Setting(values.PATTERNS, "Names of targets; without them all.", ()),
}

VARIABLES: Mapping[str, str] = {
    "TRUEUP_STATE": "The state directory. A file cannot name it: it holds which files are trusted.",
    "TRUEUP_CONFIG": "The configuration file, in place of the one that is found by walking up.",
    "TRUEUP_PROFILE": "The profile.",
    "TRUEUP_ENV": "The profile too, if TRUEUP_PROFILE is not set. `production` keeps the provider `mock` away.",
} | {setting.variable: f"`{name}` of every target." for name, setting in FOLDER.items() if setting.variable}
"""The environment variables that are read, and what they mean. An empty one counts as not set."""
