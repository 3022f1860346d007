"""Each command on real folders: what it prints, what it leaves behind, how it ends."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.cli.home import Home

from trueup.core.codec import plan_from_json, report_from_json


def documents(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


# -- status, plan, verify ------------------------------------------------------------------------------------------


def test_status_of_nothing_is_in_sync(home: Home) -> None:
    assert "in sync by metadata" in home("status").stdout


def test_looking_writes_nothing(home: Home) -> None:
    home.differ()
    before = home.tree()
    for arguments in (
        ["status"],
        ["plan"],
        ["verify"],
        ["diff"],
        ["conflicts", "ls"],
        ["sync", "--dry-run"],
        ["doctor"],
    ):
        home(*arguments, code=None)
    assert home.tree() == before
    assert "1 up" in home("status", code=4).stdout


def test_drift_is_told_only_where_it_is_asked_for(home: Home) -> None:
    (home.site / "a").write_text("a")
    home("status")
    home("plan")
    home("sync", "--dry-run")
    assert home("status", "--exit-code", code=3).stdout
    assert home("plan", "--exit-code", code=3).stdout
    for arguments in (["status"], ["plan"], ["sync", "--dry-run"], ["diff"]):
        assert home(*arguments, "--quiet", code=3).output == ""


def test_conflicts_come_before_drift(home: Home) -> None:
    home.differ()
    home("status", "--exit-code", code=4)


@pytest.mark.parametrize("arguments", [["status"], ["plan"], ["verify"], ["conflicts", "ls"]])
def test_a_side_that_is_gone_is_unknown_and_never_in_sync(home: Home, arguments: list[str]) -> None:
    home.differ()
    home.share.rename(home.path / "elsewhere")
    result = home(*arguments, code=1)
    assert "error[TU-" in result.stderr
    assert "in sync" not in result.stdout
    assert "try: " in result.stderr


def test_one_unknown_target_does_not_hide_the_others(home: Home) -> None:
    home.configure('[targets.other]\nkind = "folder"\nlocal = "none"\nremote = "share2"\n')
    result = home("status", code=1)
    assert "site  in sync" in result.stdout
    assert "other  unknown" in result.stdout
    assert "error[TU-NOT-FOUND]: other: " in result.stderr
    entries = json.loads(home("status", "--json", code=1).stdout)["targets"]
    assert [entry["exit_code"] for entry in entries] == [0, 1]
    assert entries[1]["error"]["code"] == "TU-NOT-FOUND"


def test_a_plan_can_be_saved_and_applied(home: Home) -> None:
    home.differ()
    assert "next: trueup apply my.plan" in home("plan", "-o", "my.plan", code=4).stdout
    assert (home.path / "my.plan").stat().st_mode & 0o777 == 0o600
    home("apply", "my.plan", "--yes", code=4)
    assert home.tree()["share/up"] == b"up, changed\n"
    assert home.tree()["site/down"] == b"down, changed\n"
    assert "share/gone" not in home.tree()


def test_a_plan_can_be_piped(home: Home) -> None:
    (home.site / "a").write_text("a")
    text = home("plan", "--json").stdout
    assert plan_from_json(json.loads(text)).target.name == "site"
    home("apply", "-", "--yes", stdin=text)
    assert home.tree()["share/a"] == b"a"


@pytest.mark.parametrize(
    ("content", "said"), [("no json", "is not a plan"), ('{"a": 1}', "not a trueup.plan"), (None, "cannot be read")]
)
def test_what_is_no_plan_is_not_applied(home: Home, content: str | None, said: str) -> None:
    if content is not None:
        (home.path / "x.plan").write_text(content)
    assert said in home("apply", "x.plan", "--yes", code=64).stderr


def test_a_stale_plan_is_refused_and_can_be_applied_in_part(home: Home) -> None:
    for name in ("a", "b"):
        (home.site / name).write_text(name)
    home("plan", "-o", "p")
    (home.site / "a").write_text("changed since")
    assert "TU-STALE" in home("apply", "p", "--yes", code=5).stderr
    assert "share/b" not in home.tree()
    result = home("apply", "p", "--yes", "--skip-stale", code=2)
    assert home.tree()["share/b"] == b"b"
    assert "share/a" not in home.tree()
    assert "applied 1 of 2 changes" in result.stdout
    assert result.stdout.count("changed   a  upload on remote: local was changed") == 1


def test_a_plan_of_which_nothing_matches_any_more_is_not_called_in_sync(home: Home) -> None:
    (home.site / "a").write_text("a")
    home("plan", "-o", "p")
    (home.site / "a").write_text("changed since")
    assert "applied 0 of 1 change" in home("apply", "p", "--yes", "--skip-stale", code=2).stdout


def test_changes_can_be_selected(home: Home) -> None:
    for name in ("a.txt", "b.jpg", "c.jpg"):
        (home.site / name).write_text(name)
    home("sync", "--select", "*.txt", "--yes")
    home("plan", "-o", "p")
    home("apply", "p", "--select", "b.*", "--yes")
    assert sorted(path.name for path in home.share.glob("*.*") if path.is_file()) == ["a.txt", "b.jpg"]
    assert "no change matches --select" in home("sync", "--select", "*.png", "--yes").stderr


def test_detailed_exit_codes_are_those_of_infrastructure_tools(home: Home) -> None:
    home("plan", "--detailed-exitcode")
    (home.site / "a").write_text("a")
    home("plan", "--detailed-exitcode", code=2)
    home("plan", "--detailed-exitcode", "nothing", code=64)
    home.share.rename(home.path / "elsewhere")
    home("plan", "--detailed-exitcode", code=1)


def test_a_plan_that_cannot_be_saved_is_told(home: Home) -> None:
    assert "cannot be written" in home("plan", "-o", "no/such/folder/p", code=64).stderr


def test_verify_finds_what_metadata_hides(home: Home) -> None:
    import os

    (home.site / "a").write_text("aaaa")
    home("sync", "--yes")
    path = home.share / "a"
    seen = path.stat()
    assert "in sync by content" in home("verify").stdout
    path.write_text("bbbb")
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    assert "changed on remote" in home("verify", code=3).stdout


# -- sync --------------------------------------------------------------------------------------------------------------


def test_off_a_terminal_a_question_ends_with_64_before_anything_is_done(home: Home) -> None:
    (home.site / "a").write_text("a")
    result = home("sync", code=64)
    assert "--yes" in result.stderr
    assert "new on local" in result.stdout
    assert "share/a" not in home.tree()
    assert {path.name for path in home.site.glob(".trueup/*")} <= {"lock"}


def test_nothing_to_ask_needs_no_terminal(home: Home) -> None:
    for side in (home.site, home.share):
        (side / "same").write_text("same")
    assert "now remembered" in home("sync").stdout
    assert "in sync" in home("sync").stdout


def test_sync_applies_and_says_how_to_take_it_back(home: Home) -> None:
    home.differ()
    result = home("sync", "--yes", code=4)
    assert "applied 3 of 3 changes" in result.stdout
    assert "undo: trueup undo " in result.stdout
    assert "1 conflict waits for a person: trueup conflicts ls site" in result.stdout
    assert "changed on both sides" in home("sync", code=4).stdout


def test_quiet_syncs_without_a_word(home: Home) -> None:
    (home.site / "a").write_text("a")
    assert home("sync", "--yes", "-q").output == ""
    assert home.tree()["share/a"] == b"a"


def test_an_ad_hoc_folder_needs_no_configuration(home: Home, tmp_path: Path) -> None:
    (home.path / "trueup.toml").unlink()
    (home.site / "a").write_text("a")
    assert "next: trueup sync folder site share" in home("plan", "folder", "site", "share").stdout
    home("sync", "folder", "site", "share", "--yes", "--name", "mine")
    assert "in sync" in home("status", "folder", "site", "share").stdout
    assert "mine" in home("history", "ls", "folder", "site", "share").stdout
    home("trash", "ls", "folder", "site", "share")
    home("doctor", "folder", "site", "share")
    home("undo", "last", "--yes")
    assert "share/a" not in home.tree()


def test_an_ad_hoc_folder_never_takes_the_name_of_a_configured_one(home: Home) -> None:
    other = home.path / "other" / "site"
    other.mkdir(parents=True)
    (other / "a").write_text("a")
    (home.path / "target").mkdir()
    home("sync", "folder", str(other), "target", "--yes")
    assert (home.path / "target" / "a").exists()
    home("undo", "last", "--yes")
    assert not (home.path / "target" / "a").exists()


def test_half_a_url_is_not_taken_for_a_folder(home: Home) -> None:
    (home.path / "trueup.toml").unlink()
    said = home("plan", "folder", "site", "s3:/bucket/x", code=64).stderr
    assert (
        "s3:/bucket/x is no URL - nor is there such a path - try: s3://bucket/x, or ./s3:/bucket/x for a path" in said
    )
    (home.path / "s3:").mkdir()
    (home.site / "a").write_text("a")
    home("sync", "folder", "site", "s3:", "--yes")
    assert (home.path / "s3:" / "a").exists()


def test_a_folder_in_a_url_has_its_ignore_file_too(home: Home) -> None:
    (home.path / "trueup.toml").unlink()
    folder = home.path / "my site"
    folder.mkdir()
    (folder / ".trueupignore").write_text("*.log\n")
    (folder / "a.log").write_text("a")
    (folder / "b").write_text("b")
    home("sync", "folder", folder.as_uri(), "share", "--yes")
    assert not (home.path / "share" / "a.log").exists()
    assert (home.path / "share" / "b").exists()


def test_flags_override_the_configuration(home: Home) -> None:
    home.differ()
    home("sync", "--direction", "push", "--conflict", "local-wins", "--yes")
    assert home.tree()["share/clash"] == b"one\n"
    assert home.tree()["site/down"] == b"down\n"


def test_excluding_by_flag_keeps_what_the_configuration_excludes(home: Home) -> None:
    home.configure('exclude = ["*.log"]\n')
    for name in ("a.log", "b.bak", "c.txt"):
        (home.site / name).write_text(name)
    home("sync", "--exclude", "*.bak", "--yes")
    assert [path.name for path in home.share.glob("*.*") if path.is_file()] == ["c.txt"]


def test_a_guard_refuses_even_with_yes_and_names_its_option(home: Home) -> None:
    for number in range(30):
        (home.site / f"f{number}").write_text(str(number))
    home("sync", "--yes")
    for number in range(25):
        (home.site / f"f{number}").unlink()
    result = home("sync", "--yes", code=5)
    assert "error[TU-GUARD]" in result.stderr
    assert "--allow max-delete" in result.stdout
    assert "--allow max-delete" in result.stderr
    assert "deleted on local" in result.stdout
    home("sync", "--dry-run", code=5)
    home("sync", "--yes", "--max-delete", "26")
    assert len(home.tree()) == 10


def test_a_disk_that_is_not_mounted_is_a_case_for_the_doctor(home: Home) -> None:
    for number in range(30):
        (home.site / f"f{number}").write_text(str(number))
    home("sync", "--yes")
    home.share.rename(home.path / "the disk")
    home.share.mkdir()
    result = home("sync", "--yes", code=5)
    assert "next: trueup doctor site\n" in result.stdout
    assert "trueup sync" not in result.stdout
    assert "--allow other-root" in result.stdout


def test_allow_lets_one_run_pass(home: Home) -> None:
    for number in range(12):
        (home.site / f"f{number}").write_text(str(number))
    home("sync", "--yes")
    for path in home.site.glob("f*"):
        path.unlink()
    home("sync", "--yes", code=5)
    home("sync", "--yes", "--allow", "emptied", "--allow", "max-delete")
    assert home.tree() == {}


def test_destroying_is_announced(home: Home) -> None:
    home.differ()
    assert "destroys 3 versions (keep is none)" in home("plan", "--keep", "none", code=4).stdout


def test_one_failing_target_does_not_stop_the_others(home: Home) -> None:
    text = (home.path / "trueup.toml").read_text()
    (home.path / "trueup.toml").write_text(
        '[targets.first]\nkind = "folder"\nlocal = "none"\nremote = "share2"\n' + text
    )
    (home.site / "a").write_text("a")
    result = home("sync", "--yes", "--json", code=1)
    document = json.loads(result.stdout)
    assert [entry["exit_code"] for entry in document["results"]] == [1, 0]
    assert report_from_json(document["results"][1]["report"]).ok
    assert home.tree()["share/a"] == b"a"


def test_events_tell_of_every_step(home: Home) -> None:
    home.differ()
    events = documents(home("sync", "--yes", "--output", "jsonl", code=4).stdout)
    assert {event["format"] for event in events} == {"trueup.event"}
    names = [event["event"] for event in events]
    assert names[0] == "plan"
    assert names.count("outcome") == 3
    assert names[-2:] == ["report", "end"]
    assert events[-1]["exit_code"] == 4


def test_names_cannot_speak_to_the_terminal(home: Home) -> None:
    (home.site / "\x1b[31mred\nsite  in sync").write_text("x")
    for arguments in (["plan"], ["sync", "--yes"], ["history", "show", "last"], ["status", "-v"]):
        output = home(*arguments).output
        assert "\x1b" not in output
        assert "\nsite  in sync\n" not in output


# -- diff, conflicts ------------------------------------------------------------------------------------------------


def test_diff_shows_text_and_measures_the_rest(home: Home) -> None:
    home.differ()
    (home.site / "binary").write_bytes(b"\0" * 10)
    text = home("diff").stdout
    assert "--- remote/clash\n+++ local/clash\n" in text
    assert "-another\n+one\n" in text
    assert "local   10 B  blake3:" in text
    assert "remote  not there" in text
    assert home("diff", "site", "clash").stdout.count("@@") == 2


def test_diff_of_equal_items_is_empty(home: Home) -> None:
    (home.site / "a").write_text("a")
    home("sync", "--yes")
    assert home("diff", "site", "a", "--exit-code").stdout == "no difference\n"
    assert json.loads(home("diff", "--json").stdout)["items"] == []


def test_diff_does_not_read_what_is_large(home: Home) -> None:
    (home.site / "large").write_text("x" * 1_000_001)
    assert "local   1.0 MB" in home("diff", "site", "large").stdout


def test_diff_of_a_folder_is_refused(home: Home) -> None:
    (home.site / "sub").mkdir()
    assert "is a folder" in home("diff", "site", "sub/", code=64).stderr


def test_a_missing_last_newline_is_told(home: Home) -> None:
    (home.site / "a").write_text("one")
    assert "+one (no newline at the end)" in home("diff", "site", "a").stdout


@pytest.mark.parametrize(
    ("keep", "local", "remote"), [("local", b"one\n", b"one\n"), ("remote", b"another\n", b"another\n")]
)
def test_a_conflict_is_resolved_by_a_word(home: Home, keep: str, local: bytes, remote: bytes) -> None:
    home.differ()
    assert "resolve site KEY" in home("conflicts", "ls", code=4).stdout
    shown = home("conflicts", "show", "site", "clash").stdout
    assert "-another\n+one\n" in shown
    assert "--keep both" in shown
    home("conflicts", "resolve", "site", "clash", "--keep", keep)
    assert (home.tree()["site/clash"], home.tree()["share/clash"]) == (local, remote)
    assert home.tree()["share/up"] == b"up\n", "only the conflict is touched"
    assert "no conflicts" in home("conflicts", "ls").stdout


def test_both_versions_of_a_conflict_can_be_kept(home: Home) -> None:
    home.differ()
    home("conflicts", "resolve", "clash", "--keep", "both")
    contents = {content for name, content in home.tree().items() if "clash" in name}
    assert contents == {b"one\n", b"another\n"}


def test_nothing_is_preselected(home: Home) -> None:
    home.differ()
    result = home("conflicts", "resolve", "site", "clash", code=64)
    assert "--keep local|remote|both" in result.stderr


def test_a_near_name_is_suggested(home: Home) -> None:
    home.differ()
    assert "did you mean clash?" in home("conflicts", "resolve", "site", "clahs", "--keep", "local", code=64).stderr


def test_hints_repeat_the_words_that_were_typed(home: Home) -> None:
    home.differ()
    result = home("conflicts", "show", "folder", "site", "share", "x", code=64)
    assert "try: trueup conflicts ls folder site share\n" in result.stderr


def test_conflicts_are_a_document(home: Home) -> None:
    home.differ()
    document = json.loads(home("conflicts", "ls", "--json", code=4).stdout)
    assert [item["key"] for item in document["targets"][0]["items"]] == ["clash"]
    assert json.loads(home("conflicts", "show", "site", "clash", "--json").stdout)["item"]["reason"] == "conflict"


def test_an_item_that_is_nowhere_is_no_item_without_a_difference(home: Home) -> None:
    home.differ()
    (home.site / "folder").mkdir()
    result = home("diff", "folder", "site", "share", "clahs", code=64)
    assert "neither side of site-folder holds clahs - did you mean clash?" in result.stderr
    assert "try: trueup diff folder site share\n" in result.stderr
    assert "did you mean folder/?" in home("diff", "site", "folder", code=64).stderr
    home("diff", "site", "nothing-like-it", code=64)
    home("sync", "--yes", code=4)
    assert "no difference" in home("diff", "site", "up").stdout


# -- history, undo, trash --------------------------------------------------------------------------------------------


def test_runs_are_remembered_and_taken_back(home: Home) -> None:
    home.differ()
    before = home.tree()
    home("sync", "--yes", code=4)
    assert "trueup sync --yes" in home("history", "ls", "site").stdout
    assert "deleted" not in home("history", "show", "last").stdout
    assert "delete on remote" in home("history", "show", "last").stdout
    home("undo", "last", "--dry-run")
    home("undo", "last", code=64)
    home("undo", "last", "--yes")
    assert home.tree() == before
    assert "undo of " in home("history", "ls").stdout
    assert len(json.loads(home("history", "ls", "--json").stdout)["runs"]) == 3
    assert json.loads(home("history", "show", "last", "--json").stdout)["run"]["state"] == "applied"


def test_what_changed_since_is_left_alone_by_an_undo(home: Home) -> None:
    for name in ("a", "b"):
        (home.site / name).write_text(name)
    home("sync", "--yes")
    (home.share / "a").write_text("edited since")
    result = home("undo", "last", "--yes", code=2)
    assert "changed" in result.stdout
    assert home.tree()["share/a"] == b"edited since"
    assert "share/b" not in home.tree()


def test_an_undo_of_what_has_all_changed_since_is_no_failure(home: Home) -> None:
    (home.site / "a").write_text("a")
    home("sync", "--yes")
    (home.share / "a").write_text("edited since")
    home("undo", "last", "--yes", code=2)
    assert home.tree()["share/a"] == b"edited since"


def test_the_trash_is_listed_restored_and_pruned(home: Home, tmp_path: Path) -> None:
    home.differ()
    home("sync", "--yes", code=4)
    kept = json.loads(home("trash", "ls", "--json").stdout)["items"]
    assert sorted(found["item"]["key"] for found in kept) == ["down", "gone", "up"]
    gone = next(found["item"] for found in kept if found["item"]["key"] == "gone")
    copy = tmp_path / "copy"
    home("trash", "restore", "site", gone["handle"], "--to", str(copy))
    assert copy.read_text() == "gone\n"
    assert "is there already" in home("trash", "restore", gone["handle"], "--to", str(copy), code=64).stderr
    assert "stays" in home("trash", "prune", "--dry-run", code=2).stdout
    home("trash", "restore", "site", gone["handle"])
    assert home.tree()["share/gone"] == b"gone\n"
    home("trash", "prune", code=64)
    assert "0 versions" in home("trash", "prune", "--older-than", "1d").stdout
    assert "destroyed 3 versions" in home("trash", "prune", "--yes").stdout
    assert "the trash is empty" in home("trash", "ls").stdout
    assert "TU-NOT-FOUND" in home("trash", "restore", gone["handle"], code=1).stderr


def test_the_last_copy_goes_only_where_it_is_named(home: Home) -> None:
    home.differ()
    home("sync", "--yes", code=4)
    home("trash", "prune", "--yes", code=2)
    result = home("trash", "prune", "--last-copies", code=64)
    assert "Destroy 1 version, 5 B, 1 of them the last copy of anything under that name, for good?" in result.stderr
    assert "1 of them the last copy" in home("trash", "prune", "--last-copies", "--dry-run").stdout
    document = json.loads(home("trash", "prune", "--last-copies", "--yes", "--json").stdout)
    assert (document["removed"], document["last_copies"], document["refused"]) == (1, 1, [])
    assert "the trash is empty" in home("trash", "ls").stdout


def test_the_history_counts_what_the_report_counts(home: Home) -> None:
    home.differ()
    assert "applied 3 of 3 changes" in home("sync", "--yes", code=4).stdout
    run = json.loads(home("history", "ls", "--json").stdout)["runs"][0]
    assert (run["done"], run["failed"]) == (3, 0)


# -- doctor, demo, watch -----------------------------------------------------------------------------------------------


def test_the_doctor_finds_a_missing_side(home: Home) -> None:
    assert "well" in home("doctor").stdout
    home.share.rmdir()
    result = home("doctor", "site", code=1)
    assert "1 problem found" in result.stdout
    assert "try: " in result.stdout
    assert json.loads(home("doctor", "--json", code=1).stdout)["findings"][-1]["ok"] is False


def test_several_roots_are_named_on_one_line(home: Home) -> None:
    for name in ("m1", "m2"):
        (home.path / name).mkdir()
    home.configure('[targets.two]\nkind = "folder"\nlocal = ["m1", "m2"]\nremote = "share"\n')
    places = f"m1={home.path}/m1, m2={home.path}/m2"
    for command in ("plan", "status", "doctor"):
        assert places in home(command, "two").stdout


def test_a_missing_root_is_mounted_before_it_is_made(home: Home) -> None:
    home.share.rmdir()
    result = home("status", code=1)
    assert "try: mount it, or create it" in result.stderr
    assert "mkdir" not in result.stderr


def test_bandwidth_is_a_flag_that_hints_repeat(home: Home) -> None:
    (home.site / "a").write_text("a")
    assert "--bandwidth 10000000" in home("plan", "folder", "site", "share", "--bandwidth", "10MB").stdout
    home("sync", "--bandwidth", "10MB/s", "--yes")
    assert "is not bytes per second" in home("sync", "--bandwidth", "fast", code=64).stderr
    home("sync", "--bandwidth", "0", code=64)


def test_the_demo_wants_an_empty_folder(home: Home) -> None:
    assert "is not empty" in home("demo", ".", code=64).stderr


def test_watching_without_its_package_names_the_extra(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "watchfiles", None)
    assert "pip install 'trueup[watch]'" in home("watch", code=64).stderr


@pytest.mark.parametrize(("what", "first"), [("schedule", "add NAME TARGET CRON"), ("token", "create NAME")])
def test_what_the_server_is_given_says_how_it_begins(home: Home, what: str, first: str) -> None:
    assert home(what, "ls").stdout == f"no {what}s yet. Make one: trueup {what} {first}\n"
    assert json.loads(home(what, "ls", "--json").stdout)[f"{what}s"] == []


def test_schedules_and_tokens_answer_in_one_document(home: Home) -> None:
    home("init", "--remote", "../share", "--force", "--yes", "--name", "photos")
    added = json.loads(home("schedule", "add", "nightly", "photos", "0 3 * * *", "--json").stdout)
    assert added["schedule"]["name"] == "nightly"
    assert [one["name"] for one in json.loads(home("schedule", "ls", "--json").stdout)["schedules"]] == ["nightly"]
    assert json.loads(home("schedule", "rm", "nightly", "--json").stdout)["removed"] == "nightly"
    home("token", "create", "monitoring")
    assert [one["name"] for one in json.loads(home("token", "ls", "--json").stdout)["tokens"]] == ["monitoring"]
    assert json.loads(home("token", "revoke", "monitoring", "--json").stdout)["revoked"]
    events = [json.loads(text) for text in home("schedule", "ls", "--output", "jsonl").stdout.splitlines()]
    assert [event["schedules"] for event in events] == [[]]
