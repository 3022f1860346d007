"""Two web processes read and render, again and again, while calls write."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import anyio.to_thread
import pytest
from tests.actions.team import Team

from trueup import ConflictStrategy, SyncStrategy, sync

THEIRS = SyncStrategy(conflict_strategy=ConflictStrategy.REMOTE_WINS)
ROUNDS = 8

PROCESS = f"""
import pathlib, sys
import jinja2, yaml

loader = jinja2.FileSystemLoader("templates")
reads = 0
while True:
    last = pathlib.Path("stop").exists()
    settings = yaml.safe_load(pathlib.Path("settings/cache.yml").read_text())
    if settings["fill"] != str(settings["size"]) * 20_000:
        sys.exit(f"settings are half-written: {{settings['size']}}")
    page = jinja2.Environment(loader=loader).get_template("page.html").render()
    if page not in {{f"<b>{{n}}" + str(n) * 60_000 + "</b>" for n in range({ROUNDS})}}:
        sys.exit(f"a template is half-written: {{page[:20]}}, {{len(page)}}")
    reads += 1
    if reads == 1:
        print("reading", flush=True)
    if last:
        sys.exit(0)
"""


def settings(n: int) -> str:
    return f"size: {n}\nfill: '{str(n) * 20_000}'\n"


def page(n: int) -> str:
    return f"{{% extends 'base.html' %}}{{% block a %}}{n}{str(n) * 60_000}{{% endblock %}}"


@pytest.fixture
def processes(team: Team) -> Iterator[list[subprocess.Popen[str]]]:
    """They have read once when the test begins."""
    team.here("settings/cache.yml", settings(0))
    team.here("templates/base.html", "<b>{% block a %}{% endblock %}</b>")
    team.here("templates/page.html", page(0))
    started = [
        subprocess.Popen([sys.executable, "-c", PROCESS], cwd=team.path, stdout=subprocess.PIPE, text=True, stderr=-2)
        for _ in range(2)
    ]
    try:
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "reading\n", process.stdout.read()
        yield started
    finally:
        for process in started:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


@pytest.mark.slow
async def test_no_process_ever_sees_a_template_or_settings_that_are_half_written(
    team: Team, processes: list[subprocess.Popen[str]]
) -> None:
    await sync.settings()
    await sync.templates()
    for n in range(1, ROUNDS):
        await anyio.to_thread.run_sync(team.there, "settings/cache.yml", settings(n))
        await anyio.to_thread.run_sync(team.there, "templates/page.html", page(n))
        assert (await sync.settings(strategy=THEIRS)).synced_items == ["PULL: cache.yml"]
        assert (await sync.templates(strategy=THEIRS)).synced_items == ["PULL: page.html"]
    (team.path / "stop").touch()
    for process in processes:
        said, _ = await anyio.to_thread.run_sync(process.communicate)
        assert (process.returncode, said) == (0, "")
    assert team.files("settings") == {"cache.yml": settings(ROUNDS - 1)}
