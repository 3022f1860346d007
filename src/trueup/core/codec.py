"""Plans and reports as versioned JSON, and back.

Values are encoded field by field from their dataclasses, so the documents say what the code says; unknown fields and
wrong types are refused with their path. Lone surrogates (names that are not UTF-8) survive as ``\\udcXX`` escapes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import types
import typing
from collections.abc import Callable, Mapping
from enum import Enum, IntEnum
from functools import cache
from typing import Any, NewType, TypeVar, Union

from trueup.core.coherence import incoherence
from trueup.core.errors import TrueupError
from trueup.core.plan import Plan
from trueup.core.report import Report

PLAN_FORMAT = "trueup.plan"
REPORT_FORMAT = "trueup.report"
VERSION = 1
MAX_BYTES = 128 * 1024 * 1024
"""Of a saved plan: some 120,000 changes, at 1.1 kB each."""
MAX_VALUES = 6_000_000
"""In a saved plan, counted by commas and brackets: a change has 35. Each costs up to 120 bytes of memory."""
MAX_NUMBER = 1 << 94
"""No size, time or count is larger: a system's time is 64 bits of seconds, here in nanoseconds."""

T = TypeVar("T")


class CodecError(TrueupError):
    """A document is not what it should be."""

    code = "TU-DOCUMENT"
    exit_code = 64


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """The plan as a JSON document with its digest."""
    body = encode(plan)
    return {"format": PLAN_FORMAT, "version": VERSION, "digest": digest(plan), "plan": body}


def plan_from_json(document: object) -> Plan:
    """Inverse of `plan_to_json`.

    Raises:
        CodecError: If it is no plan, of a newer version, or was altered.
    """
    body = _body(document, PLAN_FORMAT, "plan")
    plan: Plan = decode(Plan, body, "plan")
    stated = document.get("digest") if isinstance(document, dict) else None
    if stated != digest(plan):
        raise CodecError("the plan was altered or damaged", why=f"its digest is {digest(plan)}, it says {stated}")
    return plan


def plan_from_bytes(data: bytes) -> Plan:
    """A plan as it was saved, from anybody: what would cost memory or time out of proportion is refused unread.

    Args:
        data: UTF-8 JSON.

    Raises:
        CodecError: If it is no plan, or too large, of a newer version, was altered, or does not hang together.
    """
    if len(data) > MAX_BYTES:
        raise CodecError("the plan is too large to be read", why=f"it has more than {MAX_BYTES} bytes")
    if sum(map(data.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise CodecError("the plan is too large to be read", why=f"it has more than {MAX_VALUES} values")
    try:
        document = json.loads(data.decode(), object_pairs_hook=_once, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise CodecError("the plan is nested too deeply") from error
    except ValueError as error:
        raise CodecError("the plan is not JSON", why=str(error)) from error
    plan = plan_from_json(document)
    refuse_incoherent(plan)
    return plan


def refuse_incoherent(plan: Plan) -> None:
    """Raise CodecError for a plan that nobody can have made, whatever its digest says."""
    if (why := incoherence(plan)) is not None:
        raise CodecError("the plan does not hang together", why=why)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise CodecError("a field is there twice", why="programs do not agree on which of them counts")
    return fields


def _refuse_constant(name: str) -> None:
    raise CodecError(f"{name} is no number")


def report_to_json(report: Report) -> dict[str, Any]:
    """The report as a JSON document, its plan included."""
    return {"format": REPORT_FORMAT, "version": VERSION, "report": encode(report)}


def report_from_json(document: object) -> Report:
    """Inverse of `report_to_json`.

    Raises:
        CodecError: If it is no report, or of a newer version.
    """
    report: Report = decode(Report, _body(document, REPORT_FORMAT, "report"), "report")
    return report


def digest(plan: Plan) -> str:
    """Names the content of a plan: what it would do, not when it was made or how much space was free.

    Two plans with the same digest carry out the same steps on the same versions.
    """
    body = encode(plan)
    del body["made_ns"]
    for observed in body["observed"].values():
        del observed["free_bytes"]
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _body(document: object, expected: str, field: str) -> object:
    if not isinstance(document, dict) or document.get("format") != expected:
        raise CodecError(f"this is not a {expected} document")
    if document.get("version") != VERSION:
        raise CodecError(
            f"{expected} version {document.get('version')!r} cannot be read", why=f"this trueup reads version {VERSION}"
        )
    return document.get(field)


def encode(value: Any) -> Any:
    """A value of the core as plain JSON types."""
    return _encoder(value.__class__)(value)


@cache
def _encoder(cls: type) -> Callable[[Any], Any]:
    """How values of one class are encoded; found once, because large plans have a million of them."""
    if dataclasses.is_dataclass(cls):
        hints = _fields(cls)
        rest = tuple(name for name, hint in hints.items() if not _is_plain(hint))

        def encode_fields(value: Any) -> dict[str, Any]:
            fields = {name: getattr(value, name) for name in hints}
            for name in rest:
                if fields[name] is not None:
                    fields[name] = encode(fields[name])
            return fields

        return encode_fields
    if issubclass(cls, IntEnum):
        return lambda value: value.name.lower()
    if issubclass(cls, Enum):
        return lambda value: value.value
    if issubclass(cls, Mapping):
        return lambda value: {str(key): encode(item) for key, item in value.items()}
    if issubclass(cls, tuple):
        return lambda value: [encode(item) for item in value]
    return lambda value: value


def _is_plain(hint: Any) -> bool:
    """Whether values of a type are JSON as they are."""
    if isinstance(hint, NewType):
        return _is_plain(hint.__supertype__)
    if typing.get_origin(hint) in (Union, types.UnionType):
        return all(_is_plain(option) for option in typing.get_args(hint))
    return hint in (str, int, float, bool, types.NoneType)


def decode(expected: Any, data: object, path: str) -> Any:  # noqa: PLR0911  # a case for each form of type
    """Inverse of `encode` for a declared type.

    Args:
        expected: A dataclass, an enum, or a type made of them.
        data: Plain JSON types.
        path: Where in the document this is, for error messages.

    Raises:
        CodecError: If the data is not of that type.
    """
    if isinstance(expected, NewType):
        expected = expected.__supertype__
    origin = typing.get_origin(expected)
    if origin in (Union, types.UnionType):
        return _decode_union(typing.get_args(expected), data, path)
    if origin is tuple:
        item = typing.get_args(expected)[0]
        return tuple(decode(item, part, f"{path}[{n}]") for n, part in enumerate(_typed(list, data, path)))
    if origin is not None:
        item = typing.get_args(expected)[1]
        return {name: decode(item, part, f"{path}.{name}") for name, part in _typed(dict, data, path).items()}
    if isinstance(expected, type) and dataclasses.is_dataclass(expected):
        return _decode_dataclass(expected, _typed(dict, data, path), path)
    if isinstance(expected, type) and issubclass(expected, Enum):
        return _decode_enum(expected, data, path)
    if expected is float and type(data) is int:
        return float(_typed(int, data, path))
    return _typed(expected, data, path)


def _typed(expected: type[T], data: object, path: str) -> T:
    if type(data) is not expected:
        raise CodecError(f"{path} must be {expected.__name__}", why=f"it is {type(data).__name__}")
    if isinstance(data, int | float) and not -MAX_NUMBER < data < MAX_NUMBER:
        raise CodecError(f"{path} is out of range")
    return data


def _decode_union(options: tuple[Any, ...], data: object, path: str) -> Any:
    if data is None and types.NoneType in options:
        return None
    rest = [option for option in options if option is not types.NoneType]
    if len(rest) > 1 and isinstance(data, dict):
        rest = [option for option in rest if set(data) == set(_fields(option))]
    if not rest:
        raise CodecError(f"{path} has the fields of nothing known")
    return decode(rest[0], data, path)


def _decode_dataclass(expected: type, data: dict[str, object], path: str) -> Any:
    hints = _fields(expected)
    if odd := sorted(set(data) ^ set(hints)):
        raise CodecError(f"{path} has missing or unknown fields", why=", ".join(odd))
    return expected(**{name: decode(hint, data[name], f"{path}.{name}") for name, hint in hints.items()})


def _decode_enum(expected: type[Enum], data: object, path: str) -> Enum:
    for member in expected:
        if data == encode(member):
            return member
    raise CodecError(f"{path} is no {expected.__name__}", why=repr(data))


@cache
def _fields(cls: type) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}
