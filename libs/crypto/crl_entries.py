"""The entries of a CRL, from DER into fixed-width records: the loop that must be fast for a million of them."""

from __future__ import annotations  # array is generic for type checkers only

import sys
from array import array
from collections.abc import Iterator
from datetime import UTC, datetime

from libs.crypto.der import (
    ENUMERATED,
    GENERALIZED_TIME,
    INTEGER,
    OCTET_STRING,
    OID,
    SEQUENCE,
    UTC_TIME,
    DerError,
    elements,
    encode_oid,
    only,
    read,
)

SERIAL_SIZE = 20
"""Bytes of a serial number at most (RFC 5280 section 4.1.2.2)."""

KEY_SIZE = 8
"""Bytes of the sort key: the low end of the serial number, in which serials differ, random or counted."""

VALUE_SIZE = SERIAL_SIZE - KEY_SIZE + 5
"""High end of the serial number, left-padded (12), seconds since 1970 (4), reason code (1); all big-endian."""

UNSPECIFIED = 0
REMOVE_FROM_CRL = 8

_REASON_CODE = encode_oid("2.5.29.21")
# The one common form of entry extensions: SEQUENCE of one reasonCode, not critical.
_REASON_ONLY = bytes.fromhex("300c300a0603551d1504030a01")
_NO_REASON = bytes((UNSPECIFIED,))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = 86_400
_SHORT = 0x80
_RECORD_SIZE = KEY_SIZE + VALUE_SIZE


def pack_entries(data: bytes, at: int, end: int) -> tuple[array[int], bytes]:
    """The entries in `at:end`, sorted by key: the keys, and the values in the same order.

    Raises DerError for what is not understood: critical extensions of an entry (certificateIssuer, which makes a CRL
    indirect, is one), removeFromCRL (deltas have it), serial numbers that are not positive or too long.
    """
    # Sorted in 256 parts: a list of a million small objects would cost three times the index itself.
    parts = [bytearray() for _ in range(256)]
    for record in _records(data, at, end):
        parts[record[0]] += record
    keys, values = bytearray(), bytearray()
    for part in parts:
        records = sorted(bytes(part[i : i + _RECORD_SIZE]) for i in range(0, len(part), _RECORD_SIZE))
        keys += b"".join([record[:KEY_SIZE] for record in records])
        values += b"".join([record[KEY_SIZE:] for record in records])
        part.clear()
    numbers = array("Q", bytes(keys))
    if sys.byteorder == "little":
        numbers.byteswap()
    return numbers, bytes(values)


def _records(data: bytes, at: int, end: int) -> Iterator[bytes]:
    """Key and value of each entry. Written for speed: the common form costs one call an entry."""
    times = _Times()
    while at < end:
        tag, start, stop = read(data, at, end)
        first = start + 2
        last = first + data[start + 1] if first < stop else stop
        if tag != SEQUENCE or not first < last < stop or data[start] != INTEGER or last - first > SERIAL_SIZE:
            raise DerError("entry")
        serial = data[first:last]
        if serial[0] >= _SHORT or (serial[0] == 0 and (len(serial) == 1 or serial[1] < _SHORT)):
            raise DerError("serial number")
        tag, first, after = read(data, last, stop)
        moment = times.seconds(tag, data[first:after])
        reason = _NO_REASON if after == stop else _reason(data, after, stop)
        padded = serial.rjust(SERIAL_SIZE, b"\0")
        yield padded[-KEY_SIZE:] + padded[:-KEY_SIZE] + moment.to_bytes(4, "big") + reason
        at = stop


def seconds(tag: int, text: bytes) -> int:
    """Seconds since 1970 of a UTCTime or GeneralizedTime in the form of RFC 5280 section 5.1.2.4. Raises DerError."""
    return _Times().seconds(tag, text)


class _Times:
    """Remembers days and times of day, of which there are few, for the many entries of one CRL."""

    def __init__(self) -> None:
        self._days: dict[tuple[int, bytes], int] = {}
        self._clocks: dict[bytes, int] = {}

    def seconds(self, tag: int, text: bytes) -> int:
        day, clock = (tag, text[:-7]), text[-7:]
        try:
            return self._days[day] + self._clocks[clock]
        except KeyError:
            self._days[day] = _day_of(*day)
            self._clocks[clock] = _clock_of(clock)
        return self._days[day] + self._clocks[clock]


def _clock_of(text: bytes) -> int:
    if len(text) != 7 or text[-1:] != b"Z" or not text[:-1].isdigit():
        raise DerError("time")
    hour, minute, second = int(text[:2]), int(text[2:4]), int(text[4:6])
    if hour > 23 or minute > 59 or second > 59:
        raise DerError("time")
    return hour * 3600 + minute * 60 + second


def _day_of(tag: int, date: bytes) -> int:
    if (tag, len(date)) not in {(UTC_TIME, 6), (GENERALIZED_TIME, 8)} or not date.isdigit():
        raise DerError("time")
    year = int(date[:-4])
    if tag == UTC_TIME:
        year += 1900 if year >= 50 else 2000
    try:
        day = (datetime(year, int(date[-4:-2]), int(date[-2:]), tzinfo=UTC) - _EPOCH).days
    except ValueError:
        day = -1
    if not 0 <= day < 2**32 // _DAY:
        raise DerError("time")
    return day * _DAY


def _reason(data: bytes, at: int, end: int) -> bytes:
    reason = data[end - 1] if data[at : end - 1] == _REASON_ONLY else _reason_among(data, at, end)
    if reason > 10 or reason in {7, REMOVE_FROM_CRL}:
        raise DerError("reason")
    return bytes((reason,))


def _reason_among(data: bytes, at: int, end: int) -> int:
    reason = UNSPECIFIED
    for tag, _, start, stop in elements(data, *only(data, at, end, SEQUENCE)):
        parts = elements(data, start, stop)
        if tag != SEQUENCE or len(parts) != 2 or [parts[0][0], parts[1][0]] != [OID, OCTET_STRING]:
            raise DerError("critical extension of an entry")  # or one that is no extension at all
        if data[parts[0][1] : parts[0][3]] == _REASON_CODE:
            first, last = only(data, parts[1][2], parts[1][3], ENUMERATED)
            if last - first != 1:
                raise DerError("reason")
            reason = data[first]
    return reason
