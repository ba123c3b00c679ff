"""Every topic, declared once: its event, key, partitions, retention and sizes."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from libs.contracts import cancelling, enrolment, not_me, progress, resending, signing, state, token_route, waiting
from libs.contracts.base import Event

MAX_RECORD_BYTES = 8 * 1024 * 1024
"""Largest record on a topic that carries a list of documents."""

MAX_REQUESTED_BYTES = MAX_RECORD_BYTES - 256 * 1024
"""What follows from a request carries its manifest and more, and must fit its own topic."""

MAX_DEAD_LETTER_BYTES = 9 * 1024 * 1024
"""A dead letter is the record that could not be processed, with its coordinates and the reason beside it."""

MAX_DOCUMENT_RECORD_BYTES = 64 * 1024
"""Largest record on a topic that carries one document."""

CHAIN_RETENTION = timedelta(days=14)
SEALED_RETENTION = timedelta(hours=24)
"""What carries a sealed PIN is not kept longer than it can be needed."""


@dataclass(frozen=True)
class Topic:
    """One topic; `retention` None is compacted state. What `outsiders` write may alarm us, it never stops us."""

    name: str
    event: type[Event]
    key: Literal["request", "document", "user", "credential", "key", "application"]
    retention: timedelta | None = CHAIN_RETENTION
    max_bytes: int = MAX_RECORD_BYTES
    partitions: int = 4
    outsiders: bool = False
    callers_shape: bool = False
    """A service of ours writes it, with content that a caller chose: the caller may not stop a consumer either."""

    @property
    def dead_letter(self) -> str:
        """The topic for records of this one that cannot be processed."""
        return f"{self.name}.dlq"


def _document(name: str, event: type[Event]) -> Topic:
    return Topic(f"gpki.signing.{name}.v1", event, "document", max_bytes=MAX_DOCUMENT_RECORD_BYTES)


def _stopping(name: str, event: type[Event]) -> Topic:
    # A caller who signs two contents under one id brings about a cancel that names another user than the request has;
    # what a device says, the device shapes.
    return Topic(f"gpki.signing.{name}.v1", event, "request", max_bytes=MAX_DOCUMENT_RECORD_BYTES, callers_shape=True)


def _request(name: str, event: type[Event], *, outsiders: bool = False, max_bytes: int = MAX_RECORD_BYTES) -> Topic:
    return Topic(f"gpki.signing.{name}.v1", event, "request", outsiders=outsiders, max_bytes=max_bytes)


def _callers_list(name: str, event: type[Event]) -> Topic:
    return Topic(f"gpki.signing.{name}.v1", event, "request", callers_shape=True)


def _sealed(name: str) -> Topic:
    # The gateway writes it, callers shape it: what one of them sends must not stop the lane for all.
    return Topic(
        f"gpki.signing.{name}.v1",
        signing.AuthorisationSubmitted,
        "request",
        retention=SEALED_RETENTION,
        callers_shape=True,
    )


def _enrolment(name: str, event: type[Event], *, outsiders: bool = False) -> Topic:
    return Topic(
        f"gpki.enrolment.{name}.v1",
        event,
        "application",
        retention=SEALED_RETENTION,
        max_bytes=MAX_DOCUMENT_RECORD_BYTES,
        outsiders=outsiders,
    )


REQUESTED = _request("requested", signing.Requested, outsiders=True, max_bytes=MAX_REQUESTED_BYTES)
MEDIUM_RESOLVED = _request("medium-resolved", signing.MediumResolved)
OTP_DISPATCHED = _request("otp-dispatched", signing.OtpDispatched)
AUTHORISATION_SUBMITTED = _sealed("authorisation-submitted")
AUTHORISATION_SUBMITTED_BULK = _sealed("authorisation-submitted-bulk")
AUTHORISATION_FAILED = _request("authorisation-failed", signing.AuthorisationFailed)
RESEND_REQUESTED = _callers_list("resend-requested", resending.ResendRequested)
RESEND_ANSWERED = _request("resend-answered", resending.ResendAnswered, max_bytes=MAX_DOCUMENT_RECORD_BYTES)
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
REJECTED = _request("rejected", signing.Rejected)
CANCEL_REQUESTED = _stopping("cancel-requested", cancelling.CancelRequested)
CANCEL_ANSWERED = _stopping("cancel-answered", cancelling.CancelAnswered)
NOT_ME = _stopping("not-me", not_me.NotMe)
WAITING = _request("waiting", waiting.Waiting)
PROGRESSED = _request("progressed", progress.Progressed, max_bytes=MAX_DOCUMENT_RECORD_BYTES)
COMPLETED = _request("completed", signing.Completed)

USER = Topic("gpki.user.v1", state.User, "user", retention=None, max_bytes=MAX_DOCUMENT_RECORD_BYTES)
CERTIFICATE = Topic(
    "gpki.certificate.v1", state.Certificate, "credential", retention=None, max_bytes=MAX_DOCUMENT_RECORD_BYTES
)
KEYS = Topic("gpki.keys.v1", state.Key, "key", retention=None, max_bytes=MAX_DOCUMENT_RECORD_BYTES, partitions=1)

APPLICATION_SUBMITTED = _enrolment("application-submitted", enrolment.ApplicationSubmitted, outsiders=True)
KEY_REQUESTED = _enrolment("key-requested", enrolment.KeyRequested)
CERTIFICATE_REQUESTED = _enrolment("certificate-requested", enrolment.CertificateRequested)
TOKEN_APPLICATION_SUBMITTED = _enrolment(
    "token-application-submitted", enrolment.TokenApplicationSubmitted, outsiders=True
)
TOKEN_CERTIFICATE_REQUESTED = _enrolment("token-certificate-requested", enrolment.TokenCertificateRequested)
DEVICE_REGISTRATION_SUBMITTED = _enrolment(
    "device-registration-submitted", enrolment.DeviceRegistrationSubmitted, outsiders=True
)
REVOCATION_REQUESTED = _enrolment("revocation-requested", enrolment.RevocationRequested, outsiders=True)
APPLICATION_REFUSED = _enrolment("application-refused", enrolment.ApplicationRefused)

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
        APPLICATION_SUBMITTED,
        KEY_REQUESTED,
        CERTIFICATE_REQUESTED,
        TOKEN_APPLICATION_SUBMITTED,
        TOKEN_CERTIFICATE_REQUESTED,
        DEVICE_REGISTRATION_SUBMITTED,
        REVOCATION_REQUESTED,
        APPLICATION_REFUSED,
    )
}
"""Every topic by name; dead letters are derived."""
