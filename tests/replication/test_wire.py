"""Bytes of the protocol: what is understood, and that everything else is refused and nothing breaks."""

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.replication.clients import status_of

from trueup.replication.refused import Refused
from trueup.replication.wire import PullRequest, header, page_head, parse_bitmap, parse_pull, varint


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def test_every_field_of_a_request_is_understood() -> None:
    body = b"".join(
        field(number, value)
        for number, value in ((1, 0), (2, b"e.2"), (3, b"e.1"), (4, 1500), (5, b"\x01"), (7, b"SELECT 1"), (8, 0))
    )
    assert parse_pull(body) == PullRequest("e.2", "e.1", 1500, b"\x01", "SELECT 1")
    assert parse_pull(b"") == PullRequest()


def test_fields_of_newer_clients_are_skipped() -> None:
    body = field(99, 1) + field(98, b"x") + varint(97 << 3 | 1) + bytes(8) + varint(96 << 3 | 5) + bytes(4)
    assert parse_pull(body + field(3, b"e.1")) == PullRequest(client_revision="e.1")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(field(1, 1), id="compressed pages"),
        pytest.param(field(8, 1), id="the logical log"),
        pytest.param(field(3, b"\xff"), id="no text"),
        pytest.param(b"\x1a\x05ab", id="cut off in a text"),
        pytest.param(b"\x20", id="cut off before a number"),
        pytest.param(b"\x20\x80", id="cut off in a number"),
        pytest.param(b"\x20" + b"\xff" * 11, id="a number without end"),
        pytest.param(b"\x21\x00", id="cut off in eight bytes"),
        pytest.param(b"\x25\x00", id="cut off in four bytes"),
        pytest.param(b"\x00\x00", id="field zero"),
        pytest.param(b"\x23", id="a group"),
    ],
)
def test_what_is_malformed_or_not_spoken_is_refused(body: bytes) -> None:
    with pytest.raises(Refused) as refused:
        parse_pull(body)
    assert refused.value.status == 400


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_refused(body: bytes) -> None:
    assert status_of(parse_pull, body) in (200, 400)


def test_an_answer_has_the_fields_of_the_protocol() -> None:
    assert header("e.1", 300) == b"\x0c" + b"\x0a\x03e.1" + b"\x10\xac\x02" + b"\x1a\x00" + b"\x40\x01"
    assert page_head(0) == b"\x85\x20" + b"\x08\x00" + b"\x12\x80\x20"
    assert page_head(300) == b"\x86\x20" + b"\x08\xac\x02" + b"\x12\x80\x20"


# -- bitmaps ---------------------------------------------------------------------------------------------------------


def bitmap(values: set[int], *, runs: bool) -> bytes:
    """As the specification says, written independently of the reader: arrays, bitsets, and runs if asked for."""
    parts: dict[int, list[int]] = {}
    for value in sorted(values):
        parts.setdefault(value >> 16, []).append(value & 0xFFFF)
    heads = b"".join(struct.pack("<HH", key, len(lows) - 1) for key, lows in parts.items())
    bodies = [spans(lows) if runs else bits(lows) if len(lows) > 4096 else shorts(lows) for lows in parts.values()]
    if runs:
        front = struct.pack("<HH", 12347, len(parts) - 1) + b"\xff" * ((len(parts) + 7) // 8)
    else:
        front = struct.pack("<II", 12346, len(parts))
    offsets = b""
    if not runs or len(parts) >= 4:
        at = len(front) + len(heads) + 4 * len(parts)
        for body in bodies:
            offsets += struct.pack("<I", at)
            at += len(body)
    return front + heads + offsets + b"".join(bodies)


def spans(lows: list[int]) -> bytes:
    found: list[list[int]] = []
    for low in lows:
        if found and found[-1][0] + found[-1][1] + 1 == low:
            found[-1][1] += 1
        else:
            found.append([low, 0])
    return struct.pack("<H", len(found)) + b"".join(struct.pack("<HH", *span) for span in found)


def bits(lows: list[int]) -> bytes:
    found = bytearray(8192)
    for low in lows:
        found[low // 8] |= 1 << low % 8
    return bytes(found)


def shorts(lows: list[int]) -> bytes:
    return struct.pack(f"<{len(lows)}H", *lows)


SETS = {
    "few": {0, 1, 5, 65_535},
    "side by side": set(range(32)),
    "a bitset": set(range(0, 20_000, 3)),
    "full": set(range(65_536)),
    "far apart": {7, 1 << 16, (5 << 16) + 3, (9 << 16) + 9, 1 << 20},
    "mixed": set(range(10_000)) | {70_000, 70_001, 200_000} | set(range(140_000, 150_000)),
    "any": set(random.Random(1).sample(range(300_000), 30_000)),
}


@pytest.mark.parametrize("runs", [False, True], ids=["plain", "runs"])
@pytest.mark.parametrize("name", SETS)
def test_a_bitmap_is_read(name: str, runs: bool) -> None:
    values = SETS[name]
    raw = bitmap(values, runs=runs)
    assert parse_bitmap(raw, 1 << 32) == sorted(values)
    for below in (0, 1, 6, 10_000, 65_536, 65_537, 140_005):
        assert parse_bitmap(raw, below) == sorted(value for value in values if value < below)


def test_what_is_not_below_is_never_made() -> None:
    """A few hundred kilobytes stand for every number there is."""
    count = 1 << 16
    raw = struct.pack("<HH", 12347, count - 1) + b"\xff" * (count // 8)
    raw += b"".join(struct.pack("<HH", key, 0xFFFF) for key in range(count)) + bytes(4 * count)
    raw += struct.pack("<HHH", 1, 0, 0xFFFF) * count
    assert parse_bitmap(raw, 10) == list(range(10))


@pytest.mark.parametrize("runs", [False, True], ids=["plain", "runs"])
def test_a_bitmap_that_is_cut_off_is_refused(runs: bool) -> None:
    raw = bitmap({1, 2, 70_000}, runs=runs)
    for size in range(len(raw)):
        with pytest.raises(Refused):
            parse_bitmap(raw[:size], 1 << 32)


def test_a_bitmap_out_of_order_is_refused() -> None:
    raw = struct.pack("<II", 12346, 2) + struct.pack("<HHHH", 1, 0, 1, 0) + bytes(8) + bytes(4)
    with pytest.raises(Refused):
        parse_bitmap(raw, 1 << 32)


@given(st.binary(max_size=300), st.sampled_from([b"", struct.pack("<I", 12346), struct.pack("<H", 12347)]))
def test_any_bytes_are_a_bitmap_or_refused(raw: bytes, cookie: bytes) -> None:
    found: list[int] = []
    assert status_of(lambda: found.extend(parse_bitmap(cookie + raw, 1000))) in (200, 400)
    assert found == sorted(set(found))
    assert all(0 <= value < 1000 for value in found)
