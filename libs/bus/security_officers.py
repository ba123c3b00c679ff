"""Who is a security officer: whose certificate lies in the PKI directory and holds under the pinned service root."""

from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from libs.crypto.certificates import UNREADABLE, certificate_facts
from libs.crypto.pki import ServicePurpose
from libs.crypto.service_certificates import ServiceCertificateError, ServiceIdentity, validate_service_certificate

FOLDER: Final = Path("certificates") / "security-officer"
"""In the PKI directory. What is there counts by its chain alone, whoever put it there."""

IN_OFFICE: Final = 2
"""People from whom on what one alone did before is for two to order."""


def security_officers(
    pki_dir: Path, service_root: bytes, at: datetime, *, lapsed: bool = False
) -> dict[str, ServiceIdentity]:
    """Those whose certificates hold at this time under the root (DER), by their keys' ids; `lapsed`: or held once."""
    found = {}
    for file in sorted((pki_dir / FOLDER).glob("*.pem")):
        try:
            leaf, *chain = (
                one.public_bytes(Encoding.DER) for one in x509.load_pem_x509_certificates(file.read_bytes())
            )
            facts = certificate_facts(leaf)
            when = min(max(at, facts.not_before), facts.not_after) if lapsed else at
            identity = validate_service_certificate(
                leaf, chain, service_root=service_root, purpose=ServicePurpose.SECURITY_OFFICER, at=when
            )
        except (OSError, *UNREADABLE, ServiceCertificateError):
            continue
        found[identity.key_id] = identity
    return found
