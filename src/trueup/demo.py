"""The main job on real files, in a workspace of its own: what `trueup demo` and `make demo` show.

Every line that begins with ``$`` is the real command, run as a person would run it. Each kind of target adds its part.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio

from trueup.testing.engines import Failed, Missing, S3Server, weed_mini

_CONFIG = """\
# Two folders kept in agreement, in both directions.
[targets.site]
kind = "folder"
local = "site"
remote = "share"        # a path here; a URL such as file:///srv/share works the same
deletes = "propagate"   # what is deleted on one side goes to the trash of the other
"""

_WEB = """
# What a web team deploys, and the bytecode that its application has compiled.
[targets.pages]
kind = "templates"
local = "web/templates"
remote = "live/templates"
conflict = "newest_wins"
cache = "compiled"
warm = true

[targets.config]
kind = "settings"
local = "web/settings"
remote = "live/settings"

[targets.compiled]
kind = "cache"
url = "web/compiled"
preset = "jinja2"
environment = "demo_shop:environment"
"""

_SHOP = """\
import jinja2


def environment():
    cache = jinja2.FileSystemBytecodeCache("web/compiled")
    return jinja2.Environment(loader=jinja2.FileSystemLoader("web/templates"), bytecode_cache=cache)
"""

_URL = "s3://team/photos"

_YEAR_AGO_SECONDS = 365 * 24 * 3600


class DemoFailed(Exception):
    """A command of the demo did not end as it should."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """A folder with a configuration, two sides, and a state of its own."""

    root: Path
    env: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)
    """For the commands; `TRUEUP_STATE` apart."""

    @property
    def local(self) -> Path:
        """The folder of the person who runs the demo."""
        return self.root / "site"

    @property
    def remote(self) -> Path:
        """The folder that everybody shares."""
        return self.root / "share"

    def write(self, side: Path, name: str | bytes, text: str) -> None:
        """Write a file that looks as if it had been there for a while."""
        path = side / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        then = time.time() - _YEAR_AGO_SECONDS
        os.utime(path, (then, then))

    def configure(self, text: str) -> None:
        """Add targets to the workspace's ``trueup.toml``."""
        with (self.root / "trueup.toml").open("a", encoding="utf-8") as file:
            file.write(text)

    def say(self, text: str) -> None:
        """Explain what comes next."""
        sys.stdout.write(f"\n{text}\n")
        sys.stdout.flush()

    def run(self, *arguments: str, expect: Sequence[int] = (0,), state: str = "state") -> None:
        """Run the real command in the workspace and show it.

        Args:
            arguments: Of the command.
            expect: Exit codes.
            state: Folder of the state; another one stands for another machine.

        Raises:
            DemoFailed: If it does not end with one of the expected exit codes.
        """
        elsewhere = f"TRUEUP_STATE={state} " if state != "state" else ""
        sys.stdout.write(f"\n$ {elsewhere}trueup {' '.join(arguments)}\n")
        sys.stdout.flush()
        environment = {**self.env, "TRUEUP_STATE": str(self.root / state)}
        command = [sys.executable, "-m", "trueup", *arguments]
        code = subprocess.run(command, cwd=self.root, env=environment, check=False).returncode  # noqa: S603  # ourselves
        if code not in expect:
            raise DemoFailed(f"trueup {' '.join(arguments)} ended with {code} instead of {expect[0]}")
        if code:
            sys.stdout.write(f"(exit code {code})\n")

    def serve(self) -> None:
        """Run the server until Ctrl-C, which it hears itself."""
        sys.stdout.write("\n$ trueup serve --port 0\n")
        sys.stdout.flush()
        environment = {**self.env, "TRUEUP_STATE": str(self.root / "state")}
        command = [sys.executable, "-m", "trueup", "serve", "--port", "0"]
        with subprocess.Popen(command, cwd=self.root, env=environment) as process:  # noqa: S603  # ourselves
            while process.poll() is None:
                with suppress(KeyboardInterrupt):
                    process.wait()


def run(directory: Path | None = None, *, keep: bool = False) -> None:
    """Run the demo.

    Args:
        directory: Where to make the workspace; default: a temporary one.
        keep: Whether the workspace stays.

    Raises:
        DemoFailed: If something does not go as it should.
    """
    root = directory or Path(tempfile.mkdtemp(prefix="trueup-demo-"))
    root.mkdir(parents=True, exist_ok=True)
    workspace = Workspace(root)
    try:
        for part in PARTS:
            part(workspace)
    finally:
        if not keep and directory is None:
            shutil.rmtree(root)
    _say_goodbye(workspace, keep=keep or directory is not None)


def folders(workspace: Workspace) -> None:
    """Two folders that drift apart in every way there is."""
    workspace.say("Two folders: yours (site/) and the one everybody shares (share/). The first sync is a union.")
    workspace.configure(_CONFIG)
    _furnish(workspace)
    workspace.run("sync", "site", "--yes")
    workspace.say("A day's work on both sides: new, changed, deleted, moved and clashing files, odd names, a link.")
    _drift(workspace)
    workspace.run("status", expect=(4,))
    workspace.say("The plan says what would be done, and why. The renamed folder is one line, and copies nothing.")
    workspace.run("plan", "site", expect=(4,))
    workspace.say("Carry it out. What is replaced or deleted goes to the trash; the conflict waits for you.")
    workspace.run("sync", "site", "--yes", expect=(4,))
    workspace.say("A second run finds nothing to do.")
    workspace.run("sync", "site", "--yes", expect=(4,))
    workspace.say("One file was changed on both sides. See it, and decide.")
    workspace.run("conflicts", "ls", "site", expect=(0, 4))
    workspace.run("diff", "site", "pages/prices.txt", expect=(0, 3))
    workspace.run("conflicts", "resolve", "site", "pages/prices.txt", "--keep", "local", "--yes")
    workspace.run("status")
    workspace.say("That was the wrong decision? Every run can be taken back.")
    workspace.run("history", "ls")
    workspace.run("undo", "last", "--yes")
    workspace.run("status", expect=(4,))


def _furnish(workspace: Workspace) -> None:
    for n in range(12):
        workspace.write(workspace.local, f"pages/page-{n:02}.html", f"<h1>Page {n}</h1>\n" * (n + 1))
    workspace.write(workspace.local, "pages/prices.txt", "tea 3\ncoffee 4\ncake 5\n")
    workspace.write(workspace.local, "images/logo.svg", "<svg/>\n")
    workspace.write(workspace.local, "images/banner.svg", "<svg width='10'/>\n")
    workspace.write(workspace.local, "README", "read me\n")
    workspace.write(workspace.remote, "reports/2026/march.csv", "a,b\n1,2\n")
    workspace.write(workspace.remote, "reports/2026/april.csv", "a,b\n3,4\n")
    workspace.write(workspace.remote, "notes.txt", "from the team\n")


def _drift(workspace: Workspace) -> None:
    local, remote = workspace.local, workspace.remote
    workspace.write(local, "pages/new.html", "<h1>New here</h1>\n")
    workspace.write(remote, "pages/added-by-team.html", "<h1>New there</h1>\n")
    workspace.write(local, "pages/page-01.html", "<h1>Page 1, better</h1>\n")
    workspace.write(remote, "notes.txt", "from the team, second thoughts\n")
    (local / "pages/page-02.html").unlink()
    (remote / "pages/page-03.html").unlink()
    (local / "images").rename(local / "pictures")
    workspace.write(local, "pages/prices.txt", "tea 3\ncoffee 5\ncake 5\n")
    workspace.write(remote, "pages/prices.txt", "tea 4\ncoffee 4\ncake 5\n")
    (local / "README").unlink()
    workspace.write(local, "README/index.txt", "a file became a folder\n")
    workspace.write(local, "odd/two\nlines.txt", "a name of two lines\n")
    workspace.write(local, b"odd/caf\xe9.txt", "a name that is not UTF-8\n")
    (remote / "empty").mkdir()
    (local / "link-to-notes").symlink_to("notes.txt")


def registry(workspace: Workspace) -> None:
    """A registry of robot policies and the weights on disk, with no container engine to ask."""
    place = workspace.root / "maple"
    where = ("--registry", "maple/state.db", "--docker-host", f"unix://{place}/no-engine.sock")
    workspace.say("A registry of robot policies: it says which weights there are, and the disk has its own opinion.")
    for spec in ("openvla/7b", "pi0/base", "smolvla/v1"):
        workspace.write(place / "models" / spec, "model.bin", f"weights of {spec}\n" * 1000)
    workspace.run("registry", "adopt", *where)
    workspace.run("registry", "add", "env", "libero", "--image", "libero:latest", *where)
    workspace.say("Somebody cleans up by hand, a download breaks off, and new weights arrive.")
    shutil.rmtree(place / "models/pi0/base")
    (place / "models/smolvla/v1/shard-2.incomplete").touch()
    workspace.write(place / "models/octo/small", "model.bin", "weights of octo\n" * 1000)
    workspace.run("sync", "all", "--dry-run", *where, expect=(1,))
    workspace.say("Only what is gone for certain is removed. No engine answers: its images are unknown, not missing.")
    workspace.run("sync", "policies", "--adopt", "--yes", *where, expect=(2,))
    workspace.run("list", *where, expect=(2,))
    workspace.say("It was only unplugged? Entries come back like everything else.")
    workspace.run("undo", "last", "--yes", expect=(0, 2))


def catalogue(workspace: Workspace) -> None:
    """What an AI provider lists, kept; the provider here is made up."""
    if importlib.util.find_spec("httpx2") is None:
        workspace.say("Catalogues of AI models are left out. To see them: pip install 'trueup[models]'")
        return
    workspace.say("The models that an AI provider lists for your keys (here a made-up provider), kept in a catalogue.")
    workspace.run("sync", "models", "--provider", "mock")
    workspace.run("models", "ls")
    workspace.run("models", "history")


def agents(workspace: Workspace) -> None:
    """Two agents that work offline, and the file that they share."""
    if importlib.util.find_spec("turso") is None:
        workspace.say("Agent filesystems are left out. To see them: pip install 'trueup[agents]'")
        return
    workspace.say("Two agents, each with a database of its own, share what they find through one file.")
    shared = ("--remote-url", "shared/agents.db")
    for name, notes in (("scout", {"map.md": "north\n", "plan.md": "go\n"}), ("guide", {"weather.md": "rain\n"})):
        workspace.run("agent", "init", name)
        anyio.run(_writes, workspace.root / ".agentfs" / f"{name}.db", notes)
    workspace.run("agent", "sync", "scout", *shared)
    workspace.run("agent", "sync", "guide", *shared)
    workspace.say("Both work on, without a network, and change the same file. Nothing of it is lost.")
    for name in ("scout", "guide"):
        anyio.run(_writes, workspace.root / ".agentfs" / f"{name}.db", {"plan.md": f"as {name} says\n"})
    workspace.run("agent", "sync", "scout", *shared)
    workspace.run("agent", "sync", "guide", *shared)
    workspace.run("agent", "stats", "guide", *shared)


async def _writes(database: Path, notes: Mapping[str, str]) -> None:
    from trueup.agentfs import FSOperations

    for name, text in notes.items():
        await FSOperations(str(database)).write(f"/notes/{name}", text)


def web(workspace: Workspace) -> None:
    """Templates and settings of a web team, with the bytecode that Jinja2 has made of them."""
    if any(importlib.util.find_spec(name) is None for name in ("jinja2", "yaml")):
        workspace.say("Templates and settings are left out. To see them: pip install 'trueup[templates,settings]'")
        return
    mine, live = workspace.root / "web", workspace.root / "live"
    workspace.say("A web team deploys templates and settings. Its application keeps compiled templates in a cache.")
    workspace.configure(_WEB)
    workspace.write(workspace.root, "demo_shop.py", _SHOP)
    for folder in (live / "templates", live / "settings", mine / "compiled"):
        folder.mkdir(parents=True)
    workspace.write(mine / "templates", "base.html", "<title>{% block title %}{% endblock %}</title>\n")
    workspace.write(mine / "templates", "home.html", "{% extends 'base.html' %}\n")
    workspace.write(mine / "settings", "cache.yml", "seconds: 60\n")
    workspace.say("To compile is to run the team's code, and so its configuration has to be trusted first.")
    workspace.run("trust")
    workspace.run("sync", "templates")
    workspace.run("sync", "settings")
    workspace.say("The team changes a template that others extend, breaks another, and breaks a setting.")
    workspace.write(live / "templates", "base.html", "<title>Shop: {% block title %}{% endblock %}</title>\n")
    workspace.write(live / "templates", "cart.html", "<h1>Cart</h1>\n{% if %}\n")
    workspace.write(live / "settings", "cache.yml", "seconds: [60\n")
    workspace.say("What is broken is held, with its line. What leans on the changed template is compiled again.")
    workspace.run("sync", "templates", "--dry-run", expect=(2,))
    workspace.run("sync", "templates", expect=(2,))
    workspace.run("sync", "settings", expect=(2,))


def bucket(workspace: Workspace) -> None:
    """The same commands with a bucket on a real S3 server, which runs for as long as this lasts."""
    with tempfile.TemporaryDirectory(prefix="trueup-demo-s3-", ignore_cleanup_errors=True) as folder:
        server = weed_mini(Path(folder), buckets=("team",))
        try:
            server.start()
        except (Missing, Failed) as error:
            workspace.say(f"Buckets are left out: {error}\nTo see them: pip install 'trueup[demo]', then trueup demo")
            return
        try:
            reaching = replace(workspace, env=_reaching(server))
            _use(reaching)
            _images(reaching)
            _pages(reaching)
        finally:
            server.stop(kill=True)  # nothing of it is kept


def _reaching(server: S3Server) -> dict[str, str]:
    """An environment for this server, and for none of the person's own."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return others | {
        "AWS_ENDPOINT_URL": server.endpoint,
        "AWS_ACCESS_KEY_ID": server.credentials.access_key,
        "AWS_SECRET_ACCESS_KEY": server.credentials.secret_key,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }


def _use(workspace: Workspace) -> None:
    photos, desk = workspace.root / "photos", workspace.root / "desk"
    mine, theirs = ("photos", _URL), ("desk", _URL)
    workspace.say(f"Now a bucket, {_URL}, on a real S3 server on this machine. The commands are the same.")
    for n in range(1, 5):
        workspace.write(photos, f"2026/cup-{n}.jpg", f"a picture of cup {n}\n" * 500)
    workspace.write(photos, "album.txt", "cups\n")
    workspace.run("sync", "folder", *mine, "--yes")
    workspace.say("That run has found out what the service can promise, and remembers it.")
    workspace.run("doctor", "folder", *mine)
    workspace.say("Somebody else, on another machine (here: with another state), takes the bucket and edits the album.")
    desk.mkdir()
    workspace.run("sync", "folder", *theirs, "--yes", "--quiet", state="desk-state")
    workspace.write(desk, "album.txt", "cups, and a pot\n")
    workspace.run("sync", "folder", *theirs, "--yes", "--quiet", state="desk-state")
    workspace.say(
        "You edit a picture and rename another meanwhile. The rename sends no payload: it is a copy over there."
    )
    workspace.write(photos, "2026/cup-1.jpg", "a better picture of cup 1\n" * 500)
    (photos / "2026/cup-2.jpg").rename(photos / "2026/teacup.jpg")
    workspace.run("plan", "folder", *mine)
    workspace.run("sync", "folder", *mine, "--yes", "--quiet")
    workspace.say("A second run finds nothing to do. And this one, too, can be taken back.")
    workspace.run("sync", "folder", *mine, "--yes")
    workspace.run("undo", "last", "--yes")
    workspace.run("status", "folder", *mine)


def _images(workspace: Workspace) -> None:
    """An actor's images: a manifest, a folder and a bucket that have drifted apart."""
    who = ("dataset", "0042", "0042_demo")
    images = workspace.root / "data/actors/0042_demo/training_data"
    workspace.say("Images of an actor: a manifest records them, a folder holds them, a bucket keeps the second copy.")
    workspace.run("init", "--dataset", "--remote", "s3://team/training_data")
    for n in range(3):
        workspace.write(images, f"front {n}.png", f"a picture from the front {n}\n" * 500)
    workspace.run("sync", *who)
    workspace.say("One is edited, one is lost, one is new. A status reads none of them.")
    workspace.write(images, "front 0.png", "a better picture\n" * 500)
    (images / "front 1.png").unlink()
    workspace.write(images, "side.png", "a picture from the side\n")
    workspace.run("status", *who)
    workspace.run("sync", *who)
    workspace.say("Every byte of both copies is what the manifest says:")
    workspace.run("verify", *who)


def _pages(workspace: Workspace) -> None:
    """The same in a browser, for as long as somebody at a terminal wants to look."""
    workspace.say("And all of it in a browser: plans to tick, conflicts side by side, a green button for the images.")
    if importlib.util.find_spec("fastapi") is None:
        workspace.say("The server is left out: pip install 'trueup[web]'")
        return
    workspace.write(workspace.local, "saucers.txt", "saucers are coming\n")
    workspace.write(workspace.root / "data/actors/0042_demo/training_data", "back.png", "a picture from the back\n")
    if sys.stdin.isatty() and sys.stdout.isatty():
        workspace.serve()
    else:
        workspace.say("On a terminal this would start now, and print a link that logs you in:\n  trueup serve")


def _say_goodbye(workspace: Workspace, *, keep: bool) -> None:
    workspace.say("That was the real thing. Next, in a folder of yours:")
    lines = [
        "  trueup sync folder ./site /mnt/share/site --dry-run   what would be done, nothing written",
        "  trueup sync folder ./site s3://BUCKET/site --dry-run  the same with a bucket, keys as aws takes them",
        "  trueup init                                           write a trueup.toml, then just: trueup sync",
        "  trueup help                                           all commands, with examples",
    ]
    if keep:
        lines.append(f"  cd {workspace.root} && TRUEUP_STATE=$PWD/state trueup status   play on with this workspace")
    else:
        lines.append("  trueup demo --keep                                    the same, and the workspace stays")
    sys.stdout.write("\n".join(lines) + "\n")


PARTS = (folders, registry, catalogue, agents, web, bucket)
