"""Ask providers what they list, and bring the catalogue into agreement with it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path

import anyio

from trueup.api.alerts import tell
from trueup.config import Config
from trueup.config.load import ProviderSettings
from trueup.core.errors import ConfigError, TrueupError, UsageError
from trueup.core.model import Key, Kind, Record, Row, Side, Token, key_bytes
from trueup.core.plan import Plan
from trueup.core.report import Report, Status
from trueup.core.strategy import Policy
from trueup.engine.ambient import Ambient
from trueup.engine.groups import ungrouped
from trueup.engine.job import Audit, Job
from trueup.engine.state import State
from trueup.engine.streams import few_collections
from trueup.protocols import Opening, Store
from trueup.stores.catalogue import CatalogueStore, LastListing, key_of, parts_of
from trueup.stores.catalogue.changes import ACTIVE
from trueup.stores.catalogue.database import NAME
from trueup.stores.catalogue.library import AccountState, Attempt, DataPackage, Freshness, Library, Model
from trueup.stores.http import ProviderStore
from trueup.stores.http.accounts import PRODUCTION, Configured, Skipped, account
from trueup.stores.http.client import Account, Client, Listing, opened, without_key
from trueup.stores.http.curated import Package, enriched, installed, packages
from trueup.stores.http.entries import Entry
from trueup.stores.http.spec import Provider, known, openai_shaped
from trueup.stores.records import record_row
from trueup.targets import models
from trueup.targets.models import Guard, Models

TIMEOUT_SECONDS = 30.0
FRESH_SECONDS = 12 * 3600.0
TOGETHER = 32
"""Providers that are asked at once."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one provider."""

    account: Account
    """Without its key."""
    before: AccountState
    """What was remembered of it."""
    listing: Listing | None = None
    """None: its list is fresh, and it was not asked."""
    seconds: float = 0.0
    guard: Guard | None = None
    """What keeps models that are not listed as they are."""
    held: int = 0
    """How many those are."""

    @property
    def name(self) -> str:
        """The provider's."""
        return self.account.provider.name

    @property
    def id(self) -> str:
        """The account's, as the catalogue writes it."""
        return account_id(self.account)

    @property
    def error(self) -> str:
        """Why there is no list; empty: there is one, or none was asked for."""
        if self.guard is Guard.EMPTY:
            return "The list is empty, and the catalogue is not; --allow empty lets it pass"
        return "" if self.listing is None else self.listing.error

    @property
    def entries(self) -> tuple[Entry, ...]:
        """What it lists."""
        return () if self.listing is None else self.listing.entries


@dataclass(frozen=True, slots=True)
class Survey:
    """What all providers answered."""

    answers: tuple[Answer, ...]
    skipped: tuple[Skipped, ...]
    """Those that cannot be asked, and why."""
    at_ns: int
    rows: tuple[Row, ...] = field(default=(), repr=False)
    packages: tuple[DataPackage, ...] = ()
    """Those that told more of the models."""

    @property
    def answered(self) -> tuple[Answer, ...]:
        """Those with a list that can be used."""
        return tuple(one for one in self.answers if one.listing is not None and not one.error)

    @property
    def spec(self) -> Models:
        """The target that brings the catalogue into agreement with the answers."""
        at = datetime.fromtimestamp(self.at_ns / 1e9, UTC).isoformat(timespec="seconds")
        return Models(accounts=frozenset(one.id for one in self.answered), rows=self.rows, at=at)


def account_id(one: Account) -> str:
    """``provider@fingerprint``."""
    return f"{one.provider.name}@{one.fingerprint}"


class Catalogue:
    """The providers that are configured or found, and what is remembered of them.

    Args:
        config: Where settings of providers stand.
        directory: The state directory.
        ambient: Clock and threads.
        env: The environment, where credentials are looked for; None: the process's own.
    """

    def __init__(self, config: Config, directory: Path, ambient: Ambient, env: Mapping[str, str] | None = None) -> None:
        self._config = config
        self._ambient = ambient
        self._env = os.environ if env is None else env
        self.library = Library(directory / NAME)

    @property
    def providers(self) -> dict[str, Provider]:
        """All that can be asked for by name: those that come with trueup, and those of the configuration."""
        found = dict(known())
        for name, settings in self._config.providers.items():
            if name not in found:
                found[name] = openai_shaped(name, settings.base_url.url if settings.base_url else "")
        return found

    def described(self, provider: str) -> Provider:
        """The description of a provider; one that is recorded, and configured no more, answered as OpenAI does."""
        return self.providers.get(provider) or openai_shaped(provider, "")

    def fresh_seconds(self, provider: str) -> float:
        """For how long a list of the provider counts as fresh."""
        settings = self._config.providers.get(provider)
        return FRESH_SECONDS if settings is None else settings.fresh

    def now_ns(self) -> int:
        """The time, by the engine's clock."""
        return self._ambient.clock.now_ns()

    def named(self, names: Collection[str]) -> list[Provider]:
        """The providers of these names; none: all.

        Raises:
            UsageError: If a name is unknown; with the known ones and the nearest.
        """
        providers = self.providers
        for name in names:
            if name not in providers:
                near = get_close_matches(name, providers, n=1)
                hint = f"did you mean {near[0]}? " if near else ""
                raise UsageError(f"there is no provider {name}", why=f"{hint}known: {', '.join(providers)}")
        return [provider for name, provider in providers.items() if not names or name in names]

    def accounts(self, names: Collection[str]) -> tuple[list[Account], list[Skipped]]:
        """The accounts that can be asked, and the providers that cannot. May run commands that fetch secrets.

        Raises:
            ConfigError: If a secret cannot be had, or would go where a file says that nobody has approved.
        """
        found: list[Account] = []
        skipped: list[Skipped] = []
        production = self._env.get("TRUEUP_ENV") == PRODUCTION
        for provider in self.named(names):
            settings = self._config.providers.get(provider.name, ProviderSettings())
            key, address = settings.api_key, settings.base_url
            configured = Configured(
                address.url if address else "",
                None if key is None else key.reveal,
                settings.organization or "",
                provider.name in self._config.providers,
            )
            asked = provider.name in names
            one = account(provider, configured, self._env, asked=asked, production=production)
            if isinstance(one, Skipped):
                skipped.append(one)
                continue
            if (one.key or one.credential) and address is not None and not address.place.trusted():
                raise ConfigError(
                    f"{address.place.file} may not say where the key of {provider.name} is sent",
                    why="nobody has approved it as it is now: read it first",
                    attempt=f"trueup trust {shlex.quote(str(address.place.file))}",
                )
            found.append(one)
        return found, skipped

    async def survey(
        self,
        names: Collection[str] = (),
        *,
        force: bool = False,
        timeout_seconds: float = TIMEOUT_SECONDS,
        allow: Iterable[Guard] = (),
        on_page: Callable[[str, int], None] = lambda _name, _models: None,
    ) -> Survey:
        """Ask all providers at once. Writes nothing.

        Args:
            names: Of providers; none: all that have credentials.
            force: Also those whose list is fresh.
            timeout_seconds: For each of them, everything together.
            allow: Guards that let this one list pass.
            on_page: Hears how many models of a provider have come so far.

        Raises:
            UsageError: If a name is unknown.
            ConfigError: If a secret cannot be had.
            StoreError: If the catalogue cannot be read.
        """
        threads = self._ambient.threads
        for source in self._config.enrich:  # before anybody is asked in vain
            installed(source)
        accounts, skipped = await threads(self.accounts, names)
        states = {one.account: one for one in await threads(self.library.accounts)}
        answers = {
            account_id(one): Answer(
                without_key(one), states.get(account_id(one), AccountState(account_id(one), one.provider.name))
            )
            for one in accounts
        }
        due = [one for one in accounts if force or self._is_due(answers[account_id(one)].before)]
        limit = anyio.CapacityLimiter(TOGETHER)
        recorded: list[Model] = []
        known: tuple[Package, ...] = ()

        async def ask(client: Client, one: Account) -> None:
            async with limit:
                begun = self._ambient.clock.monotonic()
                listing = await client.models(one, timeout_seconds=timeout_seconds)
                seconds = self._ambient.clock.monotonic() - begun
                answers[account_id(one)] = replace(answers[account_id(one)], listing=listing, seconds=seconds)

        async def read() -> None:
            nonlocal recorded, known
            recorded = await threads(self.library.models, set(answers))
            if due and self._config.enrich:
                today = datetime.fromtimestamp(self.now_ns() / 1e9, UTC).date()
                known = await threads(packages, self._config.enrich, today)

        secure = any(one.base_url.startswith("https:") for one in due)
        with few_collections(), ungrouped(TrueupError):
            async with (
                opened(self._ambient.clock, threads, secure=secure) as client,
                anyio.create_task_group() as tasks,
            ):
                client.on_page = on_page
                for one in due:
                    tasks.start_soon(ask, client, one)
                tasks.start_soon(read)
        at_ns = self.now_ns()
        ordered = tuple(_judged(_enriched(one, known), recorded, frozenset(allow)) for one in answers.values())
        rows = tuple(row for answer in ordered for row in _rows(answer, recorded))
        told = tuple(DataPackage(one.name, one.version, one.as_of, at_ns) for one in known)
        return Survey(ordered, tuple(skipped), at_ns, rows, told)

    def _is_due(self, before: AccountState) -> bool:
        """Whether a provider is to be asked; one that has failed since is: what a guard refused must be passable."""
        freshness = before.freshness(self.now_ns(), self.fresh_seconds(before.provider))
        return freshness is not Freshness.FRESH or before.failing_ns is not None

    async def remember(self, survey: Survey, report: Report | None) -> None:
        """Remember what was tried, after the catalogue agrees.

        Args:
            survey: What was answered.
            report: What became of the run; None: there was none, because nobody answered.
        """
        failed = _failed(report) if report is not None else frozenset()
        attempts = []
        for answer in survey.answers:
            if answer.listing is None:
                continue
            error = answer.error or ("The catalogue could not be written" if answer.id in failed else "")
            if answer.guard is Guard.SHRINK:  # it stays due, so that the same command with --allow asks again
                error = f"{answer.held} models vanished at once"
            models_seen = None if error else len(answer.entries)
            attempts.append(Attempt(answer.id, answer.account.base_url, models_seen, error))
        if attempts:
            told = survey.packages if survey.answered else ()
            await self._ambient.threads(self.library.attempted, attempts, told, survey.at_ns)

    async def last_change(self) -> int:
        """The number of the latest change in the log."""
        return await self._ambient.threads(self.library.last_change)

    async def tell(self, survey: Survey, *, after_n: int) -> list[TrueupError]:
        """Deliver the alerts that are due.

        Args:
            survey: Whose models.
            after_n: The last change before this run.

        Returns:
            Why deliveries failed.
        """
        accounts = frozenset(answer.id for answer in survey.answers)
        return await tell(self._config.alerts.values(), self.library, self._ambient, accounts=accounts, after_n=after_n)


def _judged(answer: Answer, recorded: Collection[Model], allow: frozenset[Guard]) -> Answer:
    """The answer, with the guard that it runs into."""
    listing = answer.listing
    if listing is None or listing.error:
        return answer
    listed = {entry.id for entry in listing.entries}
    own = [model for model in recorded if model.account == answer.id]
    active = [model for model in own if model.state == ACTIVE]
    gone = [model for model in active if model.id not in listed]
    guard = models.vanished(recorded=len(own), known=len(active), gone=len(gone), listed=len(listed))
    if guard in allow or (guard is Guard.SHRINK and not listing.complete):
        guard = None
    return replace(answer, guard=guard, held=len(gone) if guard else 0)


def _enriched(answer: Answer, known: tuple[Package, ...]) -> Answer:
    if answer.listing is None or not known:
        return answer
    provider = answer.account.provider
    entries = tuple(enriched(provider, entry, known) for entry in answer.listing.entries)
    return replace(answer, listing=replace(answer.listing, entries=entries))


def _rows(answer: Answer, recorded: Iterable[Model]) -> list[Row]:
    """What an answer shows, and what about it is unknown."""
    listing = answer.listing
    if listing is None:
        return []
    rows = [record_row(key_of(answer.id, entry.id), _record(entry)) for entry in listing.entries]
    why = listing.note if not listing.complete else ""
    if answer.guard is not None:
        why = f"{answer.held} models vanished at once; --allow {answer.guard.value} lets it pass"
    if why:
        listed = {entry.id for entry in listing.entries}
        own = (model for model in recorded if model.account == answer.id and model.id not in listed)
        rows += [
            (key_bytes(key_of(answer.id, model.id)), Token("unknown"), Kind.UNREADABLE, 0, 0, None, why)
            for model in own
        ]
    return rows


def _record(entry: Entry) -> Record:
    facts = {name: {"value": value, "source": entry.sources[name]} for name, value in entry.facts.items()}
    return Record.of(
        {"id": entry.id, "hash": entry.hash, "facts": facts, "conflicts": dict(entry.conflicts), "raw": entry.raw}
    )


def _failed(report: Report) -> frozenset[str]:
    """The accounts of which something could not be written."""
    return frozenset(parts_of(outcome.key)[0] for outcome in report.outcomes if outcome.status is not Status.DONE)


def changed_accounts(plan: Plan) -> frozenset[str]:
    """The accounts of which something is to be written."""
    return frozenset(parts_of(Key(item.key))[0] for item in plan.changes)


def open_models(spec: Models, opening: Opening, state: State, ambient: Ambient) -> Job:
    """A job that compares what providers listed with the catalogue."""
    path = Path(spec.catalogue) if spec.catalogue else state.directory / NAME
    catalogue = CatalogueStore(path, opening, spec.accounts)
    stores: dict[Side, Store] = {
        models.PROVIDER: ProviderStore("providers", None if spec.accounts is None else spec.rows, opening),
        models.LAST: LastListing(catalogue, opening),
        models.CATALOGUE: catalogue,
    }
    return Job(
        target=spec.target({side: store.properties.location for side, store in stores.items()}),
        policy=Policy(),
        stores=stores,
        state=state,
        ambient=ambient,
        limits=spec.limits,
        audit=Audit(models.method(spec.at), record=models.CATALOGUE),
    )
