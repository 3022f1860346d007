"""``trueup config``: what is configured, where it comes from, and what may be."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

from trueup.core.errors import ConfigError

FORMAT = "trueup.config"
VERSION = 1


@click.group(short_help="Show and check the configuration.")
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
@click.option("--json", "as_json", is_flag=True, help="One JSON document, origins included.")
@click.option("--profile", metavar="NAME", help="With this profile, in place of the one in effect.")
@click.pass_context
def show(context: click.Context, *, origin: bool, as_json: bool, profile: str | None) -> None:
    """Every setting in effect. Secrets are shown as how they are got, commands not at all.

    \b
    Examples:
      trueup config show
      trueup config show --origin --profile production
      trueup config show --json
    """
    from trueup import config as configuration

    given = context.find_root().params
    loaded = configuration.load(
        Path.cwd(), env=os.environ, profile=profile or given.get("profile"), file=_file(given.get("config"))
    )
    if as_json:
        settings = {
            name: {"value": value, "origin": _origin(loaded.origins[name])} for name, value in loaded.settings.items()
        }
        path = None if loaded.path is None else str(loaded.path)
        click.echo(json.dumps({"format": FORMAT, "version": VERSION, "path": path, "settings": settings}, indent=2))
        return
    lines = [(f"{name} = {_toml(value)}", name) for name, value in loaded.settings.items() if value is not None]
    width = max(len(line) for line, _ in lines)
    for line, name in lines:
        click.echo(f"{line:{width}}  # {loaded.origins[name]}" if origin else line)


@config.command(short_help="Everything that is wrong.")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.pass_context
def check(context: click.Context, *, file: Path | None) -> None:
    """Check a configuration, with each of its profiles; everything that is wrong is told at once.

    FILE is the one to check, in place of the one that is in effect here.

    \b
    Examples:
      trueup config check
      trueup config check deploy/trueup.toml

    The exit code is 78 if anything is wrong.
    """
    from trueup import config as configuration
    from trueup.config.document import commands, read
    from trueup.config.problems import printable
    from trueup.config.trust import is_trusted

    file = file or _file(context.find_root().params.get("config"))
    loaded = configuration.load(Path.cwd(), env=os.environ | {"TRUEUP_PROFILE": "", "TRUEUP_ENV": ""}, file=file)
    if loaded.path is None:
        raise ConfigError("there is no configuration", why="no trueup.toml here or above", attempt="trueup init")
    for profile in loaded.profiles:
        configuration.load(Path.cwd(), env=os.environ, file=file, profile=profile)
    targets, profiles = len(loaded.targets), len(loaded.profiles)
    click.echo(f"{printable(str(loaded.path))}: no errors, targets: {targets}, profiles: {profiles}")
    document = read(loaded.path, configuration.Source.PROJECT, [])
    count = len(list(commands(document.table))) if document else 0
    if count and not is_trusted(loaded.path, loaded.state_dir):
        click.echo(f"note: it names {count} command(s), which do not run before `trueup trust`", err=True)


@config.command(short_help="The JSON Schema of trueup.toml.")
def schema() -> None:
    """The JSON Schema of ``trueup.toml``, for editors and other programs.

    \b
    Examples:
      trueup config schema > trueup.schema.json
    """
    from trueup import config as configuration

    click.echo(json.dumps(configuration.schema(), indent=2))


def _file(named: object) -> Path | None:
    """What the option of the main command says, if it has one."""
    return Path(os.fspath(named)) if isinstance(named, (str, Path)) else None


def _origin(origin: Any) -> dict[str, object]:
    return {
        "source": origin.source.value,
        "path": None if origin.path is None else str(origin.path),
        "line": origin.line,
        "name": origin.name or None,
    }


def _toml(value: object) -> str:
    """As TOML writes it, on one line, and unable to control a terminal."""
    from trueup.config.problems import printable

    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {_toml(part)}" for name, part in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(part) for part in value) + "]"
    return printable(json.dumps(value, ensure_ascii=False))
