"""The small strict part of DER (X.690) that signatures need."""

INTEGER, BIT_STRING, OCTET_STRING, OID, UTF8_STRING, UTC_TIME = 0x02, 0x03, 0x04, 0x06, 0x0C, 0x17
SEQUENCE, SET, CONTEXT_0 = 0x30, 0x31, 0xA0


def encode(tag: int, *parts: bytes) -> bytes:
    """One element around the parts."""
    content = b"".join(parts)
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    size = (length.bit_length() + 7) // 8
    return bytes((tag, 0x80 | size)) + length.to_bytes(size, "big") + content


def encode_oid(dotted: str) -> bytes:
    """An OBJECT IDENTIFIER element."""
    first, second, *rest = map(int, dotted.split("."))
    content = bytearray()
    for arc in (40 * first + second, *rest):
        groups = [arc & 0x7F]
        while arc := arc >> 7:
            groups.append(arc & 0x7F | 0x80)
        content += bytes(reversed(groups))
    return encode(OID, bytes(content))


def children(element: bytes) -> list[bytes]:
    """The elements inside one constructed element, each whole. Raises ValueError for what is not definite DER."""
    start, stop = _content(element, 0)
    if stop != len(element):
        raise ValueError("trailing bytes")
    found = []
    while start < stop:
        _, end = _content(element, start)
        found.append(element[start:end])
        start = end
    return found


def content(element: bytes) -> bytes:
    """What is inside one element. Raises ValueError."""
    start, stop = _content(element, 0)
    return element[start:stop]


def _content(data: bytes, at: int) -> tuple[int, int]:
    if at + 2 > len(data):
        raise ValueError("truncated")
    start, length = at + 2, data[at + 1]
    if length >= 0x80:
        count = length - 0x80
        if not 1 <= count <= 4:
            raise ValueError("length")
        length = int.from_bytes(data[start : start + count], "big")
        start += count
    if start + length > len(data):
        raise ValueError("truncated")
    return start, start + length
