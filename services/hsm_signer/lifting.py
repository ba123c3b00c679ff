"""Whether a certificate is good again: two registrars' order, judged here, not the authority's word (I-53)."""

from typing import Final

from libs.bus import administrators
from libs.bus.delivery import Delivery
from libs.bus.outcomes import Park, Poison
from libs.contracts.state import Certificate
from libs.contracts.suspension import lifting_signature_input
from libs.storage.pool import Connection

NOT_LIFTED: Final = "not-lifted"


async def doubt(connection: Connection, delivery: Delivery[Certificate], service_root: bytes) -> Park | Poison | None:
    """What becomes of a state that cannot be believed; None when it can.

    Good as it was issued, and whatever takes away, is the authority's to say. Good at a later version is what was
    lifted: by an order about this credential and the very version before, so that none is used twice.
    """
    state = delivery.event
    if state.status != "good" or state.version == 1:
        return None
    signed = state.lifting
    if signed is None or (signed.lifting.credential_id, signed.lifting.version + 1) != (
        state.credential_id,
        state.version,
    ):
        return Poison(NOT_LIFTED)
    content = lifting_signature_input(signed.lifting)
    return await administrators.doubt(connection, delivery, signed.signatures, content, service_root)
