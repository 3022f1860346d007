"""One turn of an unmodified client, or our server.

agent.py write|begin|push|pull|clone FILE URL TOKEN [FILES], or agent.py serve FILE. What takes time is written to
FILE.seconds, without the start of the interpreter.
"""

import asyncio
import random
import sys
import time
from pathlib import Path

import turso.aio.sync
import turso.sync

FILE_BYTES = 100 * 1024


async def write(path: str, url: str, token: str, files: int) -> None:
    """What an agent does all day, not pushed yet."""
    from agentfs_sdk import AgentFS

    dice = random.Random(1)
    async with turso.aio.sync.connect(path, url, auth_token=token) as database:
        agent = await AgentFS.open_with(database)
        for number in range(files):
            await agent.fs.write_file(f"/work/{number}.bin", dice.randbytes(FILE_BYTES))


def serve(path: str) -> None:
    """Until whoever started it goes away."""
    from trueup.replication import serving

    with serving(Path(path)) as served:
        print(served.url, served.token, sep="\n", flush=True)
        sys.stdin.read()


def main() -> None:
    verb, path, *rest = sys.argv[1:]
    if verb == "serve":
        serve(path)
    elif verb == "write":
        asyncio.run(write(path, rest[0], rest[1], int(rest[2])))
    else:
        begun = time.monotonic()
        connection = turso.sync.connect(path, rest[0], auth_token=rest[1])
        if verb == "push":
            connection.push()
        if verb == "pull":
            assert connection.pull()
        Path(f"{path}.seconds").write_text(str(time.monotonic() - begun))
        if verb in ("pull", "clone"):
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()  # only then the driver sees new tables
            print(connection.execute("SELECT count(*) FROM fs_data").fetchall()[0][0])


main()
