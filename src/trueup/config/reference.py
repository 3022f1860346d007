"""What editors and people read, generated from the tables of settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from trueup.config import hidden
from trueup.config.settings import (
    ALERT,
    BUCKET,
    CATALOGUE,
    DATASETS,
    KINDS,
    LAYOUT,
    MODELS,
    NAME,
    NOTIFY,
    PROVIDER,
    RESERVED,
    SERVE,
    VARIABLES,
    Setting,
)
from trueup.config.values import plain


def schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of one ``trueup.toml``.

    Nothing is required: a file may leave to another one what it does not say.
    """
    sections = {
        "targets": {
            "type": "object",
            "description": "What is kept in agreement, by name.",
            "propertyNames": {"pattern": f"^{NAME.pattern}$", "not": {"enum": sorted(RESERVED)}},
            "additionalProperties": {"anyOf": [{"$ref": f"#/$defs/{kind}"} for kind in KINDS]},
        },
        "buckets": {
            "type": "object",
            "description": "Places that `bucket:NAME/...` stands for, by name.",
            "propertyNames": {"pattern": f"^{NAME.pattern}$"},
            "additionalProperties": {"anyOf": [BUCKET["url"].form.schema, {"$ref": "#/$defs/bucket"}]},
        },
        DATASETS: _object(_properties(LAYOUT)) | {"description": "Where the datasets of all actors are."},
        CATALOGUE: _object(_properties(MODELS)) | {"description": "The catalogue of AI models."},
        "providers": {
            "type": "object",
            "description": "Services that list AI models, by name.",
            "propertyNames": {"pattern": f"^{NAME.pattern}$"},
            "additionalProperties": _object(_properties(PROVIDER)),
        },
        "alerts": {
            "type": "object",
            "description": "What is told about AI models, and where, by name.",
            "propertyNames": {"pattern": f"^{NAME.pattern}$"},
            "additionalProperties": _object(_properties(ALERT)),
        },
        "notify": {
            "type": "object",
            "description": "Where it is told that a target stands otherwise than before, by name.",
            "propertyNames": {"pattern": f"^{NAME.pattern}$"},
            "additionalProperties": _object(_properties(NOTIFY)),
        },
        "serve": _object(_properties(SERVE)) | {"description": "The server."},
    }
    profiles = {
        "type": "object",
        "description": "Settings that replace others when the profile is chosen, by name.",
        "propertyNames": {"pattern": f"^{NAME.pattern}$"},
        "additionalProperties": _object(sections),
    }
    kinds = {kind: _object({"kind": {"const": kind}} | _properties(settings)) for kind, settings in KINDS.items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "trueup.toml",
        **_object(sections | {"profiles": profiles}),
        "$defs": kinds | {"bucket": _object(_properties(BUCKET)), "secret": dict(hidden.SECRET.schema)},
    }


def reference() -> str:
    """All settings and variables as Markdown tables."""
    return "\n".join(_reference())


def _reference() -> Iterator[str]:
    for title, settings in [(f"Targets of kind `{kind}`", table) for kind, table in KINDS.items()] + [
        ("Buckets", BUCKET),
        ("Datasets", LAYOUT),
        ("Providers", PROVIDER),
        ("Alerts", ALERT),
        ("The catalogue of AI models", MODELS),
        ("Notifications", NOTIFY),
        ("Server", SERVE),
    ]:
        yield from (f"### {title}", "", "| setting | must be | default | |", "|---|---|---|---|")
        for name, setting in settings.items():
            yield f"| `{name}` | {setting.form.allowed} | {_default(setting)} | {setting.doc} |"
        yield ""
    yield from ("### Environment variables", "", "| variable | |", "|---|---|")
    yield from (f"| `{name}` | {doc} |" for name, doc in VARIABLES.items())
    yield ""


def _default(setting: Setting) -> str:
    if setting.required:
        return "required"
    value = plain(setting.default)
    return "" if value in (None, []) else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": dict(properties), "additionalProperties": False}


def _properties(settings: Mapping[str, Setting]) -> dict[str, Any]:
    return {name: _property(setting) for name, setting in settings.items()}


def _property(setting: Setting) -> dict[str, Any]:
    form = {"$ref": "#/$defs/secret"} if setting.form is hidden.SECRET else dict(setting.form.schema)
    value = plain(setting.default)
    return form | {"description": setting.doc} | ({} if value is None else {"default": value})
