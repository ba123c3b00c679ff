"""Bodies of the GPKI API: what a caller sends, and what it is answered. Answers change by addition only."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, StringConstraints

from libs.contracts.base import Base64, Exact, Part, UtcTime
from libs.contracts.cancelling import CancelAnswer
from libs.contracts.manifest import DocumentId, Manifest, UserId
from libs.contracts.reasons import Reason
from libs.contracts.resending import ResendRefusal
from libs.contracts.signing import Channel, Medium, PostedDocument, RejectedDocuments, Stage
from libs.contracts.texts import Language

KeyId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""Hex SHA-256 of a SubjectPublicKeyInfo."""

State = Literal[
    "requested",
    "awaiting-otp",
    "awaiting-authorisation",
    "awaiting-token-signatures",
    "signing",
    "ending",
    "completed",
]
"""`awaiting-otp`: the medium is known, no code is delivered yet. `awaiting-authorisation`: PIN and OTP can be given.
`awaiting-token-signatures`: the officer's token has documents left to sign. `signing`: documents are on their way.
`ending`: every document is posted or refused; `completed` follows."""


class SealingKey(Part):
    """The key to seal PIN and OTP to; `chain` (DER) runs from its own certificate up to, not including, the root."""

    key_id: KeyId
    chain: tuple[Base64, ...]


class Authorisation(Exact):
    """PIN and OTP, sealed to `sealing_key_id` where they were typed (`libs.crypto.sealing`)."""

    sealing_key_id: KeyId
    sealed: Annotated[Base64, Field(min_length=48, max_length=4096, repr=False)]


class SigningRequest(Exact):
    """What `requested` carries on Kafka: the manifest, and the caller's signature over its root (docs/integration.md).

    `caller_key` is the caller's registered key; it need not be the one of this call's token.
    """

    manifest: Manifest
    caller_key: KeyId
    signature: Annotated[Base64, Field(min_length=1, max_length=1024)]


class Started(Part):
    """The request is published. `root` (hex) is what the officer will sign; follow `status_url`."""

    request_id: UUID
    root: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    status_url: str


class UserCertificate(Part):
    """The state of an officer's certificate; `not_after` is None when its bytes cannot be read."""

    status: Literal["good", "suspended", "revoked"]
    not_after: UtcTime | None


class UserMedium(Part):
    """What this officer signs with; `channels` in the order of preference, `certificate` None while there is none."""

    user: UserId
    medium: Medium
    channels: tuple[Channel, ...]
    certificate: UserCertificate | None


class Accepted(Part):
    """The submission is published. `attempt` names it in `failures`; follow `status_url`, a path on this server."""

    attempt: str
    status_url: str


class CancelAccepted(Part):
    """The cancel is published. `cancellation` names it in the status's `cancellations`, which tell what came of it."""

    cancellation: UUID
    status_url: str


class Cancellation(Part):
    """A cancel that was asked for; `answer` is None until whoever ends the request has said what came of it."""

    cancellation: UUID
    answer: CancelAnswer | None


class OtpResend(Exact):
    """Another code, by this channel, or null for the one that the officer prefers."""

    channel: Channel | None


class ResendAccepted(Part):
    """The ask is published. `resend` names it in the status's `resends`, which tell what came of it."""

    resend: UUID
    status_url: str


class Resend(Part):
    """Another code that was asked for: `number` is that of the code that was delivered, `refusal` says why none was.

    Both are None until otp_dispatch has answered; `codes_left` is how many more there can be. `channel` None left the
    choice open. `held`: no code is sent to this officer before `held_until`.
    """

    resend: UUID
    channel: Channel | None = None
    number: int | None = None
    refusal: ResendRefusal | None = None
    codes_left: int | None = None
    held_until: UtcTime | None = None


class Explanation(Part):
    """A reason for a person to read, in the language of Accept-Language (ms, en), and for a machine what it says.

    `signed` and `posted`: whether these documents were, in this request. `lock_ends` is what ends a lock, which never
    ends by itself; a hold does, at `held_until`, and locks nothing.
    """

    language: Language
    title: str
    detail: str
    next_step: str
    signed: bool
    posted: bool
    lock_ends: Literal["two-administrators"] | None
    held_until: UtcTime | None = None


class Dispatch(Part):
    """A code that was delivered; `number` counts from 1 within the request, `destination` is masked.

    `new_address_from`: the officer has a newer address or device, which gets codes from then on; this one went to the
    mailbox of before, and `explanation` says so.
    """

    number: int
    channel: Channel
    destination: str
    reference_code: str
    delivered_at: UtcTime
    expires_at: UtcTime
    new_address_from: UtcTime | None = None
    explanation: Explanation | None = None


class Wait(Part):
    """Documents that are parked at a stage, or all when null, and why; `next_look` is when the stage looks again.

    Said when they are parked first. `explanation` is None for a reason that a later release knows.
    """

    documents: tuple[DocumentId, ...] | None
    stage: Stage
    why: str
    next_look: UtcTime
    explanation: Explanation | None = None


class Failure(Part):
    """An attempt that did not authorise; `attempts_left` as far as the reason counts any."""

    attempt: str
    reason: Reason
    reference_code: str | None
    attempts_left: int | None
    held_until: UtcTime | None = None
    safe_to_retry: bool
    explanation: Explanation | None = None


class Rejection(Part):
    """Documents that will not be posted, and why; None names all that have no outcome yet."""

    documents: tuple[DocumentId, ...] | None
    stage: Stage
    reason: Reason
    detail: str
    held_until: UtcTime | None = None
    safe_to_retry: bool
    explanation: Explanation | None = None


class NotPosted(RejectedDocuments):
    """Documents of a completed request that were not posted, and why."""

    explanation: Explanation | None = None


class Result(Part):
    """The end of a request, document by document; explained in the status, not in the timeline."""

    posted: tuple[PostedDocument, ...]
    rejected: tuple[NotPosted, ...]
    completed_at: UtcTime


class Counts(Part):
    """Documents that reached each stage so far."""

    signed: int = 0
    verified: int = 0
    posted: int = 0
    rejected: int = 0


class SigningStatus(Part):
    """Everything that is known of a request now. `seq` grows with every change; None is not known (yet).

    `request`, `system`, `action` and `documents` (their number) are the header's; `dispatches` go by number,
    `failures`, `cancellations`, `resends` and `waits` by time. `waits` are those that may not be over yet.
    """

    request_id: UUID
    state: State
    seq: int
    request: str | None
    system: str | None
    action: str | None
    documents: int | None
    medium: Medium | None
    counts: Counts
    dispatches: tuple[Dispatch, ...]
    failures: tuple[Failure, ...]
    rejections: tuple[Rejection, ...]
    completed: Result | None
    cancellations: tuple[Cancellation, ...]
    resends: tuple[Resend, ...]
    waits: tuple[Wait, ...]


class Fault(Part):
    """One fault of a request's body or headers: where, and the rule that it breaks; never the value."""

    place: str
    rule: str


class Problem(Part):
    """RFC 9457. `code` is stable; title, detail and next step are in the language of Accept-Language (ms, en).

    `signed` and `posted`: whether this call had any document signed or posted; None cannot be told yet, the status
    will. `refused` is the root of the content that an `id-conflict` refused, in hex.
    """

    type: str
    title: str
    status: int
    detail: str
    code: str
    next_step: str
    trace_id: str
    errors: tuple[Fault, ...] = ()
    signed: bool | None = None
    posted: bool | None = None
    refused: str | None = None
