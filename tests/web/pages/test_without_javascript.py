"""The essentials with nothing but forms and links."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect
from tests.web.pages.browser import Visitor
from tests.web.server import Site

pytestmark = pytest.mark.engine


def test_list_plan_choose_apply_and_see_the_result(plain: Visitor, site: Site) -> None:
    site.fill(a="1", b="2")
    page = plain.open("/")
    page.get_by_role("link", name=str(site), exact=True).click()
    page.locator("main .empty").get_by_role("button", name="Plan").click()
    page.get_by_role("checkbox", name="b").uncheck()
    plain.press("Keep selection")
    expect(page.locator("#approve")).to_contain_text("1 of 2 changes selected")
    page.get_by_role("checkbox", name="b").check()
    plain.press(re.compile("^Apply"))
    expect(page.locator("[data-result]")).to_contain_text("2 changes done")
    assert site.arrived == {"a": "1", "b": "2"}
    page.get_by_role("link", name="What was done", exact=True).click()
    expect(page.locator("#log")).to_contain_text("upload")


def test_all_targets_are_looked_at_at_once(plain: Visitor, site: Site) -> None:
    site.fill(a="1")
    page = plain.open("/")
    plain.press("Plan all")
    expect(page.get_by_role("row", name=re.compile(f"^{site} "))).to_contain_text("Out of sync 1")
