"""Documents point at things that exist, are up to date, and say nothing that they should not."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.docs.blocks import ROOT

NO_SERVER = 77
"""How `docs/console.py` ends if a document needs a server that is not installed."""

DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
_FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_DOTTED = re.compile(r"`(trueup(?:\.\w+)+)`")
_PATH = re.compile(r"`((?:src|docs|tests|benchmarks)/[\w./-]+)`")


def anchors(document: Path) -> set[str]:
    """What links can point at: the headings, as hosts of Markdown spell them."""
    text = _FENCED.sub("", document.read_text("utf-8"))
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_documents_resolve(document: Path) -> None:
    broken = []
    for link in _LINK.findall(_FENCED.sub("", document.read_text("utf-8"))):
        if link.startswith(("https://", "http://")):
            continue
        name, _, anchor = link.partition("#")
        target = (document.parent / name) if name else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_names_and_paths_in_documents_exist(document: Path) -> None:
    text = document.read_text("utf-8")
    missing = [path for path in _PATH.findall(text) if not (ROOT / path).exists()]
    # `trueup.plan` is the format of a document, and looks like a name.
    formats = document.name == "documents.md"
    missing += [name for name in _DOTTED.findall(text) if not _exists(name) and not formats]
    assert not missing


def _exists(name: str) -> bool:
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[length:]:
            if not hasattr(found, attribute):
                # A file of ours may be named like a module: `trueup.toml`.
                return name == "trueup.toml"
            found = getattr(found, attribute)
        return True
    return False


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_document_names_a_machine(document: Path) -> None:
    """A home is called /home/you; temporary folders and work trees are somebody's own."""
    text = document.read_text("utf-8")
    odd = re.findall(
        r"/root/|/work/|/home/(?!you\b)\w+|/tmp/trueup-[\w-]+|localhost:\d+|\b(?:10|192\.168)\.\d+\.\d+", text
    )  # what is looked for
    assert not odd


def test_the_generated_reference_is_up_to_date() -> None:
    assert _run("docs/generate.py", "--check") == ""


def test_the_picture_shows_what_the_command_prints() -> None:
    assert _run("docs/picture.py", "--check") == ""


CONSOLES = [
    "README.md",
    "docs/datasets.md",
    "docs/tutorial.md",
    "docs/object-stores.md",
    "docs/registries.md",
    "docs/troubleshooting.md",
]


@pytest.mark.parametrize("document", CONSOLES)
def test_what_a_document_shows_is_what_happens(document: str) -> None:
    done = _done("docs/console.py", document)
    if done.returncode == NO_SERVER and os.environ.get("CI") != "true":
        pytest.skip(done.stdout.strip())
    assert done.stdout == ""


def test_every_document_with_a_console_is_run() -> None:
    found = {str(path.relative_to(ROOT)) for path in DOCUMENTS if "\n```console\n" in path.read_text("utf-8")}
    assert found == {*CONSOLES, "docs/models.md"}, "the last one is typed in tests/models, where its providers are"


def _run(*arguments: str) -> str:
    """What a script of docs/ has to complain about."""
    return _done(*arguments).stdout


def _done(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=110,
        check=False,
    )
