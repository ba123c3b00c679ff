"""CRLs: as anybody on the way from the CRL server could send them (0), as a faulty authority could sign them (1)."""

import itertools
from collections.abc import Iterable
from datetime import timedelta

from cryptography import x509

from libs.crypto.crl import CrlIndex, CrlInvalid
from libs.crypto.pki import RevokedCertificate
from tests.fuzz.mutating import after, mutate_der
from tests.fuzz.parsers.authority import der, signed_by, to_be_signed, tree
from tests.fuzz.target import Target
from tests.support.pki import EPOCH

_COMPARED = 64


def accepts(data: bytes) -> bool:
    """Whether it is believed; then cryptography's own reading of it, if it can, agrees on every entry."""
    as_sent = data[:1] == b"\0"
    issuer = tree().issuing
    crl = data[1:] if as_sent else signed_by(issuer, data[1:])
    try:
        index = CrlIndex.parse(crl, der(issuer))
    except CrlInvalid:
        return False
    try:
        judge = x509.load_der_x509_crl(crl)
    except ValueError:  # it wants an extension's OID to be one, also where it has no meaning: stricter than we need
        return True
    assert (index.this_update, index.next_update) == (judge.last_update_utc, judge.next_update_utc)
    assert len(index) == len(judge)
    for entry in itertools.islice(judge, _COMPARED):
        found = index.status(entry.serial_number)
        assert found is not None
        assert found.date <= entry.revocation_date_utc
    return True


def seeds() -> Iterable[bytes]:
    """An empty one, and one with entries of every form."""
    pki = tree()
    reasons = [reason for reason in x509.ReasonFlags if reason is not x509.ReasonFlags.remove_from_crl]
    revoked = [
        RevokedCertificate(7 << 13 * number, EPOCH - timedelta(days=9000 * (number % 2), seconds=number), reason)
        for number, reason in enumerate(reasons)
    ]
    for crl in (pki.crl(number=5), pki.crl(number=2**64, revoked=revoked)):
        yield b"\0" + crl
        yield b"\1" + to_be_signed(crl)


TARGET = Target("crl", accepts, seeds, after(1, mutate_der))
