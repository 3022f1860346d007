"""A browser, a server and a visitor. Playwright keeps an event loop in its thread, so it ends with each module."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright
from tests.web.pages.browser import ARGUMENTS, PATIENCE_MS, Visitor, chromium, visit
from tests.web.server import Served


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real Chromium."""
    program = chromium()
    if program is None:
        why = "chromium is not installed; it comes with: make chromium"
        if os.environ.get("CI") == "true":
            raise RuntimeError(why)
        pytest.skip(why)
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=program, args=[*ARGUMENTS])
        try:
            yield found
        finally:
            found.close()


@pytest.fixture
def visitor(browser: Browser, served: Served) -> Iterator[Visitor]:
    """Somebody who looks at the module's server."""
    with visit(browser, served) as found:
        yield found


@pytest.fixture
def plain(browser: Browser, served: Served) -> Iterator[Visitor]:
    """The same without JavaScript."""
    with visit(browser, served, javascript=False) as found:
        yield found
