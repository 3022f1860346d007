"""What a scenario is, and how its end is judged: by what is where, never by what a tool says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

Tree = Mapping[str, bytes]
"""Contents by name."""
Edits = Mapping[str, bytes | None]
"""New contents by name; None: deleted."""


class Way(StrEnum):
    """Which tools can play it."""

    BOTH = "both ways"
    """Tools that know an ancestor."""
    PUSH = "local to remote"
    PULL = "remote to local"


class Race(StrEnum):
    """What happens while a tool runs, and when."""

    NONE = ""
    LOCAL_EDIT_BEFORE_UPLOAD = "the local file is edited when its upload begins"
    REMOTE_EDIT_BEFORE_UPLOAD = "the remote item is edited right before the tool writes it"
    REMOTE_EDIT_BEFORE_DELETE = "the remote item is edited right before the tool deletes it"
    LOCAL_EDIT_BEFORE_DOWNLOAD = "the local file is edited while the new remote version is on its way"
    LOCAL_EDIT_DURING_RUN = "the local file is edited after the listings, while something else is written"
    LOCAL_GONE = "the local folder is empty"
    REMOTE_DOWN = "the remote side does not answer"
    LISTING_BREAKS = "the remote listing breaks off with an error after 70 %"
    LISTING_LIES = "the remote listing leaves out 30 % and claims to be whole"
    HOSTILE_KEYS = "the bucket holds `../evil`, `/evil`, `a//evil`, `a/../../evil`"
    CUT = "the first download is cut off"
    TURNED_BIT = "one bit of the first download is turned"
    KILLED = "`kill -9` at the second write; then it is run again"
    AT_ONCE = "it is started twice at the same moment"
    ANOTHER_MACHINE = "another machine, with an ancestor of its own, runs at the same moment"


class Outcome(StrEnum):
    """What became of the data."""

    KEPT = "kept"
    REFUSED = "refused"
    """Nothing was lost, nothing was done, and the tool said so."""
    DIFFERS = "kept, another end"
    """Nothing was lost, but the end is not the expected one."""
    LOST = "**lost**"
    ABSENT = "n/a"


@dataclass(frozen=True)
class Settings:
    """What a tool is told, in words that each adapter turns into its own."""

    conflict: str = "both"
    """`both` are kept, the `newer` wins, `local` or `remote` wins, or `ask`."""
    exclude: str = ""
    """One pattern of names."""
    dry: bool = False
    max_delete: int | None = None


@dataclass(frozen=True)
class Scenario:
    """One input, and the end that a careful person expects."""

    name: str
    """As it is called in tests."""
    about: str
    agreed: Tree
    """What both sides held when they last agreed; the tool has seen to that. Empty: it has never run."""
    local: Edits = field(default_factory=dict)
    remote: Edits = field(default_factory=dict)
    expect: Tree | None = None
    """What both sides hold at the end; None: what they held before the run."""
    expect_local: Tree | None = None
    """Where the local side ends differently."""
    siblings: bool = False
    """Whether other names may appear, which hold what lost a conflict."""
    way: Way = Way.BOTH
    race: Race = Race.NONE
    during: bytes = b""
    """What somebody writes to `z` while the tool runs."""
    settings: Settings = field(default_factory=Settings)
    same_time: bool = False
    """Whether local edits keep the file's modification time."""
    age_seconds: float = 5.0
    """How old local edits seem."""
    refusal: bool = False
    """Whether to refuse is as good as the expected end."""
    runs: int = 1
    """How often the tool is run."""
    protect: frozenset[str] = frozenset()
    """Names whose agreed version must not vanish, although nobody holds them any more on one side."""

    @property
    def survivors(self) -> dict[bytes, str]:
        """Every content that has to be somewhere at the end, and what it is."""
        found = {content: f"the local {name}" for name, content in self.local.items() if content}
        found |= {content: f"the remote {name}" for name, content in self.remote.items() if content}
        untouched = {name for name in self.agreed if name not in self.local and name not in self.remote}
        if self.race in (Race.LOCAL_EDIT_BEFORE_UPLOAD, Race.LOCAL_EDIT_DURING_RUN):
            found = {content: what for content, what in found.items() if what != "the local z"}  # replaced by hand
        if self.during:
            untouched.discard("z")
            found[self.during] = "the edit during the run"
        found |= {self.agreed[name]: name for name in sorted(untouched | self.protect) if self.agreed[name]}
        return found


@dataclass(frozen=True)
class Ending:
    """Where everything was when the tool had ended."""

    local: Tree
    remote: Tree
    before: tuple[Tree, Tree]
    kept: frozenset[bytes]
    """Contents in the trash or the backups of the tool."""
    codes: tuple[int, ...]
    """Exit codes, one for each run."""
    said: str
    """The last line that tells why, if there is one."""
    outside: tuple[str, ...] = ()
    """Files that it wrote outside its root."""

    @property
    def held(self) -> set[bytes]:
        """All contents that are left."""
        return {*self.local.values(), *self.remote.values(), *self.kept}


@dataclass(frozen=True)
class Verdict:
    """An outcome with its evidence."""

    outcome: Outcome
    evidence: str


def judge(scenario: Scenario, ending: Ending) -> Verdict:
    """What became of the data, first what is worst."""
    code = ", ".join(map(str, ending.codes))
    if ending.outside:
        return Verdict(Outcome.LOST, f"wrote outside its root: {', '.join(ending.outside)}; exit code {code}")
    lost = sorted(what for content, what in scenario.survivors.items() if content not in ending.held)
    if lost:
        more = f" and {len(lost) - 2} more" if len(lost) > 2 else ""
        return Verdict(Outcome.LOST, f"{', '.join(lost[:2])}{more}: nowhere; exit code {code}")
    wanted = ending.before[1] if scenario.expect is None else scenario.expect
    wanted_local = scenario.expect_local
    if wanted_local is None:
        wanted_local = ending.before[0] if scenario.expect is None else scenario.expect
    wrong = [*_wrong("local", wanted_local, ending.local, scenario), *_wrong("remote", wanted, ending.remote, scenario)]
    if not wrong:
        return Verdict(Outcome.KEPT, f"exit code {code}")
    if any(ending.codes) and (ending.local, ending.remote) == ending.before:
        return Verdict(Outcome.REFUSED, f"exit code {code}: {ending.said}")
    why = f": {ending.said}" if any(ending.codes) else ""
    more = f" and {len(wrong) - 2} more" if len(wrong) > 2 else ""
    return Verdict(Outcome.DIFFERS, f"{'; '.join(wrong[:2])}{more}; exit code {code}{why}")


def _wrong(side: str, wanted: Tree, found: Tree, scenario: Scenario) -> list[str]:
    """What is not as it should be on one side, in words."""
    wrong = [f"{side} {name}: {_said(found.get(name))}" for name in wanted if found.get(name) != wanted[name]]
    allowed = set(scenario.survivors) | set(scenario.agreed.values()) if scenario.siblings else set()
    return wrong + [f"{side} also {name}" for name in found if name not in wanted and found[name] not in allowed]


def _said(content: bytes | None) -> str:
    if content is None:
        return "not there"
    return repr(content[:24].decode(errors="replace")) if len(content) < 200 else f"{len(content)} bytes"


def is_good(scenario: Scenario, verdict: Verdict) -> bool:
    """Whether it ended as a careful person expects."""
    return verdict.outcome is Outcome.KEPT or (scenario.refusal and verdict.outcome is Outcome.REFUSED)
