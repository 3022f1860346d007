"""``trueup trust``: let a configuration file run commands."""

from __future__ import annotations

import os
from pathlib import Path

import click

from trueup.core.errors import UsageError


@click.command(short_help="Let a configuration file run commands.")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--remove", is_flag=True, help="Take the approval back.")
@click.pass_context
def trust(context: click.Context, *, file: Path | None, remove: bool) -> None:
    """Let a configuration file run the commands that it names, as long as it stays as it is.

    \b
    Examples:
      trueup trust                     the trueup.toml of this folder, or above it
      trueup trust deploy/trueup.toml
      trueup trust --remove

    A trueup.toml may have come with something that you downloaded. Read it first: the commands are listed here, but
    not what they do. Any edit ends the approval.
    """
    from trueup import config
    from trueup.config.document import commands, read
    from trueup.config.problems import Problem, printable, refuse
    from trueup.config.trust import distrust
    from trueup.config.trust import trust as approve

    named = context.find_root().params.get("config")
    here = Path.cwd()
    path = config.find(here, env=os.environ, file=file or (Path(named) if named else None))
    if path is None:
        raise UsageError("there is nothing to trust", why="no trueup.toml here or above", attempt="trueup trust FILE")
    state = config.state_dir(here, env=os.environ)
    shown = printable(str(path))
    if remove:
        click.echo(f"{shown}: {'no longer trusted' if distrust(path, state) else 'was not trusted'}")
        return
    problems: list[Problem] = []
    document = read(path, config.Source.PROJECT, problems)
    refuse(problems)
    listed = list(commands(document.table)) if document else []
    for name, command in listed:
        click.echo(f"  {name}: {printable(command)}")
    digest = approve(path, state, digest=document.digest if document else None)
    click.echo(f"{shown}: trusted as it is now (SHA-256 {digest[:16]}), commands: {len(listed)}")
