"""Take the pictures of the pages: a real server over made-up images and folders, a real browser.

Usage: ``python docs/screens.py``. It needs Chromium (`make chromium`) and the development tools.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from PIL import Image, ImageDraw
from playwright.sync_api import Page, sync_playwright
from tests.web.pages.browser import ARGUMENTS, Visitor, chromium, visit
from tests.web.server import Client, Served

PLACE = Path(tempfile.gettempdir()) / "studio"
IMAGES = Path(__file__).parent / "images"
NAME = "0042_european_30_male"
ACTOR = f"/targets/actor:0042:{NAME}"
CONFIG = """
[targets.site]
kind = "folder"
local = "site"
remote = "share/site"
deletes = "propagate"

[targets.photos]
kind = "folder"
local = "photos"
remote = "share/photos"

[targets.archive]
kind = "folder"
local = "notes"
remote = "not-mounted/notes"

[datasets]
local = "actors/{actor_name}/training_data/"
remote = "share/training_data/{actor_name}/"
manifest = "manifests/{actor_id}.json"
"""


def main() -> None:
    """Take them all."""
    program = chromium()
    if program is None:
        sys.exit("Chromium is not installed. Type: make chromium")
    PLACE.mkdir()  # it is on the pictures, so it has the same name each time
    try:
        home = PLACE / "cups"
        furnish(home)
        served = Served(home, PLACE / "state").start()
        try:
            drift(home, served.client())
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=program, args=[*ARGUMENTS])
                with visit(browser, served) as visitor:
                    photograph(visitor)
                browser.close()
        finally:
            served.stop()
    finally:
        shutil.rmtree(PLACE)


def furnish(home: Path) -> None:
    """Folders that agree, and a dataset."""
    for name in ("site", "photos", "notes"):
        (home / name).mkdir(parents=True)
        if name != "notes":
            (home / "share" / name).mkdir(parents=True)
    for n in range(1, 25):
        draw(home / f"photos/cup {n:02}.jpg", n)
    (home / "site/index.html").write_text("<h1>Cups</h1>\n")
    (home / "site/about.md").write_text("# About\n\nWe make cups.\n\nSince 1998.\n")
    (home / "site/prices.csv").write_text("cup,12\npot,48\n")
    (home / "manifests").mkdir()
    (home / "manifests/0042.json").write_text(f'{{"actor_id": "0042", "actor_name": "{NAME}", "training_data": []}}\n')
    for n in range(4):
        draw(home / f"actors/{NAME}/training_data/front {n}.png", n)
    for n in range(3):
        draw(home / f"share/training_data/{NAME}/side {n}.png", 12 + n)
    (home / "trueup.toml").write_text(CONFIG)


def drift(home: Path, client: Client) -> None:
    """Edits on both sides after a first sync."""
    for target in ("site", "photos"):
        client.run(f"/targets/{target}/sync")
    client.run(ACTOR + "/sync")
    (home / "site/about.md").write_text("# About\n\nWe make cups and pots.\n\nSince 1998.\n")
    (home / "share/site/about.md").write_text("# About us\n\nWe make cups.\n\nSince 1998.\n\nVisit us!\n")
    (home / "site/prices.csv").write_text("cup,13\npot,48\n")
    (home / "share/site/hours.md").write_text("Monday to Friday, 9 to 17\n")
    (home / "site/new.md").write_text("Saucers are coming.\n")
    (home / "site/index.html").unlink()
    draw(home / f"actors/{NAME}/training_data/front 0.png", 9)
    draw(home / f"actors/{NAME}/training_data/front 9.png", 20)
    draw(home / f"share/training_data/{NAME}/side 1.png", 3)
    (home / f"actors/{NAME}/training_data/side 2.png").unlink()
    client.run("/targets/site/plans")
    client.run(ACTOR + "/plans")
    client.run("/targets/archive/plans")


def draw(path: Path, n: int) -> None:
    """Somebody, or something, in a colour of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("HSV", (480, 480), (n * 11 % 256, 70, 215)).convert("RGB")
    pen = ImageDraw.Draw(image)
    pen.ellipse((150, 90, 330, 300), fill=(232, 208, 186))
    pen.rounded_rectangle((100, 320, 380, 520), 60, fill=(70, 84, 104))
    image.save(path)


def photograph(visitor: Visitor) -> None:
    """Every picture of the documentation."""
    for name, path, scheme in (
        ("page-targets", "/", "light"),
        ("page-plan", "/targets/site", "light"),
        ("page-training-data", f"{ACTOR}/training-data", "light"),
        ("page-conflict", "/targets/site/conflicts", "dark"),
    ):
        page: Page = visitor.open(path)
        page.set_viewport_size({"width": 1200, "height": 720})
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
        page.wait_for_load_state("networkidle")
        page.screenshot(path=IMAGES / f"{name}.png")
        print(os.path.relpath(IMAGES / f"{name}.png"))


if __name__ == "__main__":
    main()
