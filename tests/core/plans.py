"""Plans to check, to encode and to report on."""

from __future__ import annotations

from dataclasses import replace

from tests.core.worlds import printed

from trueup.core.model import DIRECTORY_TOKEN, LOCAL, REMOTE, Ancestor, Content, Entry, Key, Kind, Shown, Side, Token
from trueup.core.plan import Item, Observed, Phase, Plan, Ref, Step, Target
from trueup.core.reconcile import STANDINGS, Reason
from trueup.core.strategy import Policy
from trueup.core.table import Standing, Verb


def entry(text: str, *, size: int = 1) -> Entry:
    """A file of that text, and of any size."""
    return Entry(Token(text), Content(Kind.FILE, size, printed(text)))


def agreed(text: str) -> Ancestor:
    """An ancestor of that text."""
    return Ancestor(Token(text), Token(text), entry(text).content)


def showing(item: Item, **seen: Shown) -> Item:
    """The item, as if these sides had shown something else: ``showing(item, local=None)``."""
    return replace(item, seen={**item.seen, **{Side(side): shown for side, shown in seen.items()}})


def reported(key: str, reason: Reason = Reason.CONFLICT) -> Item:
    """An item without steps."""
    return Item(
        Key(key), reason, {LOCAL: entry("a"), REMOTE: entry("b")}, None, standing=STANDINGS.get(reason, Standing.PLAIN)
    )


def upload(key: str, *, size: int = 1, side: Side = REMOTE, step: str = "s1") -> Item:
    """A file that is created."""
    source = LOCAL if side == REMOTE else REMOTE
    seen = entry("a", size=size)
    value = Ref(source, Key(key), seen.token, seen.content)
    steps = (Step(step, Key(key), side, Verb.PUT, None, value),)
    plain = replace(reported(key, Reason.CREATE), standing=Standing.PLAIN, steps=steps)
    return showing(plain, local=seen, remote=None)


def deletion(key: str, side: Side = REMOTE) -> Item:
    """A file, or a directory, that is deleted."""
    expect = DIRECTORY_TOKEN if key.endswith("/") else Token("a")
    steps = (Step("s1", Key(key), side, Verb.DELETE, expect),)
    return Item(Key(key), Reason.DELETE, {LOCAL: None, REMOTE: None}, agreed("a"), steps, Phase.DELETE)


def adoption(key: str) -> Item:
    """An agreement to be remembered."""
    steps = (Step("s1", Key(key), LOCAL, Verb.ADOPT),)
    return Item(Key(key), Reason.ADOPT, {LOCAL: None, REMOTE: None}, agreed("a"), steps, Phase.AGREE)


def altered(key: str, now: str = "b") -> Item:
    """A known file, changed on the local side."""
    return replace(
        showing(upload(key), local=entry(now), remote=entry("a")), ancestor=agreed("a"), reason=Reason.UPDATE
    )


def plan(
    *items: Item,
    local: Observed | None = None,
    remote: Observed | None = None,
    ancestors: int = 100,
    undoes: str | None = None,
) -> Plan:
    """A plan of these items, in which nothing else is amiss."""
    observed = {LOCAL: local or seen("/local"), REMOTE: remote or seen("/remote")}
    target = Target("id", "site", "folder", {LOCAL: "/local", REMOTE: "/remote"})
    return Plan(target, Policy(), items, observed, ancestors=ancestors, undoes=undoes)


def seen(location: str = "/there") -> Observed:
    """A side in good order."""
    return Observed(location, items=100, unchanged=90, marker="m", expected_marker="m", free_bytes=2**40)
