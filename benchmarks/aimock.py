"""Ask a server that others wrote: aimock.py PROGRAM [--record]; `make aimock` installs and runs it.

aimock (npm, `@copilotkit/aimock`) plays OpenAI, OpenRouter and Ollama on one port. It is given 70 models, is asked by
the installed command as three providers, loses one model, and is asked twice more.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.results import machine, record  # only now can it be found

MODELS = [f"model-{n:02}" for n in range(70)]
PROVIDERS = ("openai", "openrouter", "ollama")
KEY = "sk-aimock-4711-secret"


@contextmanager
def playing(program: Sequence[str], room: Path, models: Sequence[str], port: str) -> Iterator[str]:
    """The server with these models; its address. At another port it would be another account."""
    fixtures = [{"match": {"model": name, "userMessage": "x"}, "response": {"content": "y"}} for name in models]
    (room / "fixtures.json").write_text(json.dumps({"fixtures": fixtures}))
    command = ["node", *program, "--port", port, "--fixtures", str(room / "fixtures.json")]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        for line in server.stdout or ():
            if found := re.search(r"listening on (http://\S+)", line):
                yield found[1]
                return
        raise RuntimeError("it did not start")
    finally:
        server.terminate()
        server.wait()


def ask(address: str, room: Path) -> list[dict[str, Any]]:
    """What `trueup sync models` says of each provider."""
    told = {
        "TRUEUP_STATE": str(room / "state"),
        "OPENAI_BASE_URL": f"{address}/v1",
        "OPENAI_API_KEY": KEY,
        "OPENROUTER_BASE_URL": f"{address}/api/v1",
        "OPENROUTER_API_KEY": KEY,
        "OLLAMA_HOST": address,
    }
    named = [word for name in PROVIDERS for word in ("--provider", name)]
    command = [sys.executable, "-m", "trueup", "sync", "models", "--force", *named, "--json"]
    done = subprocess.run(command, env=os.environ | told, cwd=room, stdout=subprocess.PIPE, check=True)
    found: list[dict[str, Any]] = json.loads(done.stdout)["providers"]
    return found


def count(room: Path, state: str) -> int:
    """How many models of the catalogue are in a state."""
    command = [sys.executable, "-m", "trueup", "models", "ls", "--all", "--json"]
    environment = os.environ | {"TRUEUP_STATE": str(room / "state")}
    done = subprocess.run(command, env=environment, cwd=room, stdout=subprocess.PIPE, check=True)
    return sum(model["state"] == state for model in json.loads(done.stdout)["models"])


def main(argv: Sequence[str]) -> int:
    """Ask, check, print; 1 if anything is otherwise than it should be."""
    program = argv[:1]
    release = json.loads((Path(program[0]).resolve().parents[1] / "package.json").read_text())["version"]
    with tempfile.TemporaryDirectory(prefix="trueup-aimock-") as folder:
        room = Path(folder)
        rows, port = [], "0"
        for what, models in (("70 models", MODELS), ("one less", MODELS[:-1]), ("the same again", MODELS[:-1])):
            with playing(program, room, models, port) as address:
                port = address.rpartition(":")[2]
                listed = {one["provider"]: one["models"] for one in ask(address, room)}
            states = [count(room, state) for state in ("active", "missing", "removed")]
            rows.append((what, [listed[name] for name in PROVIDERS], states))
        kept = b"".join(path.read_bytes() for path in (room / "state").rglob("*") if path.is_file())
    expected = [([70] * 3, [210, 0, 0]), ([69] * 3, [207, 3, 0]), ([69] * 3, [207, 0, 3])]
    right = [(listed, states) for _, listed, states in rows] == expected and KEY.encode() not in kept
    text = [
        "## A server that others wrote",
        "",
        f"`make aimock`: aimock {release} plays OpenAI, OpenRouter and Ollama on one port; the command asks as three",
        "providers. The list loses a model, which is missing first and removed the next time.",
        "",
        "| | OpenAI | OpenRouter | Ollama | active | missing | removed |",
        "|---|---|---|---|---|---|---|",
        *(f"| {what} | {' | '.join(map(str, [*listed, *states]))} |" for what, listed, states in rows),
        "",
        f"{'As it should be' if right else '**Not as it should be**'}; the key is nowhere in the state. {machine()}.",
    ]
    print("\n".join(text))
    if "--record" in argv:
        record("aimock", text)
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
