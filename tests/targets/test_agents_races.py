"""What another replica does between the look at a remote and the change of it is never overwritten."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.agents import served
from tests.targets.agent_rounds import Game
from tests.targets.agent_server import place_of
from tests.targets.agent_world import Replica, settled

from trueup.core.errors import StoreError, Unavailable
from trueup.stores.agentfs import script
from trueup.stores.agentfs.hrana import Remote
from trueup.stores.agentfs.schema import Statement

pytestmark = pytest.mark.engine


@pytest.fixture(params=["reference", "ours"])
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "ours":
        yield f"file://{tmp_path}/team/team.db"
        return
    with served(tmp_path / "server" / "team.db") as url:
        yield url


@pytest.fixture
def pair(tmp_path: Path, remote: str) -> tuple[Replica, Replica]:
    one, two = Replica(tmp_path / "one", remote), Replica(tmp_path / "two", remote)
    one.does(("write", "/a", "old"), ("write", "/gone", "old"), ("set", "k", "old"))
    settled(one, two)
    return one, two


def once(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Let something happen right before the next change of the remote."""
    whole = Remote.transactions
    due = [act]

    def transactions(remote: Remote, wanted: Sequence[Sequence[Statement]]) -> list[StoreError | None]:
        if due:
            due.pop()()
        return whole(remote, wanted)

    monkeypatch.setattr(Remote, "transactions", transactions)


def test_an_edit_in_between_is_seen_and_planned_again(
    pair: tuple[Replica, Replica], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = pair
    one.does(("write", "/a", "by 1"), ("set", "k", "by 1"), ("remove", "/gone"))
    two.does(("write", "/a", "by 2"), ("set", "k", "by 2"), ("write", "/gone", "new"))
    once(monkeypatch, two.sync)
    rounds = one.sync()
    assert len(rounds.reports) > 1
    settled(one, two)
    assert sorted(one.files().values()) == ['"by 1"', '"by 2"', "by 1", "by 2", "new"]


def test_a_file_that_came_in_between_is_not_replaced(
    pair: tuple[Replica, Replica], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = pair
    one.does(("write", "/new/x", "by 1"), ("call", "t", 5, 1))
    two.does(("write", "/new/x", "by 2"), ("call", "t", 5, 1))
    once(monkeypatch, two.sync)
    one.sync()
    settled(one, two)
    assert sorted(value for key, value in one.files().items() if key.startswith("new/")) == ["by 1", "by 2"]


def test_without_guards_the_other_edit_would_be_lost(
    pair: tuple[Replica, Replica], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = pair
    monkeypatch.setattr(script, "guards", lambda *_: [])
    one.does(("write", "/a", "by 1"))
    two.does(("write", "/a", "by 2"))
    once(monkeypatch, two.sync)
    one.sync()
    with one_lost(two, b"by 2"):
        two.sync()


@contextmanager
def one_lost(replica: Replica, version: bytes) -> Iterator[None]:
    yield
    live = {data for data, _ in replica.holds().values()}
    assert version not in live


def test_an_answer_that_is_lost_after_the_change_is_recognised(
    pair: tuple[Replica, Replica], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = pair
    whole = Remote.transactions
    lost: list[int] = []

    def transactions(remote: Remote, wanted: Sequence[Sequence[Statement]]) -> list[StoreError | None]:
        answers = whole(remote, wanted)
        if not lost:
            lost.append(1)
            raise Unavailable("the answer was lost")
        return answers

    monkeypatch.setattr(Remote, "transactions", transactions)
    one.does(("write", "/a", "new"))
    rounds = one.sync()
    assert not rounds.troubles
    assert b"old" in one.trash()
    settled(one, two)
    assert two.files()["a"] == "new"


def test_a_database_that_an_agent_opens_in_between_is_left_alone(
    pair: tuple[Replica, Replica], monkeypatch: pytest.MonkeyPatch
) -> None:
    from trueup.stores.agentfs import LocalAgent

    one, two = pair
    one.does(("write", "/a", "by 1"))
    one.sync()
    whole = LocalAgent.carry_out

    def busy(store: LocalAgent, *args: object) -> object:
        if store.path == two.database:
            raise Unavailable(f"{store.path} is in use")
        return whole(store, *args)  # type: ignore[arg-type]  # passed on

    with monkeypatch.context() as patched:
        patched.setattr(LocalAgent, "carry_out", busy)
        rounds = two.sync()
    assert any("is in use" in trouble for trouble in rounds.troubles)
    assert two.files()["a"] == "old"
    settled(one, two)
    assert two.files()["a"] == "by 1"


def test_a_mirror_that_is_damaged_is_pulled_anew(pair: tuple[Replica, Replica]) -> None:
    one, two = pair
    (mirror,) = one.folder.glob("state/agents/*/mirror/mirror.db")
    mirror.write_bytes(b"\0" * 5000)
    two.does(("write", "/a", "by 2"))
    two.sync()
    one.sync()
    assert one.files()["a"] == "by 2"


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "seed"), [("file", 0), ("file", 2), ("served", 1)])
def test_random_rounds_with_kills_lose_nothing(tmp_path: Path, kind: str, seed: int) -> None:
    with place_of(kind, tmp_path) as place:
        game = Game(tmp_path / "game", place, replicas=3, seed=seed)
        for _ in range(2):
            game.round()
        game.end()
    assert game.killed
    assert game.place.kills or kind == "file"
