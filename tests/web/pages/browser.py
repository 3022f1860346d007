"""A real browser on the real pages, and a server whose writes wait where a test says so."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, expect
from tests.web.server import Served

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
)  # fmt: skip
PATIENCE_MS = 60_000
"""For everything that a test waits for. It ends as soon as the condition holds."""

SLOW = """
import time
from pathlib import Path
from trueup.stores.file.write import Folder
from trueup.cli import main

plain = Folder.write

def slow(self, key, *arguments, **options):
    while key.startswith("slow") and not Path("go").exists():
        time.sleep(0.01)
    return plain(self, key, *arguments, **options)

Folder.write = slow
main()
"""
"""A server whose writes of some names wait until a file is there."""

HELD = """
const plain = setTimeout;
window.held = [];
window.setTimeout = (call, ms, ...rest) => (ms === 5000 ? held.push(call) : plain(call, ms, ...rest));
"""
"""What waits for five seconds waits for the test: no machine is so slow that a message goes before it was seen."""

AXE = Axe()
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


def chromium() -> str | None:
    """Where the browser is."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


@dataclass
class Visitor:
    """Somebody with a browser, logged in, who notices every error on the console."""

    served: Served
    page: Page
    noise: list[str] = field(default_factory=list)
    forgiven: list[str] = field(default_factory=list)
    """Parts of what may stand on the console: what a test provokes."""

    def open(self, path: str, *, status: int = 200) -> Page:
        """Open a page."""
        answer = self.page.goto(f"{self.served.address}{path}")
        assert answer is not None
        assert answer.status == status, f"{path}: {answer.status}"
        return self.page

    def button(self, name: str | re.Pattern[str]) -> Locator:
        """A button by its whole name."""
        return self.page.get_by_role("button", name=name, exact=isinstance(name, str))

    def press(self, name: str | re.Pattern[str]) -> None:
        """Press a button."""
        self.button(name).click()

    def tab(self, name: str) -> None:
        """Open a tab of the target."""
        self.page.locator(".tabs").get_by_role("link", name=re.compile(f"^{name}")).click()

    def check(self, *, schemes: tuple[str, ...] = ("light", "dark")) -> None:
        """Nothing on this page, as it is now, is out of somebody's reach; nothing of it scrolls sideways."""
        for scheme in schemes:
            self.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
            found = AXE.run(self.page, options=RULES).response["violations"]
            told = [(one["id"], [node["html"][:200] for node in one["nodes"]][:3]) for one in found]
            assert not told, f"{self.page.url} ({scheme}): {told}"
        assert self.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), self.page.url

    def wait_five_seconds(self) -> int:
        """As if so much time had passed; how many things waited for it."""
        return int(self.page.evaluate("held.splice(0).map((call) => call()).length"))

    def quiet(self) -> None:
        """Nothing went wrong in the browser."""
        loud = [text for text in self.noise if not any(part in text for part in self.forgiven)]
        assert not loud, loud


@contextmanager
def visit(browser: Browser, served: Served, *, javascript: bool = True) -> Iterator[Visitor]:
    """A visitor who has logged in by a new link."""
    context = browser.new_context(java_script_enabled=javascript, viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE_MS)
    try:
        context.add_init_script(HELD)
        page = context.new_page()
        visitor = Visitor(served, page)
        listen(context, visitor)
        page.goto(served.trueup("token", "login", "--port", str(served.port)).strip())
        expect(page.get_by_role("heading", name="Targets")).to_be_visible()
        yield visitor
        visitor.quiet()
    finally:
        context.close()


def listen(context: BrowserContext, visitor: Visitor) -> None:
    """Notice what goes wrong."""

    def console(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            visitor.noise.append(f"{message.text} ({message.location.get('url', '')})")

    context.on("console", console)
    context.on("weberror", lambda error: visitor.noise.append(str(error.error)))


def write(folder: Path, **files: str) -> None:
    """Write texts."""
    for name, text in files.items():
        (folder / name).write_text(text)
