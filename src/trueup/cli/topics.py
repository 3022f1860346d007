"""``trueup help``: what is not about one command."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import click

from trueup.cli.common import Session, pass_session
from trueup.cli.group import Command
from trueup.core.errors import UsageError

EXIT_CODES = {
    0: "in sync, or all applied",
    1: "failed, nothing succeeded; or a whole side could not be seen",
    2: "partial: some was done, some was not; or somebody was faster; or items could not be judged",
    3: "drift found (read-only commands with --exit-code, which --quiet implies); or you declined",
    4: "conflicts wait for a person",
    5: "refused by a guard, a stale plan, or a damaged state",
    6: "another run holds the target",
    64: "usage: the command makes no sense, or a question was due and nobody could be asked",
    78: "the configuration is wrong",
    130: "interrupted by Ctrl-C",
    143: "ended by SIGTERM",
}
"""Every exit code. Several at once: the first of 78, 5, 1, 2, 4, 3."""


def exit_codes() -> Iterator[str]:
    """Every exit code."""
    for code, meaning in EXIT_CODES.items():
        yield f"{code:>4}  {meaning}"
    yield ""
    yield "Several at once: the first of 78, 5, 1, 2, 4, 3."
    yield "`trueup plan --detailed-exitcode` ends with 0 (nothing to do), 1 (error) or 2 (changes or conflicts)."


def symbols() -> Iterator[str]:
    """The signs and words of plans and reports."""
    from trueup.render.wording import MARKS, STATUSES

    yield "In a plan:"
    for mark in MARKS:
        yield f"  {mark.sign:<2} {mark.word:<13} {mark.meaning}"
    yield ""
    yield "In the report of a run:"
    for mark in STATUSES.values():
        yield f"  {mark.sign:<2} {mark.word:<13} {mark.meaning}"


def config() -> Iterator[str]:
    """Where settings come from, and which there are."""
    from trueup.config import VARIABLES
    from trueup.config.settings import FOLDER

    yield "Flags win over the environment, that over the project's file, the user's, the system's."
    yield "The project's file is trueup.toml (or [tool.trueup] of pyproject.toml), here or in a folder above:"
    yield ""
    yield "  [targets.photos]"
    yield '  kind = "folder"'
    yield '  local = "~/photos"'
    yield '  remote = "/mnt/backup/photos"'
    yield ""
    yield "Settings of a folder:"
    for name, setting in FOLDER.items():
        yield f"  {name:<15} {setting.doc}"
    yield ""
    yield "Environment:"
    for name, doc in VARIABLES.items():
        yield f"  {name:<22} {doc}"
    yield ""
    yield "Next: trueup init, trueup config show --origin, trueup config check"


def guards() -> Iterator[str]:
    """What stops a run before the first write."""
    from trueup.render.wording import GUARDS

    yield "A guard stops a run before anything is written. --allow GUARD lets this one run pass; --yes never does."
    yield ""
    for guard, meaning in GUARDS.items():
        yield f"  {guard.value:<14} {meaning}"


def stores() -> Iterator[str]:
    """What a side can be."""
    from trueup.stores import schemes

    yield "A side is a folder, given as its path, or what a URL names. Schemes of URLs:"
    yield ""
    for scheme, summary in schemes().items():
        yield f"  {scheme + '://':<11} {summary}"
    yield ""
    yield "Other packages add theirs by the entry point group trueup.stores."


TOPICS: dict[str, Callable[[], Iterator[str]]] = {
    "exit-codes": exit_codes,
    "symbols": symbols,
    "config": config,
    "guards": guards,
    "stores": stores,
}


@click.command("help", cls=Command)
@click.argument("words", nargs=-1, metavar="[TOPIC | COMMAND...]")
@click.pass_context
@pass_session
def topics(session: Session, ctx: click.Context, *, words: tuple[str, ...]) -> int:
    """Explain exit codes, symbols, configuration, guards, stores.

    \b
    Examples:
      trueup help                 all commands and topics
      trueup help exit-codes
      trueup help symbols
      trueup help config
      trueup help guards
      trueup help stores
      trueup help sync            the same as trueup sync --help
    """
    root = ctx.find_root()
    if not words:
        text = root.get_help() + f"\n\nTopics: trueup help {' | '.join(TOPICS)}\n"
    elif len(words) == 1 and words[0] in TOPICS:
        text = "\n".join(TOPICS[words[0]]()) + "\n"
    else:
        text = _command_help(root, words) + "\n"
    session.answer(text)
    return 0


def _command_help(root: click.Context, words: tuple[str, ...]) -> str:
    context, command = root, root.command
    for word in words:
        found = command.get_command(context, word) if isinstance(command, click.Group) else None
        if found is None:
            from difflib import get_close_matches

            names = command.list_commands(context) if isinstance(command, click.Group) else []
            near = get_close_matches(word, [*TOPICS, *names], n=1)
            hint = f"did you mean {near[0]}?" if near else f"topics: {', '.join(TOPICS)}"
            raise UsageError(f"there is no help on {' '.join(words)}", why=hint, attempt="trueup help")
        context, command = click.Context(found, info_name=word, parent=context), found
    return command.get_help(context)
