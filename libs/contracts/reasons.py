"""Reason codes: every cause for which a document is not posted, and whether it is safe to try again."""

from enum import StrEnum


class Reason(StrEnum):
    """A stable code per cause; texts in Malay and English are in `libs/contracts/texts/`."""

    USER_UNKNOWN = "user-unknown"
    USER_HAS_NO_CERTIFICATE = "user-has-no-certificate"
    MEDIUM_UNSUPPORTED = "medium-unsupported"
    MANIFEST_INVALID = "manifest-invalid"
    DOCUMENT_DUPLICATE = "document-duplicate"
    TOO_MANY_DOCUMENTS = "too-many-documents"
    CALLER_NOT_ALLOWED = "caller-not-allowed"
    CALLER_SIGNATURE_INVALID = "caller-signature-invalid"
    OTP_UNDELIVERABLE = "otp-undeliverable"
    OTP_CHANNEL_NOT_ALLOWED = "otp-channel-not-allowed"
    OTP_INCORRECT = "otp-incorrect"
    OTP_EXPIRED = "otp-expired"
    OTP_USED = "otp-used"
    TOO_MANY_WRONG_OTP = "too-many-wrong-otp"
    PIN_INCORRECT = "pin-incorrect"
    PIN_LOCKED = "pin-locked"
    TOO_MANY_WRONG_PIN = "too-many-wrong-pin"
    PIN_TOO_WEAK = "pin-too-weak"
    AUTHORISATION_EXPIRED = "authorisation-expired"
    CHALLENGE_INVALID = "challenge-invalid"
    SEAL_EXPIRED = "seal-expired"
    SEAL_INVALID = "seal-invalid"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    CERTIFICATE_REVOKED = "certificate-revoked"
    CERTIFICATE_EXPIRED = "certificate-expired"
    CERTIFICATE_NOT_YET_VALID = "certificate-not-yet-valid"
    CERTIFICATE_SUSPENDED = "certificate-suspended"
    CERTIFICATE_UNKNOWN = "certificate-unknown"
    CERTIFICATE_MISMATCH = "certificate-mismatch"
    ATTRIBUTES_MISSING = "attributes-missing"
    ATTRIBUTES_MISMATCH = "attributes-mismatch"
    SIGNATURE_INVALID = "signature-invalid"
    CRL_STALE = "crl-stale"
    ALREADY_POSTED = "already-posted"
    SAH_NOT_POSTED = "sah-not-posted"
    ID_CONFLICT = "id-conflict"
    HSM_UNAVAILABLE = "hsm-unavailable"
    POISON = "poison"
    CREDENTIAL_UNKNOWN = "credential-unknown"
    OTP_HELD = "otp-held"
    NOT_ME = "not-me"
    OTP_ADDRESS_NEW = "otp-address-new"

    @property
    def safe_to_retry(self) -> bool:
        """Whether the same documents may be requested again without a person mending something first."""
        return self in _SAFE_TO_RETRY


_SAFE_TO_RETRY = frozenset(
    {
        Reason.OTP_UNDELIVERABLE,
        Reason.OTP_INCORRECT,
        Reason.OTP_EXPIRED,
        Reason.OTP_USED,
        Reason.TOO_MANY_WRONG_OTP,
        Reason.OTP_HELD,
        Reason.OTP_ADDRESS_NEW,
        Reason.PIN_INCORRECT,
        Reason.AUTHORISATION_EXPIRED,
        Reason.SEAL_EXPIRED,
        Reason.EXPIRED,
        Reason.CANCELLED,
        Reason.CRL_STALE,
        Reason.SAH_NOT_POSTED,
        Reason.HSM_UNAVAILABLE,
    }
)
