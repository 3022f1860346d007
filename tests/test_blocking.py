"""The API for programs without an event loop."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from tests.engine.pair import Pair

from trueup.blocking import BlockingEngine
from trueup.core.errors import PlanRefused, UsageError
from trueup.core.model import REMOTE, Key
from trueup.core.plan import Plan
from trueup.core.report import EXIT_OK, Ending, exit_code
from trueup.core.strategy import Conflict
from trueup.engine.job import Progress


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    pair = Pair(tmp_path)
    pair.write(pair.local, "a", "one")
    return pair


def test_a_day_of_a_program(pair: Pair) -> None:
    spec = pair.spec()
    events: list[Progress] = []
    with BlockingEngine(state_dir=pair.state, on_progress=events.append) as engine:
        assert [item.key for item in engine.plan(spec).changes] == ["a"]
        assert exit_code(engine.run(spec)) == EXIT_OK
        pair.write(pair.local, "a", "two")
        plan = engine.plan(spec, select=lambda item: item.key == "a")
        assert exit_code(engine.apply(plan)) == EXIT_OK
        assert pair.live(pair.remote) == {"a": b"two"}
        (item,) = engine.trash(spec)
        engine.restore(spec, item.item.handle, side=REMOTE, to=pair.base / "old")
        assert (pair.base / "old").read_text() == "one"
        assert engine.prune(spec, dry_run=True).removed == 1
        assert engine.history(target=spec)[0].id == engine.record("last").summary.id
        assert exit_code(engine.undo("last")) == EXIT_OK
        assert pair.live(pair.remote) == {"a": b"one"}
    assert {event.phase for event in events} >= {"observe", "execute"}


def test_a_person_is_asked_in_another_thread_and_may_take_time(pair: Pair) -> None:
    asked: list[threading.Thread] = []

    def no(plan: Plan) -> bool:
        assert plan.changes
        asked.append(threading.current_thread())
        return False

    with BlockingEngine(state_dir=pair.state) as engine:
        assert engine.run(pair.spec(), confirm=no).ending is Ending.DECLINED
    assert len(asked) == 1
    assert pair.live(pair.remote) == {}


def test_errors_come_out_as_they_are(pair: Pair) -> None:
    with BlockingEngine(state_dir=pair.state) as engine:
        engine.run(pair.spec())
        pair.remote.rename(pair.base / "the disk")
        pair.remote.mkdir()
        with pytest.raises(PlanRefused):
            engine.run(pair.spec())


def test_an_engine_that_is_closed_says_so(pair: Pair) -> None:
    engine = BlockingEngine(state_dir=pair.state)
    with pytest.raises(UsageError, match="closed"):
        engine.plan(pair.spec())
    with engine:
        engine.plan(pair.spec())
    with pytest.raises(UsageError, match="closed"):
        engine.plan(pair.spec())


async def test_inside_an_event_loop_it_is_refused(pair: Pair) -> None:
    with pytest.raises(UsageError, match="event loop"):
        BlockingEngine(state_dir=pair.state)


def test_decisions_and_the_doctor_are_there_too(pair: Pair) -> None:
    pair.write(pair.local, "a", "mine")
    pair.write(pair.remote, "a", "theirs")
    resolve = {Key("a"): Conflict.LOCAL_WINS}
    with BlockingEngine(state_dir=pair.state) as engine:
        assert all(found.ok for found in engine.doctor(pair.spec()))
        assert len(engine.plan(pair.spec()).conflicts) == 1
        assert len(engine.plan(pair.spec(), resolve=resolve).changes) == 1
        assert exit_code(engine.run(pair.spec(), resolve=resolve)) == EXIT_OK
        (pair.local / "a").unlink()
        (pair.remote / "a").unlink()
        assert engine.prune(pair.spec()).removed == 0
        assert engine.prune(pair.spec(), last_copies=True).removed == 1
    assert pair.live(pair.remote) == {}
