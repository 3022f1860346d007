"""The rows of buckets: a folder and a prefix on a server of our own, against tools that do the same.

What they do is not the same: ours compares three ways, journals what it does, verifies every byte that passes and
commits an ancestor of each item; the peers go one way and remember nothing. Objects for `s3-noop` are uploaded by ours:
that leaves the ancestors behind, too.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from buckets import Site, site, url
from ground import Bench, job, make_tree, missing, run
from machine import peer
from measure import Command, Cost, interleaved, once, together_mib
from table import Goal, Line, Result, against, at_most, told

Peers = Mapping[str, tuple[str, Command]]
"""What is compared: the program it needs, and how it is called."""


def _present(peers: Peers) -> dict[str, Command]:
    return {name: command for name, (program, command) in peers.items() if peer(program) is not None}


def _time(ours: Cost, costs: Mapping[str, Cost], name: str, limit: float | None = None) -> list[Goal]:
    """Our time by a peer's, if it was measured."""
    if name not in costs:
        return []
    ratio, what = ours.wall_seconds / costs[name].wall_seconds, f"time, against {name}"
    return [told(what, f"{ratio:.2f}x") if limit is None else at_most(what, ratio, limit, "x")]


def _few(bench: Bench) -> int:
    """Turns of what takes long."""
    return min(bench.repeats, 3)


# -- nothing to do ---------------------------------------------------------------------------------------------------


def noop(bench: Bench) -> Result:
    """Many files, and nothing to do."""
    files = bench.size(100_000)
    with site(bench, "s3-noop") as place:
        local, ours = _agreed(place, files, "ours")
        peers: Peers = {
            "rclone --size-only --fast-list": (
                "rclone",
                place.rclone("sync", "--size-only", "--fast-list", local, "bench:test/ours"),
            ),
            "rclone --checksum --fast-list": (
                "rclone",
                place.rclone("sync", "--checksum", "--fast-list", local, "bench:test/ours"),
            ),
            "juicefs --list-threads 8": (
                "juicefs",
                place.juicefs("--list-threads", 8, f"{local}/", place.minio("ours")),
            ),
        }
        costs = interleaved({"trueup": ours, **_present(peers)}, _few(bench))
        together = together_mib(ours)
    cost = costs.pop("trueup")
    return Result(
        "s3-noop",
        f"{files:,} files and {files:,} objects of 100 bytes, nothing to do",
        "`trueup sync folder LOCAL s3://... --yes` lists both sides and compares them with their ancestors, by versions"
        " that name content; `rclone sync --size-only` compares sizes, `--checksum` hashes every file, `juicefs sync`"
        " compares sizes. Peak memory is that of the largest process; ours are two.",
        against(cost, costs),
        [
            *_time(cost, costs, "rclone --size-only --fast-list", 0.6),
            *_time(cost, costs, "juicefs --list-threads 8", 1.0),
            *_time(cost, costs, "rclone --checksum --fast-list", 0.4),
            at_most("peak memory, our processes together", together, 150, " MiB"),
        ],
        missing("rclone", "juicefs"),
    )


def _agreed(place: Site, files: int, prefix: str) -> tuple[Path, Command]:
    """A folder that agrees with a prefix, and the command that finds that out once more."""
    local = place.room / prefix
    make_tree(local, files, 100)
    ours = place.ours(local, prefix, place.room / f"state-{prefix}")
    for _ in range(2):  # agree; then look once more at what was too young to be believed
        run(ours)
    return local, ours


def noop_small(bench: Bench) -> Result:
    """Few files, and nothing to do: the start of the process weighs."""
    files = bench.size(5_000)
    with site(bench, "s3-noop-small") as place:
        local, ours = _agreed(place, files, "ours")
        plain = place.rclone("sync", local, "bench:test/theirs")
        if peer("rclone"):
            run(plain)  # it keeps times where only it finds them: it needs objects of its own
        sizes = place.rclone("sync", "--size-only", local, "bench:test/theirs")
        peers: Peers = {"rclone sync": ("rclone", plain), "rclone sync --size-only": ("rclone", sizes)}
        costs = interleaved({"trueup": ours, **_present(peers)}, bench.repeats)
    cost = costs.pop("trueup")
    return Result(
        "s3-noop-small",
        f"{files:,} files and {files:,} objects of 100 bytes, nothing to do",
        "As `s3-noop`, with the start of the process a large part. `rclone sync` as it comes asks for the time of every"
        " object, one by one.",
        against(cost, costs),
        [*_time(cost, costs, "rclone sync", 0.2), *_time(cost, costs, "rclone sync --size-only", 0.8)],
        missing("rclone"),
    )


# -- everything is new -----------------------------------------------------------------------------------------------


def upload(bench: Bench) -> Result:
    """Many small files are new."""
    files = bench.size(5_000)
    with site(bench, "s3-upload") as place:
        local = place.room / "local"
        make_tree(local, files, 4096)
        costs, ours = _uploads(place, local, bench.repeats, files, slow=True)
    return Result(
        "s3-upload",
        f"{files:,} files of 4 KiB, folder to bucket",
        "Into a new prefix each time, ours with a new state: it finds out what the service can refuse, too. Every"
        " object is written on the condition that nothing is there, with its digest and its times. The peers at their"
        " own concurrency; aws runs once.",
        against(ours, costs),
        [
            *_time(ours, costs, "s5cmd cp", 0.9),
            *_time(ours, costs, "juicefs sync", 1.0),
            *_time(ours, costs, "rclone copy"),
            *_time(ours, costs, "aws s3 cp"),
            told("files per second", f"{files / ours.wall_seconds:,.0f}"),
        ],
        missing("s5cmd", "juicefs", "rclone", "aws"),
    )


def _uploads(place: Site, local: Path, repeats: int, files: int, *, slow: bool) -> tuple[dict[str, Cost], Cost]:
    """Everybody's uploads of a folder, each run to a prefix of its own: the peers' costs, and ours."""
    state, prefix = place.room / "state", ""

    def fresh() -> None:
        nonlocal prefix
        shutil.rmtree(state, ignore_errors=True)
        shutil.rmtree(local / ".trueup", ignore_errors=True)
        prefix = place.fresh("up")

    def arrived() -> None:
        assert place.count(prefix) == files

    calls: dict[str, tuple[str, Callable[[], Command]]] = {
        "trueup": ("trueup", lambda: place.ours(local, prefix, state)),
        "s5cmd cp": ("s5cmd", lambda: place.s5cmd("cp", f"{local}/", f"{url(prefix)}/")),
        "juicefs sync": ("juicefs", lambda: place.juicefs(f"{local}/", place.minio(prefix))),
        "rclone copy": ("rclone", lambda: place.rclone("copy", local, f"bench:test/{prefix}")),
        "aws s3 cp": ("aws", lambda: place.aws("cp", "--recursive", "--quiet", local, url(prefix))),
    }
    commands = _each(calls, fresh, arrived)
    rare = {"aws s3 cp": commands.pop("aws s3 cp")} if "aws s3 cp" in commands else {}
    costs = interleaved(commands, repeats)
    if slow:
        costs |= {name: once(command) for name, command in rare.items()}
    return costs, costs.pop("trueup")


def _each(
    calls: Mapping[str, tuple[str, Callable[[], Command]]], fresh: Callable[[], None], arrived: Callable[[], None]
) -> dict[str, Command]:
    """Commands that are made anew for each run, after its ground was made."""

    def made(call: Callable[[], Command]) -> Command:
        command = call()
        return replace(command, argv=lambda: call().argv, before=fresh, after=arrived)  # type: ignore[arg-type,return-value]

    return {name: made(call) for name, (program, call) in calls.items() if peer(program) is not None}


def download(bench: Bench) -> Result:
    """Many small objects are new."""
    files = bench.size(5_000)
    with site(bench, "s3-download") as place:
        source = place.room / "source"
        make_tree(source, files, 4096)
        run(place.ours(source, "down", place.room / "seeding"))
        costs, ours = _downloads(place, bench.repeats, files, slow=True)
    return Result(
        "s3-download",
        f"{files:,} objects of 4 KiB, bucket to folder",
        "Into an empty folder each time, ours with a new state. Ours reads the expected version of each object, hashes"
        " it, syncs it to disk under another name, renames it, and commits a journal and an ancestor for it. aws runs"
        " once.",
        against(ours, costs),
        [
            *_time(ours, costs, "rclone copy", 0.8),
            *_time(ours, costs, "juicefs sync", 1.0),
            *_time(ours, costs, "s5cmd cp"),
            *_time(ours, costs, "aws s3 cp"),
            told("files per second", f"{files / ours.wall_seconds:,.0f}"),
        ],
        missing("rclone", "juicefs", "s5cmd", "aws"),
    )


def _downloads(place: Site, repeats: int, files: int, *, slow: bool) -> tuple[dict[str, Cost], Cost]:
    """Everybody's downloads of the prefix `down`, each run into an empty folder: the peers' costs, and ours."""
    state, local = place.room / "state", place.room / "local"

    def fresh() -> None:
        for path in (state, local):
            shutil.rmtree(path, ignore_errors=True)
        local.mkdir()

    def arrived() -> None:
        assert sum(path.suffix == ".dat" for path in local.rglob("*")) == files

    calls: dict[str, tuple[str, Callable[[], Command]]] = {
        "trueup": ("trueup", lambda: place.ours(local, "down", state)),
        "rclone copy": ("rclone", lambda: place.rclone("copy", "bench:test/down", local)),
        "juicefs sync": ("juicefs", lambda: place.juicefs(place.minio("down"), f"{local}/")),
        "s5cmd cp": ("s5cmd", lambda: place.s5cmd("cp", f"{url('down')}/*", f"{local}/")),
        "aws s3 cp": ("aws", lambda: place.aws("cp", "--recursive", "--quiet", url("down"), local)),
    }
    commands = _each(calls, fresh, arrived)
    rare = {"aws s3 cp": commands.pop("aws s3 cp")} if "aws s3 cp" in commands else {}
    costs = interleaved(commands, repeats)
    if slow:
        costs |= {name: once(command) for name, command in rare.items()}
    return costs, costs.pop("trueup")


def large(bench: Bench) -> Result:
    """One large file, there and back."""
    mib = max(16, bench.size(256))
    with site(bench, "s3-large") as place:
        source = place.room / "source"
        make_tree(source, 1, mib * 1024 * 1024)
        ups, our_up = _uploads(place, source, bench.repeats, 1, slow=False)
        run(place.ours(source, "down", place.room / "seeding"))
        downs, our_down = _downloads(place, bench.repeats, 1, slow=False)
    lines = [replace(line, what=f"{line.what}, up") for line in against(our_up, ups)]
    lines += [replace(line, what=f"{line.what}, down") for line in against(our_down, downs)]
    goals: list[Goal] = []
    if "s5cmd cp" in ups:
        goals.append(at_most("time up, against s5cmd", our_up.wall_seconds / ups["s5cmd cp"].wall_seconds, 0.85, "x"))
        down = our_down.wall_seconds / downs["s5cmd cp"].wall_seconds
        goals.append(at_most("time down, against s5cmd", down, 1.1, "x"))
    goals.append(told("peak memory up / down", f"{our_up.peak_mib:.0f} / {our_down.peak_mib:.0f} MiB"))
    return Result(
        "s3-large",
        f"one file of {mib} MiB, folder to bucket and bucket to folder",
        "As `s3-upload` and `s3-download`. Ours reads the file twice to upload it: its digest goes along in the"
        " metadata.",
        lines,
        goals,
        missing("s5cmd", "juicefs", "rclone"),
    )


# -- a folder has another name ---------------------------------------------------------------------------------------


def move(bench: Bench) -> Result:
    """A large folder has another name."""
    files = bench.size(10_000)
    with site(bench, "s3-move") as place:
        ours = _renaming(place, "ours", files, lambda local: place.ours(local, "ours", place.room / "state-ours"))
        commands = {"trueup": ours}
        if peer("rclone"):
            words = ("sync", "--track-renames", "--fast-list")
            commands["rclone sync --track-renames"] = _renaming(
                place, "theirs", files, lambda local: place.rclone(*words, local, "bench:test/theirs")
            )
        costs = interleaved(commands, _few(bench))
        sent, received, requests = _counted(place, max(100, files // 10))
    cost = costs.pop("trueup")
    return Result(
        "s3-move",
        f"a folder of {files:,} files of 4 KiB has another name, there and back",
        "Both find the renamed files by their content, let the service copy the objects and delete the old ones. Ours"
        " makes both conditional on the version, journals every move and commits its ancestor. Payload is what a proxy"
        " between us and the service sees pass when a tenth of the files is moved, our own marks and locks aside.",
        against(cost, costs),
        [
            *_time(cost, costs, "rclone sync --track-renames", 0.5),
            at_most("payload bytes that passed", sent + received, 0, " B"),
            told("requests per file", f"{requests:.1f}"),
            told("files per second", f"{files / cost.wall_seconds:,.0f}"),
        ],
        missing("rclone"),
    )


def _renaming(place: Site, prefix: str, files: int, call: Callable[[Path], Command]) -> Command:
    """A command whose ground has, before each run, a folder of another name than the bucket's."""
    local = place.room / f"local-{prefix}"
    names = local / "one", local / "two"
    make_tree(names[0], files, 4096)
    command = call(local)
    for _ in range(2):
        run(command)

    def renamed() -> None:
        before, after = names if names[0].exists() else reversed(names)
        before.rename(after)

    def arrived() -> None:
        folder = "one" if names[0].exists() else "two"
        found = list(place.names(prefix))
        assert len(found) == files
        assert all(key.startswith(f"{prefix}/{folder}/") for key in found)

    return replace(command, before=renamed, after=arrived)


def _counted(place: Site, files: int) -> tuple[int, int, float]:
    """Payload bytes that go up and down for a renamed folder, and requests per file, told by a proxy."""
    address = place.endpoint.partition("://")[2]
    with subprocess.Popen(job("count", address), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as proxy:
        assert proxy.stdin is not None
        assert proxy.stdout is not None
        through = place.at(proxy.stdout.readline().strip())
        state = place.room / "state-counted"
        command = _renaming(through, "counted", files, lambda local: through.ours(local, "counted", state))
        _tell(proxy)
        once(replace(command, after=lambda: None))
        told_by = _tell(proxy)
        proxy.stdin.close()
    return told_by["sent"], told_by["received"], told_by["requests"] / files


def _tell(proxy: subprocess.Popen[str]) -> dict[str, int]:
    """What has passed since it was asked last."""
    assert proxy.stdin is not None
    assert proxy.stdout is not None
    proxy.stdin.write("\n")
    proxy.stdin.flush()
    found: dict[str, int] = json.loads(proxy.stdout.readline())
    return found


# -- memory ----------------------------------------------------------------------------------------------------------


def many(bench: Bench) -> Result:
    """A very large bucket in flat memory."""
    most = bench.size(1_000_000)
    costs, together = {}, {}
    for entries in (most // 10, most):
        room = bench.room(f"s3-many-{entries}")
        with subprocess.Popen(
            job("service", entries), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as serving:
            assert serving.stdin is not None
            assert serving.stdout is not None
            words = (room, entries, serving.stdout.readline().strip())
            subprocess.run(job("bucket", "fill", *words), check=True)
            plan = Command(job("bucket", "plan", *words))
            for name, command in (("list", Command(job("bucket", "scan", *words))), ("plan", plan)):
                costs[f"{name} {entries:,}"] = once(command)
            together[entries] = together_mib(plan)
            serving.stdin.close()
    ratio = together[most] / together[most // 10]
    return Result(
        "s3-many",
        f"{most:,} keys of a made-up bucket, 300 changes",
        "A process that speaks S3 makes up the listing, and is not measured; the store lists it as it would any, the"
        " other side is made up in our process, the ancestors are read from the state database, the plan is made by"
        " the engine. One run each: what is asked is the memory.",
        [Line(name, cost) for name, cost in costs.items()],
        [
            at_most("peak memory, our processes together", together[most], 200, " MiB"),
            at_most(f"the same, {most:,} against {most // 10:,} keys", ratio, 1.25, "x"),
        ],
    )


ROWS: dict[str, Callable[[Bench], Result]] = {
    "s3-noop": noop,
    "s3-noop-small": noop_small,
    "s3-upload": upload,
    "s3-download": download,
    "s3-large": large,
    "s3-move": move,
    "s3-many": many,
}
