"""Alerts about models: what there is to tell, and telling it once."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import anyio

from trueup.config.hidden import Delivery
from trueup.config.sections import Alert
from trueup.core.errors import ConfigError, StoreError, TrueupError
from trueup.engine.ambient import Ambient
from trueup.stores.catalogue.library import Library, Logged, Model

SECONDS = 30
"""For one delivery."""
FORMAT = "trueup.model-alert"


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to tell."""

    about: str
    """Equal for what is the same thing; it is told once to each place."""
    text: str
    fields: Mapping[str, Any]


def notices(alert: Alert, models: Iterable[Model], changes: Iterable[Logged], today: date) -> list[Notice]:
    """Everything that an alert is about, whether it was told before or not.

    Args:
        alert: What is wanted.
        models: Those of the catalogue.
        changes: Those that may be new.
        today: For days that are left, in UTC.
    """
    found = [one for model in models if (one := _retiring(alert, model, today)) is not None]
    return found + [_changed(change) for change in changes if change.kind in alert.changes]


def _retiring(alert: Alert, model: Model, today: date) -> Notice | None:
    try:
        retires = date.fromisoformat(str(model.facts.get("retires_at", "")))
    except ValueError:  # it has no such date
        return None
    left = (retires - today).days
    reached = [days for days in alert.days if left <= days]
    if not reached:
        return None
    when = f"in {left} days" if left > 0 else "today" if left == 0 else f"{-left} days ago"
    text = f"{model.provider}: {model.id} retires {when}, on {retires}"
    if replacement := model.facts.get("replacement"):
        text += f"; its replacement is {replacement}"
    about = f"retires {model.account} {model.id} {retires} {min(reached)}"
    fields = {"event": "retires", "provider": model.provider, "model": model.id, "date": str(retires), "days": left}
    return Notice(about, text, fields)


def _changed(change: Logged) -> Notice:
    what = f"{change.fact} {json.dumps(change.old)} -> {json.dumps(change.new)}" if change.fact else ""
    fields = {
        "event": change.kind,
        "provider": change.provider,
        "model": change.id,
        "fact": change.fact,
        "old": change.old,
        "new": change.new,
        **change.detail,
    }
    return Notice(f"change {change.n}", f"{change.provider}: {change.id} {change.kind} {what}".rstrip(), fields)


async def tell(
    alerts: Iterable[Alert], library: Library, ambient: Ambient, *, accounts: frozenset[str], after_n: int
) -> list[TrueupError]:
    """Deliver what was not delivered yet. A place that fails does not keep others from hearing.

    Args:
        alerts: Those that are configured.
        library: The catalogue.
        ambient: Clock and threads.
        accounts: Of which accounts.
        after_n: Only changes after this one are new.

    Returns:
        Why deliveries failed. They are tried again the next time.
    """
    alerts = list(alerts)
    if not alerts:
        return []
    now_ns = ambient.clock.now_ns()
    models = await ambient.threads(library.models, accounts)
    changes = [one for one in await ambient.threads(_since, library, after_n) if one.account in accounts]
    failed: list[TrueupError] = []
    for alert in alerts:
        found = notices(alert, models, changes, datetime.fromtimestamp(now_ns / 1e9, UTC).date())
        fresh = set(await ambient.threads(library.undelivered, alert.name, [one.about for one in found]))
        wanted = [one for one in found if one.about in fresh]
        if not wanted:
            continue
        try:
            await _deliver(alert, wanted, ambient)
        except TrueupError as error:
            failed.append(error)
        else:
            await ambient.threads(library.delivered, alert.name, [one.about for one in wanted], now_ns)
    return failed


def _since(library: Library, after_n: int) -> list[Logged]:
    return library.changes(after_n=after_n)


async def _deliver(alert: Alert, wanted: list[Notice], ambient: Ambient) -> None:
    document = json.dumps(
        {
            "format": FORMAT,
            "version": 1,
            "text": "\n".join(one.text for one in wanted),
            "alerts": [{**one.fields, "text": one.text} for one in wanted],
        }
    )
    await deliver(f"alert {alert.name}", alert.deliver, document, ambient)


async def deliver(
    name: str,
    how: Delivery,
    document: str,
    ambient: Ambient,
    *,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Deliver a document.

    Args:
        name: What to call it when it fails.
        how: Where it goes.
        document: JSON.
        ambient: Threads.
        headers: Further ones of a webhook.

    Raises:
        ConfigError: If nobody has approved the file that says where it goes.
        StoreError: If it was not delivered.
    """
    place = how.place
    if not await ambient.threads(place.trusted):
        raise ConfigError(
            f"{place.file} may not deliver alerts",
            why="nobody has approved it as it is now: read it first",
            attempt=f"trueup trust {shlex.quote(str(place.file))}",
        )
    if how.how in ("webhook", "webhook_env"):
        await _post(name, _address(how), document, ambient, headers)
    elif how.how == "file":
        await ambient.threads(_append, Path(str(how.what)), document)
    else:
        await ambient.threads(_run, name, how, document)


def _address(deliver: Delivery) -> str:
    if deliver.how == "webhook":
        return str(deliver.what)
    address = os.environ.get(str(deliver.what), "")
    if not address:
        raise ConfigError(f"the environment variable {deliver.what} is not set", attempt=f"export {deliver.what}=...")
    return address


async def _post(name: str, address: str, document: str, ambient: Ambient, headers: Mapping[str, str]) -> None:
    """The address is a secret, as those of chat services are: no message repeats it."""
    import httpx2

    client = await ambient.threads(lambda: httpx2.AsyncClient(follow_redirects=False, timeout=httpx2.Timeout(None)))
    try:
        async with client:
            with anyio.fail_after(SECONDS):
                headers = {"content-type": "application/json", **headers}
                response = await client.post(address, content=document, headers=headers)
    except TimeoutError as error:
        raise StoreError(f"{name} was not delivered", why=f"no answer in {SECONDS} seconds") from error
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise StoreError(f"{name} was not delivered", why=type(error).__name__) from None
    if not 200 <= response.status_code < 300:
        raise StoreError(f"{name} was not delivered", why=f"HTTP {response.status_code}")


def _append(path: Path, document: str) -> None:
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(document + "\n")
    except OSError as error:
        raise StoreError(f"{path} cannot be written", why=error.strerror or "") from error


def _run(name: str, how: Delivery, document: str) -> None:
    """The command hears the document on stdin."""
    try:
        subprocess.run(  # noqa: S603 - it was approved, and no shell reads it
            list(how.what),
            cwd=how.place.folder,
            input=document.encode(),
            stdout=subprocess.DEVNULL,
            timeout=SECONDS,
            check=True,
        )
    except OSError as error:
        raise StoreError(f"{name} was not delivered", why=error.strerror or "") from error
    except subprocess.SubprocessError as error:
        why = type(error).__name__
        if isinstance(error, subprocess.CalledProcessError):
            why = f"exit status {error.returncode}"
        raise StoreError(f"{name} was not delivered", why=why) from None
