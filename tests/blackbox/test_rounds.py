"""A few rounds of the black box, and that it would notice a loss; `make blackbox` plays many."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.blackbox.ledger import Ledger, Version
from tests.blackbox.places import TRASH, BucketRemote
from tests.blackbox.record import lines
from tests.blackbox.rounds import Failed, Figures, Machine, Round, play
from tests.engine.real_tree import digest
from tests.services import Service

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.xdist_group("black box")]

SEEDS = (("strong", 4), ("file://", 3), ("weak", 6), ("file://", 1))
"""The second has two machines, the last a full disk."""


@pytest.mark.parametrize(("kind", "seed"), SEEDS)
def test_nothing_is_lost_in_a_round(kind: str, seed: int, tmp_path: Path, strong_s3: Service, weak_s3: Service) -> None:
    figures = play(kind, seed, tmp_path / "round", {"strong": strong_s3, "weak": weak_s3}, short=True)
    assert figures.lost == 0
    assert figures.versions > 60
    assert figures.runs >= 3


class Careless(Round):
    """A round after which somebody empties every trash."""

    def _check(self) -> None:
        remote = self.remote
        assert isinstance(remote, BucketRemote)
        for name in remote.plain.list(TRASH):
            remote.plain.delete(TRASH + name.removeprefix(TRASH))
        for machine in self.machines:
            for path in (machine.root / ".trueup" / "trash").rglob("*"):
                if path.is_file():
                    path.unlink()
        super()._check()

    def _agree(self) -> None:
        super()._agree()
        content = self.ledger.content("deleted by nobody")
        (self.machines[0].root / "f").write_bytes(content)
        self.ledger.wrote(content, "test", "f", "p0", 0.0)
        self._wait(self.machines[0].start())
        self.remote.plain.delete("f")  # type: ignore[attr-defined]  # a bucket; the run moves the local one to the trash

    def _storm(self) -> None:
        self._wait(self.machines[0].start())


def test_a_round_notices_a_loss_and_says_its_seed(tmp_path: Path, strong_s3: Service) -> None:
    remote = BucketRemote("strong", strong_s3, "careless", 1)
    with pytest.raises(Failed, match=r"--seed 1: .*\n?lost: "):
        Careless(tmp_path / "round", 1, remote).play()


def test_what_a_person_destroyed_is_not_lost() -> None:
    ledger = Ledger(1)
    one, two = ledger.content("one"), ledger.content("two")
    for content in (one, two):
        ledger.wrote(content, "p0 created", "a", "p0", 0.0)
    ledger.destroyed(digest(one))
    assert set(ledger.lost(set())) == {digest(two)}
    assert not ledger.lost({digest(two)})


@pytest.mark.parametrize(
    ("kind", "asked", "announced"),
    [
        ("weak", [(1.0, "HEAD"), (4.0, "PUT")], True),
        ("weak", [(1.0, "HEAD"), (2.0, "PUT"), (4.0, "HEAD"), (5.0, "PUT")], False),  # the run had seen it
        ("weak", [(1.0, "HEAD")], False),  # no run wrote
        ("strong", [(1.0, "HEAD"), (4.0, "PUT")], False),
    ],
)
def test_only_what_was_written_between_look_and_write_on_a_weak_server_counts_as_announced(
    strong_s3: Service, kind: str, asked: list[tuple[float, str]], *, announced: bool
) -> None:
    remote = BucketRemote(kind, strong_s3, "window", 1)
    remote.seen += [(when, method, "window/a") for when, method in asked]
    assert remote.explains(Version("a person", "a", "remote", began=2.5, ended=3.0)) is announced
    assert not remote.explains(Version("a person", "a", "p0", began=2.5, ended=3.0))
    remote.close()


def test_the_figures_are_summed_up_last() -> None:
    text = lines({"strong": Figures(rounds=2, kills=3), "weak": Figures(rounds=1)}, failed=[], seconds=61)
    assert "| kills survived | 3 | 0 | 3 |" in text
    assert text[-1] == "No round failed; 1 minutes."


def test_the_command_of_a_round_is_the_installed_one(tmp_path: Path, strong_s3: Service) -> None:
    remote = BucketRemote("strong", strong_s3, "installed", 1)
    process = Machine(tmp_path, 0, remote).start("--dry-run")
    process.communicate()
    remote.close()
    assert str(process.args[0]).endswith("/trueup")  # type: ignore[index]  # a list of words
