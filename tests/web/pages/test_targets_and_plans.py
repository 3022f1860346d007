"""Targets, plans, selection, approval and runs, in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect
from tests.web.pages.browser import SLOW, Visitor, visit, write
from tests.web.server import Served, Site

pytestmark = pytest.mark.engine


def test_all_targets_are_listed_searched_and_filtered(visitor: Visitor, site: Site) -> None:
    site.fill(a="1")
    visitor.served.client().plan(str(site))
    page = visitor.open("/")
    row = page.get_by_role("row", name=re.compile(f"^{site} "))
    expect(row).to_contain_text("Out of sync 1")
    visitor.check()
    page.get_by_role("searchbox", name="Search targets").fill(str(site))
    page.keyboard.press("Enter")
    expect(page.get_by_role("caption")).to_contain_text(re.compile(r" of \d+ targets"))
    page.get_by_role("link", name=re.compile("^Drift")).click()
    expect(page.get_by_role("row", name=re.compile(f"^{site} "))).to_be_visible()
    page.get_by_role("link", name=re.compile("^Conflicts")).click()
    expect(page.get_by_text("No target is like that")).to_be_visible()


def test_a_plan_is_made_chosen_from_and_applied(visitor: Visitor, site: Site) -> None:
    site.fill(a="1", b="2", c="3")
    page = visitor.open(f"/targets/{site}")
    expect(page.get_by_text("Nobody has looked at it yet")).to_be_visible()
    visitor.check()
    page.locator("main .empty").get_by_role("button", name="Plan").click()
    expect(visitor.button("Apply 3 of 3")).to_be_visible()
    expect(page.get_by_role("row", name=re.compile("upload b"))).to_contain_text("new on local")
    page.get_by_role("checkbox", name="b").uncheck()
    expect(visitor.button("Apply 2 of 3")).to_be_visible()
    page.reload()
    expect(page.get_by_role("checkbox", name="b")).not_to_be_checked()
    visitor.check()
    visitor.press("Apply 2 of 3")
    expect(page.locator("[data-result]")).to_contain_text("2 changes done")
    assert site.arrived == {"a": "1", "c": "3"}


def test_a_range_is_ticked_with_shift_and_all_and_none_are_one_press(visitor: Visitor, site: Site) -> None:
    site.fill(a="1", b="2", c="3", d="4")
    visitor.served.client().plan(str(site))
    page = visitor.open(f"/targets/{site}")
    visitor.press("None")
    expect(visitor.button("Apply 0 of 4")).to_be_visible()
    page.get_by_role("checkbox", name="a").click()
    page.get_by_role("checkbox", name="c").click(modifiers=["Shift"])
    expect(visitor.button("Apply 3 of 4")).to_be_visible()
    visitor.press("All")
    expect(visitor.button("Apply 4 of 4")).to_be_visible()


def test_a_filter_narrows_the_lines_and_can_be_the_selection(visitor: Visitor, site: Site) -> None:
    site.fill(apple="1", apricot="2", banana="3")
    visitor.served.client().plan(str(site))
    page = visitor.open(f"/targets/{site}?q=ap")
    expect(page.get_by_role("caption")).to_contain_text("1 to 2 of 2 items")
    visitor.press('Only what matches "ap"')
    expect(visitor.button("Apply 2 of 3")).to_be_visible()
    page.get_by_role("searchbox").fill("ban")
    expect(page.get_by_role("caption")).to_contain_text("1 to 1 of 1 item")
    expect(page.get_by_role("checkbox", name="banana")).not_to_be_checked()


def test_a_plan_of_thousands_has_pages_and_one_selection(visitor: Visitor, site: Site) -> None:
    site.fill(**{f"f{n:03}": "x" for n in range(410)})
    visitor.served.client().plan(str(site))
    page = visitor.open(f"/targets/{site}")
    expect(page.get_by_role("checkbox")).to_have_count(200)
    page.get_by_role("checkbox", name="f001").uncheck()
    expect(visitor.button("Apply 409 of 410")).to_be_visible()
    page.get_by_role("link", name="Next").click()
    expect(page.get_by_role("caption")).to_contain_text("201 to 400 of 410")
    page.get_by_role("checkbox", name="f300").uncheck()
    expect(visitor.button("Apply 408 of 410")).to_be_visible()
    page.get_by_role("link", name="Next").click()
    expect(page.get_by_role("checkbox")).to_have_count(10)
    visitor.press("Apply 408 of 410")
    expect(page.locator("[data-result]")).to_contain_text("408 changes done")
    assert len(site.arrived) == 408
    assert not {"f001", "f300"} & site.arrived.keys()


def test_success_fades_and_stays_in_the_history(visitor: Visitor, site: Site) -> None:
    site.fill(a="1")
    page = visitor.open(f"/targets/{site}")
    visitor.press("Sync")
    expect(page.locator("[data-result]")).to_contain_text("Succeeded")
    visitor.check()
    assert visitor.wait_five_seconds() == 1
    expect(page.locator("[data-result]")).to_have_count(0)
    visitor.tab("History")
    expect(page.get_by_role("row", name=re.compile("Applied"))).to_have_count(1)
    visitor.check()


def test_everything_agrees_and_it_says_how_that_was_found_out(visitor: Visitor, site: Site) -> None:
    site.fill(a="1")
    visitor.served.client().run(f"/targets/{site}/sync")
    page = visitor.open(f"/targets/{site}")
    visitor.press("Plan")
    expect(page.get_by_text("All in sync")).to_be_visible()
    expect(page.get_by_text("verified by metadata")).to_be_visible()
    visitor.press("Verify")
    expect(page.get_by_text("verified by content: every byte was compared")).to_be_visible()
    visitor.check()


def test_a_stale_plan_says_what_changed_and_offers_the_rest(visitor: Visitor, site: Site) -> None:
    site.fill(a="1", b="2")
    visitor.served.client().plan(str(site))
    page = visitor.open(f"/targets/{site}")
    site.fill(b="2, edited")
    visitor.forgiven.append("409")
    visitor.press("Apply 2 of 2")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("b: local was changed")
    assert site.arrived == {}
    visitor.check()
    visitor.press("Apply the rest")
    expect(page.locator("[data-result]")).to_contain_text("Partial")
    assert site.arrived == {"a": "1"}


def test_a_guard_refuses_and_one_run_may_pass_it(visitor: Visitor, site: Site) -> None:
    site.fill(**{f"f{n}": str(n) for n in range(20)})
    client = visitor.served.client()
    client.run(f"/targets/{site}/sync")
    for path in site.local.glob("f*"):
        path.unlink()
    client.plan(str(site))
    page = visitor.open(f"/targets/{site}")
    expect(page.locator("#approve")).to_contain_text("20 deleted, kept in the trash")
    visitor.forgiven.append("409")
    visitor.press("Apply 20 of 20")
    expect(page.get_by_role("alert")).to_contain_text("max-delete")
    visitor.check()
    assert len(site.arrived) == 20
    for box in page.locator("input[name=allow]").all():
        box.check()
    visitor.press("Apply anyway")
    expect(page.locator("[data-result]")).to_contain_text("20 changes done")
    assert site.arrived == {}


def test_a_run_is_shown_before_it_is_taken_back(visitor: Visitor, site: Site) -> None:
    site.fill(a="1")
    visitor.served.client().run(f"/targets/{site}/sync")
    page = visitor.open(f"/targets/{site}/history")
    page.get_by_role("row", name=re.compile("Applied")).get_by_role("link").click()
    expect(page.locator("#log")).to_contain_text("upload")
    visitor.check()
    visitor.press("Undo ...")
    expect(page.get_by_text("This takes back run")).to_be_visible()
    assert site.arrived == {"a": "1"}
    visitor.check()
    visitor.press("Undo")
    expect(page.locator("[data-result]")).to_contain_text("Succeeded")
    assert site.arrived == {}


def test_a_conflict_is_seen_and_settled(visitor: Visitor, site: Site) -> None:
    site.fill(a="1", b="1")
    client = visitor.served.client()
    client.run(f"/targets/{site}/sync")
    site.fill(a="one\nmine\n", b="other, mine")
    write(site.remote, a="one\ntheirs, and more\n", b="other, theirs!")
    client.plan(str(site))
    page = visitor.open(f"/targets/{site}")
    page.get_by_role("link", name="Resolve a").click()
    expect(page.locator(".diff .minus")).to_contain_text("mine")
    expect(page.locator(".diff .plus")).to_contain_text("theirs, and more")
    assert page.locator("input[name=keep]:checked").count() == 0, "nothing is preselected"
    visitor.check()
    page.get_by_role("radio", name=re.compile("Keep local")).check()
    visitor.press("Resolve")
    expect(page.locator("[data-result]")).to_contain_text("Succeeded")
    assert site.arrived == {"a": "one\nmine\n", "b": "other, theirs!"}
    visitor.tab("Trash")
    expect(page.get_by_role("row", name=re.compile("^a "))).to_contain_text("Remote")
    visitor.check()


def test_a_version_is_brought_back_from_the_trash(visitor: Visitor, site: Site) -> None:
    site.fill(a="1")
    client = visitor.served.client()
    client.run(f"/targets/{site}/sync")
    (site.local / "a").unlink()
    client.run(f"/targets/{site}/sync", {"approve": "all"})
    page = visitor.open(f"/targets/{site}/trash")
    visitor.press("Show what would go")
    expect(page.get_by_role("status")).to_contain_text("0 versions")
    visitor.press("Restore a")
    expect(page.locator("[data-result]")).to_contain_text("Restored")
    assert site.arrived == {"a": "1"}


def test_a_name_that_is_a_script_is_a_text(visitor: Visitor, site: Site) -> None:
    name = "<img src=x onerror=document.title='taken'>"
    site.fill(**{name: "<script>document.title='taken'</script>"})
    client = visitor.served.client()
    client.run(f"/targets/{site}/sync")
    site.fill(**{name: "<script>1</script> mine"})
    write(site.remote, **{name: "<script>2</script> theirs, longer"})
    client.plan(str(site))
    for path in ("", "/conflicts", "/history"):
        page = visitor.open(f"/targets/{site}{path}")
        assert page.locator("main img, main script").count() == 0
        assert "taken" not in page.title()
    expect(visitor.open(f"/targets/{site}").get_by_role("rowheader")).to_have_text(name)


@pytest.mark.parametrize("path", ["/targets/nothing", "/plans/p1", "/runs/r1", "/history/last"])
def test_what_is_not_there_is_a_page_that_says_so(visitor: Visitor, path: str) -> None:
    visitor.forgiven.append("404")
    page = visitor.open(path, status=404)
    expect(page.get_by_role("alert")).to_contain_text("TU-NOT-FOUND")
    visitor.check()


def test_settings_of_a_target_and_of_the_server(visitor: Visitor, site: Site) -> None:
    page = visitor.open(f"/targets/{site}/settings")
    expect(page.get_by_role("row", name=re.compile("^deletes"))).to_contain_text("propagate")
    visitor.check()
    page = visitor.open("/settings")
    expect(page.locator("#tokens")).to_contain_text("this session")
    visitor.check()
    visitor.press("Log out")
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    visitor.check()
    visitor.open("/")
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()


def test_a_wrong_token_opens_nothing(visitor: Visitor) -> None:
    page = visitor.open("/login")
    visitor.forgiven.append("401")
    page.get_by_label("Token").fill("wrong")
    visitor.press("Log in")
    expect(page.get_by_role("alert")).to_contain_text("not valid")
    visitor.check()


def test_the_whole_way_goes_by_keyboard(visitor: Visitor, site: Site) -> None:
    site.fill(a="1")
    visitor.served.client().plan(str(site))
    page = visitor.open(f"/targets/{site}")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    page.get_by_role("checkbox", name="a").focus()
    page.keyboard.press("Space")
    expect(visitor.button("Apply 0 of 1")).to_be_visible()
    page.keyboard.press("Space")
    expect(visitor.button("Apply 1 of 1")).to_be_visible()
    visitor.button("Apply 1 of 1").focus()
    page.keyboard.press("Enter")
    expect(page.locator("[data-result]")).to_contain_text("1 change done")


# -- a run that takes its time -------------------------------------------------------------------------------------


@pytest.fixture
def slowly(fresh: Served, browser: Browser) -> Iterator[Visitor]:
    """A visitor of a server whose writes of `slow...` wait for a file."""
    fresh.program = ("-c", SLOW)
    write(fresh.path / "site0" / "here", fast="1", slow="2")
    fresh.start()
    with visit(browser, fresh) as found:
        yield found


def test_a_run_is_watched_to_its_end(slowly: Visitor) -> None:
    page = slowly.open("/targets/site0")
    slowly.press("Sync")
    live = page.get_by_role("region", name="Run under way")
    expect(live.locator("[data-word]")).to_have_text("Applying")
    expect(live.locator("[data-count]")).to_contain_text("of 2")
    slowly.check()
    slowly.open("/targets/site0")
    expect(slowly.button("Sync")).to_be_disabled()
    slowly.check()
    (slowly.served.path / "go").touch()
    expect(page.locator("[data-result]")).to_contain_text("2 changes done")
    expect(page.locator("[data-result]")).to_be_focused()
    expect(slowly.button("Sync")).to_be_enabled()


def test_a_run_that_is_cancelled_finishes_what_is_under_way_and_begins_nothing_new(slowly: Visitor) -> None:
    site = Site(slowly.served.path, "site0")
    go = slowly.served.path / "go"
    client = slowly.served.client()
    go.touch()
    client.run("/targets/site0/sync")
    go.unlink()
    (site.local / "fast").unlink()
    site.fill(slow="2, edited")
    client.plan("site0")
    page = slowly.open("/targets/site0")
    slowly.press("Apply 2 of 2")
    expect(page.locator("[data-word]")).to_have_text("Applying")
    slowly.press("Cancel")
    expect(page.locator("[data-word]")).to_have_text("Applying")
    go.touch()
    expect(page.locator("[data-result]")).to_contain_text("Cancelled")
    assert site.arrived == {"fast": "1", "slow": "2, edited"}, "deletions come last, and were not begun"
    slowly.check()


def test_a_stream_that_is_lost_says_that_the_run_goes_on(slowly: Visitor) -> None:
    page = slowly.open("/targets/site0")
    slowly.press("Sync")
    expect(page.locator("[data-word]")).to_have_text("Applying")
    slowly.forgiven += ["ERR_INTERNET_DISCONNECTED", "ERR_NETWORK", "Failed to fetch", "ERR_FAILED"]
    page.route("**/api/v1/runs/**", lambda route: route.abort())
    page.reload()
    expect(page.get_by_text("Connection lost. The run continues on the server")).to_be_visible()
    slowly.check()
    page.unroute("**/api/v1/runs/**")
    (slowly.served.path / "go").touch()
    expect(page.locator("[data-result]")).to_contain_text("2 changes done")


def test_a_server_that_was_killed_in_the_middle_goes_on(slowly: Visitor) -> None:
    page = slowly.open("/targets/site0")
    slowly.press("Sync")
    expect(page.locator("[data-word]")).to_have_text("Applying")
    port = slowly.served.port
    slowly.forgiven.append("ERR_")
    slowly.served.kill()
    slowly.served.stop()
    expect(page.get_by_text("Connection lost. The run continues on the server")).to_be_visible()
    (slowly.served.path / "go").touch()
    slowly.served.start(port=port)
    expect(page.get_by_text("The server ended during this run")).to_be_visible()
    slowly.check()
    slowly.press("Resume")
    expect(page.locator("[data-result]")).to_contain_text("Succeeded")
    assert Site(slowly.served.path, "site0").arrived == {"fast": "1", "slow": "2"}
