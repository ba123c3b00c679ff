"""The events of one signing, from `requested` to `completed` (design section 2, slides' steps 1 to 14)."""

import hashlib
from datetime import timedelta
from functools import cached_property
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from libs.contracts.base import Base64, Event, Part, UtcTime
from libs.contracts.ids import request_id_of
from libs.contracts.manifest import (
    MAX_NAME,
    Commitment,
    Document,
    DocumentId,
    Header,
    SignedManifest,
    UncheckedManifest,
)
from libs.contracts.reasons import Reason

Medium = Literal["roaming-otp", "token"]
Channel = Literal["gpki-mobile", "e-mail"]
Stage = Literal["medium_lookup", "otp_dispatch", "hsm_signer", "crl_verifier", "posting"]

INTERACTIVE_DOCUMENTS = 50
"""An authorisation of up to this many documents goes on the interactive topic, a longer one on the bulk topic."""

MAX_LIVE_CHALLENGES = 3
"""Codes alive at once in one request; a resend kills none."""

DELIVERY_WITHIN = timedelta(minutes=15)
"""What otp_dispatch has not delivered this long after `requested`, it refuses: the officer has gone."""

RESERVE_WITHIN = timedelta(seconds=300)
"""For how long after its expiry a request is still open for what came in time and waits behind our own backlog."""

OTP_LIFETIME: dict[Channel, timedelta] = {"gpki-mobile": timedelta(minutes=5), "e-mail": timedelta(minutes=10)}
"""For how long a code is good after its delivery."""


class Requested(Event):
    """Steps 1-2: the officer pressed sah or peraku. Written by an outsider: nothing in it is believed unchecked."""

    manifest: UncheckedManifest
    caller_key: str
    signature: Base64

    @property
    def key(self) -> str:
        return str(self.identity()[0])

    @property
    def uniqueness(self) -> tuple[object, ...]:
        return self.identity()

    def identity(self) -> tuple[UUID, bytes]:
        """A request is its caller and the caller's id; its content is the root."""
        header = self.manifest.header
        if not all(0 < len(header.get(name, "")) <= MAX_NAME for name in ("caller", "request")):
            raise ValueError("the header names no caller or no request, or a longer one than can be")
        return request_id_of(header["caller"], header["request"]), self.commitment.root

    @cached_property
    def commitment(self) -> Commitment:
        """The root of the manifest as received. About 4 µs a document."""
        return self.manifest.commitment()


class MediumResolved(Event):
    """Steps 3-5: the medium, credential and channels of the user, beside the manifest that they are for."""

    request_id: UUID
    signed: SignedManifest
    requested_at: UtcTime
    medium: Medium
    credential_id: UUID
    channels: tuple[Channel, ...]

    @property
    def key(self) -> str:
        return str(self.request_id)

    @property
    def uniqueness(self) -> tuple[object, ...]:
        return (self.request_id,)


class OtpDispatched(Event):
    """Steps 6-7: one code was delivered. The code is not in here; its HMAC is inside the challenge.

    The challenge is sealed to the signer's key `sealing_key_id`. In GPKI Mobile delivered means recorded: `message` is
    what the officer reads, sealed to the device `device_id`; both are null by e-mail. `new_address_from` is when
    a newer address or device of the officer gets codes, which this one did not go to.
    """

    request_id: UUID
    user: str
    number: int
    channel: Channel
    destination: str
    reference_code: str
    delivered_at: UtcTime
    expires_at: UtcTime
    sealing_key_id: str
    challenge: Base64
    device_id: str | None = None
    message: Base64 | None = None
    new_address_from: UtcTime | None = None

    @property
    def key(self) -> str:
        return str(self.request_id)

    @property
    def uniqueness(self) -> tuple[object, ...]:
        return (self.request_id, self.number)


class SealedChallenge(Part):
    """An activation challenge as otp_dispatch sealed it, and the sealing key that opens it."""

    sealing_key_id: str
    sealed: Annotated[Base64, Field(max_length=4096)]


class AuthorisationSubmitted(Event):
    """Step 8: PIN and OTP, sealed to the signer where they were typed, with the challenges they may answer."""

    request_id: UUID
    signed: SignedManifest
    challenges: Annotated[tuple[SealedChallenge, ...], Field(min_length=1, max_length=MAX_LIVE_CHALLENGES)]
    sealing_key_id: str
    sealed: Annotated[Base64, Field(max_length=4096)]

    @property
    def key(self) -> str:
        return str(self.request_id)

    @property
    def uniqueness(self) -> tuple[object, ...]:
        return (self.request_id, self.attempt)

    @property
    def attempt(self) -> str:
        """The hash of the sealed blob: the same blob is the same attempt, however often it is sent."""
        return hashlib.sha256(self.sealed).hexdigest()


class AuthorisationFailed(Event):
    """Steps 9-10: this attempt did not authorise. `attempts_left` counts down what the reason counts, if it counts.
    Before `held_until` no code of this officer is taken, nor is one sent.
    """

    request_id: UUID
    attempt: str
    reason: Reason
    reference_code: str | None = None
    attempts_left: int | None = None
    held_until: UtcTime | None = None
    safe_to_retry: bool

    @property
    def key(self) -> str:
        return str(self.request_id)

    @property
    def uniqueness(self) -> tuple[object, ...]:
        return (self.request_id, self.attempt)


class Authorisation(Part):
    """How the officer was authenticated; e-mail is a declared lower assurance.

    `token`: by the officer's own token and its PIN, without a code; `reference_code` is empty then.
    """

    channel: Literal["gpki-mobile", "e-mail", "token"]
    reference_code: str


class Signed(Event):
    """Steps 9-10: one document's signature. Header, entry, index and path prove the root that was authorised."""

    request_id: UUID
    header: Header
    index: int
    entry: Document
    path: tuple[Base64, ...]
    authorisation: Authorisation
    cms: Base64

    @property
    def key(self) -> str:
        return self.entry.id

    @property
    def uniqueness(self) -> tuple[object, ...]:
        return (self.request_id, self.entry.id)


class CrlChecked(Part):
    """One CRL that was consulted."""

    issuer: str
    number: int
    this_update: UtcTime
    next_update: UtcTime


class Verified(Signed):
    """Steps 11-12: the signature holds and no certificate on the path was revoked; with what was checked.

    `certificate_path` has the SHA-256 of each certificate in hex, the officer's first, the root's last. `signed_at` is
    the broker's append time of `signed`, at which validity was judged.
    """

    certificate_path: tuple[str, ...]
    crls: tuple[CrlChecked, ...]
    signed_at: UtcTime
    verified_at: UtcTime


class Posted(Event):
    """Steps 13-14: the document is posted; its record and its position in the signing log.

    `leaf_hash` is the log's leaf over the record (`libs.contracts.record`): with `verified`, the record can be rebuilt.
    """

    request_id: UUID
    document_id: DocumentId
    record_id: UUID
    log_position: int
    leaf_hash: Base64
    posted_at: UtcTime

    @property
    def key(self) -> str:
        return self.document_id

    @property
    def uniqueness(self) -> tuple[object, ...]:
        return (self.request_id, self.document_id)


class Rejected(Event):
    """These documents, or all of the request when `documents` is null, will not be posted, and why (until when)."""

    request_id: UUID
    header: Header | None
    documents: tuple[DocumentId, ...] | None
    stage: Stage
    reason: Reason
    detail: str = ""
    held_until: UtcTime | None = None
    safe_to_retry: bool

    @property
    def key(self) -> str:
        return str(self.request_id)

    @property
    def uniqueness(self) -> tuple[object, ...]:
        return (self.request_id, self.stage, self.reason, *(self.documents or ("*",)))


class PostedDocument(Part):
    """One posted document of a completed request."""

    document_id: DocumentId
    record_id: UUID


class RejectedDocuments(Part):
    """Documents of a completed request that were not posted, and why; None names all that are not listed elsewhere."""

    documents: tuple[DocumentId, ...] | None
    stage: Stage
    reason: Reason
    safe_to_retry: bool


class Completed(Event):
    """The end of a request: one per request, the same id if repeated. iGFMAS acts on this."""

    request_id: UUID
    header: Header | None
    posted: tuple[PostedDocument, ...]
    rejected: tuple[RejectedDocuments, ...]
    completed_at: UtcTime

    @property
    def key(self) -> str:
        return str(self.request_id)

    @property
    def uniqueness(self) -> tuple[object, ...]:
        return (self.request_id,)
