"""Sections of a page that make targets write anew."""

from __future__ import annotations

from pathlib import Path

from tests.results import machine, record


def test_a_section_takes_the_place_of_what_the_same_target_wrote_before(tmp_path: Path) -> None:
    page = tmp_path / "RESULTS.md"
    page.write_text("# Results\n\nby hand\n")
    record("simulate", ["one"], page)
    record("mutants", ["two"], page)
    record("simulate", ["three"], page)
    assert page.read_text() == (
        "# Results\n\nby hand\n\n"
        "<!-- written by make simulate -->\nthree\n\n<!-- end of make simulate -->\n\n"
        "<!-- written by make mutants -->\ntwo\n\n<!-- end of make mutants -->\n"
    )


def test_a_machine_is_described_and_not_named() -> None:
    assert "cores" in machine()
    assert "\n" not in machine()
