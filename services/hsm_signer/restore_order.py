"""The rule of who may have custody restored: two security officers, over this very file, once, within a day (I-52)."""

from collections.abc import Collection
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from libs.bus.administrators import in_time
from libs.bus.trust import confirmed_by_two
from libs.contracts.custody import SignedRestoreOrder, restore_signature_input
from libs.crypto.certificates import UNREADABLE
from libs.crypto.pki import ServicePurpose
from libs.crypto.service_certificates import ServiceCertificateError, ServiceIdentity, validate_service_certificate
from libs.hsm.hsm import Hsm

OFFICERS = Path("certificates") / "security-officer"
"""In the PKI directory: the certificates of the security officers. What is there counts by its chain alone."""


def security_officers(pki_dir: Path, service_root: bytes, at: datetime) -> dict[str, ServiceIdentity]:
    """Those whose certificates hold at this time under the pinned root, by their keys' ids."""
    found = {}
    for file in sorted((pki_dir / OFFICERS).glob("*.pem")):
        try:
            leaf, *chain = (
                one.public_bytes(Encoding.DER) for one in x509.load_pem_x509_certificates(file.read_bytes())
            )
            identity = validate_service_certificate(
                leaf, chain, service_root=service_root, purpose=ServicePurpose.SECURITY_OFFICER, at=at
            )
        except (OSError, *UNREADABLE, ServiceCertificateError):
            continue
        found[identity.key_id] = identity
    return found


def fault(
    signed: SignedRestoreOrder, backup_sha256: str, officers: Collection[ServiceIdentity], now: datetime
) -> str | None:
    """Why this order may not be followed, in a sentence; None when it may."""
    if signed.order.backup_sha256 != backup_sha256:
        return "the order is for another file"
    if not in_time(signed.order.ordered_at, now):
        return "the order is older than a day, or of a time that is to come"
    known = {officer.key_id: officer for officer in officers}
    pairs = [(known.get(one.key_id), one.signature) for one in signed.signatures]
    if not confirmed_by_two(pairs, restore_signature_input(signed.order), ServicePurpose.SECURITY_OFFICER):
        return "the order is not signed by two security officers, two different people"
    return None


async def spend(hsm: Hsm, signed: SignedRestoreOrder) -> bool:
    """Mark an order as followed, where no database that goes back takes it away; False when it was before.

    Raises HsmError.
    """
    label = f"restored-{signed.order.order.hex[:23]}"  # PKCS#11 tokens of some vendors take 32 bytes of label
    if await hsm.has_secret_key(label):
        return False
    await hsm.ensure_mac_key(label)
    return True
