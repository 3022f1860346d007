"""Schedules on their page."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect
from tests.web.pages.browser import Visitor
from tests.web.server import Site

pytestmark = pytest.mark.engine


def test_a_schedule_is_made_and_removed(visitor: Visitor, site: Site) -> None:
    page = visitor.open("/schedules")
    expect(page.get_by_text("Nothing happens by itself")).to_be_visible()
    visitor.check()
    page.get_by_label("Name").fill("nightly")
    page.get_by_label("Target").select_option(str(site))
    page.get_by_label(re.compile("When")).fill("0 3 * * *")
    page.get_by_label("Zone").fill("Europe/Vienna")
    visitor.press("Make")
    row = page.get_by_role("row", name=re.compile("^nightly"))
    expect(row).to_contain_text("plan only")
    expect(row.locator("time")).to_have_count(3)
    visitor.check()
    visitor.press("Remove nightly")
    expect(page.get_by_text("Nothing happens by itself")).to_be_visible()


@pytest.mark.parametrize(("label", "text"), [("When", "every night"), ("Zone", "Moon/Base"), ("Name", "a name")])
def test_what_is_wrong_is_said_and_what_was_typed_stays(visitor: Visitor, site: Site, label: str, text: str) -> None:
    page = visitor.open("/schedules")
    for field, value in (("Name", "s1"), ("When", "0 3 * * *"), ("Zone", "UTC"), (label, text)):
        page.get_by_label(re.compile(f"^{field}")).fill(value)
    page.get_by_label("Target").select_option(str(site))
    visitor.forgiven.append("422")
    visitor.press("Make")
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.get_by_label(re.compile(f"^{label}"))).to_have_value(text)
    expect(page.get_by_text("Nothing happens by itself")).to_be_visible()
