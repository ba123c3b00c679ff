"""Which keys of `gpki.keys.v1` are believed: those whose chain leads to the pinned service root."""

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from libs.contracts.manifest import signature_input
from libs.contracts.state import Key
from libs.crypto.certificates import CertificateError, certificate_facts
from libs.crypto.pki import ServicePurpose
from libs.crypto.service_certificates import ServiceCertificateError, ServiceIdentity, validate_service_certificate
from libs.crypto.signatures import verify
from libs.runtime.clock import Clock, utc_now
from libs.runtime.settings import ConfigurationError

SERVICE_ROOT = "service_root.pem"
"""The pinned root's file in `GPKI_PKI_DIR`."""


def read_service_root(pki_dir: Path) -> bytes:
    """The pinned service root in DER. Raises ConfigurationError."""
    file = pki_dir / SERVICE_ROOT
    try:
        return x509.load_pem_x509_certificate(file.read_bytes()).public_bytes(Encoding.DER)
    except (OSError, ValueError):
        raise ConfigurationError([f"GPKI_PKI_DIR: {file} is not a certificate that can be read"]) from None


def key_trust(service_root: bytes, clock: Clock = utc_now) -> Callable[[Key], bool]:
    """Judge for `project_keys`: chain, purpose, owner and key id are what the key's state says.

    A key whose certificate has expired, or is not valid yet, is genuine all the same: it is kept, because every reader
    of a compacted topic meets the sealing keys of past days. `usable_key` is asked at each use.
    """
    return lambda key: genuine_key(key, service_root, clock()) is not None


def genuine_key(key: Key, service_root: bytes, at: datetime | None = None) -> ServiceIdentity | None:
    """Whom a key stands for by its chain, judged at `at` or, if that is outside its validity, at the nearest moment."""
    try:
        leaf = certificate_facts(key.chain[0])
    except (CertificateError, IndexError):
        return None
    return _identity(key, service_root, min(max(at or leaf.not_after, leaf.not_before), leaf.not_after))


def usable_key(key: Key | None, service_root: bytes, at: datetime) -> ServiceIdentity | None:
    """Whom a key of our copy stands for at this moment; None when there is none, it is retired or out of validity."""
    if key is None or (key.retired_at is not None and key.retired_at <= at):
        return None
    return _identity(key, service_root, at)


def vouches(identity: ServiceIdentity | None, *, caller: str, root: bytes, signature: bytes) -> bool:
    """Whether this is the key of `caller` and the caller's signature over the root holds.

    `caller` is the manifest's: a key never speaks for another caller. Whether `identity.unit` is the manifest's
    system is the next question, and a genuine caller's own fault.
    """
    return (
        identity is not None
        and identity.purpose is ServicePurpose.CALLER
        and identity.name == caller
        and verify(identity.public_key, signature, signature_input(root))
    )


def confirmed_by_two(
    signatures: Sequence[tuple[ServiceIdentity | None, bytes]],
    signed: bytes,
    role: ServicePurpose = ServicePurpose.REGISTRAR,
) -> bool:
    """Whether two different people of this role signed this, by their certificates' names: not two keys of one."""
    people = {
        identity.name
        for identity, signature in signatures
        if identity is not None and identity.purpose is role and verify(identity.public_key, signature, signed)
    }
    return len(people) >= 2


def _identity(key: Key, service_root: bytes, at: datetime) -> ServiceIdentity | None:
    try:
        leaf, *chain = key.chain
        identity = validate_service_certificate(
            leaf, chain, service_root=service_root, purpose=ServicePurpose(key.purpose), at=at
        )
    except (ServiceCertificateError, ValueError):
        return None
    return identity if (identity.name, identity.key_id) == (key.owner, key.key_id) else None
