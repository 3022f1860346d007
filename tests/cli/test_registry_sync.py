"""``trueup sync policies|envs|all``: every output of the source document, word for word; exit codes; questions."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.cli.robots import CALLED, Robots, image
from tests.cli.terminal import talk

SCANNED = "Scanning policies...\n"
ALL_THERE = "✓ All policies in database have weights on disk\n"


POLICIES = """\
Scanning policies...

Found 2 policies with missing weights:

┌───────────┬─────────┬────────────────────────────────────────────────┬─────────┐
│ Name      │ Version │ Path                                           │ Status  │
├───────────┼─────────┼────────────────────────────────────────────────┼─────────┤
│ old-model │ v1      │ /home/robotics-team/.maple/models/old-model/v1 │ Missing │
│ openvla   │ 7b      │ /home/robotics-team/.maple/models/openvla/7b   │ Missing │
└───────────┴─────────┴────────────────────────────────────────────────┴─────────┘

"""

ONE_ENV = """\
Scanning environments...

Found 1 environments with missing Docker images:

┌────────┬───────────────┬─────────┐
│ Name   │ Image         │ Status  │
├────────┼───────────────┼─────────┤
│ libero │ libero:latest │ Missing │
└────────┴───────────────┴─────────┘

"""


def two_missing(robots: Robots) -> None:
    robots.policy("smolvla:base")
    for key in ("openvla:7b", "old-model:v1"):
        robots.policy(key, pulled=False)


# -- transcripts ------------------------------------------------------------------------------------------------------


def test_all_present(robots: Robots) -> None:
    robots.policy("openvla:7b")
    assert robots.told("sync", "policies") == SCANNED + ALL_THERE


def test_all_images_present(robots: Robots) -> None:
    robots.environment("libero")
    robots.holds(image("libero:latest"))
    told = robots.told("sync", "envs")
    assert told == "Scanning environments...\n✓ All environments in database have Docker images\n"


def test_missing_weights_and_a_yes(robots: Robots) -> None:
    two_missing(robots)
    code, output = talk(robots, ["sync", "policies"], [("[y/N]: ", b"y\n")])
    assert code == 0, output
    assert output.replace(str(robots.path), CALLED) == (
        POLICIES + "Remove 2 policy entries from database? [y/N]: y\n✓ Removed old-model:v1\n✓ Removed openvla:7b\n"
    )
    assert robots.names() == ["smolvla:base"]


def test_missing_weights_and_a_no(robots: Robots) -> None:
    two_missing(robots)
    code, output = talk(robots, ["sync", "policies"], [("[y/N]: ", b"n\n")])
    assert code == 3
    assert output.replace(str(robots.path), CALLED) == (POLICIES + "Remove 2 policy entries from database? [y/N]: n\n")
    assert len(robots.names()) == 3


def test_a_dry_run(robots: Robots) -> None:
    two_missing(robots)
    before = robots.registry.read_bytes()
    assert robots.told("sync", "policies", "--dry-run") == POLICIES + "Dry run - no changes made\n"
    assert robots.registry.read_bytes() == before


def test_missing_images_and_a_yes(robots: Robots) -> None:
    robots.environment("libero")
    code, output = talk(robots, ["sync", "envs"], [("[y/N]: ", b"y\n")])
    assert code == 0, output
    assert output == ONE_ENV + "Remove 1 environment entries from database? [y/N]: y\n✓ Removed libero\n"
    assert robots.names("envs") == []


HEADINGS = """\
Starting full sync...

1. Syncing Policies
--------------------------------------------------
Scanning policies...
✓ All policies in database have weights on disk

2. Syncing Environments
--------------------------------------------------
"""


def test_all_with_headings_and_completion_lines(robots: Robots) -> None:
    robots.policy("openvla:7b")
    robots.environment("libero")
    code, output = talk(robots, ["sync", "all"], [("[y/N]: ", b"y\n")])
    assert code == 0, output
    end = "✓ Removed libero\n\n✓ Sync complete: Removed 1 environment entries\n\n✓ Full sync complete\n"
    assert output == HEADINGS + ONE_ENV + "Remove 1 environment entries from database? [y/N]: y\n" + end


def test_a_dry_run_of_all(robots: Robots) -> None:
    robots.policy("openvla:7b")
    robots.environment("libero")
    told = robots.told("sync", "all", "--dry-run")
    assert told == HEADINGS + ONE_ENV + "Dry run - no changes made\n\n✓ Full sync complete\n"
    assert robots.names("envs") == ["libero"]


def test_all_asks_once_for_each_section(robots: Robots) -> None:
    robots.policy("openvla:7b", pulled=False)
    robots.environment("libero")
    questions = [("Remove 1 policy entries from database? ", b"n\n"), ("Remove 1 environment entries", b"y\n")]
    code, output = talk(robots, ["sync", "all"], questions)
    assert code == 3, output
    assert (robots.names(), robots.names("envs")) == (["openvla:7b"], [])


def test_docker_not_running(robots: Robots) -> None:
    robots.environment("libero")
    told = robots.told("sync", "envs", "-y", "--docker-host", f"unix://{robots.path}/none", code=1)
    beginning = "Scanning environments...\nError connecting to Docker: Cannot connect to the Docker daemon at unix://"
    assert told.startswith(beginning)
    assert "try: sudo systemctl start docker" in told
    assert robots.names("envs") == ["libero"]


@contextmanager
def locked_out(robots: Robots) -> Iterator[None]:
    """Permissions hold back who runs the command, and the registry may not be written."""
    robots.registry.chmod(0o444)
    robots.registry.parent.chmod(0o555)
    robots.path.chmod(0o755)
    if os.geteuid() == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        if os.getuid() == 0:
            os.seteuid(0)
        robots.registry.parent.chmod(0o755)


def test_a_database_that_cannot_be_written(robots: Robots, monkeypatch: pytest.MonkeyPatch) -> None:
    robots.policy("openvla:7b", pulled=False)
    robots.policy("smolvla:base")
    state = robots.path / "state"
    state.mkdir(mode=0o777)
    state.chmod(0o777)
    monkeypatch.setenv("TRUEUP_STATE", str(state))
    for name in ("XDG_CONFIG_HOME", "XDG_CONFIG_DIRS"):  # not below a folder that is only its owner's
        monkeypatch.setenv(name, str(robots.path / "none"))
    with locked_out(robots):
        result = robots("sync", "policies", "-y", code=1)
    assert "Unable to write to database at ~/.maple/state.db" in result.stderr
    assert "try: trueup doctor policies" in result.stderr
    assert "✓" not in result.stdout
    assert robots.names() == ["openvla:7b", "smolvla:base"]


# -- exit codes and questions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("section", ["policies", "envs", "all"])
def test_yes_is_an_answer_for_every_section(robots: Robots, section: str) -> None:
    robots.policy("openvla:7b", pulled=False)
    robots.policy("smolvla:base")
    robots.environment("libero")
    robots.told("sync", section, "--yes")
    assert robots.names() == (["openvla:7b", "smolvla:base"] if section == "envs" else ["smolvla:base"])
    assert robots.names("envs") == (["libero"] if section == "policies" else [])
    robots.told("sync", section, "-y")


@pytest.mark.parametrize("section", ["policies", "envs", "all"])
def test_a_question_that_nobody_hears_ends_the_run_before_anything_is_done(robots: Robots, section: str) -> None:
    robots.policy("openvla:7b", pulled=False)
    robots.policy("smolvla:base")
    robots.environment("libero")
    result = robots("sync", section, code=64)
    assert "the same command with --yes" in result.stderr
    assert (len(robots.names()), len(robots.names("envs"))) == (2, 1)


def test_a_script_can_tell_drift(robots: Robots) -> None:
    robots.policy("openvla:7b")
    robots.environment("libero")
    robots.holds(image("libero:latest"))
    for section in ("policies", "envs", "all"):
        assert robots.told("sync", section, "--dry-run", "--quiet") == ""
    robots.policy("old-model:v1", pulled=False)
    robots.holds()
    for section in ("policies", "envs", "all"):
        assert robots.told("sync", section, "--dry-run", "--quiet", code=3) == ""
        robots("sync", section, "--dry-run", code=0)


def test_what_is_damaged_or_unknown_is_partial(robots: Robots) -> None:
    robots.policy("openvla:7b")
    robots.policy("old-model:v1", pulled=False)
    (robots.weights("openvla:7b") / "model.bin.incomplete").touch()
    told = robots.told("sync", "policies", "-y", code=2)
    assert "x damaged       openvla:7b: the download of model.bin.incomplete was interrupted" in told
    assert "try: maple pull policy openvla:7b, or trueup registry forget openvla:7b" in told
    assert robots.names() == ["openvla:7b"]
    robots.environment("libero")
    robots.made.inspected["libero:latest"] = 500, {"message": "out of order"}
    told = robots.told("sync", "envs", "-y", code=2)
    assert "? unknown       libero" in told
    assert "out of order" in told
    assert robots.names("envs") == ["libero"]


def test_an_image_of_another_digest_is_damage_and_stays(robots: Robots) -> None:
    robots.environment("libero", "libero:v1@sha256:" + "ab" * 32)
    robots.holds(image("libero:v1"))
    told = robots.told("sync", "envs", "-y", code=2)
    assert "x damaged       libero: libero:v1 is another image than the recorded sha256:abab" in told
    assert robots.names("envs") == ["libero"]


def test_quiet_still_says_why_nothing_could_be_seen(robots: Robots) -> None:
    robots.policy("openvla:7b")
    robots.environment("libero")
    (robots.path / ".maple" / "models").rename(robots.path / "elsewhere")
    result = robots("sync", "all", "-y", "--quiet", "--docker-host", "unix:///none", code=1)
    assert result.stdout == ""
    assert "Error looking at weights: the models root" in result.stderr
    assert "Error connecting to Docker: Cannot connect to the Docker daemon at unix:///none" in result.stderr
    assert (robots.names(), robots.names("envs")) == (["openvla:7b"], ["libero"])


def test_a_section_that_fails_does_not_stop_the_other(robots: Robots) -> None:
    robots.policy("openvla:7b")
    robots.models.rename(robots.path / "elsewhere")
    robots.environment("libero")
    told = robots.told("sync", "all", "-y", code=1)
    assert "Error looking at weights" in told
    assert "✓ Removed libero" in told
    assert "Full sync complete" not in told
    robots.environment("libero")
    (robots.path / "elsewhere").rename(robots.models)
    robots.policy("old-model:v1", pulled=False)
    told = robots.told("sync", "all", "-y", "--docker-host", "unix:///none", code=1)
    assert "✓ Removed old-model:v1" in told
    assert "Error connecting to Docker" in told
    assert robots.names("envs") == ["libero"]


@pytest.mark.parametrize(
    ("mistake", "says"),
    [
        (("sync", "polcies"), 'did you mean "policies"?'),
        (("sync", "all", "more"), "unexpected extra argument"),
        (("sync", "policies", "--port", "8000"), "--port"),
        (("sync", "policies", "--registry", "/none/state.db"), "mkdir -p /none"),
    ],
)
def test_mistakes_are_answered_with_what_to_do(robots: Robots, mistake: tuple[str, ...], says: str) -> None:
    result = robots(*mistake, code=None)
    assert result.exit_code == (1 if "--registry" in mistake else 64)
    assert says.lower() in result.stderr.lower()


def test_another_registry_and_another_root(robots: Robots) -> None:
    robots.policy("openvla:7b")
    other = robots.path / "other"
    robots.registry.parent.rename(other)
    (other / "models").rename(robots.path / "weights")
    told = robots.told(
        "sync", "policies", "-y", "--registry", "other/state.db", "--models-root", str(robots.path / "weights")
    )
    assert told == SCANNED + ALL_THERE


def test_without_maple_the_registry_is_ours_and_empty(robots: Robots) -> None:
    robots.registry.parent.rename(robots.path / "away")
    assert robots.told("sync", "policies") == SCANNED + ALL_THERE
    robots("registry", "add", "env", "libero", "--image", "libero")
    assert not (robots.path / ".maple").exists()
    assert [entry["name"] for entry in robots.document("list")["entries"]] == ["libero"]


# -- documents --------------------------------------------------------------------------------------------------------


def test_the_result_as_a_document(robots: Robots) -> None:
    robots.policy("openvla:7b", pulled=False)
    robots.policy("smolvla:base")
    robots.environment("libero")
    document = robots.document("sync", "all", "-y", "--docker-host", "unix:///none", code=1)
    assert document["format"] == "trueup.results"
    policies, envs = document["results"]
    assert (policies["target"], envs["target"], policies["exit_code"], envs["exit_code"]) == ("policies", "envs", 0, 1)
    (outcome,) = policies["report"]["report"]["outcomes"]
    assert (outcome["key"], outcome["status"]) == ("openvla:7b", "done")
    assert document["exit_code"] == 1


def test_events_one_a_line(robots: Robots) -> None:
    robots.policy("openvla:7b", pulled=False)
    robots.policy("smolvla:base")
    lines = robots("sync", "policies", "-y", "--output", "jsonl").stdout.splitlines()
    events = [json.loads(line)["event"] for line in lines]
    assert {"plan", "report"} <= set(events)


# -- adopt ------------------------------------------------------------------------------------------------------------


def test_what_nothing_records_is_told_and_adopted_when_asked_for(robots: Robots) -> None:
    robots.pull("openvla:7b")
    told = robots.told("sync", "policies")
    assert "* unregistered  openvla:7b" in told
    assert "try: trueup sync policies --adopt" in told
    assert robots.rows() == []
    assert "Dry run - no changes made" in robots.told("sync", "policies", "--adopt", "--dry-run")
    assert robots.rows() == []
    assert "✓ Recorded openvla:7b" in robots.told("sync", "policies", "--adopt", "-y")
    (row,) = robots.rows()
    assert (row["name"], row["version"], row["path"]) == ("openvla", "7b", str(robots.weights("openvla:7b")))
    assert robots.told("sync", "policies") == SCANNED + ALL_THERE


def test_adopting_and_removing_are_one_question(robots: Robots) -> None:
    robots.pull("openvla:7b")
    robots.policy("old-model:v1", pulled=False)
    question = "Remove 1 policy entries from database and record 1 policy entries? [y/N]: "
    code, output = talk(robots, ["sync", "policies", "--adopt"], [(question, b"y\n")])
    assert code == 0, output
    assert robots.names() == ["openvla:7b"]


def test_a_labelled_image_is_adopted_as_an_environment(robots: Robots) -> None:
    robots.holds(image("sims/libero:v2", Labels={"org.trueup.environment": "libero"}))
    assert "* unregistered  libero" in robots.told("sync", "envs")
    robots.told("sync", "envs", "--adopt", "-y")
    (row,) = robots.rows("envs")
    assert (row["name"], row["image"]) == ("libero", "sims/libero:v2")


# -- guards -----------------------------------------------------------------------------------------------------------


def test_an_emptied_root_is_a_guard_from_ten_entries_on(robots: Robots) -> None:
    for n in range(10):
        robots.policy(f"model{n}:v1", pulled=False)
    result = robots("sync", "policies", "-y", code=5)
    assert "is it mounted?" in result.stderr
    assert "--allow emptied" in result.stderr
    assert len(robots.rows()) == 10
    dry = robots("sync", "policies", "--dry-run", code=5)
    assert "--allow emptied" in dry.stdout
    robots("sync", "policies", "-y", "--allow", "emptied")
    assert robots.rows() == []


def test_below_ten_an_emptied_registry_is_a_clean_up(robots: Robots) -> None:
    for n in range(9):
        robots.policy(f"model{n}:v1", pulled=False)
    robots("sync", "policies", "-y")
    assert robots.rows() == []


def test_a_root_that_cannot_be_read_removes_nothing(robots: Robots) -> None:
    robots.policy("openvla:7b")
    robots.models.rename(robots.path / "elsewhere")
    told = robots.told("sync", "policies", "-y", "--allow", "emptied", code=1)
    assert "Error looking at weights" in told
    assert "is its volume mounted?" in told
    robots.models.write_text("a file")
    robots.told("sync", "policies", "-y", "--allow", "emptied", code=1)
    assert robots.names() == ["openvla:7b"]
