"""Tokens on the page of settings: made, shown once, revoked."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect
from tests.web.pages.browser import Visitor
from tests.web.server import Client, Served

pytestmark = pytest.mark.engine


def knows(served: Served, secret: str) -> set[str]:
    """What a token may do; nothing if nobody knows it."""
    answer = served.bare({"authorization": f"Bearer {secret}"}).get("/api/v1/me")
    return set(answer.json()["scopes"]) if answer.status_code == 200 else set()


def test_a_token_is_made_shown_once_and_revoked(visitor: Visitor) -> None:
    page = visitor.open("/settings")
    page.get_by_label("Name").fill("pipeline")
    expect(page.get_by_role("checkbox", name=re.compile("^read"))).to_be_checked()
    page.get_by_role("checkbox", name=re.compile("^sync")).check()
    page.get_by_label(re.compile("^Days")).fill("30")
    visitor.press("Make")
    secret = str(page.locator(".secret").text_content())
    assert knows(visitor.served, secret) == {"read", "sync"}
    row = page.get_by_role("row", name=re.compile("^pipeline"))
    expect(row).to_contain_text("read, sync")
    expect(row).not_to_contain_text("never")
    visitor.check()
    visitor.open("/settings")
    expect(row).to_be_visible()
    assert secret not in page.content(), "it was shown this once"
    visitor.press("Revoke pipeline, token")
    expect(row).to_have_count(0)
    assert knows(visitor.served, secret) == set()


@pytest.mark.parametrize(
    ("fields", "typed"),
    [
        ({"name": "a name", "scopes": "read"}, "a name"),
        ({"name": "nothing"}, "nothing"),
        ({"name": "ages", "scopes": "read", "days": "100000"}, "100000"),
        ({"name": "root", "scopes": "everything"}, "root"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_made(served: Served, fields: dict[str, str], typed: str) -> None:
    answer = served.browser().post("/tokens", data=fields)
    assert (answer.status_code, f'value="{typed}"' in answer.text) == (422, True)
    assert all(one["name"] != fields["name"] for one in served.client().ask("GET", "/tokens")["tokens"])


def test_a_name_is_taken_once(served: Served) -> None:
    browser: Client = served.browser()
    fields = {"name": "twice", "scopes": "read"}
    assert browser.post("/tokens", data=fields).status_code == 200
    again = browser.post("/tokens", data=fields)
    assert (again.status_code, "there is a token twice" in again.text) == (422, True)


def test_who_may_not_make_tokens_makes_none(served: Served) -> None:
    reader = served.bare()
    assert reader.post("/login", data={"token": served.token("read", "sync", "delete")}).status_code == 303
    reader.headers["sec-fetch-site"] = "same-origin"
    assert "New token" not in reader.get("/settings").text
    assert reader.post("/tokens", data={"name": "mine", "scopes": "admin"}).status_code == 403
