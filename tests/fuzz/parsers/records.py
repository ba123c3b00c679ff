"""Record batches, as a fetch returns them. The codec is never asked for: topics keep what is sent uncompressed."""

import struct
from collections.abc import Iterable
from contextlib import suppress
from random import Random
from typing import Any

from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c

from libs.bus.records import TolerantRecords
from tests.fuzz.mutating import mutate_bytes
from tests.fuzz.target import Target

_HEAD = 61
"""Bytes of a batch before its records."""

_CODEC, _CRC, _ATTRIBUTES = 0x07, 17, 21

_DECLARED = (CorruptRecordException, ValueError, IndexError, struct.error)
"""What aiokafka, and its consumer, know of a batch that is broken; never a name that is no UTF-8."""


def accepts(data: bytes) -> bool:
    """Whether all of it is read; then aiokafka's own reader gives the same, unless a name stops it."""
    data = _uncompressed(data)
    try:
        ours = _read(TolerantRecords(data))
    except UnicodeDecodeError as error:
        raise AssertionError("a header name stopped the reading") from error
    except _DECLARED:
        return False
    with suppress(UnicodeDecodeError):
        assert _read(MemoryRecords(data)) == ours
    return True


def _read(records: Any) -> list[tuple[Any, ...]]:
    found = []
    while records.has_next():
        batch = records.next_batch()
        if batch.is_control_batch:
            continue
        found += [(one.offset, one.timestamp, one.key, one.value, tuple(one.headers)) for one in batch]
    return found


def _uncompressed(data: bytes) -> bytes:
    changed = bytearray(data)
    at = 0
    while at + _HEAD <= len(changed):
        changed[at + _ATTRIBUTES + 1] &= ~_CODEC & 0xFF
        (length,) = struct.unpack_from(">i", changed, at + 8)
        at += 12 + length if length > 0 else len(changed)
    return bytes(changed)


def _batch(*headers: tuple[str, bytes | None]) -> bytes:
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 20)
    for offset, value in enumerate((b'{"a":1}', None, b"x" * 40)):
        builder.append(offset, 1_795_420_800_123, b"key", value, list(headers))
    return bytes(builder.build())


def _mutate(data: bytes, random: Random) -> bytes:
    """Mostly the records, with the length of the batch made right."""
    if random.random() < 0.2 or len(data) < _HEAD:
        return mutate_bytes(data, random)
    body = mutate_bytes(data[_HEAD:], random)
    head = bytearray(data[:_HEAD])
    struct.pack_into(">i", head, 8, _HEAD - 12 + len(body))
    whole = head + body
    struct.pack_into(">I", whole, _CRC, calc_crc32c(bytes(whole[_ATTRIBUTES:])))
    return bytes(whole)


def seeds() -> Iterable[bytes]:
    """One batch, two in a row, and names that are not ASCII."""
    one, other = _batch(("ce_id", b"1"), ("ce_type", None)), _batch(("n\xe4me", b"\xff"), ("", b""))
    yield one
    yield one + other
    yield other.replace("n\xe4me".encode(), b"n\xff\xfeme")


TARGET = Target("records", accepts, seeds, _mutate)
