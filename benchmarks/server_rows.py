"""The rows of the server: fifty clients for a minute, and its pages in a browser."""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ground import Bench, make_tree
from measure import Cost
from table import Line, Result, at_most, told

sys.path.append(str(Path(__file__).parents[1]))  # the crowd, the server and the visitor are those of the tests

from tests.web.crowd import Crowd
from tests.web.server import Served

if TYPE_CHECKING:
    from tests.web.pages.browser import Visitor

CLIENTS = 50
SECONDS = 60
TARGETS = 5
"""Each has a run under way, again and again."""
FILES = 200
"""Of each target, when it begins; each run adds `EDITS`."""
EDITS = 20
ROWS_OF_PLAN, ROWS_OF_LARGE = 10_000, 20_000


def server(bench: Bench) -> Result:
    """Fifty clients with event streams, while runs go on."""
    seconds = SECONDS // 6 if bench.quick else SECONDS
    home = bench.room("server")
    names = [f"site{n}" for n in range(TARGETS)]
    with _serving(home, dict.fromkeys(names, FILES)) as served:
        crowd = Crowd(
            served.port, served.own_token, names, CLIENTS, lambda name, turn: _edit(home / "home" / name, turn)
        )
        begun = time.monotonic()
        crowd.play(lambda _: time.monotonic() - begun >= seconds, pages=True)
        wall = time.monotonic() - begun
        cost = _cost(served, wall)
        lost = crowd.lost()
    streams = sum(map(len, crowd.heard.values()))
    events = sum(len(heard) for one in crowd.heard.values() for heard in one)
    times = sorted(crowd.seconds)
    return Result(
        "server",
        f"{CLIENTS} clients with event streams for {seconds} s",
        f"`trueup serve` over {TARGETS} targets of {FILES} files; each has a sync of {EDITS} more under way, again and"
        f" again, and ten clients that hear its events, every other one over a connection that is cut and taken up"
        " again. Each client also asks for a document or a page once a second. Every stream has to have every event,"
        " once and in order, and as all others heard it. The clients are threads of one process on the same cores;"
        " the line is what the server costs. There is no peer.",
        [Line("trueup serve", cost)],
        [
            at_most("streams that lost an event", len(lost), 0, ""),
            told("heard", f"{events:,} events in {streams:,} streams of {len(crowd.heard)} runs"),
            told("requests", f"{len(times):,}, {len(times) / wall:.0f} a second"),
            told("time of a request, median", f"{statistics.median(times) * 1000:.0f} ms"),
            told("time of a request, p95", f"{times[int(len(times) * 0.95)] * 1000:.0f} ms"),
            told("time of a request, the longest", f"{times[-1] * 1000:.0f} ms"),
        ],
        tuple(lost[:5]),
    )


def page(bench: Bench) -> Result:
    """The pages, in a browser."""
    home = bench.room("page")
    rows, many = bench.size(ROWS_OF_PLAN), bench.size(ROWS_OF_LARGE)
    with _serving(home, {"plan": rows, "large": many} | {f"small{n}": 3 for n in range(20)}) as served:
        client = served.client()
        planning = {n: _timed(partial(client.plan, name)) for name, n in (("plan", rows), ("large", many))}
        texts = _answered(served, bench.repeats)
        looked, notes = _looked(served, bench.repeats)
        cost = _cost(served, 0)
    budgets = {
        "first useful page, all targets": "targets",
        f"first page of a plan of {rows:,} rows": "plan",
        f"first page of {many:,} changes": "large",
        f"next page of {many:,} changes": "next",
        f"a part of a name typed, of {many:,}": "typed",
        f"a tick, of {many:,}, until the server has it": "ticked",
    }
    return Result(
        "page",
        f"pages of a server with 22 targets, among them a plan of {rows:,} rows and one of {many:,}",
        "Medians, from the click to the last line drawn, in Chromium by Playwright, on loopback, nothing of a page"
        " cached. The budget is 1 s for the first useful page and for the first page of 10,000 rows; for what follows"
        " it is taken, too. A page has 200 rows. `As a text`: the same without a browser. There is no peer.",
        [],
        [
            *(at_most(what, looked[name], 1, " s") for what, name in budgets.items() if name in looked),
            *(told(f"as a text: {what}", f"{seconds * 1000:.0f} ms") for what, seconds in texts.items()),
            *(told(f"making the plan of {n:,} rows", f"{seconds:.1f} s") for n, seconds in planning.items()),
            told("memory of the server, at its peak", f"{cost.peak_mib:.0f} MiB"),
        ],
        notes,
    )


def _timed(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def _answered(served: Served, repeats: int) -> dict[str, float]:
    """Seconds until a page is there as text."""
    client = served.browser()

    def get(path: str) -> None:
        client.get(path).raise_for_status()

    paths = {"all targets": "/", "200 rows of the plan": "/targets/plan", "200 rows of the large one": "/targets/large"}
    return {
        what: statistics.median([_timed(partial(get, path)) for _ in range(repeats + 1)][1:])
        for what, path in paths.items()
    }


def _looked(served: Served, repeats: int) -> tuple[dict[str, float], tuple[str, ...]]:
    """Seconds that a reader waits, and a note where there is no browser."""
    try:
        from playwright.sync_api import sync_playwright
        from tests.web.pages.browser import ARGUMENTS, chromium, visit
    except ImportError as error:
        return {}, (f"{error.name} is not installed: not looked at in a browser",)
    program = chromium()
    if program is None:
        return {}, ("chromium is not installed: not looked at in a browser. Try: make chromium",)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=[*ARGUMENTS])
        try:
            with visit(browser, served) as visitor:
                turns = [_turn(visitor) for _ in range(repeats + 1)][1:]
        finally:
            browser.close()
    return {name: statistics.median(turn[name] for turn in turns) for name in turns[0]}, ()


def _turn(visitor: Visitor) -> dict[str, float]:
    """One reader's way."""
    page, large = visitor.page, "/targets/large"

    def shown(path: str) -> float:
        begun = time.perf_counter()
        visitor.open(path)
        page.locator("main tbody tr").last.wait_for()
        return time.perf_counter() - begun

    def follows(act: Callable[[], object], text: str) -> float:
        begun = time.perf_counter()
        act()
        page.get_by_text(text, exact=False).first.wait_for()
        return time.perf_counter() - begun

    found = {"targets": shown("/"), "plan": shown("/targets/plan"), "large": shown(large)}
    found["next"] = follows(page.get_by_role("link", name="Next").click, "201 to 400 of")
    found["typed"] = follows(partial(page.get_by_role("searchbox").fill, "image-00001"), "1 to 10 of")
    shown(large)
    box = page.locator("tbody input[type=checkbox]").first
    selected, changes = str(page.locator("#approve strong").text_content()).split()[0::2][:2]
    found["ticked"] = follows(box.uncheck, f"{int(selected.replace(',', '')) - 1:,} of {changes} changes")
    follows(box.check, f"{selected} of {changes} changes")
    return found


# -- the ground ----------------------------------------------------------------------------------------------------


@contextmanager
def _serving(room: Path, targets: dict[str, int]) -> Iterator[Served]:
    """A server over folders: so many files here, and nothing there."""
    home, text = room / "home", ""
    for name, files in targets.items():
        text += f'[targets.{name}]\nkind = "folder"\nlocal = "{name}/here"\nremote = "{name}/there"\n'
        (home / name / "there").mkdir(parents=True)
        make_tree(home / name / "here", files, 20)
    (home / "trueup.toml").write_text(text)
    served = Served(home, room / "state").start()
    try:
        yield served
    finally:
        served.stop()


def _edit(target: Path, turn: int) -> None:
    for n in range(EDITS):
        (target / "here" / f"new {turn:04} {n}").write_text(str(turn))


def _cost(served: Served, wall: float) -> Cost:
    """What the server has cost so far; `/proc` tells."""
    assert served.process is not None
    process = Path(f"/proc/{served.process.pid}")
    times = (process / "stat").read_text().rpartition(")")[2].split()[11:15]  # utime, stime, cutime, cstime
    status = (process / "status").read_text().splitlines()
    peak = next(int(one.split()[1]) for one in status if one.startswith("VmHWM:"))
    return Cost(wall, sum(map(int, times)) / os.sysconf("SC_CLK_TCK"), peak / 1024)


ROWS: dict[str, Callable[[Bench], Result]] = {"server": server, "page": page}
