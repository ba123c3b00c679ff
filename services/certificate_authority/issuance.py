"""What may be certified and how: profiles, the judgement of an officer's application, and building a certificate."""

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Final
from uuid import UUID

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key

from libs.bus.administrators import signatures_of
from libs.bus.trust import confirmed_by_two
from libs.contracts.enrolment import (
    Application,
    CertificateRequested,
    SignedApplication,
    SignedTokenApplication,
    TokenApplication,
    TokenCertificateRequested,
    confirmation_input,
    credential_id_of,
)
from libs.contracts.signing import Medium
from libs.crypto import pki
from libs.crypto.algorithms import RSA_EXPONENT
from libs.crypto.pki import Issuer, PkiError, ServicePurpose, SigningKey, SubjectKey, Validity, distinguished_name
from libs.crypto.public_keys import public_key_id, spki
from libs.crypto.service_certificates import ServiceIdentity

AnyRequest = CertificateRequested | TokenCertificateRequested

BACKDATE: Final = timedelta(minutes=5)
"""How far notBefore lies before the issuing: the broker's clock, by which validity is judged, may be behind ours."""

MAX_COMMON_NAME: Final = 64
"""ub-common-name (RFC 5280 appendix A.1); in bytes of UTF-8, which is how `cryptography` counts it."""

TOKEN_ALGORITHMS: Final = ("rsa-2048", "p-256")
"""What the key of a token may be; a roaming key is what its application asks for."""


class Profile(StrEnum):
    """What a certificate is for; the value stands in the database and in `pki_dir`."""

    ROOT = "root"
    ISSUING = "issuing"
    SERVICE_ROOT = "service-root"
    SEALING_AUTHORITY = "sealing-authority"
    SECURITY_OFFICER = "security-officer"
    CALLER = "caller"
    REGISTRAR = "registrar"
    PRODUCER = "producer"
    OFFICER = "officer"

    @property
    def issuer(self) -> "Profile":
        """The authority that signs certificates of this profile; a root signs its own."""
        if self in {Profile.ROOT, Profile.ISSUING}:
            return Profile.ROOT
        return Profile.ISSUING if self is Profile.OFFICER else Profile.SERVICE_ROOT


@dataclass(frozen=True, slots=True)
class AuthorityKey:
    """One authority's name and key: the label in the token, RSA of so many bits or P-256."""

    common_name: str
    label: str
    rsa_bits: int | None


AUTHORITIES: Final[Mapping[Profile, AuthorityKey]] = {
    Profile.ROOT: AuthorityKey("GPKI Root CA", "gpki-root-ca", 3072),
    Profile.ISSUING: AuthorityKey("GPKI Issuing CA", "gpki-issuing-ca", 3072),
    Profile.SERVICE_ROOT: AuthorityKey("GPKI Service Root", "gpki-service-root", None),
}
"""In the order in which they are made."""

VALIDITY: Final[Mapping[Profile, timedelta]] = {
    Profile.ROOT: timedelta(days=7300),
    Profile.ISSUING: timedelta(days=3650),
    Profile.SERVICE_ROOT: timedelta(days=7300),
    Profile.SEALING_AUTHORITY: timedelta(days=3650),
    Profile.SECURITY_OFFICER: timedelta(days=1095),
    Profile.CALLER: timedelta(days=1095),
    Profile.REGISTRAR: timedelta(days=1095),
    Profile.PRODUCER: timedelta(days=1095),
}
"""Officers' validity is a setting; the others change with a release."""


@dataclass(frozen=True, slots=True)
class Order:
    """All that a certificate will say, fixed and recorded before it is signed; times in whole seconds.

    `medium` is where an officer's key is; no other certificate has one. `offices`, sorted, are the only ones that a
    caller may name; without any it may name all.
    """

    serial: bytes
    profile: Profile
    holder: str
    common_name: str
    organizational_unit: str | None
    serial_number: str | None
    public_key: bytes
    key_id: str
    validity: Validity
    crl_url: str | None
    medium: Medium | None = None
    offices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """An application that may be granted: for whom, and the key that it proved to possess."""

    application: Application | TokenApplication
    public_key: SubjectKey

    @property
    def credential_id(self) -> UUID:
        """The credential that the certificate is for."""
        return credential_id_of(self.application)

    @property
    def medium(self) -> Medium:
        """Where the key is."""
        return "token" if isinstance(self.application, TokenApplication) else "roaming-otp"


@dataclass(frozen=True, slots=True)
class Refused:
    """The registrar's own application, refused; `detail` is plain text for the registrar."""

    detail: str


@dataclass(frozen=True, slots=True)
class Unsigned:
    """Nothing that a registrar said: it is no application, and ends none."""

    why: str


def judge(event: AnyRequest, registrars: Mapping[str, ServiceIdentity]) -> Wanted | Refused | Unsigned:
    """Judge a request by itself; `registrars` are, by key id, those of the keys named in it that a registrar has now.

    Pure, about 0.2 ms. What other certificates there are is judged when this one is reserved.
    """
    why = _unsigned(event, registrars)
    if why is not None:
        return Unsigned(why)
    application = event.signed.application
    if event.credential_id != credential_id_of(application):
        return Refused("the credential is not the one of this application")
    if len(application.name.encode()) > MAX_COMMON_NAME:
        return Refused(f"the name has more than {MAX_COMMON_NAME} bytes in UTF-8")
    try:
        public_key = pki.requested_key(event.csr)
    except PkiError as error:
        return Refused(f"{error}: no proof that the key is possessed")
    allowed = TOKEN_ALGORITHMS if isinstance(application, TokenApplication) else (application.algorithm,)
    if not any(_is_of(algorithm, public_key) for algorithm in allowed):
        return Refused(f"the key is not {' or '.join(allowed)}, which the application asks for")
    return Wanted(application, public_key)


def _unsigned(event: AnyRequest, registrars: Mapping[str, ServiceIdentity]) -> str | None:
    """Why no two registrars said this; None when they did."""
    if not confirmed(event.signed, registrars):
        return "not-signed-by-two-administrators"
    application = event.signed.application
    if isinstance(application, TokenApplication) and sha256(event.csr).hexdigest() != application.csr_sha256:
        return "csr-not-confirmed"
    return None


def permits(profile: Profile, key: SubjectKey) -> bool:
    """Whether a service's certificate of this profile may be over this kind of key."""
    if profile is Profile.SEALING_AUTHORITY:
        return _is_of("p-256", key)
    return isinstance(key, pki.SERVICE_PROFILES[ServicePurpose(profile.value)].key_types)


def confirmed(signed: SignedApplication | SignedTokenApplication, registrars: Mapping[str, ServiceIdentity]) -> bool:
    """Whether two of these registrars, different people, signed the application."""
    pairs = [(registrars.get(one.key_id), one.signature) for one in signatures_of(signed)]
    return confirmed_by_two(pairs, confirmation_input(signed.application))


def new_serial() -> bytes:
    """A serial number: 16 bytes with 126 random bits, positive, of one length (RFC 5280 section 4.1.2.2)."""
    drawn = secrets.token_bytes(16)
    return bytes([drawn[0] & 0x3F | 0x40]) + drawn[1:]


def validity(now: datetime, length: timedelta, issuer: x509.Certificate | None) -> Validity:
    """From BACKDATE before now, for `length` from now, both cut where the issuer's own validity ends."""
    not_before, not_after = ((now + shift).replace(microsecond=0) for shift in (-BACKDATE, length))
    if issuer is not None:
        not_before = max(not_before, issuer.not_valid_before_utc)
        not_after = min(not_after, issuer.not_valid_after_utc)
    return Validity(not_before, not_after)


def crl_url(base: str, issuer: Profile) -> str:
    """Where an issuer's CRL is; stands in what it issues."""
    return f"{base}/{issuer}.crl"


def order_for(
    profile: Profile,
    public_key: SubjectKey,
    *,
    holder: str,
    common_name: str,
    serial: bytes,
    validity: Validity,
    organizational_unit: str | None = None,
    serial_number: str | None = None,
    crl_url: str | None = None,
    medium: Medium | None = None,
    offices: Iterable[str] = (),
) -> Order:
    """An order for this key."""
    return Order(
        serial=serial,
        profile=profile,
        holder=holder,
        common_name=common_name,
        organizational_unit=organizational_unit,
        serial_number=serial_number,
        public_key=spki(public_key),
        key_id=public_key_id(public_key),
        validity=validity,
        crl_url=crl_url,
        medium=medium,
        offices=tuple(sorted(offices)),
    )


def build(order: Order, key: SigningKey, issuer: x509.Certificate | None) -> bytes:
    """Sign what was ordered, and nothing else, with the issuer's key; DER.

    The same order gives the same bytes under an RSA key. `issuer` is None for a root. Raises PkiError for a key that
    the profile forbids.
    """
    name = distinguished_name(
        order.common_name, serial_number=order.serial_number, organizational_unit=order.organizational_unit
    )
    serial = int.from_bytes(order.serial, "big")
    if issuer is None:
        certificate = pki.build_root(key, name=name, serial=serial, validity=order.validity)
        if spki(certificate.public_key()) != order.public_key:
            raise PkiError("the root's key is not the one that was ordered")
        return certificate.public_bytes(Encoding.DER)
    above = Issuer(issuer, key)
    public_key: SubjectKey = load_der_public_key(order.public_key)  # type: ignore[assignment]  # judged when ordered
    match order.profile, order.crl_url:
        case Profile.ISSUING, str(url):
            certificate = pki.build_issuing_ca(
                above, public_key, name=name, serial=serial, validity=order.validity, crl_url=url
            )
        case Profile.OFFICER, str(url):
            certificate = pki.build_officer(
                above, public_key, name=name, serial=serial, validity=order.validity, crl_url=url
            )
        case Profile.SEALING_AUTHORITY, None:
            certificate = pki.build_sealing_authority(
                above, public_key, name=name, serial=serial, validity=order.validity
            )
        case ((Profile.CALLER | Profile.REGISTRAR | Profile.PRODUCER | Profile.SECURITY_OFFICER), None):
            purpose = ServicePurpose(order.profile.value)
            certificate = pki.build_service(
                above,
                public_key,
                purpose=purpose,
                name=name,
                serial=serial,
                validity=order.validity,
                offices=order.offices,
            )
        case _:
            raise PkiError("no such certificate")
    return certificate.public_bytes(Encoding.DER)


def _is_of(algorithm: str, key: SubjectKey) -> bool:
    if algorithm == "rsa-2048":
        return isinstance(key, rsa.RSAPublicKey) and key.key_size == 2048 and key.public_numbers().e == RSA_EXPONENT
    return isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)
