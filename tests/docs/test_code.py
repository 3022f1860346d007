"""The code in documents runs: each document's blocks, as files of their own, in a folder of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.docs.blocks import ROOT, blocks, unpack

DOCUMENTS = (
    "docs/agents-remote.md",
    "docs/agents.md",
    "docs/caches.md",
    "docs/python.md",
    "docs/web.md",
    "docs/write-a-store.md",
    "docs/write-a-kind.md",
)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_code_of_a_document_runs(name: str, tmp_path: Path) -> None:
    files = unpack(ROOT / name, tmp_path)
    assert files, "the document has code"
    _install(ROOT / name, tmp_path)
    suites = [path.name for path in files if path.name.startswith("test_")]
    for path in files:
        if path.name == "example.py":
            _python(tmp_path, "-W", "error", path.name)
    if suites:
        # Without our settings, as in somebody else's project.
        printed = _python(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, *suites)
        assert " passed" in printed


def test_every_document_with_python_in_it_is_run() -> None:
    found = {
        str(path.relative_to(ROOT))
        for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
        if any(blocks(path, "python"))
    }
    assert found == set(DOCUMENTS)


def _python(folder: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(folder), "TRUEUP_STATE": str(folder / "state")}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def _install(document: Path, folder: Path) -> None:
    """Make the entry points that a document declares known, as if its project were installed."""
    import tomllib

    for block in blocks(document, "toml"):
        for group, points in tomllib.loads(block).get("project", {}).get("entry-points", {}).items():
            information = folder / "example-1.0.dist-info"
            information.mkdir()
            (information / "METADATA").write_text("Metadata-Version: 2.1\nName: example\nVersion: 1.0\n")
            lines = [f"[{group}]", *(f"{name} = {target}" for name, target in points.items())]
            (information / "entry_points.txt").write_text("\n".join(lines) + "\n")
