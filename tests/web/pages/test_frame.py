"""What holds for every page: who may see it, whose forms are taken, what it may load."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from tests.web.server import Client, Served, Site

from trueup.web.pages import (
    conflicts,
    history,
    login,
    pictures,
    plans,
    runs,
    schedules,
    settings,
    targets,
    training,
    trash,
)

pytestmark = pytest.mark.engine

MODULES = (conflicts, history, login, pictures, plans, runs, schedules, settings, targets, training, trash)


def addresses(method: str) -> Iterator[str]:
    """The address of every page that takes a method, with names that mean nothing."""
    for module in MODULES:
        for route in module.router.routes:
            if method in getattr(route, "methods", ()):
                yield re.sub(r"\{\w+\}", "x", str(getattr(route, "path", "")))


FORBIDDEN = re.compile(r"<script(?![^>]*\bsrc=)|\sstyle=|\son\w+=|(src|href)=\"(https?:|//|javascript:)")
"""Scripts and styles in the page, and addresses of others."""
FOREIGN = ({"origin": "http://evil.test"}, {"sec-fetch-site": "cross-site"}, {"origin": "null"})
GET, POST = sorted(set(addresses("GET"))), sorted(set(addresses("POST")))


def test_there_are_pages() -> None:
    assert len(GET) > 10
    assert len(POST) > 10


@pytest.mark.parametrize("path", GET)
def test_who_is_not_logged_in_is_asked_to(served: Served, path: str) -> None:
    answer = served.bare().get(path)
    if path == "/login":
        assert answer.status_code == 200
    else:
        assert (answer.status_code, answer.headers["location"]) == (303, "/login")


@pytest.mark.parametrize("path", [path for path in POST if path != "/login"])
def test_nobody_sends_a_form(served: Served, path: str) -> None:
    answer = served.bare().post(path, headers={"sec-fetch-site": "same-origin"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")


@pytest.mark.parametrize("path", POST)
@pytest.mark.parametrize(
    "headers", [{"origin": "http://evil.test"}, {"sec-fetch-site": "cross-site"}, {"origin": "null"}]
)
def test_a_form_of_another_site_is_refused(logged_in: Client, path: str, headers: dict[str, str]) -> None:
    answer = logged_in.post(path, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "TU-ORIGIN")


def test_a_page_loads_nothing_from_elsewhere_and_runs_nothing_inline(logged_in: Client, site: Site) -> None:
    for path in ("/", f"/targets/{site}", "/settings", "/schedules", "/history", "/login", "/targets/nothing"):
        answer = logged_in.get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
        assert "unsafe" not in policy
        assert answer.headers["cache-control"] == "no-store"
        text = answer.text
        assert not re.search(r"<script(?![^>]*\bsrc=)|\sstyle=|\son\w+=|(src|href)=\"(https?:|//|javascript:)", text), (
            path
        )


def test_who_may_only_look_changes_nothing(served: Served, site: Site) -> None:
    site.fill(a="1")
    reader = served.bare()
    login = reader.post("/login", data={"token": served.token("read")}, headers={"sec-fetch-site": "same-origin"})
    assert login.status_code == 303
    assert reader.get(f"/targets/{site}").status_code == 200
    for path in (f"/targets/{site}/plan", f"/targets/{site}/sync", "/plan-all", f"/targets/{site}/conflicts"):
        answer = reader.post(path, headers={"sec-fetch-site": "same-origin"})
        assert answer.status_code == 403, path
        assert "TU-SCOPE" in answer.text
    assert reader.post("/tokens/x/revoke", headers={"sec-fetch-site": "same-origin"}).status_code == 403
    assert site.arrived == {}


def test_a_form_with_too_many_fields_is_refused(logged_in: Client, site: Site) -> None:
    answer = logged_in.post(f"/targets/{site}/plan", data={f"f{n}": "" for n in range(3000)})
    assert answer.status_code == 422


@pytest.fixture(scope="module")
def logged_in(served: Served) -> Client:
    """A browser's client."""
    return served.browser()
