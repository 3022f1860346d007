"""The whole story of an actor's images on a real bucket, in a real browser, from the beginning to the end."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing

import pytest
from playwright.sync_api import expect
from tests.web.pages.browser import Visitor
from tests.web.pages.test_training_data import NAME, TAB, Actor, actor, coloured, curator

pytestmark = pytest.mark.engine

__all__ = ["actor", "curator"]
TARGET = f"actor:0042:{NAME}"
A_DAY_NS = 24 * 3600 * 10**9


@pytest.mark.timeout(600)  # eight tests in one: half a minute, on a busy machine some
def test_from_drift_to_agreement_and_what_happens_by_itself(curator: Visitor, actor: Actor) -> None:
    drift(actor)
    curator.open(TAB)
    nothing_is_done_by_a_dry_run(curator, actor)
    what_is_chosen_is_synced_and_taken_back(curator, actor)
    the_server_is_killed_in_the_middle_and_goes_on(curator, actor)
    all_is_there_but_the_conflict(curator, actor)
    the_conflict_is_settled(curator, actor)
    a_schedule_fires(curator, actor)
    its_run_is_taken_back(curator, actor)
    every_run_has_a_page(curator)


def drift(actor: Actor) -> None:
    """New here, new there, recorded and nowhere, recorded wrongly, edited on both sides."""
    actor.draw("front.png", "red")
    actor.put("slow side.png", coloured("blue"))
    same = actor.draw("same.png", "white")
    actor.put("same.png", same)
    actor.draw("face.png", "green")
    actor.put("face.png", coloured("yellow"))
    actor.record("lost.png", "same.png")


def nothing_is_done_by_a_dry_run(curator: Visitor, actor: Actor) -> None:
    before = actor.manifest.read_bytes()
    curator.press("Dry run")
    message = curator.page.locator("[data-result]")
    expect(message).to_contain_text("nothing was done")
    expect(message).to_contain_text("1 uploaded, 1 downloaded, 2 added to manifest, 1 updated in manifest, 1 removed")
    expect(message).to_contain_text("conflict: face.png")
    assert (actor.manifest.read_bytes(), actor.stored("front.png")) == (before, None)
    assert not (actor.local / "slow side.png").exists()
    curator.check()


def what_is_chosen_is_synced_and_taken_back(curator: Visitor, actor: Actor) -> None:
    page = curator.page
    curator.press("Choose ...")
    curator.press("None")
    expect(curator.button(re.compile("^Apply 0 of"))).to_be_visible()
    page.get_by_role("checkbox", name="front.png").check()
    curator.press(re.compile("^Apply 1 of"))
    expect(page.locator("[data-result]")).to_contain_text("1 change done")
    assert actor.stored("front.png") == (actor.local / "front.png").read_bytes()
    assert actor.recorded == {"front.png", "lost.png", "same.png"}
    curator.press("Undo ...")
    expect(page.get_by_text("This takes back run")).to_be_visible()
    curator.check()
    curator.press("Undo")
    expect(page.locator("[data-result]")).to_contain_text("Succeeded")
    assert actor.stored("front.png") is None
    assert actor.recorded == {"lost.png", "same.png"}


def the_server_is_killed_in_the_middle_and_goes_on(curator: Visitor, actor: Actor) -> None:
    page, port = curator.page, curator.served.port
    curator.open(TAB)
    curator.press("Sync")
    expect(page.locator("[data-word]")).to_have_text("Applying")
    curator.forgiven.append("ERR_")
    curator.served.kill()
    curator.served.stop()
    expect(page.get_by_text("Connection lost. The run continues on the server")).to_be_visible()
    (actor.home / "go").touch()
    curator.served.start(port=port)
    expect(page.get_by_text("The server ended during this run")).to_be_visible()
    curator.open(TAB)
    expect(page.get_by_text("The server ended during this run")).to_be_visible()
    curator.check()
    curator.press("Resume")
    expect(page.locator("[data-result]")).to_contain_text("conflict: face.png")


def all_is_there_but_the_conflict(curator: Visitor, actor: Actor) -> None:
    page = curator.open(TAB)
    agreed = {"front.png", "slow side.png", "same.png"}
    assert actor.recorded == agreed
    assert actor.stored("front.png") == (actor.local / "front.png").read_bytes()
    assert actor.stored("slow side.png") == (actor.local / "slow side.png").read_bytes()
    for name in agreed:
        picture = page.get_by_role("row", name=re.compile(name)).locator("img")
        assert picture.evaluate("e => e.decode().then(() => e.naturalWidth)") == 64
    expect(page.get_by_role("link", name="1 conflict", exact=False).first).to_be_visible()


def the_conflict_is_settled(curator: Visitor, actor: Actor) -> None:
    page = curator.page
    curator.tab("Conflicts")
    expect(page.locator(".shot img")).to_have_count(2)
    page.get_by_role("radio", name=re.compile("Keep remote")).check()
    curator.press("Resolve")
    expect(page.locator("[data-result]")).to_contain_text("Succeeded")
    assert (actor.local / "face.png").read_bytes() == coloured("yellow") == actor.stored("face.png")
    assert "face.png" in actor.recorded


def a_schedule_fires(curator: Visitor, actor: Actor) -> None:
    """What was missed is done at the next look: it was to be done every day, and begins to count yesterday."""
    actor.draw("new.png", "purple")
    page = curator.open("/schedules")
    page.get_by_label("Name").fill("daily")
    page.get_by_label("Target").select_option(TARGET)
    page.get_by_label(re.compile("When")).fill("0 3 * * *")
    page.get_by_label("Does").select_option("apply")
    curator.press("Make")
    row = page.get_by_role("row", name=re.compile("^daily"))
    expect(row).to_contain_text("never")
    with closing(sqlite3.connect(curator.served.state / "state.db")) as state, state:
        state.execute("UPDATE schedules SET created_ns = created_ns - ?", (A_DAY_NS,))
    while row.get_by_text("never").count():
        page.reload()
    run = row.locator("a[href^='/runs/']")
    run.click()
    expect(page.locator("[data-result]")).to_contain_text("1 change done")
    expect(page.get_by_text("schedule daily")).to_be_visible()
    assert actor.stored("new.png") == (actor.local / "new.png").read_bytes()
    assert "new.png" in actor.recorded


def its_run_is_taken_back(curator: Visitor, actor: Actor) -> None:
    page = curator.open("/history")
    expect(page.locator("tbody tr").first).to_contain_text("schedule daily")
    page.locator("tbody tr").first.get_by_role("link").first.click()
    curator.press("Undo ...")
    curator.press("Undo")
    expect(page.locator("[data-result]")).to_contain_text("Succeeded")
    assert (actor.stored("new.png"), "new.png" in actor.recorded) == (None, False)
    assert (actor.local / "new.png").exists()


def every_run_has_a_page(curator: Visitor) -> None:
    reader, client = curator.served.browser(), curator.served.client()
    pages = [f"/runs/{run['id']}" for run in client.ask("GET", "/runs")["runs"]]
    pages += [f"/history/{run['id']}" for run in client.ask("GET", "/history")["runs"]]
    odd = {path: answer.status_code for path in pages if (answer := reader.get(path)).status_code not in (200, 303)}
    assert odd == {}, "a run that only planned leads to its plan"
    assert len(pages) > 10
