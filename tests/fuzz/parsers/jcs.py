"""Strict JSON in, canonical JSON out."""

from collections.abc import Iterable
from contextlib import suppress

import rfc8785

from libs.crypto.jcs import CanonicalJsonError, StrictJsonError, canonical, loads_strict
from tests.fuzz.mutating import mutate_json
from tests.fuzz.target import Target


def accepts(data: bytes) -> bool:
    """Whether it is strict; its canonical form is what the library makes, means the same, and is its own."""
    try:
        value = loads_strict(data)
    except StrictJsonError:
        return False
    try:
        form = canonical(value)
    except CanonicalJsonError:
        return False
    assert form == rfc8785.dumps(value)
    with suppress(CanonicalJsonError):  # 1e20 is written as an integer, which past 2^53 has no form
        assert canonical(loads_strict(form)) == form
    return True


def seeds() -> Iterable[bytes]:
    """Of every kind of value."""
    yield b'{"a":[1,-2,0.5,1e21,true,false,null,{"b":"\\u00e9\\u20ac\\ud834\\udd1e\\n\\"\\\\"}],"A":"","\xc3\xa9":{}}'
    yield b'{"payee":"Syarikat 1 Sdn Bhd","amount":"100.50"}'


TARGET = Target("jcs", accepts, seeds, mutate_json)
