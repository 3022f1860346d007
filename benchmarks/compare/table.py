"""The scenarios. The first part is what the tests of `rclone bisync` are about; inputs and ends are written anew."""

from __future__ import annotations

from benchmarks.compare.scenario import Race, Scenario, Settings, Way

ALL = {f"f{number:02}": b"file number %d" % number for number in range(20)}
"""Enough for guards that count."""
FEW = {"a": b"file a", "b": b"file b", "d/c": b"file c", "z": b"the last one"}
OURS, THEIRS, DURING = b"edited here", b"edited over there", b"written while it ran"
CHANGED = {name: content + b", edited" for name, content in ALL.items()}
HALF = dict.fromkeys(list(ALL)[:10])
LONG = "n" * 120 + "/" + "m" * 120 + ".txt"
CURIOUS = {
    "with space": b"1",
    "plus+and%20": b"2",
    "\u00fc\u4e2d.txt": b"3",
    "semi;colon'quote\"": b"4",
    LONG: b"5",
    "a#b?": b"6",
}


def without(tree: dict[str, bytes], *names: str) -> dict[str, bytes]:
    """The tree with some names gone."""
    return {name: content for name, content in tree.items() if name not in names}


TABLE = (
    Scenario("basic", "a new and a changed file on each side", FEW,
             local={"a": OURS, "new here": b"new 1"}, remote={"d/c": THEIRS, "new there": b"new 2"},
             expect={**FEW, "a": OURS, "d/c": THEIRS, "new here": b"new 1", "new there": b"new 2"}),
    Scenario("changes_deletes", "a deletion on each side goes to the other", FEW,
             local={"a": None}, remote={"d/c": None}, expect=without(FEW, "a", "d/c")),
    Scenario("changes_same_edit", "both sides made the same edit", FEW,
             local={"a": OURS}, remote={"a": OURS}, expect={**FEW, "a": OURS}),
    Scenario("changes_both_deleted", "both sides deleted the same file", FEW,
             local={"a": None}, remote={"a": None}, expect=without(FEW, "a")),
    Scenario("changes_edit_delete", "edited here, deleted there: the edit holds", FEW,
             local={"a": OURS}, remote={"a": None}, expect={**FEW, "a": OURS}),
    Scenario("changes_delete_edit", "deleted here, edited there: the edit holds", FEW,
             local={"a": None}, remote={"a": THEIRS}, expect={**FEW, "a": THEIRS}),
    Scenario("dry_run", "a dry run changes nothing", FEW, local={"a": OURS}, remote={"b": None},
             settings=Settings(dry=True), expect=without({**FEW}, "b"), expect_local={**FEW, "a": OURS}),
    Scenario("backupdir", "what an edit replaces on the other side is kept", FEW, local={"a": OURS},
             expect={**FEW, "a": OURS}, protect=frozenset({"a"})),
    Scenario("equal", "first run: both sides hold the same already", {}, local={**FEW}, remote={**FEW}, expect=FEW),
    Scenario("all_changed", "every file changed at once: nothing is done without being told", ALL, local=CHANGED,
             refusal=True),
    Scenario("max_delete", "half of the files are deleted, three are permitted", ALL, local=HALF,
             settings=Settings(max_delete=3), refusal=True, protect=frozenset(HALF)),
    Scenario("check_access", "the local folder is another, empty one", ALL, race=Race.LOCAL_GONE,
             expect=ALL, expect_local={}, refusal=True, protect=frozenset(ALL)),
    Scenario("filters", "what a pattern excludes stays as it is on each side", FEW,
             local={"x.log": b"log 1", "a": OURS}, remote={"y.log": b"log 2"}, settings=Settings(exclude="*.log"),
             expect={**FEW, "a": OURS, "y.log": b"log 2"}, expect_local={**FEW, "a": OURS, "x.log": b"log 1"}),
    Scenario("resync_union", "first run: files of each side come together", {},
             local={"a": b"only here"}, remote={"b": b"only there"}, expect={"a": b"only here", "b": b"only there"}),
    Scenario("resync_differing", "first run: one name, two contents; both are kept", {},
             local={"a": OURS, "b": b"same"}, remote={"a": THEIRS, "b": b"same"}, siblings=True, expect={"b": b"same"}),
    Scenario("resolve_both", "edited on both sides: both are kept", FEW, local={"a": OURS}, remote={"a": THEIRS},
             siblings=True, expect=without(FEW, "a")),
    Scenario("resolve_newer", "edited on both sides: the newer, the remote one, holds; the other is kept", FEW,
             local={"a": OURS}, remote={"a": THEIRS}, age_seconds=900, settings=Settings(conflict="newer"),
             siblings=True, expect={**FEW, "a": THEIRS}),
    Scenario("resolve_local", "edited on both sides: the local one holds; the other is kept", FEW,
             local={"a": OURS}, remote={"a": THEIRS}, settings=Settings(conflict="local"),
             siblings=True, expect={**FEW, "a": OURS}),
    Scenario("resolve_both_created", "created on both sides: both are kept", FEW, local={"n.txt": OURS},
             remote={"n.txt": THEIRS}, siblings=True, expect=FEW),
    Scenario("rmdirs", "all files of a folder are deleted: they are deleted there too", FEW, local={"d/c": None},
             expect=without(FEW, "d/c")),
    Scenario("createemptysrcdirs", "a folder with a file in a folder appears", FEW, local={"e/f/g": b"deep"},
             expect={**FEW, "e/f/g": b"deep"}),
    Scenario("renamed", "a file is renamed here", FEW, local={"a": None, "a new name": FEW["a"]},
             expect={**without(FEW, "a"), "a new name": FEW["a"]}),
    Scenario("ext_paths", "a name of 245 bytes in two parts", FEW, local={LONG: b"deep"},
             expect={**FEW, LONG: b"deep"}),
    Scenario("extended_filenames", "names with blanks, quotes, signs, other alphabets", FEW, local=CURIOUS,
             expect={**FEW, **CURIOUS}),
    Scenario("extended_filenames_back", "the same, created on the other side", FEW, remote=CURIOUS,
             expect={**FEW, **CURIOUS}),
    Scenario("normalization", "two spellings of one accented letter are two files", FEW,
             local={"caf\u00e9": b"composed"}, remote={"cafe\u0301": b"decomposed"},
             expect={**FEW, "caf\u00e9": b"composed", "cafe\u0301": b"decomposed"}),
    Scenario("case", "two names that differ by case only", FEW, local={"Readme": b"large"}, remote={"readme": b"small"},
             expect={**FEW, "Readme": b"large", "readme": b"small"}),
    Scenario("file_to_folder", "a file becomes a folder", FEW, local={"a": None, "a/inside": b"in it"},
             expect={**without(FEW, "a"), "a/inside": b"in it"}, runs=2),
    Scenario("same_size_and_time", "another content of the same size and time", FEW, local={"a": b"File A"},
             same_time=True, expect={**FEW, "a": b"File A"}),
    Scenario("twice", "a second run changes nothing", FEW, local={"a": OURS}, remote={"b": THEIRS}, runs=2,
             expect={**FEW, "a": OURS, "b": THEIRS}),
)  # fmt: skip
"""Quiet worlds: nothing happens while a tool runs."""

RACES = (
    Scenario("source_edited", "changed here", FEW, local={"a": OURS, "z": b"first edit"},
             race=Race.LOCAL_EDIT_BEFORE_UPLOAD, during=DURING, runs=2, expect={**FEW, "a": OURS, "z": DURING}),
    Scenario("destination_edited", "changed here", FEW, local={"a": OURS, "z": b"mine"},
             race=Race.REMOTE_EDIT_BEFORE_UPLOAD, during=DURING, runs=2, siblings=True,
             expect={**without(FEW, "z"), "a": OURS}),
    Scenario("created_meanwhile", "created here", without(FEW, "z"), local={"z": b"mine"},
             race=Race.REMOTE_EDIT_BEFORE_UPLOAD, during=DURING, runs=2, siblings=True, expect=without(FEW, "z")),
    Scenario("deleted_here_edited_there", "deleted here", FEW, local={"z": None, "a": OURS},
             race=Race.REMOTE_EDIT_BEFORE_DELETE, during=DURING, runs=2, expect={**FEW, "a": OURS, "z": DURING}),
    Scenario("deleted_there_edited_here", "deleted there", FEW, local={"a": OURS}, remote={"z": None},
             race=Race.LOCAL_EDIT_DURING_RUN, during=DURING, runs=2, expect={**FEW, "a": OURS, "z": DURING}),
    Scenario("changed_there_edited_here", "changed there", FEW, remote={"z": THEIRS},
             race=Race.LOCAL_EDIT_BEFORE_DOWNLOAD, during=DURING, runs=2, siblings=True, expect=without(FEW, "z")),
    Scenario("another_machine", "both machines changed the same files", ALL, local=dict(list(CHANGED.items())[:12]),
             race=Race.ANOTHER_MACHINE, during=DURING, runs=2, siblings=True, expect=dict(list(ALL.items())[12:])),
    Scenario("killed", "twenty files changed here, one there", ALL, local=dict(list(CHANGED.items())[:18]),
             remote={"f19": THEIRS}, race=Race.KILLED, runs=2,
             expect={**ALL, **dict(list(CHANGED.items())[:18]), "f19": THEIRS}),
    Scenario("two_at_once", "changed on both sides", FEW, local={"a": OURS}, remote={"b": THEIRS}, race=Race.AT_ONCE,
             runs=2, expect={**FEW, "a": OURS, "b": THEIRS}),
    Scenario("emptied", "nothing else", ALL, race=Race.LOCAL_GONE, way=Way.PUSH, expect=ALL, expect_local={},
             refusal=True, protect=frozenset(ALL)),
    Scenario("unreachable", "nothing else", ALL, race=Race.REMOTE_DOWN, way=Way.PULL, expect=ALL, refusal=True),
    Scenario("listing_breaks_off", "nothing else", ALL, race=Race.LISTING_BREAKS, way=Way.PULL, expect=ALL,
             refusal=True),
    Scenario("listing_lies", "nothing else", ALL, race=Race.LISTING_LIES, way=Way.PULL, expect=ALL, refusal=True),
    Scenario("hostile_keys", "nothing else", FEW, race=Race.HOSTILE_KEYS, way=Way.PULL, expect=FEW, siblings=True),
    Scenario("cut_download", "changed there", FEW, remote={"z": THEIRS * 40_000}, race=Race.CUT, way=Way.PULL, runs=2,
             expect={**FEW, "z": THEIRS * 40_000}),
    Scenario("turned_bit", "changed there", FEW, remote={"z": THEIRS * 400}, race=Race.TURNED_BIT, way=Way.PULL,
             runs=2, expect={**FEW, "z": THEIRS * 400}),
    Scenario("newer_of_same_size", "changed there, to another content of the same size", FEW,
             remote={"z": b"THE LAST ONE"}, way=Way.PULL, expect={**FEW, "z": b"THE LAST ONE"}),
    Scenario("same_size_push", "changed here, to another content of the same size and time", FEW,
             local={"z": b"THE LAST ONE"}, same_time=True, way=Way.PUSH, expect={**FEW, "z": b"THE LAST ONE"}),
)  # fmt: skip
"""Worlds that change while a tool looks at them, or lie to it."""
