"""The command line as a whole: help, usage errors, common options, and where every error ends."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from _pytest.mark import ParameterSet
from tests.cli.home import Home

from trueup.cli import COMMANDS, FEW_COLLECTIONS, root
from trueup.cli.common import Session
from trueup.cli.failures import error_line, exit_code_of, leaves, understood
from trueup.cli.group import every_command
from trueup.cli.targets import Overrides
from trueup.cli.topics import EXIT_CODES, TOPICS
from trueup.core.check import Limits
from trueup.core.errors import ConfigError, Locked, NotFound, TrueupError, UsageError
from trueup.core.report import combine
from trueup.core.strategy import Conflict, Direction, Keep
from trueup.stores import schemes

HEAVY = {"rich", "pydantic", "anyio", "sqlite3", "trueup.api", "trueup.engine", "trueup.stores", "watchfiles"}
ALL = [pytest.param(path, command, id=" ".join(path) or "trueup") for path, command in every_command(root)]


def modules_after(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines())


def test_help_loads_neither_engine_nor_anything_heavy() -> None:
    loaded = modules_after("from trueup.cli import root\ntry:\n    root.main(['--help'])\nexcept SystemExit: pass")
    assert "trueup.cli.group" in loaded
    assert not HEAVY & loaded


def test_completing_a_command_loads_none() -> None:
    loaded = modules_after(
        "import click\nfrom trueup.cli import root\n"
        "assert [item.value for item in root.shell_complete(click.Context(root), 'st')] == ['status']"
    )
    assert not HEAVY & loaded


def test_a_word_behind_sync_loads_its_own_command_and_for_models_no_engine() -> None:
    loaded = modules_after(
        "from trueup.cli import root\ntry:\n    root.main(['sync', '-v', 'models', '--help'])\nexcept SystemExit: pass"
    )
    assert "trueup.cli.models.syncing" in loaded
    assert not {"trueup.cli.sync", "trueup.api.engine", "trueup.engine.run", "filelock"} & loaded


def test_a_process_that_ends_looks_for_no_garbage() -> None:
    loaded = "atexit.register(lambda: print(gc.get_freeze_count(), gc.get_threshold()[0]))"
    code = f"import atexit, gc, sys; {loaded}; sys.argv = ['trueup', '--version']; from trueup.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    version, frozen, threshold = done.stdout.replace("trueup ", "").split()
    assert version
    assert int(frozen) > 1000
    assert int(threshold) == FEW_COLLECTIONS


def test_help_lists_every_command(home: Home) -> None:
    text = home("--help").stdout
    assert all(re.search(rf"^  {name} +\S", text, re.MULTILINE) for name in COMMANDS)
    assert text.index("Examples:") < text.index("sync  ")


@pytest.mark.parametrize(("path", "command"), ALL)
def test_every_command_begins_with_a_summary_and_examples(path: tuple[str, ...], command: click.Command) -> None:
    text = click.Context(command, info_name=" ".join(path)).command.help or ""
    assert re.match(r"[A-Z][^\n]+\.\s", text)
    assert "Examples:" in text
    assert all(param.help for param in command.params if isinstance(param, click.Option))


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_says_what_the_command_says(name: str) -> None:
    command = root.get_command(click.Context(root), name)
    assert command is not None
    assert command.get_short_help_str(200) == COMMANDS[name].summary


def examples() -> list[ParameterSet]:
    found = []
    for path, command in every_command(root):
        block = (command.help or "").partition("Examples:")[2].partition("\n\n")[0]
        for text in re.findall(r"trueup [^&|)\n]*", block):
            example = re.split(r"  +", text.strip())[0]
            found.append(pytest.param(example, id=f"{' '.join(path)}: {example}"))
    return found


@pytest.mark.parametrize("example", examples())
def test_examples_can_be_typed(example: str) -> None:
    words = shlex.split(example.partition(" > ")[0].partition(" # ")[0].rstrip('"'))[1:]
    if words and words[-1] in ("--help", "-h"):
        words.pop()
    with root.make_context("trueup", words, obj=Session(), resilient_parsing=False) as context:
        command: click.Command = root
        rest = [*context._protected_args, *context.args]
        while isinstance(command, click.Group) and rest:
            _, found, rest = command.resolve_command(context, rest)
            assert found is not None
            command, context = found, found.make_context(found.name, list(rest), parent=context)
            rest = [] if not isinstance(found, click.Group) else [*context._protected_args, *context.args]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["statsu"], "No such command 'statsu'. Did you mean 'status'?"),
        (["sync", "--dry-rnu"], "No such option '--dry-rnu'."),
        (["sync", "--direction", "psuh"], "'psuh'; did you mean push?"),
        (["sync", "--allow", "everything"], "choose from max-delete"),
        (["sync", "--max-delete", "many"], "neither a count nor a percentage"),
        (["trash", "prnue"], "Did you mean 'prune'?"),
        (["trash", "prune", "--older-than", "old"], "is no age"),
        (["sync", "folder", "a"], "folder takes two folders"),
        (["sync", "folder", "a", "b", "c"], "folder takes two folders"),
        (["plan", "folder", "site", "share", "x"], "unexpected: x"),
        (["sync", "stie"], 'did you mean "site"?'),
        (["sync", "--name", "x"], "--name is for an ad hoc folder"),
        (["sync", "folder", "site", "share", "--name", "site"], "a target called site is configured"),
        (["undo", "nothing"], "no run 'nothing'"),
        (["apply", "missing.plan"], "missing.plan cannot be read"),
        (["help", "exit-code"], "did you mean exit-codes?"),
        (["conflicts", "resolve", "site", "x"], "x is not in conflict"),
        (["conflicts", "resolve"], "Missing argument"),
        ([], "a command is missing"),
        (["trash"], "a command is missing"),
    ],
)
def test_usage_errors_end_with_64_and_name_a_next_command(home: Home, arguments: list[str], said: str) -> None:
    result = home(*arguments, code=64)
    assert result.stdout == ""
    assert result.stderr.startswith("error[TU-USAGE]: ")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_no_configuration_is_told_with_a_way_out(home: Home) -> None:
    (home.path / "trueup.toml").unlink()
    assert "try: trueup init" in home("sync", code=64).stderr
    assert "which target?" in home("plan", code=64).stderr


def test_a_wrong_configuration_ends_with_78_and_lists_everything(home: Home) -> None:
    (home.path / "trueup.toml").write_text('[targets.site]\nkind = "folder"\nlcoal = "a"\nremot = "b"\n')
    result = home("status", code=78)
    assert result.stderr.startswith("error[TU-CONFIG]: ")
    assert "lcoal" in result.stderr
    assert "remot" in result.stderr


@pytest.mark.parametrize("arguments", [["--json", "status"], ["status", "--json"], ["status", "--output", "json"]])
def test_common_options_stand_before_and_behind_the_command(home: Home, arguments: list[str]) -> None:
    document = json.loads(home(*arguments).stdout)
    assert document["format"] == "trueup.status"
    assert document["targets"][0]["in_sync"] is True


def test_state_and_config_can_be_named_for_one_call(home: Home, tmp_path: Path) -> None:
    elsewhere = home.path / "other.toml"
    elsewhere.write_text((home.path / "trueup.toml").read_text().replace("targets.site", "targets.other"))
    (home.site / "a").write_text("a")
    home("sync", "--yes", "--state", str(tmp_path / "second"), "--config", str(elsewhere))
    assert (tmp_path / "second").is_dir()
    assert not (tmp_path / "state").exists()
    import os

    assert os.environ["TRUEUP_STATE"] == str(tmp_path / "state")


def test_an_error_is_a_document_too(home: Home) -> None:
    result = home("plan", "stie", "--json", code=64)
    document = json.loads(result.stdout)
    assert document["format"] == "trueup.error"
    assert document["error"]["code"] == "TU-USAGE"
    assert json.loads(home("plan", "stie", "--output", "jsonl", code=64).stdout)["event"] == "error"


def test_the_unexpected_is_called_a_bug_and_shows_its_trace_only_on_request(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> None:
        raise ZeroDivisionError("\x1b[31m")

    monkeypatch.setattr(Session, "load_config", broken)
    result = home("status", code=1)
    assert result.stderr.startswith("error[TU-BUG]: ZeroDivisionError: \\x1b[31m - ")
    assert "Traceback" not in result.stderr
    noisy = home("status", "-vv", code=1)
    assert "Traceback" in noisy.stderr
    assert "\x1b" not in noisy.stderr


def test_ctrl_c_before_anything_began_ends_with_130(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Session, "load_config", interrupted)
    assert home("status", code=130).stdout == ""


def test_errors_in_groups_are_told_one_by_one() -> None:
    group = BaseExceptionGroup("", [Locked("busy"), BaseExceptionGroup("", [ConfigError("wrong")])])
    assert [str(leaf) for leaf in leaves(group)] == ["busy", "wrong"]
    assert exit_code_of(group) == combine([6, 78])


@pytest.mark.parametrize(
    ("error", "code"),
    [(NotFound("x"), 1), (click.UsageError("x"), 64), (click.Abort(), 130), (KeyboardInterrupt(), 130), (OSError(), 1)],
)
def test_every_error_has_a_code(error: BaseException, code: int) -> None:
    assert exit_code_of(error) == code


def test_there_is_nothing_to_say_about_an_interruption() -> None:
    assert understood(click.Abort()) is None
    assert isinstance(understood(click.ClickException("x.")), UsageError)


def test_an_error_stays_on_its_line_unless_the_configuration_lists_many() -> None:
    def shown(error: TrueupError, about: str = "") -> str:
        return "".join(text for text, _ in error_line(error, about=about))

    assert shown(NotFound("a\nb", why="\nc", attempt="d")) == "error[TU-NOT-FOUND]: a\\nb - \\nc - try: d"
    assert shown(NotFound("gone"), "site") == "error[TU-NOT-FOUND]: site: gone"
    assert shown(ConfigError("2 errors", why="\n  one\n  two", attempt="x")).count("\n") == 3


@pytest.mark.parametrize(
    ("env", "flag", "colored"),
    [
        ({}, [], False),
        ({"CLICOLOR_FORCE": "1"}, [], True),
        ({"CLICOLOR_FORCE": "0"}, [], False),
        ({"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, [], False),
        ({"NO_COLOR": "1"}, ["--color", "always"], True),
        ({"CLICOLOR_FORCE": "1"}, ["--color", "never"], False),
        ({"CLICOLOR_FORCE": "1", "TERM": "dumb"}, [], True),
    ],
)
def test_colours_follow_the_flag_then_the_environment(
    home: Home, monkeypatch: pytest.MonkeyPatch, env: dict[str, str], flag: list[str], *, colored: bool
) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    done = subprocess.run(
        [sys.executable, "-m", "trueup", "status", *flag],
        cwd=home.path,
        env=home.env | env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ("\x1b[" in done.stdout) is colored


def test_a_reader_who_goes_away_changes_nothing(home: Home) -> None:
    (home.site / "a").write_text("a")
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m trueup plan --exit-code | true; exit ${{PIPESTATUS[0]}}"],
        cwd=home.path,
        env=home.env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (3, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_result_that_cannot_be_written_is_a_failure(home: Home) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m trueup status > /dev/full"],
        cwd=home.path,
        env=home.env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "the result could not be written" in done.stderr
    assert done.stderr.count("\n") == 1


def test_closed_streams_are_no_error(home: Home) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m trueup status >&- 2>&-"], cwd=home.path, env=home.env, check=False
    )
    assert done.returncode == 0


def test_what_the_terminal_cannot_show_is_escaped(home: Home) -> None:
    (home.site / "caf\u00e9").write_text("x")
    done = subprocess.run(
        [sys.executable, "-m", "trueup", "plan"],
        cwd=home.path,
        env=home.env | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=True,
    )
    assert b"caf\\xe9" in done.stdout


def test_the_version_is_the_packages(home: Home) -> None:
    from importlib.metadata import version

    assert home("--version").stdout == f"trueup {version('trueup')}\n"


@pytest.mark.parametrize("topic", TOPICS)
def test_every_topic_is_explained(home: Home, topic: str) -> None:
    assert len(home("help", topic).stdout.splitlines()) > 5


def test_symbols_are_those_that_a_plan_can_hold(home: Home) -> None:
    text = home("help", "symbols").stdout
    assert "upload" in text
    assert "conflict" in text
    assert re.search(r"^ +~ +move", text, re.MULTILINE)
    assert all(word in text for word in ("record", "damaged", "unregistered", "invalidate"))


def test_the_stores_are_a_topic(home: Home) -> None:
    assert "try: trueup help stores" in home("sync", "folder", "site", "gopher://bucket/x", code=64).stderr
    text = home("help", "stores").stdout
    assert all(f"  {scheme}://" in text for scheme in schemes())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
@pytest.mark.parametrize("words", [["--help"], ["help"], ["sync", "--help"], ["--version"], ["status"]])
def test_a_full_disk_is_a_plain_error(home: Home, words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        process = home.process(*words, stdout=full.fileno())
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert said == "error[TU-ERROR]: the result could not be written - No space left on device\n"


def test_help_on_a_command_is_its_help(home: Home) -> None:
    assert home("help", "trash", "ls").stdout == home("trash", "ls", "--help").stdout
    assert "Topics: trueup help exit-codes" in home("help").stdout


def test_every_exit_code_of_an_error_is_documented() -> None:
    def classes(cls: type[TrueupError]) -> Iterator[type[TrueupError]]:
        yield cls
        for below in cls.__subclasses__():
            yield from classes(below)

    assert {cls.exit_code for cls in classes(TrueupError)} <= set(EXIT_CODES)


def test_flags_are_typed_again_in_the_next_command() -> None:
    overrides = Overrides(
        direction=Direction.PULL,
        conflict=Conflict.NEWEST_WINS,
        keep=Keep.NONE,
        include=("*.jpg",),
        exclude=("a b",),
        max_delete=Limits.parse("5%"),
    )
    assert overrides.flags() == (
        " --direction pull --conflict newest_wins --keep none --max-delete 5% --include '*.jpg' --exclude 'a b'"
    )
    assert Overrides().flags() == ""
