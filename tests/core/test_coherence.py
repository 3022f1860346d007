"""Plans that nobody can have made, and those that we make."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.core.plans import deletion, plan, upload
from tests.core.test_plan import planned
from tests.core.worlds import World

from trueup.core.coherence import incoherence
from trueup.core.model import LOCAL, REMOTE, Content, Fingerprint, Key, Kind, Side, Token
from trueup.core.plan import Item, Ref, Step
from trueup.core.reconcile import SIBLING_DIGITS, sibling_key
from trueup.core.strategy import Conflict, Keep, Policy
from trueup.core.table import Verb


def step(item: Item, **changes: object) -> Item:
    """The item, its first step changed."""
    return replace(item, steps=(replace(item.steps[0], **changes), *item.steps[1:]))  # type: ignore[arg-type]


@pytest.mark.parametrize("conflict", Conflict)
@pytest.mark.parametrize("keep", Keep)
def test_what_we_plan_hangs_together(conflict: Conflict, keep: Keep) -> None:
    world = World.of(
        {"gone": "1", "kind": "1", "dir/in": "1", "old": "moved"},
        {"f.txt": "mine", "gone": "1", "kind/in": "2", "dir/in": "1", "new": "moved"},
        {"f.txt": "theirs", "kind": "1", "dir": "2", "old": "moved"},
    )
    items = planned(world, Policy(conflict=conflict, keep=keep))
    assert sum(len(item.steps) for item in items.values()) > 2
    assert incoherence(plan(*items.values())) is None


WRONG: dict[str, Callable[[], tuple[Item, ...]]] = {
    "two steps are called 's1'": lambda: (upload("a"), upload("b")),
    "step 's1' of 'a' is about 'b'": lambda: (step(upload("a"), key=Key("b")),),
    "step 's1' is for 'nowhere'": lambda: (step(upload("a"), side=Side("nowhere")),),
    "step 's1' writes nothing": lambda: (step(upload("a"), value=None),),
    "nothing needs what step 's1' saves": lambda: (step(deletion("a"), verb=Verb.SAVE),),
    "step 's1' needs one that there is not": lambda: (step(upload("a"), needs=("s2",)),),
}


@pytest.mark.parametrize("said", WRONG)
def test_what_nobody_can_have_planned_is_recognised(said: str) -> None:
    assert incoherence(plan(*WRONG[said]())) == said


def test_a_step_that_waits_for_itself_is_recognised() -> None:
    assert incoherence(plan(step(upload("a"), needs=("s1",)))) == "step 's1' needs one that there is not"


@pytest.mark.parametrize("name", ["b", "a.conflict-local-00000000", "../a.conflict-local-61", "a.conflict-nobody-61"])
def test_a_sibling_bears_the_name_of_its_item(name: str) -> None:
    item = step(upload("a"), verb=Verb.SIBLING, key=Key(name))
    assert incoherence(plan(item)) == f"step 's1' of 'a' is about {name!r}"


@pytest.mark.parametrize("digits", SIBLING_DIGITS)
def test_a_sibling_beside_another_has_more_digits(digits: int) -> None:
    value = Ref(LOCAL, Key("a"), Token("1"), Content(Kind.FILE, 1, Fingerprint("blake3", "0123456789abcdef" * 4)))
    name = sibling_key(Key("a"), LOCAL, Fingerprint("blake3", "0123456789abcdef" * 4), digits)
    item = replace(upload("a"), steps=(Step("s1", name, REMOTE, Verb.SIBLING, None, value),))
    assert incoherence(plan(item)) is None


def test_a_sibling_without_content_has_no_name() -> None:
    item = replace(upload("a"), steps=(Step("s1", Key("b"), LOCAL, Verb.SIBLING, Token("1")),))
    assert incoherence(plan(item)) == "step 's1' of 'a' is about 'b'"


def test_siblings_are_known_by_the_content_that_lost() -> None:
    world = World.of((), {"f.txt": "mine"}, {"f.txt": "theirs"})
    items = planned(world, Policy(conflict=Conflict.BACKUP_BOTH))
    assert {one.side for one in items["f.txt"].steps if one.verb is Verb.SIBLING} == {LOCAL, REMOTE}
    assert incoherence(plan(*items.values())) is None
