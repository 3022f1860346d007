"""What is done about the content of templates, settings and static files: judged before, followed up afterwards.

Each is loaded where a target is of its kind, so that folders pay for none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from trueup.core.errors import NotFound, UsageError
from trueup.core.model import Key
from trueup.engine.job import Check, Job
from trueup.protocols import Headers, Opening
from trueup.targets import Caches, Settings, Spec, Static, Templates
from trueup.targets.folders import Folders

if TYPE_CHECKING:
    from trueup.api.content.cached import CachedTemplates


def attended(spec: Folders, job: Job, opening: Opening, targets: Mapping[str, Spec]) -> Job:
    """The job with the checks and after-steps of the target's kind.

    Args:
        spec: The target.
        job: The job as it would be for plain folders.
        opening: What stores are opened with.
        targets: All that are configured, for those that the target names.

    Raises:
        UsageError: If what the checks need is not installed, or the target names a cache that there is not.
    """
    match spec.nature:
        case Templates() as templates if templates.check or templates.bytecode or templates.caches:
            from trueup.api.content.jinja import Pages

            pages = Pages(templates, spec.local, job, _caches(templates, opening, targets))
            return replace(
                job,
                check=pages.check(spec.tuning.timeout_seconds),
                after=pages.after,
                act=pages.act,
                permit=pages.permit,
                needs=pages.needs(),
            )
        case Settings() as settings:
            from trueup.api.content.reloading import Reloading

            reloading = Reloading(settings.reload, job)
            return replace(
                job,
                check=_check_of(settings, spec.tuning.timeout_seconds),
                after=reloading.after,
                act=reloading.act,
                permit=reloading.permit,
                needs={**reloading.needs(), **_schemas(settings)},
            )
        case _:
            return job


def _caches(templates: Templates, opening: Opening, targets: Mapping[str, Spec]) -> dict[str, CachedTemplates]:
    if not templates.caches:
        return {}
    from trueup.api.content.cached import opened

    known = {name: spec for name, spec in targets.items() if isinstance(spec, Caches)}
    for name in templates.caches:
        if name not in known:
            raise UsageError(f"there is no cache {name}", why=f"there are {', '.join(known) or 'none'}")
    return opened((known[name] for name in templates.caches), opening)


def _schemas(settings: Settings) -> dict[str, Callable[[], str]]:
    def there() -> str:
        if not Path(settings.schemas).is_dir():
            raise NotFound(f"there is no folder {settings.schemas}", why="nothing is judged by a schema of it")
        return settings.schemas

    return {"schemas": there} if settings.schemas else {}


def _check_of(settings: Settings, seconds: float) -> Check | None:
    if not settings.check:
        return None
    from trueup.api.content.documents import check

    return check(settings, seconds)


def headers_of(spec: Folders) -> Callable[[Key], Headers] | None:
    """How what the target writes into a bucket is to be served; None: as the service does by itself."""
    if not isinstance(spec.nature, Static):
        return None
    from trueup.api.content.serving import headers

    return headers(spec.nature)
