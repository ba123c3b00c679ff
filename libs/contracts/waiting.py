"""What waits for what: a stage says once that it has parked documents, so that the officer does not wonder."""

from enum import StrEnum
from uuid import UUID

from libs.contracts.base import Event, UtcTime
from libs.contracts.manifest import DocumentId
from libs.contracts.signing import Stage


class WaitsFor(StrEnum):
    """What there is to wait for; texts in Malay and English are in `libs/contracts/texts/waiting.*`."""

    HSM = "hsm-unavailable"
    RELAY = "relay-unavailable"
    SEALING_KEY = "sealing-key-missing"
    MAILBOX = "mailbox-busy"
    OTP_PACE = "otp-pace"
    CRL_MISSING = "crl-missing"
    CRL_STALE = "crl-stale"
    CRL_NOT_YET_VALID = "crl-not-yet-valid"
    SAH = "sah-not-posted"


class Waiting(Event):
    """These documents, or all of the request when `documents` is null, are parked at `stage` because of `why`.

    Said when they are parked first, and not at every look after; nothing is lost, and nothing needs to be done.
    `next_look` is when the stage looks again. `why` is one of WaitsFor, or one that a later release knows.
    """

    request_id: UUID
    documents: tuple[DocumentId, ...] | None
    stage: Stage
    why: str
    next_look: UtcTime

    @property
    def key(self) -> str:
        return str(self.request_id)

    @property
    def uniqueness(self) -> tuple[object, ...]:
        return (self.request_id, self.stage, self.why, *(self.documents or ("*",)))
