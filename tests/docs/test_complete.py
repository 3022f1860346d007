"""Nothing that a person can type or read is left out of the documentation.

The reference is generated; these tests look at the code by another way, so that a gap in the generator shows.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from tests.docs.blocks import ROOT

import trueup
from trueup import stores
from trueup.cli import COMMANDS, root
from trueup.cli.group import every_command
from trueup.cli.topics import EXIT_CODES
from trueup.config.settings import BUCKET, KINDS, VARIABLES
from trueup.core import report
from trueup.core.check import Guard
from trueup.core.errors import AccessDenied
from trueup.core.reconcile import Reason
from trueup.core.report import Status
from trueup.core.strategy import Conflict, Deletes, Direction, Keep
from trueup.stores.object import errors as bucket_errors

SOURCE = Path(trueup.__file__).parent


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text("utf-8")


def section(text: str, heading: str) -> str:
    """What stands below a heading, up to the next one of any level."""
    found = re.search(rf"^#+ {re.escape(heading)}$(.*?)(?=^#+ |\Z)", text, re.DOTALL | re.MULTILINE)
    assert found, f"there is no heading {heading}"
    return found[1]


COMMANDS_BY_NAME = {" ".join(("trueup", *path)): command for path, command in every_command(root)}


@pytest.mark.parametrize("name", COMMANDS_BY_NAME)
def test_every_command_is_documented_with_its_options_and_an_example(name: str) -> None:
    text = section(page("reference/commands.md"), name)
    assert "Examples:" in text
    command = COMMANDS_BY_NAME[name]
    common = {option for param in root.params for option in param.opts}
    for param in command.params:
        if isinstance(param, click.Option) and (command is root or not common.issuperset(param.opts)):
            assert all(option in text for option in param.opts), param.opts
    if isinstance(command, click.Group):
        assert all(below in text for below in command.list_commands(click.Context(command)))


def test_every_command_is_listed() -> None:
    assert {name.split()[1] for name in COMMANDS_BY_NAME if name != "trueup"} == set(COMMANDS)


def test_every_setting_and_variable_is_documented() -> None:
    text = page("reference/settings.md")
    for kind, settings in KINDS.items():
        rows = section(text, f"Targets of kind `{kind}`")
        assert all(f"| `{name}` |" in rows for name in settings)
    assert all(f"| `{name}` |" in section(text, "Buckets") for name in BUCKET)
    assert all(f"| `{name}` |" in section(text, "Environment variables") for name in VARIABLES)


def test_every_variable_that_the_code_reads_is_documented() -> None:
    read = set()
    for path in SOURCE.rglob("*.py"):
        read |= set(re.findall(r"\"(TRUEUP_[A-Z_]+)\"", path.read_text("utf-8")))
    assert read <= set(VARIABLES)


def test_every_store_and_kind_is_documented() -> None:
    text = page("reference/stores.md")
    assert all(f"| `{scheme}://` |" in text for scheme in stores._OURS)
    assert all(f"| `{kind}` |" in section(text, "Kinds of target") for kind in KINDS)


def test_every_exit_code_is_documented() -> None:
    text = page("reference/exit-codes.md")
    codes = {value for name, value in vars(report).items() if name.startswith("EXIT_")}
    assert codes == set(EXIT_CODES)
    assert all(f"| `{code}` |" in text for code in codes)


def test_every_guard_is_documented() -> None:
    for name in ("reference/guards.md", "concepts.md"):
        assert all(f"| `{guard.value}` |" in page(name) for guard in Guard)


def test_every_reason_and_status_is_documented() -> None:
    text = page("reference/plan.md")
    assert all(f"| `{reason.value}` |" in section(text, "Reasons") for reason in Reason)
    assert all(f"| `{status.value}` |" in section(text, "Status of a step") for status in Status)


def test_every_word_of_a_strategy_is_explained() -> None:
    text = page("concepts.md")
    for words in (Direction, Conflict, Deletes, Keep):
        assert all(f"`{word.value}`" in text for word in words)


def codes() -> Iterator[str]:
    """Every error code that stands in the source."""
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if (
                isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and re.fullmatch(r"TU-[A-Z-]+", node.value)
            ):
                yield node.value


def test_every_error_code_is_documented_and_explained() -> None:
    reference, help_page = page("reference/errors.md"), page("troubleshooting.md")
    found = sorted(set(codes()))
    assert len(found) > 15
    for code in found:
        assert f"`{code}`" in reference
        assert "**What.**" in section(help_page, code)
    assert set(re.findall(r"^### (TU-[A-Z-]+)$", help_page, re.MULTILINE)) == set(found)


def test_the_public_names_are_exactly_those_that_are_promised() -> None:
    assert trueup.__all__ == sorted(trueup.__all__)
    assert set(trueup.__all__) == set(trueup._HOMES)
    for name in trueup.__all__:
        found = getattr(trueup, name)
        assert found.__name__ == name
    declared = {
        alias.name
        for node in ast.walk(ast.parse(Path(trueup.__file__).read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("trueup.")
        for alias in node.names
    }
    assert declared == set(trueup.__all__), "type checkers see the same names"
    assert all(f"| `{name}` |" in section(page("reference/stores.md"), "Public names") for name in trueup.__all__)
    with pytest.raises(AttributeError):
        _ = trueup.nothing


def test_every_refusal_of_keys_is_explained() -> None:
    text = section(page("troubleshooting.md"), "TU-DENIED")
    refusals = [*bucket_errors._CODES.values(), *(cause[1:] for cause in bucket_errors._CAUSES)]
    sentences = [sentence for error, sentence, _ in refusals if error is AccessDenied]
    assert len(sentences) > 8
    for sentence in sentences:
        shown = re.sub(r"\{\w+\}", "...", sentence)
        assert shown in text, shown
