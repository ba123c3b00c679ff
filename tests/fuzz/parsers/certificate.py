"""Certificates and paths: as anybody could send them (0), as the issuing CA (1) or the root could sign them (2).

An authority that signs what it should not is not an attack that a parser can stop; that it cannot stop the parser, is.
"""

from collections.abc import Iterable
from contextlib import suppress
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from libs.crypto.certificates import CertificateError, certificate_facts
from libs.crypto.crl import CrlIndex
from libs.crypto.path import Invalid, PathError, PathValidator, Unknown, Valid
from libs.crypto.pki import PkiError, ServicePurpose, build_service, distinguished_name, requested_key
from libs.crypto.requests import certification_request
from libs.crypto.service_certificates import ServiceCertificateError, ServiceIdentity, validate_service_certificate
from tests.fuzz.mutating import after, mutate_der
from tests.fuzz.parsers.authority import der, fixed_key, fixed_signer, signed_by, to_be_signed, tree
from tests.fuzz.target import Target
from tests.support.pki import EPOCH

_PKI = tree()
_ROOT, _ISSUING = der(_PKI.root), der(_PKI.issuing)
_PATHS = PathValidator(_ROOT)
_CRLS = {
    certificate_facts(der(issuer)).key_id or b"": CrlIndex.parse(_PKI.crl(issuer), der(issuer))
    for issuer in (_PKI.root, _PKI.issuing)
}


def accepts(data: bytes) -> bool:
    """Whether anything takes it; nothing believes what no authority signed."""
    way, content = data[:1], data[1:]
    if way == b"\3":
        return _request(content)
    certificate = {b"\1": signed_by(_PKI.issuing, content), b"\2": signed_by(_PKI.root, content)}.get(way, content)
    try:
        certificate_facts(certificate)
    except CertificateError:
        readable = False
    else:
        readable = True
    answer = _PATHS.validate(certificate, (_ISSUING, certificate), _CRLS, at=EPOCH)
    assert isinstance(answer, Valid | Invalid | Unknown)
    believed = isinstance(answer, Valid) or _is_service(certificate)
    if believed and way not in {b"\1", b"\2"}:
        assert to_be_signed(certificate) in _genuine()
    assert readable or not believed
    with suppress(PathError):
        PathValidator(certificate)
    return believed


def _request(content: bytes) -> bool:
    try:
        requested_key(content)
    except PkiError:
        return False
    return True


def _is_service(certificate: bytes) -> bool:
    """For any purpose; every one is asked."""
    purposes = []
    for purpose in ServicePurpose:
        with suppress(ServiceCertificateError):
            identity = validate_service_certificate(
                certificate, (_ISSUING, certificate), service_root=_ROOT, purpose=purpose, at=EPOCH
            )
            assert isinstance(identity, ServiceIdentity)
            purposes.append(identity.purpose)
    assert len(purposes) <= 1
    return bool(purposes)


@cache
def _genuine() -> set[bytes]:
    """What the corpus's authorities signed."""
    return {
        to_be_signed(file.read_bytes()[1:]) for file in TARGET.corpus.glob("seed-*") if file.read_bytes()[:1] == b"\0"
    }


def _service(purpose: ServicePurpose, *offices: str) -> bytes:
    made = build_service(
        _PKI.root,
        fixed_signer(1).public_key(),
        purpose=purpose,
        name=distinguished_name("igfmas", organizational_unit="iGFMAS"),
        serial=_PKI.serial(),
        validity=_PKI.validity(),
        offices=offices,
    )
    return made.public_bytes(Encoding.DER)


def seeds() -> Iterable[bytes]:
    """An officer's, a caller's with offices, and what an officer's token asks with."""
    officer = _PKI.officer(key=fixed_key(0x33)).der
    caller = _service(ServicePurpose.CALLER, "AG-KL-01", "AG-JB-02")
    yield b"\0" + officer
    yield b"\0" + caller
    yield b"\1" + to_be_signed(officer)
    yield b"\2" + to_be_signed(caller)
    asked = x509.load_pem_x509_csr(certification_request(fixed_key(0x44), distinguished_name("token")))
    yield b"\3" + asked.public_bytes(Encoding.DER)


TARGET = Target("certificate", accepts, seeds, after(1, mutate_der))
