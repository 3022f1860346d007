"""Settings as documents: YAML that can be read by anybody, says nothing twice, and fits its adapter's schema.

No message repeats a value: settings hold secrets, and messages stand in plans and in the history.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from trueup.core.errors import StoreError, UsageError
from trueup.core.model import Key
from trueup.engine.job import Check
from trueup.targets.settings import MOST_BYTES, Settings, adapter_of

try:
    import yaml
except ImportError as error:
    raise UsageError(
        "settings cannot be read", why="PyYAML is not installed", attempt="pip install 'trueup[settings]'"
    ) from error

MOST_NODES = 200_000
"""Values of one document, aliases written out: a small file can stand for billions of them."""
GROUP = "trueup.settings"
"""Entry points of packages that know what an adapter's settings are like: a pydantic model, or a JSON Schema."""

_TAGS = frozenset(
    f"tag:yaml.org,2002:{name}"
    for name in ("binary", "bool", "float", "int", "map", "merge", "null", "seq", "str", "timestamp", "value")
)

Misfit = tuple[Sequence[object], str]
"""Where in a document something is wrong, as keys and indexes from its root, and what."""
Judge = Callable[[object], Misfit | None]


class Problem(Exception):
    """The document is not valid; line and column count from 1."""

    def __init__(self, what: str, line: int = 0, column: int = 0) -> None:
        super().__init__(f"line {line}, column {column}: {what}" if line else what)

    @classmethod
    def at(cls, mark: Any, what: str) -> Problem:
        """At a place that YAML names."""
        return cls(what) if mark is None else cls(what, mark.line + 1, mark.column + 1)


def check(settings: Settings, seconds: float) -> Check:
    """What settings are judged by."""
    judge_of = cache(lambda adapter: _judge_of(adapter, settings.schemas))

    def problem(key: Key, data: bytes) -> str | None:
        try:
            judge(data, judge_of(adapter_of(key)))
        except Problem as found:
            return str(found)
        return None

    return Check(problem, MOST_BYTES, seconds)


def judge(data: bytes, fits: Judge | None = None) -> None:
    """Raise Problem if the settings are not valid."""
    node, value = _read(_text(data))
    misfit = fits(value) if fits is not None else None
    if misfit is not None:
        path, what = misfit
        name = ".".join(str(part) for part in path)
        raise Problem.at(_mark(node, path), f"{name}: {what}" if name else what)


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        raise Problem("this is not UTF-8", line, column) from error


def _read(text: str) -> tuple[Any, object]:
    """The document's nodes, and what they stand for."""
    # Python's own parser: that of libyaml ends the process where nesting is deep enough.
    loader = yaml.SafeLoader("")
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None, None
        _walk(loader, node)
        return node, loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        raise Problem.at(error.problem_mark or error.context_mark, error.problem or "cannot be read") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        column = error.position - text.rfind("\n", 0, error.position)
        raise Problem("a character that YAML does not allow", line, column) from error
    except RecursionError as error:
        raise Problem("nested too deeply") from error
    except (ValueError, OverflowError) as error:  # a date that there is not, a number with too many digits
        raise Problem("a value that is not what its form says, such as a date that there is not") from error
    finally:
        loader.dispose()


def _walk(loader: Any, root: Any) -> None:
    """Refuse tags, keys that are there twice, and aliases without end."""
    sizes: dict[int, int | None] = {}

    def size(node: Any) -> int:
        known = sizes.get(id(node), 0)
        if known is None:
            raise Problem.at(node.start_mark, "an alias that holds itself")
        if known:
            return known
        sizes[id(node)] = None
        if node.tag not in _TAGS:
            raise Problem.at(node.start_mark, f"the tag {_short(node.tag)} is refused: settings are plain values")
        total = 1
        if isinstance(node, yaml.MappingNode):
            _refuse_twice(loader, node)
            total += sum(size(key) + size(value) for key, value in node.value)
        elif isinstance(node, yaml.SequenceNode):
            total += sum(size(value) for value in node.value)
        if total > MOST_NODES:
            raise Problem.at(node.start_mark, f"more than {MOST_NODES} values, aliases written out")
        sizes[id(node)] = total
        return total

    size(root)


def _short(tag: str) -> str:
    return "!!" + tag.removeprefix("tag:yaml.org,2002:") if tag.startswith("tag:yaml.org") else tag


def _refuse_twice(loader: Any, node: Any) -> None:
    lines: dict[Hashable, int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise Problem.at(key.start_mark, "a key must be a plain value")
        if key.tag not in _TAGS:
            raise Problem.at(key.start_mark, f"the tag {_short(key.tag)} is refused: settings are plain values")
        name = "<<" if key.tag.endswith((":merge", ":value")) else loader.construct_object(key)
        if (first := lines.get((type(name), name))) is not None:
            raise Problem.at(key.start_mark, f"the key {key.value!r} is there twice, first in line {first}")
        lines[type(name), name] = key.start_mark.line + 1


def _mark(node: Any, path: Iterable[object]) -> Any:
    """Where the value is that a path leads to, or what holds it."""
    for part in path:
        below = None
        if isinstance(node, yaml.MappingNode):
            below = next((value for key, value in node.value if key.value == str(part)), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            below = node.value[part]
        if below is None:
            break
        node = below
    return None if node is None else node.start_mark


# -- schemas -----------------------------------------------------------------------------------------------------


def _judge_of(adapter: str, folder: str) -> Judge | None:
    """By the folder of schemas, else by what a package says of the adapter."""
    path = Path(folder) / f"{adapter}.json"
    try:
        if folder and path.is_file():
            return _by_schema(json.loads(path.read_bytes()), str(path))
        for found in entry_points(group=GROUP, name=adapter):
            model = found.load()
            return _by_model(model) if hasattr(model, "model_validate") else _by_schema(model, found.value)
    except (OSError, ValueError) as error:
        raise StoreError(f"the schema {path} cannot be read", why=str(error)) from error
    return None


def _by_schema(schema: dict[str, Any], where: str) -> Judge:
    try:
        from jsonschema.exceptions import SchemaError
        from jsonschema.validators import validator_for
        from referencing import Registry
        from referencing.exceptions import Unresolvable
    except ImportError as error:
        raise StoreError("jsonschema is not installed", attempt="pip install 'trueup[settings]'") from error
    kind = validator_for(schema)
    try:
        kind.check_schema(schema)
    except SchemaError as error:
        raise StoreError(f"{where} is no JSON Schema", why=error.message) from error
    validator: Any = kind(schema, registry=Registry())  # an empty registry: nothing is fetched from anywhere

    def fits(value: object) -> Misfit | None:
        try:
            errors = sorted(validator.iter_errors(value), key=lambda error: [str(part) for part in error.absolute_path])
        except Unresolvable as error:
            raise StoreError(f"{where} refers to a schema that is not in it") from error
        return (list(errors[0].absolute_path), _rule(errors[0])) if errors else None

    return fits


def _rule(error: Any) -> str:
    """The rule that is broken. The library's own sentence repeats the value."""
    rule, wanted = error.validator, error.validator_value
    if rule in ("required", "dependentRequired"):
        return str(error.message)  # it names keys only
    if rule == "additionalProperties" and wanted is False:
        known = error.schema.get("properties", {})
        odd = ", ".join(repr(name) for name in error.instance if name not in known)
        return f"{odd}: no such setting"
    if rule == "enum":
        return f"must be one of {', '.join(map(repr, wanted))}"
    if rule == "type":
        return f"must be {wanted if isinstance(wanted, str) else ' or '.join(wanted)}"
    return f"breaks the rule {rule} {wanted}" if _is_short(wanted) else f"breaks the rule {rule}"


def _is_short(value: object) -> bool:
    return isinstance(value, (str, int, float, bool))


def _by_model(model: Any) -> Judge:
    from pydantic import ValidationError

    def fits(value: object) -> Misfit | None:
        try:
            model.model_validate(value)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            return list(first["loc"]), first["msg"]
        return None

    return fits
