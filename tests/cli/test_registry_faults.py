"""What the tool that owns the registry gets wrong, run for real beside ours; and its document's use cases, as typed.

Each fault: what the original does with the same registry, disk and engine, then what ours does.
"""

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys

import pytest
from tests.cli.robots import Robots, image
from tests.cli.terminal import talk
from tests.stores.docker.conftest import Images


@pytest.fixture
def original(robots: Robots) -> Robots:
    """A home in which MAPLE can be run."""
    if importlib.util.find_spec("maple") is None:
        assert os.environ.get("CI") != "true", "maple-robotics is not installed"
        pytest.skip("maple-robotics is not installed")
    return robots


def maple(robots: Robots, code: str) -> None:
    """Let MAPLE's own functions write the registry."""
    subprocess.run(
        [sys.executable, "-c", f"from maple.state import store\n{code}"],
        env={"HOME": str(robots.path), "PATH": os.environ["PATH"]},
        check=True,
    )


def test_a_registry_that_maple_has_written_is_read_and_mended(original: Robots) -> None:
    original.registry.unlink()
    weights = original.weights("openvla:7b")
    maple(
        original,
        f"store.init_db()\nstore.add_policy('openvla', 'openvla:latest', '7b', {str(weights)!r}, 'org/openvla')\n"
        f"store.add_policy('old', 'old:latest', 'v1', {str(original.weights('old:v1'))!r}, 'org/old')\n"
        "store.add_env('libero', 'libero:latest')\n"
        "store.add_container('c1', 'policy', 'old-v1-01234567', 'old', 'localhost', 8000)\n"
        "store.add_run('r1', 'old', 'libero', 'task')\n",
    )
    original.pull("openvla:7b")
    containers, runs = original.rows("containers"), original.rows("runs")
    original.told("sync", "all", "-y")
    assert (original.names(), original.names("envs")) == (["openvla:7b"], [])
    assert (original.rows("containers"), original.rows("runs")) == (containers, runs)
    maple(
        original, "assert [one['name'] for one in store.list_policies()] == ['openvla']\nassert not store.list_envs()"
    )


def test_fault_rows_go_without_a_question(original: Robots) -> None:
    original.policy("openvla:7b", pulled=False)
    assert talk(original, ["sync", "policies"], [("[y/N]: ", b"n\n")])[0] == 3
    assert original.names() == ["openvla:7b"]
    original.original("policies")
    assert original.names() == [], "the original has no question to say no to"


def test_fault_only_the_first_tag_of_an_image_counts(original: Robots) -> None:
    original.environment("libero", "sims/libero:v1")
    original.holds(image("libero:latest", "sims/libero:v1"))
    assert original.told("sync", "envs", "-y").endswith("✓ All environments in database have Docker images\n")
    assert original.names("envs") == ["libero"]
    original.original("envs")
    assert original.names("envs") == []


def test_fault_an_implicit_latest_is_another_name(original: Robots) -> None:
    original.environment("libero", "libero")
    original.environment("bridge", "docker.io/library/bridge:latest")
    original.holds(image("libero:latest"), image("bridge:latest", number="sha256:2"))
    original.told("sync", "envs", "-y")
    assert original.names("envs") == ["bridge", "libero"]
    original.original("envs")
    assert original.names("envs") == []


def test_fault_a_missing_image_drops_a_policy_with_weights(original: Robots) -> None:
    original.policy("openvla:7b", image="openvla:latest")
    original.told("sync", "policies", "-y")
    assert original.names() == ["openvla:7b"]
    assert "openvla:latest (missing)" in original.told("list")
    original.original("policies")
    assert original.names() == []
    assert original.files()


def test_fault_empty_weights_pass_as_present(original: Robots) -> None:
    original.policy("openvla:7b")
    shutil.rmtree(original.weights("openvla:7b"))
    original.weights("openvla:7b").mkdir()
    original.holds(image("openvla:latest"))
    assert "All policies in database have weights on disk" in original.original("policies").stdout
    told = original.told("sync", "policies", "-y", code=2)
    assert "x damaged       openvla:7b: empty" in told
    assert "All policies" not in told


def test_fault_docker_down_stops_the_weights_check(original: Robots) -> None:
    original.policy("openvla:7b", pulled=False)
    original.policy("smolvla:base")
    original.made.listed = 500
    theirs = original.original("all")
    assert "Error listing Docker images" in theirs.stdout
    assert "2. Syncing Environments" not in theirs.stdout
    ours = original.told("sync", "all", "-y", code=1)
    assert "✓ Removed openvla:7b" in ours
    assert "2. Syncing Environments" in ours
    assert "Error connecting to Docker" in ours


def test_fault_a_script_cannot_tell_drift(original: Robots) -> None:
    original.policy("openvla:7b", pulled=False)
    assert original.original("policies", "--dry-run").returncode == 0
    original("sync", "policies", "--dry-run", "--quiet", code=3)


def test_fault_weights_that_nobody_registered_are_never_seen(original: Robots) -> None:
    original.policy("smolvla:base", image="smolvla:latest")
    original.holds(image("smolvla:latest"))
    original.pull("openvla:7b")
    (original.weights("openvla:7b") / "model.bin.incomplete").touch()
    original.pull("octo:v1")
    assert "openvla" not in original.original("policies").stdout
    told = original.told("sync", "policies", code=2)
    assert "x damaged       openvla:7b: no entry names it, and the download of model.bin.incomplete" in told
    assert "* unregistered  octo:v1" in told


def test_fault_a_failed_removal_ends_well(original: Robots) -> None:
    original.policy("openvla:7b", pulled=False)
    original.policy("smolvla:base", image="smolvla:latest")
    original.holds(image("smolvla:latest"))
    maple(
        original,
        "with store._get_conn() as c:\n"
        " c.execute('CREATE TRIGGER keep BEFORE DELETE ON policies BEGIN SELECT RAISE(IGNORE); END')",
    )
    theirs = original.original("policies")
    assert "Failed to remove openvla:7b" in theirs.stdout
    assert theirs.returncode == 0
    ours = original("sync", "policies", "-y", code=None)
    assert ours.exit_code == 1
    assert "has not taken the change of openvla:7b" in ours.stderr
    assert "✓ Removed openvla:7b" not in ours.stdout
    assert original.names() == ["openvla:7b", "smolvla:base"]


# -- the document's common use cases, typed exactly -------------------------------------------------------------------


def typed(robots: Robots, text: str, *, code: int = 0) -> str:
    """Run the lines of a use case in a shell, ``maple`` replaced by ``trueup``."""
    program = f'trueup() {{ {shlex.quote(sys.executable)} -m trueup "$@"; }}\nset -e\n'
    done = subprocess.run(
        ["/bin/bash", "-c", program + text.replace("maple sync", "trueup sync")],
        cwd=robots.path,
        env=dict(os.environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def test_use_case_recovering_from_manual_deletion(robots: Robots) -> None:
    robots.policy("openvla:7b")
    robots.policy("smolvla:base")
    before = robots.files()
    told = typed(
        robots,
        """\
# Manual deletion
rm -rf ~/.maple/models/openvla/7b/

# Database still has entry - fix it
maple sync policies -y
""",
    )
    assert "✓ Removed openvla:7b" in told
    assert robots.names() == ["smolvla:base"]
    assert robots.files() == {name: data for name, data in before.items() if name.startswith("smolvla")}


@pytest.mark.engine
async def test_use_case_docker_image_cleanup(robots: Robots, images: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    await images.make("libero")
    await images.make("bridge")
    robots.environment("libero")
    robots.environment("bridge")
    monkeypatch.setenv("DOCKER_HOST", images.engine.endpoint)
    assert "have Docker images" in typed(robots, "maple sync envs -y")
    await images.call("DELETE", "/images/libero:latest")  # docker rmi libero:latest
    assert "✓ Removed libero" in typed(robots, "maple sync envs -y")
    assert robots.names("envs") == ["bridge"]


@pytest.mark.parametrize(
    "text",
    [
        """\
# Weekly maintenance script
maple sync all --dry-run  # Check first
maple sync all -y         # Apply if needed
""",
        """\
# Before starting batch evaluation
maple sync all --dry-run

# If issues found, fix them
maple sync all -y
""",
    ],
    ids=["regular maintenance", "before important operations"],
)
def test_use_case_check_then_apply(robots: Robots, text: str) -> None:
    robots.policy("openvla:7b", pulled=False)
    robots.policy("smolvla:base")
    robots.environment("libero")
    weights = robots.files()
    told = typed(robots, text)
    checked, applied = told.split("Starting full sync...\n")[1:]
    assert checked.count("Dry run - no changes made") == 2
    assert "Removed" not in checked
    assert "✓ Removed openvla:7b" in applied
    assert "✓ Removed libero" in applied
    assert applied.endswith("✓ Full sync complete\n")
    assert robots.files() == weights
    robots("sync", "all", "--dry-run", "--quiet")


def test_doctor_looks_at_a_registry_that_nobody_has_configured(robots: Robots) -> None:
    told = robots("doctor").stdout
    assert f"policies record: {robots.registry}" in told
    assert f"envs record: {robots.registry}" in told
    robots.configure(f"[targets.mine]\nkind = 'policies'\nregistry = '{robots.registry}'\n")
    assert "policies record" not in robots("doctor").stdout, "it is called mine"
    robots.registry.unlink()
    (robots.path / "trueup.toml").unlink()
    assert "envs" not in robots("doctor").stdout
