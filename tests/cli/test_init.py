"""``trueup init``: what it asks, what it writes, what it refuses."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from trueup import config
from trueup.cli.init import init
from trueup.core.errors import TrueupError, UsageError
from trueup.core.strategy import Deletes
from trueup.targets.folders import Folders

ALL = ("--local", "site", "--remote", "/srv/backup", "--deletes", "propagate")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trueup.cli.init._interactive", lambda: True)


def run(*arguments: str, answers: str = "") -> Result:
    return CliRunner().invoke(init, arguments, input=answers, catch_exceptions=False)


def refused(*arguments: str) -> TrueupError:
    with pytest.raises(UsageError) as caught:
        run(*arguments)
    assert caught.value.exit_code == 64
    return caught.value


def only_target(folder: Path) -> Folders:
    none = {"XDG_CONFIG_HOME": "/nowhere", "XDG_CONFIG_DIRS": "/nowhere", "TRUEUP_STATE": "/nowhere"}
    (target,) = config.load(folder, env=none).targets.values()
    assert isinstance(target, Folders)
    return target


def test_what_is_written_is_what_was_said_and_is_valid(here: Path) -> None:
    result = run(*ALL)
    assert result.stdout == "trueup.toml: written. Next: trueup status\n"
    target = only_target(here)
    assert (target.name, target.local, target.remote) == ("site", (str(here / "site"),), "/srv/backup")
    assert target.policy.deletes is Deletes.PROPAGATE
    text = (here / "trueup.toml").read_text()
    assert 'deletes = "propagate"  # restore | propagate | report' in text


def test_the_settings_left_in_comments_are_valid_too(here: Path) -> None:
    run(*ALL)
    path = here / "trueup.toml"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(line.removeprefix("# ") if " = " in line else line for line in lines))
    assert only_target(here).selection.exclude == ("*.tmp",)


@pytest.mark.usefixtures("_terminal")
def test_on_a_terminal_what_is_missing_is_asked(here: Path) -> None:
    result = run(answers="site\n/srv/x\nnonsense\nreport\n")
    assert "When a file is deleted on one side" in result.stderr
    assert result.stdout == "trueup.toml: written. Next: trueup status\n"
    assert only_target(here).policy.deletes is Deletes.REPORT


@pytest.mark.usefixtures("_terminal")
def test_what_deletions_mean_is_asked_and_has_no_default(here: Path) -> None:
    assert run("--local", "site", "--remote", "/srv/x", answers="\n").exit_code != 0
    assert not (here / "trueup.toml").exists()


@pytest.mark.usefixtures("_terminal")
def test_what_was_said_is_not_asked(here: Path) -> None:
    assert run(*ALL).stderr == ""


def test_a_real_terminal_is_asked(here: Path) -> None:
    master, slave = pty.openpty()
    command = "from trueup.cli.init import init; init(['--local', 'site', '--remote', '/srv/x'])"
    with subprocess.Popen([sys.executable, "-c", command], stdin=slave, stdout=slave, stderr=slave) as process:
        os.close(slave)
        os.write(master, b"restore\n")
        assert process.wait(timeout=60) == 0
    os.close(master)
    assert only_target(here).policy.deletes is Deletes.RESTORE


def test_off_a_terminal_what_is_missing_is_named(here: Path) -> None:
    assert refused().what == "--local, --remote, --deletes are missing"
    assert refused("--local", "x", "--remote", "/y").what == "--deletes is missing"
    assert not (here / "trueup.toml").exists()


def test_yes_takes_the_careful_answers_and_still_needs_the_other_side(here: Path) -> None:
    assert refused("--yes").what == "--remote is missing"
    run("--yes", "--remote", "/srv/x")
    target = only_target(here)
    assert (target.local, target.policy.deletes) == ((str(here),), Deletes.RESTORE)


def test_a_configuration_is_not_replaced_without_force(here: Path) -> None:
    path = here / "trueup.toml"
    path.write_text("# mine")
    assert refused(*ALL).attempt == "trueup init --force"
    assert path.read_text() == "# mine"
    run(*ALL, "--force")
    assert only_target(here).name == "site"
    assert [entry.name for entry in here.iterdir()] == ["trueup.toml"]


def test_a_section_in_pyproject_is_not_overruled_without_force(here: Path) -> None:
    (here / "pyproject.toml").write_text("[tool.trueup]")
    assert "pyproject.toml configures this folder already" in refused(*ALL).what


def test_a_file_that_appears_while_questions_are_answered_is_kept(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = here / "trueup.toml"
    monkeypatch.setattr("trueup.cli.init.validate", lambda *_: path.write_text("# theirs"))
    refused(*ALL)
    assert path.read_text() == "# theirs"


def test_a_configuration_of_a_folder_above_is_no_obstacle(here: Path) -> None:
    (here.parent / "trueup.toml").write_text("broken =")
    run(*ALL)
    assert only_target(here).name == "site"


def test_paths_typed_here_hold_in_the_folder_of_the_file(here: Path) -> None:
    run("sub/deep", "--local", "sub/site", "--remote", "backup", "--deletes", "report")
    text = (here / "sub/deep/trueup.toml").read_text()
    assert 'local = "../site"' in text
    target = only_target(here / "sub/deep")
    assert Path(target.remote).resolve() == here / "backup"


@pytest.mark.parametrize("remote", ["s3://web/site", "bucket:web/x", "~/backup", "/srv/x", 'we "ird\\\x7f'])
def test_places_are_written_as_they_were_typed(here: Path, remote: str) -> None:
    run("--local", "site", "--remote", remote, "--deletes", "report")
    read = config.document.read(here / "trueup.toml", config.Source.PROJECT, [])
    assert read is not None
    assert read.table["targets"]["site"]["remote"].removeprefix("./") == remote


@pytest.mark.parametrize(
    ("folder", "name"),
    [("my site", "my-site"), ("templates", "templates-folder"), ("-x", "x"), ("日本", "日本"), ("$", "site")],
)
def test_the_name_is_made_of_the_folders(here: Path, folder: str, name: str) -> None:
    run("--local", f"./{folder}", "--remote", "/srv/x", "--deletes", "report")
    assert only_target(here).name == name


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--name", "all"), "a target cannot be called so"),
        (("--name", "a b"), "is no name"),
        (("--remote", "s3://"), "names no bucket"),
        (("--remote", "s3:///site"), "names no bucket"),
        (("--remote", "s3://web/../site"), "cannot be addressed"),
        (("--remote", "ftp://web/site"), "no store for ftp://"),
        (("--remote", "s3:web/site"), 'a URL begins with "s3://"'),
        (("--remote", "s3://me:hunter2@web"), "a password does not belong in a URL"),
        (("--local", "s3://web"), "a URL is for `remote`"),
        (("--remote", "site/backup"), "one side is inside the other"),
        (("--remote", "."), "one side is inside the other"),
        (("--remote", "site"), "one side is inside the other"),
        (("--local", "~nobody-of-that-name"), "there is no such user"),
        (("--remote", "\udcff"), "a name is not UTF-8"),
    ],
)
def test_what_would_be_refused_later_is_not_written(here: Path, arguments: tuple[str, ...], said: str) -> None:
    error = refused(*ALL, *arguments)
    assert said in str(error)
    assert "hunter2" not in str(error)
    assert not (here / "trueup.toml").exists()


def test_a_folder_that_cannot_be_written_is_said(here: Path) -> None:
    (here / "file").write_text("")
    assert "cannot be written" in refused("file/below", *ALL).what


def test_help_starts_with_examples() -> None:
    assert "Examples:" in run("--help").output.split("\n\n")[2]
