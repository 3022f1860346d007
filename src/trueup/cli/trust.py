"""``trueup trust``: let a configuration file have secrets and run commands."""

from __future__ import annotations

import os
from pathlib import Path

import click

from trueup.cli.answers import respond
from trueup.cli.common import Session, pass_session
from trueup.cli.group import Command
from trueup.core.errors import UsageError
from trueup.render.names import count, printable
from trueup.render.text import line


@click.command(cls=Command, short_help="Let a configuration file have secrets.")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--remove", is_flag=True, help="Take the approval back.")
@pass_session
def trust(session: Session, *, file: Path | None, remove: bool) -> None:
    """Let a configuration file fetch the secrets that it names, as long as it stays as it is.

    \b
    Examples:
      trueup trust                     the trueup.toml of this folder, or above it
      trueup trust deploy/trueup.toml
      trueup trust --remove

    A trueup.toml may have come with something that you downloaded: it could name any variable, file or command, and
    a server of its own to send the secret to. Read it first. What it fetches is listed here, and the commands that it
    runs, but not what they do. Any edit ends the approval.
    """
    from trueup import config

    path = config.find(Path.cwd(), env=os.environ, file=file or session.config)
    if path is None:
        raise UsageError("there is nothing to trust", why="no trueup.toml here or above", attempt="trueup trust FILE")
    state = config.state_dir(Path.cwd(), env=os.environ)
    if remove:
        _remove(session, path, state)
    else:
        _approve(session, path, state)


def _remove(session: Session, path: Path, state: Path) -> None:
    from trueup.config.trust import distrust

    removed = distrust(path, state)
    said = "no longer trusted" if removed else "was not trusted"
    respond(session, "trust", [line(f"{printable(str(path))}: {said}")], path=str(path), trusted=False, changed=removed)


def _approve(session: Session, path: Path, state: Path) -> None:
    """Approve the bytes that the list of commands was read from."""
    from trueup.config import Source
    from trueup.config.document import commands, fetched, loaded, read
    from trueup.config.problems import Problem, refuse
    from trueup.config.trust import trust as approve

    problems: list[Problem] = []
    document = read(path, Source.PROJECT, problems)
    refuse(problems)
    listed = dict(commands(document.table)) if document else {}
    code = dict(loaded(document.table)) if document else {}
    secrets = {
        name: f"{how} {value}"
        for name, how, value in (fetched(document.table) if document else ())
        if how != "command" and isinstance(value, str)
    }
    digest = approve(path, state, digest=document.digest if document else None)
    named = f"{count(len(secrets), 'secret')} and {count(len(listed), 'command')}"
    said = f"{printable(str(path))}: trusted as it is now, with {named} (SHA-256 {digest[:16]})"
    lines = [line(f"  {name}: {printable(what)}") for name, what in (secrets | listed | code).items()]
    respond(
        session,
        "trust",
        [*lines, line(said)],
        path=str(path),
        trusted=True,
        digest=digest,
        commands=listed,
        secrets=secrets,
    )
