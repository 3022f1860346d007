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
    return digest_of(encode(plan))


def digest_of(document: Mapping[str, Any]) -> str:
    """`digest` of a plan that is encoded already."""
    body = {name: value for name, value in document.items() if name != "made_ns"}
    body["observed"] = {
        side: {name: value for name, value in observed.items() if name != "free_bytes"}
        for side, observed in document["observed"].items()
    }
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


def decode(expected: Any, data: object, path: str) -> Any:
    """Inverse of `encode` for a declared type.

    Args:
        expected: A dataclass, an enum, or a type made of them.
        data: Plain JSON types.
        path: Where in the document this is, for error messages.

    Raises:
        CodecError: If the data is not of that type.
    """
    return _decoder(expected)(data, path)


Decoder = Callable[[Any, str], Any]


@cache
def _decoder(expected: Any) -> Decoder:  # noqa: PLR0911  # a case for each form of type
    """How data becomes a value of one type; found once, as `_encoder`."""
    if isinstance(expected, NewType):
        return _decoder(expected.__supertype__)
    origin = typing.get_origin(expected)
    if origin in (Union, types.UnionType):
        return _union_decoder(typing.get_args(expected))
    if origin is tuple:
        return _tuple_decoder(typing.get_args(expected)[0])
    if origin is not None:
        return _mapping_decoder(typing.get_args(expected)[1])
    if dataclasses.is_dataclass(expected):
        return _dataclass_decoder(expected)
    if issubclass(expected, Enum):
        return _enum_decoder(expected)
    if expected is float:
        return lambda data, path: float(_typed(int, data, path)) if type(data) is int else _typed(float, data, path)
    return lambda data, path: _typed(expected, data, path)


def _typed(expected: type[T], data: object, path: str) -> T:
    if type(data) is not expected:
        raise CodecError(f"{path} must be {expected.__name__}", why=f"it is {type(data).__name__}")
    if isinstance(data, int | float) and not -MAX_NUMBER < data < MAX_NUMBER:
        raise CodecError(f"{path} is out of range")
    return data


def _tuple_decoder(item: Any) -> Decoder:
    def decode_all(data: Any, path: str) -> Any:
        each = _decoder(item)
        return tuple([each(part, f"{path}[{n}]") for n, part in enumerate(_typed(list, data, path))])

    return decode_all


def _mapping_decoder(item: Any) -> Decoder:
    def decode_each(data: Any, path: str) -> Any:
        each = _decoder(item)
        return {name: each(part, f"{path}.{name}") for name, part in _typed(dict, data, path).items()}

    return decode_each


def _union_decoder(options: tuple[Any, ...]) -> Decoder:
    rest = [option for option in options if option is not types.NoneType]

    def decode_one(data: Any, path: str) -> Any:
        if data is None and len(rest) < len(options):
            return None
        likely = rest
        if len(rest) > 1 and isinstance(data, dict):
            likely = [option for option in rest if data.keys() == _fields(option).keys()]
        if not likely:
            raise CodecError(f"{path} has the fields of nothing known")
        return _decoder(likely[0])(data, path)

    return decode_one


def _dataclass_decoder(expected: Any) -> Decoder:
    def decode_fields(data: Any, path: str) -> Any:
        hints = _fields(expected)
        fields = _typed(dict, data, path)
        if odd := sorted(fields.keys() ^ hints.keys()):
            raise CodecError(f"{path} has missing or unknown fields", why=", ".join(odd))
        return expected(**{name: _decoder(hint)(fields[name], f"{path}.{name}") for name, hint in hints.items()})

    return decode_fields


def _enum_decoder(expected: type[Enum]) -> Decoder:
    members: dict[Any, Enum] = {encode(member): member for member in expected}

    def decode_member(data: Any, path: str) -> Enum:
        found = members.get(data) if isinstance(data, str) else None
        if found is None:
            raise CodecError(f"{path} is no {expected.__name__}", why=repr(data))
        return found

    return decode_member


@cache
def _fields(cls: type) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}
