"""What is done about the content of templates, settings and static files: judged before, followed up afterwards.

Each is loaded where a target is of its kind, so that folders pay for none of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from trueup.core.model import Key
from trueup.engine.job import Check, Job
from trueup.protocols import Headers
from trueup.targets import Settings, Static, Templates
from trueup.targets.folders import Folders


def attended(spec: Folders, job: Job) -> Job:
    """The job with the checks and after-steps of the target's kind.

    Raises:
        UsageError: If what the checks need is not installed.
    """
    match spec.nature:
        case Templates() as templates if templates.check or templates.bytecode:
            from trueup.api.content.jinja import Pages

            pages = Pages(templates, spec.local, job)
            return replace(job, check=pages.check(spec.tuning.timeout_seconds), after=pages.after, act=pages.act)
        case Settings() as settings:
            from trueup.api.content.reloading import Reloading

            reloading = Reloading(settings.reload, job)
            return replace(
                job,
                check=_check_of(settings, spec.tuning.timeout_seconds),
                after=reloading.after,
                act=reloading.act,
                permit=reloading.permit,
            )
        case _:
            return job


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
