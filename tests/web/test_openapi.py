"""The description of REST is true: made-up requests that it allows, and some that it does not, never end in a 5xx."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tests.web.server import Served, Site

from trueup.web.app import openapi

EXAMPLES = 15
"""For each operation; the same ones every time."""

SCHEMA = schemathesis.openapi.from_dict(openapi())
CHECKS: list[Any] = [
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
EVENTS = "/api/v1/runs/{run_id}/events"
"""It goes on for as long as a run does; `test_runs.py` reads it."""


@SCHEMA.hook("map_path_parameters")
def _some_that_are_there(_: Any, parameters: dict[str, Any] | None) -> dict[str, Any] | None:
    """Every other target is the one that there is."""
    if parameters and "target_id" in parameters and len(str(parameters["target_id"])) % 2:
        return parameters | {"target_id": "site59"}
    return parameters


@SCHEMA.exclude(path=EVENTS).parametrize()
@settings(
    max_examples=EXAMPLES, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
def test_no_request_ends_in_a_server_error(case: Any, served: Served) -> None:
    headers = {"authorization": f"Bearer {served.own_token}"}
    answer = case.call(base_url=served.address, headers=headers, timeout=60)
    case.validate_response(answer, checks=CHECKS, headers=headers)


def test_every_operation_is_tried(served: Served) -> None:
    found: list[Any] = [one.ok() for one in SCHEMA.get_all_operations()]  # type: ignore[union-attr]  # or it raises
    tried = {(operation.method.upper(), operation.path) for operation in found}
    described = served.bare().get("/api/v1/openapi.json").json()
    assert described == openapi()
    assert described["openapi"].startswith("3.1")
    assert tried == {(method.upper(), path) for path, methods in described["paths"].items() for method in methods}
    assert EVENTS in described["paths"]


@pytest.fixture(autouse=True)
def _some_files(served: Served) -> None:
    site = Site(served.path, "site59")
    if not list(site.local.iterdir()):
        site.fill(a="1", b="2")
