"""``trueup config``: what is configured, where it comes from, and what may be."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trueup.cli.answers import respond
from trueup.cli.common import Session, pass_session
from trueup.cli.group import Group
from trueup.core.errors import ConfigError
from trueup.render.names import count, printable
from trueup.render.text import line

if TYPE_CHECKING:
    from trueup.config import Origin


@click.group(cls=Group, short_help="Show and check the configuration.")
def config() -> None:
    """Show and check the configuration.

    \b
    Examples:
      trueup config show --origin      every setting, and where it comes from
      trueup config check              everything that is wrong, with its line
      trueup config schema > trueup.schema.json
    """


@config.command(short_help="Every setting in effect.")
@click.option("--origin", is_flag=True, help="Say where each value comes from.")
@pass_session
def show(session: Session, *, origin: bool) -> None:
    """Every setting in effect. Secrets are shown as how they are got, commands not at all.

    \b
    Examples:
      trueup config show
      trueup config show --origin --profile production
      trueup config show --json        with origins
    """
    loaded = session.load_config()
    settings = {
        name: {"value": value, "origin": _fields(loaded.origins[name])} for name, value in loaded.settings.items()
    }
    texts = {name: f"{name} = {_toml(value)}" for name, value in loaded.settings.items() if value is not None}
    wide = max(map(len, texts.values()))
    lines = [
        ((f"{text:{wide}}", ""), (f"  # {loaded.origins[name]}", "dim")) if origin else line(text)
        for name, text in texts.items()
    ]
    path = None if loaded.path is None else str(loaded.path)
    respond(session, "config", lines, path=path, profiles=loaded.profiles, settings=settings)


@config.command(short_help="Everything that is wrong.")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@pass_session
def check(session: Session, *, file: Path | None) -> None:
    """Check a configuration as it is in effect, and with each of its profiles.

    Everything that is wrong is told at once, and the exit code is 78. FILE is the one to check, in place of the one
    that is in effect here.

    \b
    Examples:
      trueup config check
      trueup config check deploy/trueup.toml
    """
    from trueup import config as configuration
    from trueup.config.document import fetched, read
    from trueup.config.trust import is_trusted

    asked = replace(session, config=file or session.config)
    loaded = asked.load_config()
    if loaded.path is None:
        raise ConfigError("there is no configuration", why="no trueup.toml here or above", attempt="trueup init")
    for profile in loaded.profiles:
        replace(asked, profile=profile).load_config()
    document = read(loaded.path, configuration.Source.PROJECT, [])
    ways = [how for _, how, _ in fetched(document.table)] if document else []
    commands = ways.count("command")
    trusted = is_trusted(loaded.path, loaded.state_dir)
    counts = f"{count(len(loaded.targets), 'target')}, {count(len(loaded.profiles), 'profile')}"
    respond(
        session,
        "config-check",
        [line(f"{printable(str(loaded.path))}: no errors in {counts}")],
        path=str(loaded.path),
        targets=list(loaded.targets),
        profiles=loaded.profiles,
        commands=commands,
        secrets=len(ways) - commands,
        trusted=trusted,
    )
    if ways and not trusted:
        session.tell([line(f"note: it names {count(len(ways), 'secret')}: none is fetched before `trueup trust`")])


@config.command(short_help="The JSON Schema of trueup.toml.")
@pass_session
def schema(session: Session) -> None:
    """The JSON Schema of ``trueup.toml``, for editors and other programs.

    \b
    Examples:
      trueup config schema > trueup.schema.json
    """
    from trueup import config as configuration
    from trueup.render.documents import dump

    session.answer(dump(configuration.schema()))


def _fields(origin: Origin) -> dict[str, object]:
    return {
        "source": origin.source.value,
        "path": None if origin.path is None else os.fspath(origin.path),
        "line": origin.line,
        "name": origin.name or None,
    }


def _toml(value: object) -> str:
    """As TOML writes it, on one line, and unable to control a terminal."""
    from trueup.config.problems import printable as escaped

    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {_toml(part)}" for name, part in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(part) for part in value) + "]"
    return escaped(json.dumps(value, ensure_ascii=False))
