"""Templates as Jinja2 sees them; the bytecode is written by Jinja2 itself."""

from __future__ import annotations

from pathlib import Path

import jinja2
import pytest
from tests.actions.team import Team

from trueup import ConflictStrategy, SyncStrategy, sync
from trueup.core.errors import UsageError

THEIRS = SyncStrategy(conflict_strategy=ConflictStrategy.REMOTE_WINS)


@pytest.fixture
def team(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Team:
    path = tmp_path / "team"
    path.mkdir()
    monkeypatch.chdir(path)
    for name in ("XDG_CONFIG_HOME", "XDG_CONFIG_DIRS"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("TRUEUP_STATE", str(tmp_path / "state"))
    (path / "bytecode").mkdir()
    return Team(path)


def compiled(team: Team, *folders: str) -> dict[str, str]:
    """What Jinja2 compiles: the file of bytecode of each template."""
    cache = jinja2.FileSystemBytecodeCache(str(team.path / "bytecode"))
    loader = jinja2.FileSystemLoader([str(team.path / folder) for folder in folders or ("templates",)])
    environment = jinja2.Environment(loader=loader, bytecode_cache=cache)
    found = {}
    for name in environment.list_templates():
        environment.get_template(name)
        filename = environment.get_template(name).filename
        found[name] = cache.pattern % cache.get_cache_key(name, filename)
    return found


def cached(team: Team) -> set[str]:
    return {path.name for path in (team.path / "bytecode").iterdir()}


SITE = {
    "base.html": "<b>{% block a %}{% endblock %}",
    "page.html": "{% extends 'base.html' %}",
    "deep/leaf.html": "{% include 'page.html' %}",
    "macros.html": "{% macro m() %}{% endmacro %}",
    "form.html": "{% from 'macros.html' import m %}{% import 'other.html' as o %}",
    "other.html": "other",
    "list.html": "{% include ['nowhere.html', 'macros.html'] %}",
    "lone.html": "lone",
}


@pytest.mark.parametrize(
    ("changes", "cleared"),
    [
        ("base.html", {"base.html", "page.html", "deep/leaf.html"}),
        ("page.html", {"page.html", "deep/leaf.html"}),
        ("macros.html", {"macros.html", "form.html", "list.html"}),
        ("other.html", {"other.html", "form.html"}),
        ("lone.html", {"lone.html"}),
    ],
)
async def test_exactly_what_changes_and_what_leans_on_it_is_cleared(
    team: Team, changes: str, cleared: set[str]
) -> None:
    for name, text in SITE.items():
        team.here(f"templates/{name}", text)
    await sync.templates()
    files = compiled(team)
    (team.path / "bytecode/somebody-elses.cache").write_text("stays")
    before = cached(team)
    team.there(f"templates/{changes}", SITE[changes] + "changed", age=60)
    planned = await sync.templates(strategy=THEIRS, bytecode="bytecode", dry_run=True)
    assert cached(team) == before, "a dry run clears nothing"
    result = await sync.templates(strategy=THEIRS, bytecode="bytecode")
    assert set(result.bytecode_cleared) == set(planned.bytecode_cleared) == {files[name] for name in cleared}
    assert cached(team) == before - {files[name] for name in cleared}


async def test_a_template_that_names_others_by_a_value_may_lean_on_any(team: Team) -> None:
    team.here("templates/a.html", "{% include name %}")
    team.here("templates/b.html", "b")
    await sync.templates()
    files = compiled(team)
    team.there("templates/b.html", "bb", age=60)
    result = await sync.templates(strategy=THEIRS, bytecode="bytecode")
    assert set(result.bytecode_cleared) == {files["a.html"], files["b.html"]}


async def test_two_folders_with_one_name_in_them_are_told_apart(team: Team) -> None:
    team.here("templates/a.html", "one")
    team.here("custom/b.html", "two")
    both = ["templates", "custom"]
    await sync.templates(template_paths=both)
    files = compiled(team, *both)
    team.there("templates/custom/b.html", "changed", age=60)
    result = await sync.templates(template_paths=both, strategy=THEIRS, bytecode="bytecode")
    assert result.bytecode_cleared == [files["b.html"]]


async def test_nothing_is_cleared_for_a_template_that_could_not_be_written(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trueup.core.errors import AccessDenied
    from trueup.stores.file import FileStore

    team.here("templates/a.html", "a")
    await sync.templates()
    compiled(team)
    team.there("templates/a.html", "changed", age=60)

    async def refuses(*_: object, **__: object) -> None:
        raise AccessDenied("no")

    monkeypatch.setattr(FileStore, "write", refuses)
    before = cached(team)
    result = await sync.templates(strategy=THEIRS, bytecode="bytecode")
    assert (result.bytecode_cleared, cached(team)) == ([], before)
    assert any("a step that it needs was not carried out" in str(error) for error in result.errors)


async def test_templates_may_use_other_marks_and_extensions(team: Team) -> None:
    team.here("templates/a.html", "[% do x %][[ y ]] {{ {%")
    team.configure('[targets.pages]\nkind = "templates"\nlocal = "templates"\nremote = "bucket:templates"\n')
    team.configure('delimiters = ["[%", "%]", "[[", "]]", "[#", "#]"]\n')
    result = await sync.templates()
    assert list(map(str, result.errors)) == ["a.html: local: line 1: Encountered unknown tag 'do'."]
    team.configure('extensions = "do"\n')
    assert (await sync.templates()).synced_items == ["PUSH: a.html"]


async def test_the_program_s_own_environment_parses(team: Team) -> None:
    team.here("templates/a.html", "<< x >> {{")
    environment = jinja2.Environment(variable_start_string="<<", variable_end_string=">>")
    assert (await sync.templates()).errors
    assert (await sync.templates(environment=environment)).synced_items == ["PUSH: a.html"]


async def test_what_no_parser_can_read_is_held(team: Team) -> None:
    team.here("templates/bytes.html").write_bytes(b"one\ncaf\xe9")
    team.here("templates/deep.html", "{{ " + "(" * 20_000)
    team.here("templates/large.html", "x" * (4 * 1024 * 1024 + 1))
    result = await sync.templates()
    assert list(map(str, result.errors)) == [
        "bytes.html: local: line 2: this is not UTF-8",
        "deep.html: local: nested too deeply",
        "large.html: local: 4194305 bytes are more than the 4194304 that are read",
    ]


async def test_an_extension_that_there_is_not_is_refused(team: Team) -> None:
    team.configure(
        '[targets.pages]\nkind = "templates"\nlocal = "templates"\nremote = "bucket:templates"\nextensions = "nope"\n'
    )
    with pytest.raises(UsageError, match="no such extension"):
        await sync.templates()
