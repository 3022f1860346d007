"""``trueup models``: what the catalogue holds, and how it changed. Nothing is asked of any provider."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import click

from trueup.api.statistics import Statistic, statistics
from trueup.cli.answers import finish
from trueup.cli.common import Session, pass_session
from trueup.cli.group import Command, Group
from trueup.cli.models import sheets
from trueup.cli.models.ages import ago, moment_of
from trueup.cli.models.meaning import Chosen, chosen
from trueup.cli.models.packages import ages
from trueup.cli.models.sheets import Sheet, change_fields, model_fields
from trueup.cli.running import Runner, run_engine
from trueup.core.errors import UsageError
from trueup.render.names import printable
from trueup.render.text import Line, line
from trueup.stores.catalogue.changes import Kind
from trueup.stores.catalogue.library import AccountState, DataPackage, Model

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class View:
    """What a command has to show, in each of the forms that it can be asked for."""

    document: str
    """The name of its document."""
    sheet: Sheet
    fields: dict[str, Any]
    """Of its document."""
    lines: Sequence[Line] | None = None
    """For people; None: the sheet."""
    notes: Sequence[Line] = ()
    """For people, after it."""


def _show(session: Session, look: Callable[[Chosen], View], providers: Sequence[str], *, as_csv: bool) -> int:
    """Look at the part of the catalogue that is meant, and show it as it was asked for."""
    if as_csv and not session.text:
        raise UsageError("--csv and --json cannot be had at once")

    async def work(runner: Runner) -> int:
        part = chosen(runner.engine.models(), providers)
        view = look(part)
        if as_csv:
            session.answer(view.sheet.csv())
        elif session.text:
            session.show([*(view.sheet.lines() if view.lines is None else view.lines), *view.notes])
        finish(session, view.document, **view.fields, exit_code=0)
        return 0

    return run_engine(session, work)


@click.group(cls=Group)
def models() -> None:
    """What AI providers offer, and how it changed.

    \b
    Examples:
      trueup sync models                 ask all providers
      trueup models ls                   what can be used
      trueup models history              what changed
    """


def _choosing(function: F) -> F:
    """Add ``--provider`` and ``--csv``."""
    function = click.option("--csv", "as_csv", is_flag=True, help="Comma-separated values.")(function)
    return click.option("--provider", "providers", metavar="PROVIDER", multiple=True, help="Only of this provider.")(
        function
    )


@models.command("ls", cls=Command)
@_choosing
@click.option("--all", "everything", is_flag=True, help="Removed models, and accounts of other keys, too.")
@pass_session
def ls(session: Session, *, providers: tuple[str, ...], as_csv: bool, everything: bool) -> int:
    """List the models that can be used.

    \b
    Examples:
      trueup models ls
      trueup models ls --provider openai --csv
      trueup models ls --all --json

    Prices are dollars per million tokens, sizes are tokens. Of each provider the account counts whose list came last.
    """

    def look(part: Chosen) -> View:
        accounts = part.accounts(everything=everything)
        found = part.library.models({one.account for one in accounts}, removed=everything)
        return _models("models-list", sheets.listed(found), part, found, accounts=accounts)

    return _show(session, look, providers, as_csv=as_csv)


@models.command("at", cls=Command)
@click.argument("date")
@_choosing
@pass_session
def at(session: Session, *, date: str, providers: tuple[str, ...], as_csv: bool) -> int:
    """List the models that could be used at a date.

    \b
    Examples:
      trueup models at 2026-11-21
      trueup models at 2026-11-21T14:00 --provider openai

    DATE is an ISO date (its end counts) or time, in UTC unless it names a zone.
    """

    def look(part: Chosen) -> View:
        found = part.library.at(moment_of(date, end=True), part.ids(everything=True))
        return _models("models-at", sheets.listed(found), part, found, date=date)

    return _show(session, look, providers, as_csv=as_csv)


@models.command("show", cls=Command)
@click.argument("model")
@_choosing
@pass_session
def show(session: Session, *, model: str, providers: tuple[str, ...], as_csv: bool) -> int:
    """Show all that is known of a model.

    \b
    Examples:
      trueup models show gpt-4o
      trueup models show gpt-4o --provider openrouter
      trueup models show gpt-4o -v        with the provider's own words

    MODEL is an id, or another name that a provider gives it. The exit code is 1 if there is none.
    """

    def look(part: Chosen) -> View:
        found = part.named(model)
        view = _models("models-show", sheets.known(found), part, found)
        raw = [json.dumps(one.record.fields["raw"], indent=2).splitlines() for one in found if session.verbose]
        return replace(view, notes=[*view.notes, *(line(text) for one in raw for text in ("", *one))])

    return _show(session, look, providers, as_csv=as_csv)


@models.command("explain", cls=Command)
@click.argument("model")
@_choosing
@pass_session
def explain(session: Session, *, model: str, providers: tuple[str, ...], as_csv: bool) -> int:
    """Say where each fact of a model comes from.

    \b
    Examples:
      trueup models explain gpt-4o
      trueup models explain grok-4 --json

    The source is `native` (the provider's list), the path of another of its lists, or `rule` (what the vendor says of
    the family); the date is the first on which the catalogue held this value. Sources that disagree are listed.
    """

    def look(part: Chosen) -> View:
        found = part.named(model)
        return _models("models-explain", sheets.explained(found), part, found)

    return _show(session, look, providers, as_csv=as_csv)


@models.command("history", cls=Command)
@click.argument("model", required=False)
@_choosing
@click.option("--since", metavar="DATE", help="Only changes from this date on.")
@click.option("--kind", type=click.Choice([kind.value for kind in Kind]), help="Only changes of this kind.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="How many, the latest.")
@pass_session
def history(
    session: Session,
    *,
    model: str | None,
    providers: tuple[str, ...],
    as_csv: bool,
    since: str | None,
    kind: str | None,
    limit: int,
) -> int:
    """List changes, the latest last.

    \b
    Examples:
      trueup models history
      trueup models history gpt-4o
      trueup models history --kind price --since 2026-11-01 --csv
    """

    def look(part: Chosen) -> View:
        after_ns = moment_of(since, end=False) - 1 if since else 0
        found = part.changes(after_ns=after_ns, model=model, kind=kind)[-limit:]
        fields = {"changes": [change_fields(change) for change in found]}
        return View("models-history", sheets.logged(found), fields)

    return _show(session, look, providers, as_csv=as_csv)


@models.command("diff", cls=Command)
@click.argument("start", metavar="FROM")
@click.argument("until", metavar="[TO]", required=False)
@_choosing
@pass_session
def diff(session: Session, *, start: str, until: str | None, providers: tuple[str, ...], as_csv: bool) -> int:
    """Compare the catalogue at two dates.

    \b
    Examples:
      trueup models diff 2026-11-01
      trueup models diff 2026-11-01 2026-11-21 --provider openai

    FROM and TO are as in `trueup models at`; without TO it is now.
    """

    def look(part: Chosen) -> View:
        accounts = part.ids(everything=True)
        before = part.library.at(moment_of(start, end=True), accounts)
        after = part.library.at(moment_of(until, end=True), accounts) if until else part.library.models(accounts)
        sheet = sheets.compared(before, after)
        found = [dict(zip(("sign", *sheet.headers[1:]), row, strict=True)) for row in sheet.rows]
        return View("models-diff", sheet, {"start": start, "until": until, "differences": found})

    return _show(session, look, providers, as_csv=as_csv)


@models.command("stats", cls=Command)
@_choosing
@pass_session
def stats(session: Session, *, providers: tuple[str, ...], as_csv: bool) -> int:
    """Count the models of each provider, and say how fresh each list is.

    \b
    Examples:
      trueup models stats
      trueup models stats --provider gemini --json

    A list is fresh for 12 hours unless [providers] says otherwise, then stale, and expired after six times as long.
    What is not known is counted apart: unknown is not false.
    """

    def look(part: Chosen) -> View:
        counted = [(one, part.state(one), _counted(part, one)) for one in part.accounts()]
        rows = [
            (one.provider, state, each.label, str(each.count), str(each.unknown))
            for one, state, lines in counted
            for each in lines
        ]
        lines = [text for one, state, found in counted for text in _told(part, one, state, found)]
        fields = [
            {
                "account": one,
                "state": state,
                "statistics": [{"label": s.label, "count": s.count, "unknown": s.unknown} for s in found],
            }
            for one, state, found in counted
        ]
        packages = _packages(part, part.library.models(part.ids()))
        return View(
            "models-stats",
            Sheet(sheets.COUNTED, rows),
            {"providers": fields, "packages": packages},
            lines=lines or [line("The catalogue is empty. Try: trueup sync models")],
            notes=ages(packages, part.catalogue.now_ns()),
        )

    return _show(session, look, providers, as_csv=as_csv)


def _models(document: str, sheet: Sheet, part: Chosen, found: Iterable[Model], **fields: Any) -> View:
    """A view of models, with the age of the data packages that tell of them."""
    models = list(found)
    packages = _packages(part, models)
    fields |= {"models": [model_fields(one) for one in models], "packages": packages}
    return View(document, sheet, fields, notes=ages(packages, part.catalogue.now_ns()))


def _packages(part: Chosen, models: Iterable[Model]) -> list[DataPackage]:
    """The data packages that any of the models has a fact from."""
    sources = {str(fact["source"]) for one in models for fact in one.record.fields["facts"].values()}
    return [one for one in part.library.packages() if any(one.is_source(source) for source in sources)]


def _counted(part: Chosen, one: AccountState) -> list[Statistic]:
    models = part.library.models({one.account})
    conflicts = sum(len(model.record.fields.get("conflicts", {})) for model in models)
    counted = [(model.id, model.facts) for model in models]
    return statistics(part.catalogue.providers.described(one.provider), counted, conflicts=conflicts)


def _told(part: Chosen, one: AccountState, state: str, counted: Iterable[Statistic]) -> list[Line]:
    return [
        line(f"{printable(one.provider)}: {state}", "bold"),
        line(f"  Last synced: {ago(one.success_ns, part.catalogue.now_ns())}"),
        *(line(f"  - {each}") for each in counted),
    ]
