"""When a CRL is due, and that a wrong one is seen before anyone else sees it."""

from datetime import timedelta

import pytest

from libs.crypto.crl import CrlInvalid
from libs.crypto.pki import Issuer, RevokedCertificate
from services.certificate_authority.crls import is_due, lint
from services.certificate_authority.store import CrlHead
from tests.support.pki import EPOCH, Pki

HEAD = CrlHead(number=7, this_update=EPOCH, next_update=EPOCH + timedelta(hours=24), entries=3, changes=3)


@pytest.fixture(scope="module")
def pki() -> Pki:
    return Pki()


def test_the_first_crl_is_due():
    assert is_due(None, changes=0, now=EPOCH)


@pytest.mark.parametrize(
    ("changes", "hours", "due"), [(3, 0, False), (3, 11.99, False), (3, 12, True), (3, 30, True), (4, 0, True)]
)
def test_due_when_a_certificate_s_state_changed_or_half_of_the_validity_has_passed(changes, hours, due):
    assert is_due(HEAD, changes=changes, now=EPOCH + timedelta(hours=hours)) is due


def test_a_clock_that_went_back_makes_no_crl():
    assert not is_due(HEAD, changes=3, now=EPOCH - timedelta(days=1))


def entries(count):
    return [RevokedCertificate(serial, EPOCH) for serial in range(1, count + 1)]


def test_a_crl_that_says_what_was_meant_passes(pki):
    lint(pki.crl(revoked=entries(3), number=5), pki.issuing.certificate, 5, entries(3))


def flipped(der):
    return der[:-1] + bytes([der[-1] ^ 1])


WRONG = {
    "number": lambda pki: (pki.crl(revoked=entries(3), number=5), 6, entries(3)),
    "entry missing": lambda pki: (pki.crl(revoked=entries(3), number=5), 5, entries(4)),
    "entry too many": lambda pki: (pki.crl(revoked=entries(3), number=5), 5, entries(2)),
    "another serial": lambda pki: (
        pki.crl(revoked=entries(3), number=5),
        5,
        [*entries(2), RevokedCertificate(99, EPOCH)],
    ),
    "altered": lambda pki: (flipped(pki.crl(revoked=entries(3), number=5)), 5, entries(3)),
    "another issuer's": lambda pki: (pki.crl(pki.root, revoked=entries(3), number=5), 5, entries(3)),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_crl_that_says_something_else_does_not(pki, case):
    der, number, meant = WRONG[case](pki)
    with pytest.raises(CrlInvalid):
        lint(der, pki.issuing.certificate, number, meant)


def test_the_certificate_beside_it_is_an_authority(pki):
    """A certificate that may sign no CRL makes none that passes."""
    officer = pki.officer()
    der = pki.crl(Issuer(officer.certificate, officer.key), number=1)
    with pytest.raises(CrlInvalid):
        lint(der, officer.certificate, 1, [])
