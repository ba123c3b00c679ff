"""The elements of DER, read to every depth."""

from collections.abc import Iterable

from libs.crypto.der import DerError, elements, encode, expect, only, read
from tests.fuzz.mutating import mutate_der
from tests.fuzz.target import Target
from tests.support.pki import EPOCH, Pki

_CONSTRUCTED = 0x20


def accepts(data: bytes) -> bool:
    """Read all; what was read, written again, is the same bytes."""
    try:
        assert _rewritten(data, 0, len(data)) == data
        tag, start, stop = read(data, 0, len(data))
        assert expect(data, 0, len(data), tag) == (start, stop)
        only(data, 0, len(data), tag)
    except DerError:
        return False
    return True


def _rewritten(data: bytes, at: int, end: int) -> bytes:
    """Without recursion: nesting is the sender's."""
    pending, written = [(at, end)], bytearray(data[at:end])
    while pending:
        begin, end = pending.pop()
        before = begin
        for tag, place, start, stop in elements(data, begin, end):
            assert begin <= place < start <= stop <= end
            assert before == place
            before = stop
            written[place:stop] = encode(tag, data[start:stop])
            if tag & _CONSTRUCTED:
                pending.append((start, stop))
        assert before == end
    return bytes(written)


def seeds() -> Iterable[bytes]:
    """A certificate and a CRL."""
    pki = Pki(now=EPOCH)
    return pki.officer().der, pki.crl()


TARGET = Target("der", accepts, seeds, mutate_der)
