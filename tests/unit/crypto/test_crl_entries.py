"""The entries' loop takes DER only, and raises nothing but DerError."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.crypto.crl_entries import pack_entries
from libs.crypto.der import DerError, encode

TIME = encode(0x17, b"261123080000Z")


def entry(serial: bytes = b"\x05", time: bytes = TIME, rest: bytes = b"") -> bytes:
    return encode(0x30, encode(2, serial), time, rest)


def pack(data: bytes):
    return pack_entries(data, 0, len(data))


def test_the_common_entry_is_packed():
    keys, values = pack(entry(bytes(range(1, 21))))
    assert list(keys) == [int.from_bytes(bytes(range(13, 21)))]
    assert values == bytes(range(1, 13)) + (1795420800).to_bytes(4) + b"\0"


@pytest.mark.parametrize(
    "data",
    [
        entry(b""),
        entry(b"\x00"),
        entry(b"\x00\x05"),
        entry(b"\x80"),
        entry(bytes([1]) * 21),
        entry(time=encode(0x17, b"261123080060Z")),
        entry(time=encode(0x17, b"261323080000Z")),
        entry(time=encode(0x17, b"2611230800Z")),
        entry(time=encode(0x17, b"261123080000+")),
        entry(time=encode(0x17, b"20261123080000Z")),
        entry(time=encode(0x18, b"261123080000Z")),
        entry(time=encode(0x18, b"22001123080000Z")),
        entry(time=b""),
        entry(rest=b"\x05\x00"),
        entry(rest=encode(0x30, encode(0x30, b"\x06\x03\x55\x1d\x15", b"\x01\x01\xff", b"\x04\x03\x0a\x01\x01"))),
        entry(rest=bytes.fromhex("300c300a0603551d1504030a0107")),
        entry(rest=bytes.fromhex("300c300a0603551d1504030a010b")),
        encode(0x31, encode(2, b"\x05"), TIME),
        b"\x30\x00",
        b"\x30\x02\x02\x01",
        b"\x30",
        b"\x30\x81\x05" + entry()[2:],
    ],
)
def test_anything_else_is_refused(data):
    with pytest.raises(DerError):
        pack(data)


@given(
    st.binary(max_size=60)
    | st.builds(
        lambda a, b, i: a[:i] + b + a[i:],
        st.just(entry() + entry(b"\x06")),
        st.binary(min_size=1, max_size=4),
        st.integers(0, 40),
    )
)
def test_no_bytes_raise_anything_else(data):
    with contextlib.suppress(DerError):
        pack(data)
