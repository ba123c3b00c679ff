"""The officers' tree as it is pinned here: the root and the issuing CA, read once from `GPKI_PKI_DIR`."""

from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from libs.runtime.settings import ConfigurationError

ROOT = "root"
ISSUING = "issuing"


@dataclass(frozen=True, slots=True)
class Authority:
    """An authority; `name` is that of its files: `<name>.pem`, `<name>.crl`."""

    name: str
    certificate: bytes
    key_id: bytes
    subject: str


def read_authorities(pki_dir: Path) -> tuple[Authority, Authority]:
    """The root and the issuing CA. Raises ConfigurationError."""
    return _read(pki_dir, ROOT), _read(pki_dir, ISSUING)


def _read(pki_dir: Path, name: str) -> Authority:
    file = pki_dir / f"{name}.pem"
    try:
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
        key_id = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except (OSError, ValueError, x509.ExtensionNotFound):
        raise ConfigurationError([f"GPKI_PKI_DIR: {file} is not an authority's certificate"]) from None
    der = certificate.public_bytes(Encoding.DER)
    return Authority(name, der, key_id, certificate.subject.rfc4514_string())
