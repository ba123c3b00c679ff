"""Mutations in the terms of a format: what random bytes would never hit, because a length or a quote breaks first."""

import json
from random import Random
from typing import Any

from libs.crypto.der import DerError, elements, encode
from tests.fuzz.target import Mutate

_CONSTRUCTED = 0x20
_STRINGS = {0x03, 0x04}  # bit and octet strings, which may have DER inside
_SIZES = (0, 1, 2, 7, 8, 19, 20, 21, 127, 128, 255, 256, 5000)
_TAGS = (
    0x01,
    0x02,
    0x03,
    0x04,
    0x05,
    0x06,
    0x0A,
    0x0C,
    0x13,
    0x16,
    0x17,
    0x18,
    0x1F,
    0x30,
    0x31,
    0x80,
    0xA0,
    0xA1,
    0xA3,
)
_VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 2**53, 2**64, 10**400, 0.5, 1e308, "", "\ud800", "\u0000", "a" * 300, "=", "====", "é", "𝒳",
    "2026-11-23T08:00:00.000000", "9999-12-31T23:59:59.999999+00:00", "0001-01-01T00:00:00+23:59", "NaN", [], {}, [[]],
    "00000000-0000-0000-0000-000000000000", "999999999999", "0.00", "-1.00",
)  # fmt: skip
_TEXTS = (
    b"NaN",
    b"1e999",
    b"[" * 2000,
    b'{"a":' * 2000,
    b"\xef\xbb\xbf",
    b"\xff",
    b"9" * 5000,
    b'"\\ud800"',
    b",",
    b"}",
)


def mutate_bytes(data: bytes, random: Random) -> bytes:
    """Flip, cut, insert, repeat or overwrite, one to four times."""
    changed = bytearray(data)
    for _ in range(random.randint(1, 4)):
        at = random.randint(0, len(changed))
        size = random.choice((1, 1, 2, 4, 16))
        match random.randrange(5):
            case 0 if changed:
                changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
            case 1:
                del changed[at : at + size]
            case 2:
                changed[at:at] = random.choice((random.randbytes(size), bytes(size), b"\xff" * size))
            case 3:
                changed[at : at + size] = random.randbytes(size)
            case _:
                changed[at:at] = changed[at : at + 4 * size]
    return bytes(changed)


def mutate_der(data: bytes, random: Random) -> bytes:
    """Change one to three elements of well-formed DER at any depth, with every length around them made right."""
    for _ in range(random.randint(1, 3)):
        data = _element(data, random) or mutate_bytes(data, random)
    return data


def _element(data: bytes, random: Random) -> bytes | None:
    """`data` with one of its elements changed, or None when it is none, or nothing in it was chosen."""
    try:
        parts = elements(data, 0, len(data))
    except DerError:
        return None
    if not parts:
        return None
    number = random.randrange(len(parts))
    pieces = [data[at:stop] for _, at, _, stop in parts]
    tag, _, start, stop = parts[number]
    content = data[start:stop]
    inner = None
    if content and (tag & _CONSTRUCTED or tag in _STRINGS) and random.random() < 0.8:
        lead = content[:1] if tag == 0x03 else b""  # unused bits
        inner = _element(content[len(lead) :], random)
        if inner is not None:
            pieces[number] = encode(tag, lead, inner)
    if inner is None:
        pieces[number : number + 1] = _changed(tag, content, pieces, random)
    return b"".join(pieces)


def _changed(tag: int, content: bytes, siblings: list[bytes], random: Random) -> list[bytes]:
    element = encode(tag, content)
    match random.randrange(8):
        case 0:
            return []
        case 1:
            return [element] * random.choice((2, 2, 3, 40))
        case 2:
            return [encode(random.choice(_TAGS), content)]
        case 3:
            return [element, random.choice(siblings)]
        case 4:
            return [encode(tag, random.randbytes(random.choice(_SIZES)))]
        case 5:
            return [encode(tag, encode(random.choice(_TAGS), content))]
        case 6 if len(content) < 128:
            return [bytes((tag, 0x81, len(content))) + content]  # not the shortest length
        case _:
            return [encode(tag, mutate_bytes(content, random))]


def mutate_json(data: bytes, random: Random) -> bytes:
    """Change one to three values, names or members at any depth; now and then bytes of the text itself."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return mutate_bytes(data, random)
    for _ in range(random.randint(1, 3)):
        value = _value(value, random)
    text = json.dumps(value, ensure_ascii=random.random() < 0.5).encode("utf-8", "surrogatepass")
    match random.randrange(10):
        case 0:
            return mutate_bytes(text, random)
        case 1:
            at = random.randint(0, len(text))
            return text[:at] + random.choice(_TEXTS) + text[at:]
        case 2 if text.startswith(b"{") and len(text) > 2:
            return b"{" + text[1:].partition(b",")[0].removesuffix(b"}") + b"," + text[1:]  # a name twice
        case _:
            return text


def _value(value: Any, random: Random) -> Any:
    if isinstance(value, dict) and value:
        return _member(value, random)
    if isinstance(value, list) and value and random.random() < 0.9:
        at = random.randrange(len(value))
        match random.randrange(6):
            case 0:
                return value[:at] + value[at + 1 :]
            case 1:
                return value + [value[at]] * random.choice((1, 1, 20))
            case _:
                return [*value[:at], _value(value[at], random), *value[at + 1 :]]
    if isinstance(value, str) and value and random.random() < 0.5:
        at = random.randrange(len(value))
        other = random.choice(("0", "f", "A", "=", "\n", "é", "\u0000", "_", value[0]))
        return random.choice((value[:at] + other + value[at + 1 :], value[:at], value + value[at:], value.upper()))
    return random.choice(_VALUES)


def _member(value: dict[str, Any], random: Random) -> dict[str, Any]:
    name = random.choice(list(value))
    match random.randrange(8):
        case 0:
            return {other: each for other, each in value.items() if other != name}
        case 1:
            return {**value, name + random.choice(("x", "\u0000", "é")): value[name]}
        case 2:
            return {
                random.choice((name.upper(), "", "__class__")) if other == name else other: value[other]
                for other in value
            }
        case 3:
            return {**value, name: value[random.choice(list(value))]}
        case 4:
            return {**value, **{f"n{number}": value[name] for number in range(20)}}
        case _:
            return {**value, name: _value(value[name], random)}


def after(size: int, mutate: Mutate) -> Mutate:
    """The mutation of what stands behind a lead of so many bytes, which choose among a target's ways in."""

    def mutated(data: bytes, random: Random) -> bytes:
        lead = data[:size]
        if random.random() < 0.1:
            lead = random.randbytes(size)
        return lead + mutate(data[size:], random)

    return mutated
