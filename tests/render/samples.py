"""Plans and reports with everything in them."""

from __future__ import annotations

from collections.abc import Sequence

from trueup.core.model import (
    DIRECTORY_CONTENT,
    DIRECTORY_TOKEN,
    LOCAL,
    REMOTE,
    Ancestor,
    Content,
    Entry,
    Fingerprint,
    Key,
    Kind,
    Side,
    Token,
    Unknown,
)
from trueup.core.plan import Item, Observed, Phase, Plan, Ref, Step, Target
from trueup.core.reconcile import STANDINGS, Reason
from trueup.core.strategy import Policy
from trueup.core.table import Standing, Verb

HOUR_NS = 3600 * 10**9
TOKENS = {LOCAL: Token("l1"), REMOTE: Token("r1")}


def entry(size: int = 1200, digest: str = "", *, modified_ns: int = 400_000 * HOUR_NS) -> Entry:
    fingerprint = Fingerprint("blake3", digest * 8) if digest else None
    return Entry(Token("t" + digest), Content(Kind.FILE, size, fingerprint), modified_ns)


DIRECTORY = Entry(DIRECTORY_TOKEN, DIRECTORY_CONTENT)
ANCESTOR = Ancestor(TOKENS[LOCAL], TOKENS[REMOTE], Content(Kind.FILE, 1000, Fingerprint("blake3", "0ace" * 8)))

_numbers = iter(range(1, 10**6))


def step(key: str, side: Side, verb: Verb, seen: Entry | None = None, *, expect: str | None = None) -> Step:
    other = REMOTE if side == LOCAL else LOCAL
    value = None if seen is None else Ref(other, Key(key), seen.token, seen.content)
    return Step(f"s{next(_numbers)}", Key(key), side, verb, None if expect is None else Token(expect), value)


def put(key: str, side: Side, seen: Entry, *, expect: str | None = None, save: bool = False) -> tuple[Step, ...]:
    saves = (step(key, side, Verb.SAVE, expect=expect),) if save else ()
    return (*saves, step(key, side, Verb.PUT, seen, expect=expect))


def item(
    key: str,
    reason: Reason,
    local: Entry | Unknown | None = None,
    remote: Entry | Unknown | None = None,
    *steps: Step,
    ancestor: Ancestor | None = None,
    phase: Phase = Phase.WRITE,
) -> Item:
    standing = STANDINGS.get(reason, Standing.PLAIN)
    return Item(Key(key), reason, {LOCAL: local, REMOTE: remote}, ancestor, steps, phase, standing=standing)


def plan(items: Sequence[Item], *, policy: Policy | None = None, **fields: object) -> Plan:
    target = Target("0123456789abcdef", "photos", "folder", {LOCAL: "/home/a/photos", REMOTE: "/mnt/photos"})
    observed = {side: Observed(location, items=815) for side, location in target.locations.items()}
    settings: dict[str, object] = {"observed": observed, "agreed": 812} | fields
    return Plan(target, policy or Policy(), tuple(items), **settings)  # type: ignore[arg-type]  # a test's shorthand


def everything() -> list[Item]:
    """One item for nearly every reason."""
    here, there = entry(1_234_567, "aaaa"), entry(8_000_000, "bbbb")
    sibling = step("both.conflict-local-aaaaaaaa.txt", REMOTE, Verb.SIBLING, here)
    return [
        item("adopted.txt", Reason.ADOPT, here, here, step("adopted.txt", LOCAL, Verb.ADOPT), phase=Phase.AGREE),
        item("both.txt", Reason.KEEP_BOTH, here, there, sibling, *put("both.txt", LOCAL, there, expect="l", save=True)),
        item("changed.txt", Reason.UPDATE, here, entry(), *put("changed.txt", REMOTE, here, expect="r1", save=True)),
        item("clash", Reason.KIND_CONFLICT, here, None),
        item("conflict.txt", Reason.CONFLICT, here, there, ancestor=ANCESTOR),
        item("dir/", Reason.CREATE, DIRECTORY, None, *put("dir/", REMOTE, DIRECTORY)),
        item("dir/\x1b[31mred\n.txt", Reason.CREATE, here, None, *put("dir/\x1b[31mred\n.txt", REMOTE, here)),
        item("edited.txt", Reason.EDIT_BEATS_DELETE, None, there, *put("edited.txt", LOCAL, there), ancestor=ANCESTOR),
        item("gone.txt", Reason.DELETE, None, entry(), *deletion("gone.txt"), ancestor=ANCESTOR, phase=Phase.DELETE),
        item("here.txt", Reason.LOCAL_WINS, here, there, *put("here.txt", REMOTE, here, expect="r1", save=True)),
        item("held/", Reason.HELD, DIRECTORY, None, ancestor=ANCESTOR),
        item("link", Reason.SKIPPED, Unknown("symbolic link", Kind.SKIPPED), None),
        item("locked/", Reason.UNKNOWN, Unknown("permission denied", hidden=3), DIRECTORY),
        item("new.txt", Reason.CREATE, None, there, *put("new.txt", LOCAL, there)),
        item("not-utf8-\udcff.txt", Reason.BLOCKED, here, None),
        item("overwritten.txt", Reason.UPDATE, here, there, *put("overwritten.txt", REMOTE, here, expect="r1")),
        item("restored.txt", Reason.RESTORE, None, there, *put("restored.txt", LOCAL, there), ancestor=ANCESTOR),
        item("same.txt", Reason.AGREE, here, here, step("same.txt", LOCAL, Verb.ADOPT), phase=Phase.AGREE),
        item("there.txt", Reason.REMOTE_WINS, here, there, *put("there.txt", LOCAL, there, expect="l1", save=True)),
    ]


def deletion(key: str) -> tuple[Step, ...]:
    return (step(key, REMOTE, Verb.SAVE, expect="r1"), step(key, REMOTE, Verb.DELETE, expect="r1"))
