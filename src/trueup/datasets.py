"""Datasets for programs: the call that servers make, with the answer that their document shows."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import anyio

from trueup import config as configuration
from trueup.api import Engine, Progress
from trueup.api import datasets as api
from trueup.config import Config


async def comprehensive_sync(
    actor_id: str,
    actor_name: str,
    delete_orphans: bool = False,
    dry_run: bool = False,
    *,
    config: Config | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> dict[str, int | list[str]]:
    """Audit an actor's manifest, local files and remote copy, then sync everything that needs no question.

    Args:
        actor_id: As in ``0042``.
        actor_name: As in ``0042_european_30_male``: the id, or beginning with it and ``_``, or what the manifest says.
        delete_orphans: Whether what the manifest does not name goes to the trash.
        dry_run: Only count what would be done.
        config: What is configured; default: what is found from the current folder upwards.
        on_progress: Is called for everything that happens.

    Returns:
        Exactly ``uploaded``, ``downloaded``, ``added_to_manifest``, ``updated_in_manifest``, ``removed_from_manifest``,
        ``deleted_local``, ``deleted_s3`` (counts), and ``errors``: texts, those of conflicts begin with ``conflict:``.

    Raises:
        NotFound: If there is no such actor.
        UsageError: If id or name cannot be a part of a path, or the name is not the id's.
        ConfigError: If the configuration is wrong, or the manifest is damaged.
        PlanRefused: If a guard stops the sync; nothing was done.
        Locked: If another run holds the actor.
    """
    found = config or await anyio.to_thread.run_sync(_configured)
    async with Engine(found, on_progress=on_progress) as engine:
        spec = engine.dataset(actor_id, actor_name, delete_orphans=delete_orphans)
        return (await api.comprehensive_sync(engine, spec, dry_run=dry_run)).document


def _configured() -> Config:
    return configuration.load(Path.cwd(), env=os.environ)
