"""Settings as documents: what is refused, and where it says so."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from trueup.api.content import documents
from trueup.api.content.documents import Problem, check, judge
from trueup.core.errors import StoreError
from trueup.core.model import Key
from trueup.targets import Settings


def why(text: str | bytes, settings: Settings | None = None, name: str = "cache.yml") -> str | None:
    judged = check(settings or Settings(), 10)
    return judged.problem(Key(f"deep/{name}"), text if isinstance(text, bytes) else text.encode())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing but this\n",
        "a: 1\nb: [1, 2.5, yes, null, 2026-01-01]\nc: {d: text}\n",
        "base: &base {a: 1}\nreal:\n  <<: *base\n  a: 2\n",
        "\ufeffa: 1\n",
        "1: one\ntrue: two\n'1': three\n",
    ],
)
def test_what_everybody_can_read_is_fine(text: str) -> None:
    assert why(text) is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\n b: 2\n", "line 2, column 3: mapping values are not allowed here"),
        ("a: [1\n", "line 2, column 1: expected ',' or ']', but got '<stream end>'"),
        ("a: 1\nb: 2\na: 3\n", "line 3, column 1: the key 'a' is there twice, first in line 1"),
        ("x:\n  - {b: 1, b: 2}\n", "line 2, column 12: the key 'b' is there twice, first in line 2"),
        ("a: 1\n'a': 3\n", "line 2, column 1: the key 'a' is there twice, first in line 1"),
        ("? [a, b]\n: 1\n", "line 1, column 3: a key must be a plain value"),
        (
            "a: !!python/object/apply:os.system [ls]\n",
            "line 1, column 4: the tag !!python/object/apply:os.system is refused: settings are plain values",
        ),
        ("a:\n  b: !env HOME\n", "line 2, column 6: the tag !env is refused: settings are plain values"),
        ("!env a: 1\n", "line 1, column 1: the tag !env is refused: settings are plain values"),
        ("a: &a [*a]\n", "line 1, column 4: an alias that holds itself"),
        ("a: *b\n", "line 1, column 4: found undefined alias 'b'"),
        ("a: 1\n---\nb: 2\n", "line 2, column 1: but found another document"),
        ("a: 2026-99-99\n", "a value that is not what its form says, such as a date that there is not"),
        ("a: b\n\n  \x07\n", "line 3, column 3: a character that YAML does not allow"),
        (b"a: 1\nb: caf\xe9\n", "line 2, column 7: this is not UTF-8"),
        ("[" * 5_000, "nested too deeply"),
    ],
)
def test_what_is_wrong_is_said_with_its_line_and_column(text: str | bytes, problem: str) -> None:
    assert why(text) == problem


def test_a_document_that_grows_without_end_is_refused() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)
    )
    assert "more than 200000 values, aliases written out" in (why(bomb) or "")


def schema(folder: Path, **fields: object) -> Settings:
    (folder / "cache.json").write_text(json.dumps(fields))
    return Settings(schemas=str(folder))


def test_an_adapter_s_schema_says_where_a_value_does_not_fit(tmp_path: Path) -> None:
    settings = schema(
        tmp_path,
        required=["host"],
        additionalProperties=False,
        properties={
            "host": {"type": "string"},
            "port": {"type": ["integer", "null"], "maximum": 65535},
            "mode": {"enum": ["a", "b"]},
            "pools": {"items": {"properties": {"size": {"type": "integer"}}}},
        },
    )
    assert why("host: here\nport: 1\n", settings) is None
    assert why("port: 1\n", settings) == "line 1, column 1: 'host' is a required property"
    assert why("host: here\nport: hunter2\n", settings) == "line 2, column 7: port: must be integer or null"
    assert why("host: here\nport: 99999\n", settings) == "line 2, column 7: port: breaks the rule maximum 65535"
    assert why("host: here\nmode: c\n", settings) == "line 2, column 7: mode: must be one of 'a', 'b'"
    assert why("host: here\nhots: x\n", settings) == "line 1, column 1: 'hots': no such setting"
    text = "host: here\npools:\n  - size: 1\n  - size: hunter2\n"
    assert why(text, settings) == "line 4, column 11: pools.1.size: must be integer"
    assert why("port: nonsense\n", settings, "mail.yml") is None, "another adapter's"


def test_no_message_repeats_a_value(tmp_path: Path) -> None:
    rules = {"type": "integer", "pattern": "^x", "minLength": 99, "const": 1, "enum": [1], "not": {}}
    for rule, wanted in rules.items():
        problem = why("key: hunter2\n", schema(tmp_path, properties={"key": {rule: wanted}}))
        assert problem is not None
        assert "hunter2" not in problem


def test_a_schema_that_cannot_be_used_is_no_reason_to_publish(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is no JSON Schema"):
        why("a: 1\n", schema(tmp_path, type="nonsense"))
    with pytest.raises(StoreError, match="refers to a schema that is not in it"):
        why("a: 1\n", schema(tmp_path, **{"$ref": "http://127.0.0.1:9/other.json"}))
    (tmp_path / "cache.json").write_text("{")
    with pytest.raises(StoreError, match="cannot be read"):
        why("a: 1\n", Settings(schemas=str(tmp_path)))


def test_a_package_may_bring_a_model_for_its_adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "example_cache.py").write_text(
        "import pydantic\nclass Cache(pydantic.BaseModel):\n    size: int\nSCHEMA = {'required': ['port']}\n"
    )
    info = tmp_path / "example-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: example\nVersion: 1.0\n")
    points = f"[{documents.GROUP}]\ncache = example_cache:Cache\nmail = example_cache:SCHEMA\n"
    (info / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert why("size: 1\n") is None
    problem = why("size: hunter2\n")
    assert problem is not None
    assert problem.startswith("line 1, column 7: size: Input should be a valid integer")
    assert "hunter2" not in problem
    assert why("size: 1\n", name="mail.yml") == "line 1, column 1: 'port' is a required property"
    sys.modules.pop("example_cache", None)


def test_a_judge_may_be_asked_directly() -> None:
    with pytest.raises(Problem, match="line 1, column 1: too odd"):
        judge(b"a: 1\n", lambda _: ((), "too odd"))
