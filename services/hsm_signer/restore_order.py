"""The rule of who may have custody restored: two security officers, over this very file, once, within a day (I-52)."""

from collections.abc import Collection
from datetime import datetime

from libs.bus.administrators import in_time
from libs.bus.trust import confirmed_by_two
from libs.contracts.custody import SignedRestoreOrder, restore_signature_input
from libs.crypto.pki import ServicePurpose
from libs.crypto.service_certificates import ServiceIdentity
from libs.hsm.hsm import Hsm


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
