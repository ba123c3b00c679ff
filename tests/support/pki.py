"""A software PKI for tests: both trees of the real one, with keys in memory; never for anything but tests."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import count
from typing import Generic, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding

from libs.crypto.pki import (
    Issuer,
    RevokedCertificate,
    ServicePurpose,
    SigningKey,
    Validity,
    build_crl,
    build_issuing_ca,
    build_officer,
    build_root,
    build_sealing_authority,
    build_service,
    distinguished_name,
)

EPOCH = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
"""The present of tests that inject a clock; pass `now` for tests that meet the real one."""

CRL_URL = "http://127.0.0.1:18081/crl/{name}.crl"

VALIDATOR = ed25519.Ed25519PrivateKey.generate()
"""The key of the second registrar, who validates what the first registered, of this test process."""

K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Identity(Generic[K]):
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: K

    @property
    def der(self) -> bytes:
        """The certificate in DER."""
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        """The certificate in PEM."""
        return self.certificate.public_bytes(Encoding.PEM)


def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    """A fresh RSA key, about 60 ms."""
    return rsa.generate_private_key(65537, bits)


@cache
def shared_rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    """The one RSA key of this size of a test process, for tests that do not mind sharing it."""
    return rsa_key(bits)


def p256_key() -> ec.EllipticCurvePrivateKey:
    """A fresh P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


@dataclass
class Pki:
    """Officers' tree (root, issuing, officers, CRLs) and service root; everything valid around `now`.

    The authorities sign with P-256 unless keys are given: an RSA key of 3072 bits takes a third of a second to make.
    """

    now: datetime = EPOCH
    root_key: SigningKey = field(default_factory=p256_key)
    issuing_key: SigningKey = field(default_factory=p256_key)

    def __post_init__(self) -> None:
        """Make both roots and the authorities below them."""
        self._serials = count(0x4000_0000_0000_0001)
        self._crl_numbers = count(1)
        long = self.validity(days=3650)
        root = build_root(self.root_key, name=distinguished_name("GPKI Root CA"), serial=self.serial(), validity=long)
        self.root = Issuer(root, self.root_key)
        self.issuing = self.issuing_ca(self.issuing_key)
        service_key = p256_key()
        service_name = distinguished_name("GPKI Service Root")
        service_root = build_root(service_key, name=service_name, serial=self.serial(), validity=long)
        self.service_root = Issuer(service_root, service_key)
        sealing_key = p256_key()
        sealing_authority = build_sealing_authority(
            self.service_root,
            sealing_key.public_key(),
            name=distinguished_name("GPKI Sealing Authority"),
            serial=self.serial(),
            validity=long,
        )
        self.sealing_authority = Issuer(sealing_authority, sealing_key)

    def serial(self) -> int:
        """The next serial number."""
        return next(self._serials)

    def validity(self, *, days: int = 365) -> Validity:
        """From a day before `now` for so many days after it."""
        return Validity(self.now - timedelta(days=1), self.now + timedelta(days=days))

    def issuing_ca(self, key: SigningKey, *, validity: Validity | None = None) -> Issuer:
        """An issuing CA below the root."""
        certificate = build_issuing_ca(
            self.root,
            key.public_key(),
            name=distinguished_name("GPKI Issuing CA"),
            serial=self.serial(),
            validity=validity or self.validity(days=1825),
            crl_url=CRL_URL.format(name="root"),
        )
        return Issuer(certificate, key)

    def officer(
        self,
        user: str = "800101145566",
        *,
        key: SigningKey | None = None,
        validity: Validity | None = None,
        issuer: Issuer | None = None,
    ) -> Identity[SigningKey]:
        """An officer; P-256 unless a key is given: RSA takes its time to make."""
        key = key or p256_key()
        certificate = build_officer(
            issuer or self.issuing,
            key.public_key(),
            name=distinguished_name(f"Pegawai {user}", serial_number=user),
            serial=self.serial(),
            validity=validity or self.validity(),
            crl_url=CRL_URL.format(name="issuing"),
        )
        return Identity(certificate, key)

    def caller(
        self, name: str = "igfmas", *, system: str = "iGFMAS", offices: Iterable[str] = ()
    ) -> Identity[ed25519.Ed25519PrivateKey]:
        """A caller's Ed25519 identity under the service root, for one system, and these offices alone if there are."""
        return self._signer(ServicePurpose.CALLER, name, system, offices)

    def registrar(self, name: str = "mygpki") -> Identity[ed25519.Ed25519PrivateKey]:
        """A registrar's Ed25519 identity under the service root."""
        return self._signer(ServicePurpose.REGISTRAR, name)

    def validator(self) -> Identity[ed25519.Ed25519PrivateKey]:
        """The second registrar, another person than `registrar`."""
        return self._signer(ServicePurpose.REGISTRAR, "mygpki-pengesah", key=VALIDATOR)

    def security_officer(self, name: str) -> Identity[ed25519.Ed25519PrivateKey]:
        """A security officer's Ed25519 identity under the service root."""
        return self._signer(ServicePurpose.SECURITY_OFFICER, name)

    def producer(self, name: str = "otp_dispatch") -> Identity[ed25519.Ed25519PrivateKey]:
        """A producer's Ed25519 identity under the service root."""
        return self._signer(ServicePurpose.PRODUCER, name)

    def sealing_key(self) -> Identity[x25519.X25519PrivateKey]:
        """An X25519 sealing key under the sealing authority."""
        key = x25519.X25519PrivateKey.generate()
        certificate = build_service(
            self.sealing_authority,
            key.public_key(),
            purpose=ServicePurpose.SEALING,
            name=distinguished_name("sealing key"),
            serial=self.serial(),
            validity=self.validity(days=3),
        )
        return Identity(certificate, key)

    def crl(
        self,
        issuer: Issuer | None = None,
        *,
        revoked: Iterable[RevokedCertificate] = (),
        number: int | None = None,
        this_update: datetime | None = None,
        next_update: datetime | None = None,
    ) -> bytes:
        """A CRL in DER, of the issuing CA unless told otherwise, fresh at `now` for a day, numbers rising."""
        return build_crl(
            issuer or self.issuing,
            number=next(self._crl_numbers) if number is None else number,
            this_update=this_update or self.now - timedelta(minutes=5),
            next_update=next_update or self.now + timedelta(days=1),
            revoked=revoked,
        )

    @property
    def chain(self) -> tuple[bytes, ...]:
        """The certificates between an officer's and the root, in DER."""
        return (self.issuing.certificate.public_bytes(Encoding.DER),)

    def trust_pem(self, *crls: bytes) -> bytes:
        """What `openssl cms -verify -CAfile` needs: root, issuing CA and CRLs in PEM."""
        parts = [self.root.certificate.public_bytes(Encoding.PEM), self.issuing.certificate.public_bytes(Encoding.PEM)]
        parts += [x509.load_der_x509_crl(crl).public_bytes(Encoding.PEM) for crl in crls]
        return b"".join(parts)

    def _signer(
        self,
        purpose: ServicePurpose,
        name: str,
        unit: str | None = None,
        offices: Iterable[str] = (),
        *,
        key: ed25519.Ed25519PrivateKey | None = None,
    ) -> Identity[ed25519.Ed25519PrivateKey]:
        key = key or ed25519.Ed25519PrivateKey.generate()
        certificate = build_service(
            self.service_root,
            key.public_key(),
            purpose=purpose,
            name=distinguished_name(name, organizational_unit=unit),
            serial=self.serial(),
            validity=self.validity(),
            offices=offices,
        )
        return Identity(certificate, key)
