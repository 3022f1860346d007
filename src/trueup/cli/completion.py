"""``trueup completion``: the script that completes our commands in a shell."""

from __future__ import annotations

import os
from pathlib import PurePath

import click

from trueup.cli.common import Session, pass_session
from trueup.cli.group import PROGRAM, Command
from trueup.core.errors import UsageError

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_TRUEUP_COMPLETE"
"""How the script asks us for completions (click, `shell_completion`)."""


@click.command(cls=Command, short_help="Complete commands in your shell.")
@click.argument("shell", required=False, type=click.Choice(SHELLS))
@pass_session
@click.pass_context
def completion(context: click.Context, session: Session, *, shell: str | None) -> None:
    """Print the script that completes commands and options; your shell has to read it.

    \b
    Examples:
      eval "$(trueup completion bash)"                                   in ~/.bashrc
      eval "$(trueup completion zsh)"                                    in ~/.zshrc
      trueup completion fish > ~/.config/fish/completions/trueup.fish

    Without SHELL the script is for the one that $SHELL names.
    """
    from click.shell_completion import get_completion_class

    shell = shell or PurePath(os.environ.get("SHELL", "")).name
    complete = get_completion_class(shell) if shell in SHELLS else None
    if complete is None:
        raise UsageError("the shell is not known", why="$SHELL names none of ours", attempt="trueup completion bash")
    session.answer(complete(context.find_root().command, {}, PROGRAM, VARIABLE).source() + "\n")
