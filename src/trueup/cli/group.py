"""The command tree: loaded lazily, helpful about mistyped words, one place where every error ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from types import MappingProxyType
from typing import Any, NamedTuple, NoReturn

import click

from trueup.cli.common import COMMON, Session, common_options
from trueup.cli.failures import exit_code_of, report_failure

PROGRAM = "trueup"

HELP = """Make what is recorded and what is real agree.

\b
Examples:
  trueup demo                              see it work, on throw-away folders
  trueup init                              write a first trueup.toml
  trueup status                            how every target stands
  trueup sync folder ~/photos /mnt/photos  show the plan, ask, apply
  trueup undo last                         take the last run back
"""


class Listed(NamedTuple):
    """A command that is not loaded yet."""

    home: str
    """``module:attribute``, below `trueup.cli`."""
    heading: str
    summary: str
    words: Mapping[str, str] = MappingProxyType({})
    """Homes of commands of their own that a word behind it stands for, as in ``trueup sync policies``; no target can be
    called so."""


class Command(click.Command):
    """A command that takes the common options, behind its own words too."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += common_options(exposed=False, taken={name for param in self.params for name in param.opts})

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The command's own options, and where the common ones are explained."""
        own = [param for param in self.get_params(ctx) if param.name not in COMMON]
        records = [
            record for param in own if (record := param.get_help_record(ctx)) and isinstance(param, click.Option)
        ]
        if records:
            with formatter.section("Options"):
                formatter.write_dl(records)
        formatter.write_paragraph()
        formatter.write_text("Common options (--json, --output, -q, -v, --color, ...): see `trueup --help`.")


class Group(click.Group):
    """A group of commands that are loaded with it."""

    command_class = Command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; a mistyped one gets a suggestion."""
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-") and not ctx.resilient_parsing:
            from difflib import get_close_matches

            near = get_close_matches(name, self.list_commands(ctx), n=2)
            hint = f" Did you mean {' or '.join(repr(word) for word in near)}?" if near else ""
            raise click.UsageError(f"No such command {name!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)


class Root(Group):
    """The ``trueup`` command itself."""

    def __init__(self, listed: Mapping[str, Listed]) -> None:
        settings = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
        super().__init__(PROGRAM, help=HELP, context_settings=settings, params=list(common_options(exposed=True)))
        self.listed = listed
        self.params.append(
            click.Option(
                ["--version"],
                is_flag=True,
                expose_value=False,
                is_eager=True,
                callback=_version,
                help="Show the version.",
            )
        )

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order in which help lists them."""
        return list(self.listed)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load one command."""
        if cmd_name not in self.listed:
            return None
        return command_at(self.listed[cmd_name].home)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As `Group`; where a word behind is a command of its own, only that one is loaded."""
        name, *rest = args
        words = self.listed[name].words if name in self.listed else {}
        word = next((word for word in rest if not word.startswith("-")), "")
        if word not in words:
            return super().resolve_command(ctx, args)
        rest.remove(word)
        return f"{name} {word}", command_at(words[word]), rest

    def worded(self, name: str) -> Mapping[str, click.Command]:
        """Load the commands that a word behind a command stands for."""
        return {word: command_at(home) for word, home in self.listed[name].words.items()}

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands before the options: they are what a person looks for."""
        self.format_commands(ctx, formatter)
        click.Command.format_options(self, ctx, formatter)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands under their headings, without loading any."""
        headings: dict[str, list[tuple[str, str]]] = {}
        for name, listed in self.listed.items():
            headings.setdefault(listed.heading, []).append((name, listed.summary))
        widest = max(map(len, self.listed))
        for heading, rows in headings.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(widest), summary) for name, summary in rows])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Complete names of commands without loading any."""
        from click.shell_completion import CompletionItem

        names = [
            CompletionItem(name, help=listed.summary)
            for name, listed in self.listed.items()
            if name.startswith(incomplete)
        ]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]

    def main(  # type: ignore[override]  # narrower on purpose: it always exits
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> NoReturn:
        """Run one command line and exit with a documented code.

        Args:
            args: The words after the program's name; default: those of the process.
            prog_name: The program's name in help texts.
            extra: For the context, as `click.Command.main` takes it.
        """
        words = list(sys.argv[1:] if args is None else args)
        session = Session(words=tuple(words))
        extra.pop("standalone_mode", None)
        _prepare_streams()
        try:
            answer = super().main(words, prog_name or PROGRAM, standalone_mode=False, obj=session, **extra)
            code = answer if isinstance(answer, int) else 0
        except Exception as error:  # noqa: BLE001 - the edge of the process
            code = exit_code_of(error)
            if isinstance(error, OSError) and _writes_help(error):
                session.give_up(sys.stdout, error)
            else:
                report_failure(error, session)
        except KeyboardInterrupt:
            code = 130
        finally:
            session.restore()
        sys.exit(session.close(code))


def command_at(home: str) -> click.Command:
    """Load the command at ``module:attribute`` below `trueup.cli`."""
    module, _, attribute = home.partition(":")
    command: click.Command = getattr(import_module(f"trueup.cli.{module}"), attribute)
    return command


def _writes_help(error: OSError) -> bool:
    """Whether it is click that could not write: a help text or the version, to stdout."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_globals.get("__name__") == click.echo.__module__


def _prepare_streams() -> None:
    """No character and no closed descriptor may stop a command."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - for the whole process
        reconfigure = getattr(getattr(sys, name), "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"{PROGRAM} {version(PROGRAM)}")
        ctx.exit()


def every_command(
    command: click.Command, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """All commands with their names, groups before what they hold; for documentation and its tests."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=path[-1] if path else PROGRAM)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            if found is not None:
                yield from every_command(found, (*path, name))
            if isinstance(command, Root):
                for word, own in command.worded(name).items():
                    yield from every_command(own, (*path, name, word))
