"""``trueup config``, ``trueup trust`` and ``trueup completion``, each as a person meets it."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from trueup.cli import root
from trueup.cli.completion import completion
from trueup.cli.config import config
from trueup.cli.trust import trust
from trueup.core.errors import ConfigError, TrueupError, UsageError

SITE = """
[targets.site]
kind = "folder"
local = "site"
remote = "/srv/site"
"""
COMMAND = """
[buckets.web]
url = "s3://w"
secret_key = { command = "touch ran" }
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with no other configuration around it."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for variable in ("TRUEUP_CONFIG", "TRUEUP_PROFILE", "TRUEUP_ENV", "TRUEUP_TIMEOUT"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("TRUEUP_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "none"))
    return folder


def run(command: click.Command, *arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, catch_exceptions=False)


def refused(command: click.Command, *arguments: str) -> TrueupError:
    with pytest.raises(TrueupError) as caught:
        run(command, *arguments)
    return caught.value


def test_show_says_each_setting_and_where_it_comes_from(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "trueup.toml").write_text(SITE)
    monkeypatch.setenv("TRUEUP_TIMEOUT", "5m")
    plain = run(config, "show").output.splitlines()
    assert 'targets.site.conflict = "manual"' in plain
    assert f'targets.site.local = ["{project}/site"]' in plain
    said = {line.split(" = ")[0]: line.split("  # ")[1] for line in run(config, "show", "--origin").output.splitlines()}
    assert said["targets.site.local"] == f"{project}/trueup.toml:4"
    assert said["targets.site.timeout"] == "TRUEUP_TIMEOUT"
    assert said["targets.site.conflict"] == "default"
    assert said["state_dir"] == "TRUEUP_STATE"


def test_show_without_a_file_shows_what_holds_anyway(project: Path) -> None:
    assert run(config, "show").output == f'state_dir = "{project.parent}/state"\n'


def test_show_as_json_is_one_versioned_document(project: Path) -> None:
    (project / "trueup.toml").write_text(SITE + COMMAND)
    document: Any = json.loads(run(config, "show", "--json").output)
    assert (document["format"], document["version"]) == ("trueup.config", 1)
    assert document["path"] == str(project / "trueup.toml")
    assert document["settings"]["targets.site.remote"] == {
        "value": "/srv/site",
        "origin": {"source": "project", "path": str(project / "trueup.toml"), "line": 5, "name": None},
    }
    assert document["settings"]["buckets.web.secret_key"]["value"] == {"command": "***"}
    assert document["settings"]["targets.site.trash"]["value"] is None


def test_show_uses_the_profile_that_is_asked_for(project: Path) -> None:
    (project / "trueup.toml").write_text(SITE + '[profiles.p.targets.site]\nkeep = "none"')
    assert 'targets.site.keep = "none"' in run(config, "show", "--profile", "p").output
    assert 'did you mean "p"?' in refused(config, "show", "--profile", "pp").why


def test_the_options_of_the_main_command_hold_here_too(project: Path) -> None:
    (project / "trueup.toml").write_text("broken =")
    (project / "other.toml").write_text(SITE + '[profiles.p.targets.site]\nkeep = "none"')

    assert 'keep = "none"' in run(root, "--config", "other.toml", "--profile", "p", "config", "show").output
    assert "other.toml: no errors" in run(root, "--config", "other.toml", "config", "check").output
    assert "other.toml: trusted" in run(root, "--config", "other.toml", "trust").output


def test_show_cannot_control_the_terminal_and_hides_commands(project: Path) -> None:
    (project / "trueup.toml").write_text(SITE.replace("/srv/site", "/srv/\\u001b[2J\\u009b") + COMMAND)
    shown = run(config, "show", "--origin").output
    assert all(sign.isprintable() or sign == "\n" for sign in shown)
    assert "buckets.web.secret_key = { command = " in shown
    assert "touch" not in shown


def test_check_counts_what_is_right(project: Path) -> None:
    (project / "trueup.toml").write_text(SITE + '[profiles.p.targets.site]\nkeep = "none"')
    result = run(config, "check")
    assert result.output == f"{project}/trueup.toml: no errors in 1 target, 1 profile\n"


def test_check_says_what_is_wrong_and_ends_with_78(project: Path) -> None:
    (project / "trueup.toml").write_text(SITE + "kep = 1")
    error = refused(config, "check")
    assert isinstance(error, ConfigError)
    assert error.exit_code == 78
    assert "trueup.toml:6: targets.site.kep is no setting" in error.what


def test_check_tries_every_profile_whatever_is_in_effect(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUEUP_ENV", "good")
    (project / "trueup.toml").write_text(
        SITE + 'min_size = 5\n[profiles.good.targets.site]\nkeep = "all"\n[profiles.bad.targets.site]\nmax_size = 4'
    )
    assert "selects nothing" in refused(config, "check").what


def test_check_takes_a_file_and_names_init_where_there_is_none(project: Path) -> None:
    assert refused(config, "check").attempt == "trueup init"
    (project / "other.toml").write_text(SITE)
    assert "other.toml: no errors" in run(config, "check", "other.toml").output


def test_check_mentions_commands_that_nobody_has_approved_and_runs_none(project: Path) -> None:
    (project / "trueup.toml").write_text(COMMAND)
    assert "note: it names 1 secret: none is fetched before `trueup trust`" in run(config, "check").stderr
    run(trust)
    assert run(config, "check").stderr == ""
    assert not (project / "ran").exists()


def test_schema_is_json(project: Path) -> None:
    assert json.loads(run(config, "schema").output)["title"] == "trueup.toml"


def test_trust_lists_the_commands_and_runs_none(project: Path) -> None:
    (project / "trueup.toml").write_text(COMMAND + '[profiles.p.buckets.web]\nsecret_key = { command = ["a", "b c"] }')
    below = project / "below"
    below.mkdir()
    output = run(trust).output
    assert "  buckets.web.secret_key: touch ran\n" in output
    assert "  profiles.p.buckets.web.secret_key: a 'b c'\n" in output
    assert "trusted as it is now" in output
    assert not (project / "ran").exists()


def test_trust_is_taken_back(project: Path) -> None:
    path = project / "trueup.toml"
    path.write_text(COMMAND)
    run(trust, "trueup.toml")
    assert run(trust, "--remove").output == f"{path}: no longer trusted\n"
    assert run(trust, "--remove").output == f"{path}: was not trusted\n"


def test_nothing_is_trusted_that_is_not_there_or_not_read(project: Path) -> None:
    assert isinstance(refused(trust), UsageError)
    (project / "trueup.toml").write_text("broken =")
    assert "is not TOML" in refused(trust).what
    assert not (project.parent / "state").exists()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_of_that_shell(shell: str, project: Path) -> None:
    script = run(completion, shell).stdout
    assert "_TRUEUP_COMPLETE" in script
    if executable := shutil.which(shell):
        (project / "script").write_text(script)
        subprocess.run([executable, "-n", "script"], check=True)


def test_completion_takes_the_shell_in_use(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/usr/bin/zsh")
    assert run(completion).stdout.startswith("#compdef trueup")
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    assert refused(completion).exit_code == 64


@pytest.mark.parametrize("command", [config, *config.commands.values(), trust, completion], ids=lambda it: it.name)
def test_help_starts_with_examples_after_its_first_sentence(command: click.Command) -> None:
    lines = [line.strip() for line in run(command, "--help").output.split("\n\n")]
    assert any(part.startswith("Examples:") for part in lines[1:4])
