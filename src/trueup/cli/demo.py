"""``trueup demo``: see it work."""

from __future__ import annotations

from pathlib import Path

import click

from trueup.cli.common import Session, pass_session
from trueup.cli.group import Command
from trueup.core.errors import TrueupError, UsageError


@click.command(cls=Command)
@click.argument("directory", required=False, type=click.Path(path_type=Path), metavar="[DIR]")
@click.option("--keep", is_flag=True, help="Leave the workspace, to play on with it.")
@pass_session
def demo(session: Session, *, directory: Path | None, keep: bool) -> int:
    """See it work, on throw-away folders.

    DIR is where to make the workspace; it must be empty or not there yet, and stays.

    \b
    Examples:
      trueup demo
      trueup demo --keep
      trueup demo ./playground

    Runs the real commands on real files, in a temporary folder with a state of its own. Nothing of yours is touched.
    """
    from trueup import demo as show

    if directory is not None and directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise UsageError(f"{directory} is not empty", why="the demo makes files of its own")
    try:
        show.run(directory, keep=keep)
    except show.DemoFailed as error:
        raise TrueupError("the demo did not go as it should", why=str(error)) from error
    return 0
