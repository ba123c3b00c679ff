"""Codes of the GPKI API's problem details (RFC 9457).

Texts in Malay and English are in `texts/http.*.json`; a code that is a reason's as well has the reason's.
"""

from enum import StrEnum


class ProblemCode(StrEnum):
    """A stable code per cause. What becomes of documents has codes of its own (`libs.contracts.reasons`)."""

    UNAUTHORISED = "unauthorised"
    NOT_FOUND = "not-found"
    METHOD_NOT_ALLOWED = "method-not-allowed"
    REQUEST_TIMEOUT = "request-timeout"
    TOO_LARGE = "too-large"
    MALFORMED = "malformed"
    BODY_INVALID = "body-invalid"
    IDEMPOTENCY_KEY_REUSED = "idempotency-key-reused"
    ID_CONFLICT = "id-conflict"
    CALLER_NOT_ALLOWED = "caller-not-allowed"
    CALLER_SIGNATURE_INVALID = "caller-signature-invalid"
    MANIFEST_INVALID = "manifest-invalid"
    DOCUMENT_DUPLICATE = "document-duplicate"
    TOO_MANY_DOCUMENTS = "too-many-documents"
    AUTHORISATION_TOO_EARLY = "authorisation-too-early"
    AUTHORISATION_TOO_LATE = "authorisation-too-late"
    CANCELLATION_TOO_LATE = "cancellation-too-late"
    WRONG_MEDIUM = "wrong-medium"
    TOKEN_SIGNATURES_TOO_EARLY = "token-signatures-too-early"  # noqa: S105 (a code, no secret)
    TOKEN_SIGNATURES_TOO_LATE = "token-signatures-too-late"  # noqa: S105 (a code, no secret)
    DOCUMENT_NOT_IN_REQUEST = "document-not-in-request"
    RESEND_TOO_EARLY = "resend-too-early"
    RESEND_TOO_LATE = "resend-too-late"
    RESEND_NOT_ROAMING = "resend-not-roaming"
    TOO_MANY_CALLS = "too-many-calls"
    UNAVAILABLE = "unavailable"
    INTERNAL_ERROR = "internal-error"
