"""Every topic, declared once: its event, key, partitions, retention and sizes."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from libs.contracts import (
    cancelling,
    enrolment,
    log,
    not_me,
    notice,
    pin,
    progress,
    resending,
    signing,
    state,
    suspension,
    token_route,
    waiting,
)
from libs.contracts.base import Event

MAX_RECORD_BYTES = 8 * 1024 * 1024
"""Largest record on a topic that carries a list of documents."""

MAX_REQUESTED_BYTES = MAX_RECORD_BYTES - 256 * 1024
"""What follows from a request carries its manifest and more, and must fit its own topic."""

MAX_DEAD_LETTER_BYTES = 9 * 1024 * 1024
"""A dead letter is the record that could not be processed, with its coordinates and the reason beside it."""

MAX_DOCUMENT_RECORD_BYTES = 256 * 1024
"""Largest record on a topic that carries one document, and largest batch: what a stage says of 100 documents is one."""

CHAIN_RETENTION = timedelta(days=14)
SEALED_RETENTION = timedelta(hours=24)
"""What carries a sealed PIN is not kept longer than it can be needed."""


@dataclass(frozen=True)
class Topic:
    """One topic; `retention` None is compacted state. What `outsiders` write may alarm us, it never stops us."""

    name: str
    event: type[Event]
    key: Literal["request", "document", "user", "credential", "key", "application", "log", "tile"]
    retention: timedelta | None = CHAIN_RETENTION
    max_bytes: int = MAX_RECORD_BYTES
    partitions: int = 4
    outsiders: bool = False
    callers_shape: bool = False
    """A service of ours writes it, with content that a caller chose: the caller may not stop a consumer either."""
    producers: tuple[str, ...] = ()
    """Who may write it, by a signature of its own (event_signature.py); none on what comes per document, which carries
    its proof in it, and on what outsiders sign. services/README.md says the same of all topics; a test holds both."""

    @property
    def dead_letter(self) -> str:
        """The topic for records of this one that cannot be processed."""
        return f"{self.name}.dlq"


def _document(name: str, event: type[Event]) -> Topic:
    return Topic(f"gpki.signing.{name}.v1", event, "document", max_bytes=MAX_DOCUMENT_RECORD_BYTES)


def _stopping(name: str, event: type[Event], *producers: str) -> Topic:
    # A caller who signs two contents under one id brings about a cancel that names another user than the request has;
    # what a device says, the device shapes.
    return Topic(
        f"gpki.signing.{name}.v1",
        event,
        "request",
        max_bytes=MAX_DOCUMENT_RECORD_BYTES,
        callers_shape=True,
        producers=producers,
    )


def _request(name: str, event: type[Event], *producers: str, max_bytes: int = MAX_RECORD_BYTES) -> Topic:
    return Topic(f"gpki.signing.{name}.v1", event, "request", max_bytes=max_bytes, producers=producers)


def _sealed(name: str) -> Topic:
    # The gateway writes it, callers shape it: what one of them sends must not stop the lane for all.
    return Topic(
        f"gpki.signing.{name}.v1",
        signing.AuthorisationSubmitted,
        "request",
        retention=SEALED_RETENTION,
        callers_shape=True,
        producers=("gateway",),
    )


def _enrolment(
    name: str,
    event: type[Event],
    *producers: str,
    key: Literal["application", "credential"] = "application",
    retention: timedelta = SEALED_RETENTION,
) -> Topic:
    # What no service of ours writes, a registrar signs.
    return Topic(
        f"gpki.enrolment.{name}.v1",
        event,
        key,
        retention=retention,
        max_bytes=MAX_DOCUMENT_RECORD_BYTES,
        outsiders=not producers,
        producers=producers,
    )


def _state(name: str, event: type[Event], key: Literal["user", "credential", "key"], *producers: str) -> Topic:
    return Topic(
        f"gpki.{name}.v1",
        event,
        key,
        retention=None,
        max_bytes=MAX_DOCUMENT_RECORD_BYTES,
        partitions=1 if key == "key" else 4,
        producers=producers,
    )


REQUESTED = Topic(
    "gpki.signing.requested.v1", signing.Requested, "request", outsiders=True, max_bytes=MAX_REQUESTED_BYTES
)
MEDIUM_RESOLVED = _request("medium-resolved", signing.MediumResolved, "medium_lookup")
OTP_DISPATCHED = _request("otp-dispatched", signing.OtpDispatched, "otp_dispatch")
AUTHORISATION_SUBMITTED = _sealed("authorisation-submitted")
AUTHORISATION_SUBMITTED_BULK = _sealed("authorisation-submitted-bulk")
AUTHORISATION_FAILED = _request("authorisation-failed", signing.AuthorisationFailed, "hsm_signer")
RESEND_REQUESTED = Topic(
    "gpki.signing.resend-requested.v1",
    resending.ResendRequested,
    "request",
    callers_shape=True,
    producers=("gateway",),
)
RESEND_ANSWERED = _request(
    "resend-answered", resending.ResendAnswered, "otp_dispatch", max_bytes=MAX_DOCUMENT_RECORD_BYTES
)
TOKEN_SIGNED = Topic(
    "gpki.signing.token-signed.v1",
    token_route.TokenSigned,
    "document",
    max_bytes=MAX_DOCUMENT_RECORD_BYTES,
    callers_shape=True,
)
SIGNED = _document("signed", signing.Signed)
VERIFIED = _document("verified", signing.Verified)
POSTED = _document("posted", signing.Posted)
REJECTED = _request(
    "rejected",
    signing.Rejected,
    *("medium_lookup", "otp_dispatch", "hsm_signer", "crl_verifier", "posting", "operations"),
)
CANCEL_REQUESTED = _stopping("cancel-requested", cancelling.CancelRequested, "gateway")
CANCEL_ANSWERED = _stopping("cancel-answered", cancelling.CancelAnswered, "medium_lookup", "hsm_signer", "crl_verifier")
NOT_ME = _stopping("not-me", not_me.NotMe, "gateway")
WAITING = _request("waiting", waiting.Waiting, "otp_dispatch", "hsm_signer", "crl_verifier", "posting")
PROGRESSED = _request("progressed", progress.Progressed, max_bytes=MAX_DOCUMENT_RECORD_BYTES)
COMPLETED = _request("completed", signing.Completed, "posting")

USER = _state("user", state.User, "user", "enrolment")
CERTIFICATE = _state("certificate", state.Certificate, "credential", "certificate_authority")
KEYS = _state("keys", state.Key, "key", "certificate_authority", "hsm_signer")

LOG_CHECKPOINT = Topic(
    "gpki.log.checkpoint.v1",
    log.LogCheckpoint,
    "log",
    max_bytes=MAX_DOCUMENT_RECORD_BYTES,
    partitions=1,
    producers=("posting",),
)
# The witness's signature is in the note itself.
LOG_COUNTERSIGNED = Topic(
    "gpki.log.countersigned.v1",
    log.CheckpointCountersigned,
    "log",
    retention=None,  # the newest is what an audit holds the log against, however long ago it was
    max_bytes=MAX_DOCUMENT_RECORD_BYTES,
    partitions=1,
)
LOG_TILE = Topic(
    "gpki.log.tile.v1",
    log.LogTile,
    "tile",
    max_bytes=MAX_DOCUMENT_RECORD_BYTES,
    partitions=1,
    producers=("posting",),
)

APPLICATION_SUBMITTED = _enrolment("application-submitted", enrolment.ApplicationSubmitted)
KEY_REQUESTED = _enrolment("key-requested", enrolment.KeyRequested, "enrolment")
CERTIFICATE_REQUESTED = _enrolment("certificate-requested", enrolment.CertificateRequested, "hsm_signer")
TOKEN_APPLICATION_SUBMITTED = _enrolment("token-application-submitted", enrolment.TokenApplicationSubmitted)
TOKEN_CERTIFICATE_REQUESTED = _enrolment(
    "token-certificate-requested", enrolment.TokenCertificateRequested, "enrolment"
)
DEVICE_REGISTRATION_SUBMITTED = _enrolment("device-registration-submitted", enrolment.DeviceRegistrationSubmitted)
REVOCATION_REQUESTED = _enrolment("revocation-requested", enrolment.RevocationRequested)
SUSPENSION_REQUESTED = _enrolment("suspension-requested", suspension.SuspensionRequested, key="credential")
LIFTING_REQUESTED = _enrolment("lifting-requested", suspension.LiftingRequested, key="credential")
APPLICATION_REFUSED = _enrolment(
    "application-refused",
    enrolment.ApplicationRefused,
    *("enrolment", "hsm_signer", "certificate_authority"),
)
PIN_CHANGE_SUBMITTED = _enrolment("pin-change-submitted", pin.PinChangeSubmitted, key="credential")
PIN_UNLOCK_ORDERED = _enrolment("pin-unlock-ordered", pin.PinUnlockOrdered, key="credential")
# A restored backup reads here whose PIN was changed since (libs/contracts/custody.py).
PIN_ANSWERED = _enrolment("pin-answered", pin.PinAnswered, "hsm_signer", key="credential", retention=CHAIN_RETENTION)
OFFICER_TOLD = Topic(
    "gpki.enrolment.officer-told.v1",
    notice.OfficerTold,
    "user",
    max_bytes=MAX_DOCUMENT_RECORD_BYTES,
    producers=("otp_dispatch",),
)

TOPICS: dict[str, Topic] = {
    topic.name: topic
    for topic in (
        REQUESTED,
        MEDIUM_RESOLVED,
        OTP_DISPATCHED,
        AUTHORISATION_SUBMITTED,
        AUTHORISATION_SUBMITTED_BULK,
        AUTHORISATION_FAILED,
        RESEND_REQUESTED,
        RESEND_ANSWERED,
        TOKEN_SIGNED,
        SIGNED,
        VERIFIED,
        POSTED,
        REJECTED,
        CANCEL_REQUESTED,
        CANCEL_ANSWERED,
        NOT_ME,
        WAITING,
        PROGRESSED,
        COMPLETED,
        USER,
        CERTIFICATE,
        KEYS,
        LOG_CHECKPOINT,
        LOG_COUNTERSIGNED,
        LOG_TILE,
        APPLICATION_SUBMITTED,
        KEY_REQUESTED,
        CERTIFICATE_REQUESTED,
        TOKEN_APPLICATION_SUBMITTED,
        TOKEN_CERTIFICATE_REQUESTED,
        DEVICE_REGISTRATION_SUBMITTED,
        REVOCATION_REQUESTED,
        SUSPENSION_REQUESTED,
        LIFTING_REQUESTED,
        APPLICATION_REFUSED,
        PIN_CHANGE_SUBMITTED,
        PIN_UNLOCK_ORDERED,
        PIN_ANSWERED,
        OFFICER_TOLD,
    )
}
"""Every topic by name; dead letters are derived."""
