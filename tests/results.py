"""Figures of long runs, each a section of ``benchmarks/RESULTS.md`` that its make target writes anew."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path

RESULTS = Path(__file__).resolve().parents[1] / "benchmarks" / "RESULTS.md"


def record(target: str, text: Sequence[str], page: Path = RESULTS) -> None:
    """Put the section of a make target in the place of what it wrote before, or at the end.

    Args:
        target: As in ``make blackbox``.
        text: Lines of Markdown.
        page: Where to.
    """
    begin, end = f"<!-- written by make {target} -->", f"<!-- end of make {target} -->"
    section = "\n".join([begin, *text, "", end])
    before, found, rest = page.read_text("utf-8").partition(begin)
    after = rest.partition(end)[2] if found else ""
    parts = [part.strip("\n") for part in (before, section, after)]
    page.write_text("\n\n".join(part for part in parts if part) + "\n", "utf-8")


def machine() -> str:
    """What it was measured on: processor, cores, system. Nothing that names the machine."""
    told = Path("/proc/cpuinfo").read_text("utf-8") if Path("/proc/cpuinfo").exists() else ""
    found = re.search(r"model name\s*: (.*)", told)
    processor = found[1] if found else platform.processor() or "processor unknown"
    return f"{processor}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
