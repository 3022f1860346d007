"""What the answers of providers show, and the job that compares it with the catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from trueup.core.model import Key, Kind, Record, Row, Side, Token, key_bytes
from trueup.core.plan import Plan
from trueup.core.strategy import Policy
from trueup.engine.ambient import Ambient
from trueup.engine.job import Audit, Job
from trueup.engine.state import State
from trueup.protocols import Opening, Store
from trueup.stores.catalogue.changes import ACTIVE
from trueup.stores.catalogue.database import NAME
from trueup.stores.catalogue.keys import key_of, parts_of
from trueup.stores.catalogue.library import Model
from trueup.stores.catalogue.sides import CatalogueStore, LastListing
from trueup.stores.http.curated import Package, enriched
from trueup.stores.http.entries import Entry
from trueup.stores.http.side import ProviderStore
from trueup.stores.records import record_row
from trueup.targets import models
from trueup.targets.models import Guard, Models

if TYPE_CHECKING:
    from trueup.api.catalogues import Answer


class Known(NamedTuple):
    """A model as it is recorded."""

    state: str
    record: Record
    hash: str
    """Of its record: equal where nothing has changed that means anything."""


Recorded = Mapping[str, Mapping[str, Known]]
"""What the catalogue holds, by account and id."""


def recorded(models: Iterable[Model]) -> Recorded:
    """What is recorded of models, as `judged` and `rows` look it up."""
    found: dict[str, dict[str, Known]] = {}
    for model in models:
        known = Known(model.state, model.record, str(model.record.fields["hash"]))
        found.setdefault(model.account, {})[model.id] = known
    return found


def judged(answer: Answer, recorded: Recorded, packages: Sequence[Package], allow: frozenset[Guard]) -> Answer:
    """The answer with what data packages add, and with the guard that it runs into.

    Args:
        answer: What became of one provider.
        recorded: What the catalogue holds.
        packages: By precedence.
        allow: Guards that let it pass.
    """
    listing = answer.listing
    if listing is None or listing.error:
        return answer
    if packages:
        provider = answer.account.provider
        entries = tuple(enriched(provider, entry, packages) for entry in listing.entries)
        answer = replace(answer, listing=replace(listing, entries=entries))
    listed = {entry.id for entry in listing.entries}
    own = recorded.get(answer.id, {})
    active = [id_ for id_, known in own.items() if known.state == ACTIVE]
    gone = [id_ for id_ in active if id_ not in listed]
    guard = models.vanished(recorded=len(own), known=len(active), gone=len(gone), listed=len(listed))
    if guard in allow or (guard is Guard.SHRINK and not listing.complete):
        guard = None
    return replace(answer, guard=guard, held=len(gone) if guard else 0)


def rows(answer: Answer, recorded: Recorded) -> list[Row]:
    """What an answer shows, and what about it is unknown."""
    listing = answer.listing
    if listing is None:
        return []
    account, own = answer.id, recorded.get(answer.id, {})
    rows = [record_row(key_of(account, entry.id), _record(entry, own.get(entry.id))) for entry in listing.entries]
    why = listing.note if not listing.complete else ""
    if answer.guard is not None:
        why = f"{answer.held} models vanished at once; --allow {answer.guard.value} lets it pass"
    if why:
        listed = {entry.id for entry in listing.entries}
        rows += [
            (key_bytes(key_of(account, id_)), Token("unknown"), Kind.UNREADABLE, 0, 0, None, why)
            for id_ in own
            if id_ not in listed
        ]
    return rows


def _record(entry: Entry, known: Known | None) -> Record:
    """What is listed of a model. One that is listed as it is recorded shows its record: the same in all that counts."""
    if known is not None and known.state == ACTIVE and known.hash == entry.hash:
        return known.record
    facts = {name: {"value": value, "source": entry.sources[name]} for name, value in entry.facts.items()}
    return Record.of(
        {"id": entry.id, "hash": entry.hash, "facts": facts, "conflicts": dict(entry.conflicts), "raw": entry.raw}
    )


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
