"""Backup and restore of the signer's custody: the order that two security officers sign, and what Kafka tells again."""

import hashlib
from typing import Annotated, Final
from uuid import UUID

from pydantic import StringConstraints

from libs.contracts.base import Exact, UtcTime
from libs.contracts.enrolment import AdministratorSignature
from libs.contracts.topics import AUTHORISATION_FAILED, COMPLETED, MEDIUM_RESOLVED, PIN_ANSWERED, PROGRESSED, SIGNED
from libs.crypto.jcs import canonical

RESTORE_DOMAIN: Final = b"gpki.restore-order.v1"

ORDER_SUFFIX: Final = ".order.json"
"""Beside the backup's file: the file of the order to restore it."""

SAID: Final = (SIGNED, AUTHORISATION_FAILED, PIN_ANSWERED)
"""What the signer alone writes when a code, PIN or key was used: its database has all of it, or went back in time."""

COUNTED: Final = (AUTHORISATION_FAILED, PIN_ANSWERED)
"""Wrong PINs, locks and changes: a restore must find all of it from where the backup ends."""

OF_THE_DAY: Final = (MEDIUM_RESOLVED, PROGRESSED, COMPLETED)
"""What a restore reads from a day before the backup: a request lives for half of one."""

READ_AGAIN: Final = (*SAID, PROGRESSED, COMPLETED)
"""What the signer reads of this history, beside what its row in services/README.md says that it consumes."""


class RestoreOrder(Exact):
    """Which backup is restored, by the hex SHA-256 of its file; followed once, within a day from `ordered_at`."""

    order: UUID
    backup_sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    ordered_at: UtcTime


class SignedRestoreOrder(Exact):
    """An order with the signatures that it has so far; the keys are those of security officers."""

    order: RestoreOrder
    signatures: tuple[AdministratorSignature, ...] = ()


def restore_signature_input(order: RestoreOrder) -> bytes:
    """What each security officer signs: RESTORE_DOMAIN ‖ SHA-256(JCS(order))."""
    return RESTORE_DOMAIN + hashlib.sha256(canonical(order.model_dump(mode="json"))).digest()
