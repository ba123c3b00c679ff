"""The small strict part of DER (X.690) that CMS and CRLs need: one element at a time over offsets, and encoding."""

from libs.crypto.errors import CryptoError

INTEGER, OCTET_STRING, OID, UTF8_STRING, UTC_TIME = 0x02, 0x04, 0x06, 0x0C, 0x17
BIT_STRING, ENUMERATED, GENERALIZED_TIME = 0x03, 0x0A, 0x18
SEQUENCE, SET, CONTEXT_0, CONTEXT_1 = 0x30, 0x31, 0xA0, 0xA1

_LONG = 0x80
_MAX_LENGTH_BYTES = 4


class DerError(CryptoError):
    """Bytes that are not the expected DER."""


def read(data: bytes, at: int, end: int) -> tuple[int, int, int]:
    """Tag, start and stop of the content of the element at `at`. Raises DerError unless it ends by `end`."""
    start = at + 2
    if start > end:
        raise DerError("truncated")
    tag, length = data[at], data[at + 1]
    if tag & 0x1F == 0x1F:
        raise DerError("tag number above 30")
    if length >= _LONG:
        count = length - _LONG
        if not 1 <= count <= _MAX_LENGTH_BYTES or start + count > end:
            raise DerError("length")
        length = int.from_bytes(data[start : start + count], "big")
        if length < _LONG or length >> 8 * (count - 1) == 0:
            raise DerError("length not minimal")
        start += count
    stop = start + length
    if stop > end:
        raise DerError("truncated")
    return tag, start, stop


def expect(data: bytes, at: int, end: int, tag: int) -> tuple[int, int]:
    """Start and stop of the content of the element at `at`, which must have this tag. Raises DerError."""
    start = at + 2
    if start <= end and data[at] == tag:
        stop = start + data[at + 1]
        if stop < start + _LONG and stop <= end:  # a short length, by far the most: no second call
            return start, stop
    found, start, stop = read(data, at, end)
    if found != tag:
        raise DerError("unexpected element")
    return start, stop


def only(data: bytes, at: int, end: int, tag: int) -> tuple[int, int]:
    """Like `expect`, and nothing may follow before `end`."""
    start, stop = expect(data, at, end, tag)
    if stop != end:
        raise DerError("trailing bytes")
    return start, stop


def elements(data: bytes, at: int, end: int) -> list[tuple[int, int, int, int]]:
    """Every element in `at:end` as (tag, offset of the element, start, stop). Raises DerError."""
    found = []
    while at < end:
        tag, start, stop = read(data, at, end)
        found.append((tag, at, start, stop))
        at = stop
    return found


def encode(tag: int, *parts: bytes) -> bytes:
    """One element of definite, minimal length around the parts."""
    content = b"".join(parts)
    length = len(content)
    if length < _LONG:
        return bytes((tag, length)) + content
    size = (length.bit_length() + 7) // 8
    return bytes((tag, _LONG | size)) + length.to_bytes(size, "big") + content


def encode_oid(dotted: str) -> bytes:
    """An OBJECT IDENTIFIER element (X.690 section 8.19), of any arc size."""
    first, second, *rest = map(int, dotted.split("."))
    content = bytearray()
    for arc in (40 * first + second, *rest):
        groups = [arc & 0x7F]
        while arc := arc >> 7:
            groups.append(arc & 0x7F | 0x80)
        content += bytes(reversed(groups))
    return encode(OID, bytes(content))
