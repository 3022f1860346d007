"""The story of the training data's document: three ledgers that drift, a green button, a real bucket and browser."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from urllib.parse import quote

import pytest
from PIL import Image
from playwright.sync_api import Browser, expect
from tests.services import Service
from tests.web.pages.browser import SLOW, Visitor, visit
from tests.web.server import Served

from trueup.testing.engines import KEYS
from trueup.testing.sigv4 import call

pytestmark = pytest.mark.engine

NAME = "0042_european_30_male"
TAB = f"/targets/actor:0042:{NAME}/training-data"
CONFIG = """
[datasets]
local = "data/actors/{actor_name}/training_data/"
remote = "s3://test/PREFIX/{actor_name}/"
manifest = "data/actor_manifests/{actor_id}_manifest.json"
"""


@dataclass
class Actor:
    """An actor's three places."""

    home: Path
    bucket: Service
    prefix: str

    @property
    def local(self) -> Path:
        return self.home / "data/actors" / NAME / "training_data"

    @property
    def manifest(self) -> Path:
        return self.home / "data/actor_manifests/0042_manifest.json"

    def draw(self, name: str, colour: str) -> bytes:
        """A local image."""
        self.local.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 64), colour).save(self.local / name)
        return (self.local / name).read_bytes()

    def put(self, name: str, data: bytes) -> None:
        """An image in the bucket, written by somebody else."""
        path = f"/{self.bucket.bucket}/{self.prefix}/{NAME}/{quote(name)}"
        assert call(self.bucket.endpoint, KEYS, "PUT", path, body=data).status == 200

    def stored(self, name: str) -> bytes | None:
        """What the bucket holds."""
        path = f"/{self.bucket.bucket}/{self.prefix}/{NAME}/{quote(name)}"
        answer = call(self.bucket.endpoint, KEYS, "GET", path)
        return answer.body if answer.status == 200 else None

    def record(self, *names: str) -> None:
        """A manifest that names these."""
        self.manifest.parent.mkdir(parents=True, exist_ok=True)
        entries = [{"filename": name, "size_bytes": 3, "md5_hash": "0" * 32} for name in names]
        self.manifest.write_text(json.dumps({"actor_id": "0042", "actor_name": NAME, "training_data": entries}))

    @property
    def recorded(self) -> set[str]:
        """What the manifest names."""
        return {entry["filename"] for entry in json.loads(self.manifest.read_text())["training_data"]}


PREFIXES = count()


def coloured(colour: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (64, 64), colour).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def actor(strong_s3: Service, tmp_path: Path) -> Actor:
    """An actor of whom there is nothing yet but a manifest."""
    found = Actor(tmp_path / "home", strong_s3, f"pages-{os.getpid()}-{next(PREFIXES)}")
    found.record()
    (found.home / "trueup.toml").write_text(CONFIG.replace("PREFIX", found.prefix))
    return found


@pytest.fixture
def curator(actor: Actor, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> Iterator[Visitor]:
    """A visitor of a server that knows the actor's bucket, and whose writes of `slow...` wait for a file."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", actor.bucket.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEYS.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEYS.secret_key)
    served = Served(actor.home, actor.home.parent / "state", program=("-c", SLOW))
    served.start()
    try:
        with visit(browser, served) as found:
            yield found
    finally:
        served.stop()


def test_the_green_button_is_the_first_and_says_what_it_does(curator: Visitor) -> None:
    page = curator.open(TAB)
    button = page.locator("main button").first
    expect(button).to_have_text("Sync")
    expect(button).to_have_attribute("title", "Audit manifest, local files, and S3, then sync everything")
    red, green, blue = map(int, re.findall(r"\d+", button.evaluate("e => getComputedStyle(e).backgroundColor"))[:3])
    assert green > max(red + 60, blue + 30), (red, green, blue)
    expect(page.get_by_role("link", name="Training Data")).to_have_attribute("aria-current", "page")
    curator.check()


def test_a_dry_run_counts_and_does_nothing(curator: Visitor, actor: Actor) -> None:
    actor.draw("front.png", "red")
    actor.put("side.png", coloured("blue"))
    actor.record("lost.png")
    page = curator.open(TAB)
    curator.press("Dry run")
    message = page.locator("[data-result]")
    expect(message).to_contain_text("nothing was done")
    expect(message).to_contain_text("1 uploaded, 1 downloaded, 2 added to manifest, 0 updated in manifest, 1 removed")
    expect(page.locator(".audit")).to_contain_text("1 uploaded")
    assert actor.recorded == {"lost.png"}
    assert actor.stored("front.png") is None
    expect(page.get_by_role("row", name=re.compile("front.png"))).to_contain_text("upload")
    curator.check()


def test_one_press_syncs_all_three_and_says_what_was_done(curator: Visitor, actor: Actor) -> None:
    red = actor.draw("front one.png", "red")
    actor.put("slow side.png", coloured("blue"))
    actor.record("lost.png")
    page = curator.open(TAB)
    curator.press("Sync")
    button = page.locator("main button").first
    expect(button).to_be_disabled()
    expect(button).to_have_text("Syncing")
    expect(button.locator("svg.spin")).to_be_visible()
    expect(page.get_by_role("region", name="Run under way").get_by_role("status").first).to_contain_text("Applying")
    curator.check()
    (actor.home / "go").touch()
    message = page.locator("[data-result]")
    expect(message).to_contain_text("1 uploaded, 1 downloaded, 2 added to manifest, 0 updated in manifest, 1 removed")
    expect(message).to_be_focused()
    expect(button).to_be_enabled()
    assert actor.recorded == {"front one.png", "slow side.png"}
    assert actor.stored("front one.png") == red
    for name in ("front one.png", "slow side.png"):
        row = page.get_by_role("row", name=re.compile(name))
        expect(row).to_contain_text("recorded, local and remote")
        assert row.locator("img").evaluate("e => e.decode().then(() => e.naturalWidth)") == 64
    curator.check()
    assert curator.wait_five_seconds() == 1
    expect(message).to_have_count(0)


def test_what_is_wrong_stays_until_somebody_has_settled_it(curator: Visitor, actor: Actor) -> None:
    actor.draw("face.png", "red")
    page = curator.open(TAB)
    curator.press("Sync")
    expect(page.locator("[data-result]")).to_contain_text("1 uploaded")
    green = actor.draw("face.png", "green")
    actor.put("face.png", coloured("blue"))
    curator.open(TAB)
    curator.press("Sync")
    message = page.get_by_role("alert")
    expect(message).to_contain_text("1 error")
    expect(message).to_contain_text("conflict: face.png")
    assert curator.wait_five_seconds() == 0
    expect(message).to_be_visible()
    curator.tab("Conflicts")
    pictures = page.locator(".shot img")
    expect(pictures).to_have_count(2)
    for picture in pictures.all():
        assert picture.evaluate("e => e.decode().then(() => e.naturalWidth)") == 64
    curator.check()
    page.get_by_role("radio", name=re.compile("Keep local")).check()
    curator.press("Resolve")
    expect(page.locator("[data-result]")).to_contain_text("Succeeded")
    assert actor.stored("face.png") == green


def test_only_what_is_chosen_is_synced_and_taken_back(curator: Visitor, actor: Actor) -> None:
    actor.draw("a.png", "red")
    actor.draw("b.png", "blue")
    page = curator.open(TAB)
    curator.press("Choose ...")
    page.get_by_role("checkbox", name="b.png").uncheck()
    curator.press("Apply 1 of 2")
    expect(page.locator("[data-result]")).to_contain_text("1 change done")
    assert actor.recorded == {"a.png"}
    assert actor.stored("b.png") is None
    curator.press("Undo ...")
    expect(page.get_by_text("This takes back run")).to_be_visible()
    curator.press("Undo")
    expect(page.locator("[data-result]")).to_contain_text("Succeeded")
    assert actor.recorded == set()
    assert actor.stored("a.png") is None


def test_a_damaged_manifest_is_said_and_not_replaced(curator: Visitor, actor: Actor) -> None:
    actor.draw("a.png", "red")
    actor.manifest.write_text('{"actor_id": "0042",\n oops')
    page = curator.open(TAB)
    expect(page.get_by_role("alert")).to_contain_text("line 2")
    curator.check()
    curator.press("Sync")
    expect(page.get_by_role("alert").last).to_contain_text("line 2")
    assert actor.manifest.read_text().endswith("oops")


def test_a_picture_that_is_none_is_refused(curator: Visitor, actor: Actor) -> None:
    actor.draw("a.png", "red")
    (actor.local / "bad.png").write_text("<svg onload=alert(1)>")
    client = curator.served.browser()
    path = TAB.replace("training-data", "picture")
    assert client.get(f"{path}?side=local&key=a.png").headers["content-type"] == "image/webp"
    assert client.get(f"{path}?side=local&key=bad.png").status_code == 415
    for wrong in ("../../../data/actor_manifests/0042_manifest.json", "../x.png", "/etc/x.png", "nothing.png"):
        assert client.get(f"{path}?side=local&key={quote(wrong, safe='')}").status_code in (404, 422)
    assert client.get(f"{path}?side=manifest&key=a.png").status_code == 404
