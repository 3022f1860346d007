"""``trueup models``: what the catalogue holds, and how it changed. Nothing is asked of any provider."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import click

from trueup.api.catalogues import Catalogue
from trueup.api.statistics import statistics
from trueup.cli.common import Session, pass_session
from trueup.cli.group import Command, Group
from trueup.cli.models.ages import ago, day, moment_of
from trueup.cli.plan import finish
from trueup.cli.running import Runner, run_engine
from trueup.core.errors import NotFound, UsageError
from trueup.render.names import count, printable
from trueup.render.text import Line, line, table
from trueup.stores.catalogue.changes import Kind
from trueup.stores.catalogue.library import AccountState, Logged, Model

F = TypeVar("F", bound=Callable[..., Any])

LISTED = ("provider", "model", "state", "context", "max_output", "price_input", "price_output", "retires_at")
"""Columns of a list."""
LOGGED = ("at", "provider", "model", "kind", "fact", "old", "new", "percent")
"""Columns of changes."""
RIGHT = (3, 4, 5, 6)


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

    async def work(runner: Runner) -> int:
        catalogue = _catalogue(runner, providers)
        accounts = _accounts(catalogue, providers, everything=everything)
        found = catalogue.library.models({one.account for one in accounts}, removed=everything)
        rows = [_row(model) for model in found]
        _present(session, LISTED, rows, as_csv=as_csv, right=RIGHT, foot=count(len(rows), "model"))
        finish(session, "models-list", accounts=accounts, models=[_fields(model) for model in found], exit_code=0)
        return 0

    return run_engine(session, work)


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

    async def work(runner: Runner) -> int:
        catalogue = _catalogue(runner, providers)
        accounts = {one.account for one in _accounts(catalogue, providers, everything=True)}
        found = catalogue.library.at(moment_of(date, end=True), accounts)
        rows = [_row(model) for model in found]
        _present(session, LISTED, rows, as_csv=as_csv, right=RIGHT, foot=count(len(rows), "model"))
        finish(session, "models-at", date=date, models=[_fields(model) for model in found], exit_code=0)
        return 0

    return run_engine(session, work)


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

    async def work(runner: Runner) -> int:
        found = _named(_catalogue(runner, providers), model, providers)
        rows = [(one.provider, one.id, name, _text(value)) for one in found for name, value in _known(one).items()]
        _present(session, ("provider", "model", "fact", "value"), rows, as_csv=as_csv)
        if session.text and session.verbose and not as_csv:
            for one in found:
                raw = json.dumps(one.record.fields["raw"], indent=2)
                session.show([line(), *(line(text) for text in raw.splitlines())])
        finish(session, "models-show", models=[_fields(one) for one in found], exit_code=0)
        return 0

    return run_engine(session, work)


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

    async def work(runner: Runner) -> int:
        found = _named(_catalogue(runner, providers), model, providers)
        rows = []
        for one in found:
            fields = one.record.fields
            for name, fact in fields["facts"].items():
                rows.append((one.provider, one.id, name, _text(fact["value"]), fact["source"], fact["date"], ""))
                rows += [
                    (one.provider, one.id, name, _text(value), source, "", "disagrees")
                    for source, value in fields.get("conflicts", {}).get(name, ())
                ]
        headers = ("provider", "model", "fact", "value", "source", "since", "")
        _present(session, headers, rows, as_csv=as_csv)
        finish(session, "models-explain", models=[_fields(one) for one in found], exit_code=0)
        return 0

    return run_engine(session, work)


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

    async def work(runner: Runner) -> int:
        catalogue = _catalogue(runner, providers)
        after = moment_of(since, end=False) - 1 if since else 0
        found = [
            change
            for change in catalogue.library.changes(after_ns=after)
            if (not providers or _provider(change) in providers)
            and (model is None or change.id == model)
            and (kind is None or change.kind == kind)
        ][-limit:]
        _present(session, LOGGED, [_logged(change) for change in found], as_csv=as_csv)
        finish(session, "models-history", changes=[_change_fields(change) for change in found], exit_code=0)
        return 0

    return run_engine(session, work)


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

    async def work(runner: Runner) -> int:
        catalogue = _catalogue(runner, providers)
        accounts = {one.account for one in _accounts(catalogue, providers, everything=True)}
        library = catalogue.library
        before = library.at(moment_of(start, end=True), accounts)
        after = library.at(moment_of(until, end=True), accounts) if until else library.models(accounts)
        rows = _compared(before, after)
        headers = ("", "provider", "model", "fact", "old", "new")
        _present(session, headers, rows, as_csv=as_csv, foot=count(len(rows), "difference"))
        found = [dict(zip(("sign", *headers[1:]), row, strict=True)) for row in rows]
        finish(session, "models-diff", start=start, until=until, differences=found, exit_code=0)
        return 0

    return run_engine(session, work)


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

    async def work(runner: Runner) -> int:
        catalogue = _catalogue(runner, providers)
        lines: list[Line] = []
        rows: list[Sequence[str]] = []
        entries = []
        for one in _accounts(catalogue, providers, everything=False):
            found = catalogue.library.models({one.account})
            counted = statistics(catalogue.providers[one.provider], [(m.id, m.facts) for m in found])
            state = _state(catalogue, one)
            lines += [line(f"{printable(one.provider)}: {state}", "bold")]
            lines += [line(f"  Last synced: {ago(one.success_ns, catalogue.now_ns())}")]
            lines += [line(f"  - {each}") for each in counted]
            rows += [(one.provider, state, each.label, str(each.count), str(each.unknown)) for each in counted]
            entries.append(
                {
                    "account": one,
                    "state": state,
                    "statistics": [{"label": s.label, "count": s.count, "unknown": s.unknown} for s in counted],
                }
            )
        if as_csv:
            _present(session, ("provider", "state", "what", "count", "unknown"), rows, as_csv=True)
        elif session.text:
            session.show(lines or [line("The catalogue is empty. Try: trueup sync models")])
        finish(session, "models-stats", providers=entries, exit_code=0)
        return 0

    return run_engine(session, work)


# -- what is meant -----------------------------------------------------------------------------------------------


def _catalogue(runner: Runner, providers: Sequence[str]) -> Catalogue:
    """The catalogue; names of providers that are neither known nor recorded are refused."""
    catalogue = runner.engine.models()
    recorded = {one.provider for one in catalogue.library.accounts()}
    catalogue.named([name for name in providers if name not in recorded])
    return catalogue


def _accounts(catalogue: Catalogue, providers: Sequence[str], *, everything: bool) -> list[AccountState]:
    """The accounts that are meant: of each provider the one whose list came last, or all."""
    found = [one for one in catalogue.library.accounts() if not providers or one.provider in providers]
    if everything:
        return found
    latest: dict[str, AccountState] = {}
    for one in found:
        latest.setdefault(one.provider, one)
    return list(latest.values())


def _named(catalogue: Catalogue, model: str, providers: Sequence[str]) -> list[Model]:
    accounts = {one.account for one in _accounts(catalogue, providers, everything=False)}
    every = catalogue.library.models(accounts)
    found = [one for one in every if one.id == model] or [
        one for one in every if model in (one.facts.get("aliases") or ())
    ]
    if found:
        return found
    from difflib import get_close_matches

    near = get_close_matches(model, [one.id for one in every], n=1)
    if not every:
        raise NotFound("the catalogue is empty", attempt="trueup sync models")
    raise NotFound(
        f"there is no model {model}", why=f"did you mean {near[0]}?" if near else "", attempt="trueup models ls"
    )


def _state(catalogue: Catalogue, one: AccountState) -> str:
    state = one.freshness(catalogue.now_ns(), catalogue.fresh_seconds(one.provider)).value
    return state if one.failing_ns is None else f"{state}, failing since {day(one.failing_ns)}: {one.error}"


def _provider(change: Logged) -> str:
    return change.account.partition("@")[0]


# -- rows --------------------------------------------------------------------------------------------------------


def _row(model: Model) -> tuple[str, ...]:
    facts = model.facts
    return (model.provider, model.id, model.state, *(_text(facts.get(name)) for name in LISTED[3:]))


def _known(model: Model) -> dict[str, Any]:
    fields = model.record.fields
    return {"state": model.state, "since": fields["since"], **dict(sorted(model.facts.items()))}


def _logged(change: Logged) -> tuple[str, ...]:
    percent = f"{change.detail['percent']:+g}" if "percent" in change.detail else ""
    return (
        day(change.at_ns),
        _provider(change),
        change.id,
        change.kind,
        change.fact,
        _text(change.old),
        _text(change.new),
        percent,
    )


def _text(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.10g}"
        case list() if all(isinstance(part, str) for part in value):
            return " ".join(value)
        case str() | int():
            return str(value)
        case _:
            return json.dumps(value)


def _fields(model: Model) -> dict[str, Any]:
    return {
        "provider": model.provider,
        "account": model.account,
        "model": model.id,
        **{name: value for name, value in model.record.fields.items() if name != "id"},
        "state": model.state,
    }


def _change_fields(change: Logged) -> dict[str, Any]:
    return {
        "at_ns": change.at_ns,
        "provider": _provider(change),
        "account": change.account,
        "model": change.id,
        "kind": change.kind,
        "fact": change.fact,
        "old": change.old,
        "new": change.new,
        **change.detail,
    }


def _compared(before: Iterable[Model], after: Iterable[Model]) -> list[tuple[str, ...]]:
    old = {(one.account, one.id): one for one in before}
    new = {(one.account, one.id): one for one in after}
    rows: list[tuple[str, ...]] = []
    for account, model in sorted({*old, *new}):
        was, now = old.get((account, model)), new.get((account, model))
        provider = account.partition("@")[0]
        if was is None or now is None:
            rows.append(("+" if was is None else "-", provider, model, "", "", ""))
            continue
        mine, theirs = _stated(was), _stated(now)
        rows += [
            ("~", provider, model, name, _text(mine.get(name)), _text(theirs.get(name)))
            for name in sorted({*mine, *theirs})
            if mine.get(name) != theirs.get(name)
        ]
    return rows


def _stated(model: Model) -> Mapping[str, Any]:
    return {**model.facts, "state": model.state}


def _present(
    session: Session,
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    as_csv: bool,
    right: Sequence[int] = (),
    foot: str = "",
) -> None:
    """Show rows as a table, or as CSV; with ``--json`` neither."""
    if not session.text:
        if as_csv:
            raise UsageError("--csv and --json cannot be had at once")
        return
    if as_csv:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(headers)
        writer.writerows([[_harmless(cell) for cell in row] for row in rows])
        session.answer(text.getvalue())
        return
    shown = [[printable(cell) for cell in row] for row in rows]
    session.show(table(headers, shown, right=right) or [line("There is nothing to show.", "dim")])
    if rows and foot:
        session.show([line(foot, "dim")])


def _harmless(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula (OWASP, CSV injection)."""
    return f"'{cell}" if cell[:1] in "=+-@\t\r" and not _is_number(cell) and len(cell) > 1 else cell


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
