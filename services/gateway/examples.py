"""Examples of docs/openapi.yaml. A test holds each against its schema; people and keys in them are made up."""

from typing import Any, Final

from libs.contracts.problems import ProblemCode
from services.gateway.problems import details
from services.gateway.schemas import Fault

_REQUEST_ID: Final = "0d7c0b3e-6f6c-5a0e-9d0b-2b8f5a4f9a11"
_STATUS_URL: Final = f"/v1/signings/{_REQUEST_ID}"
_TRACE_ID: Final = "0af7651916cd43dd8448eb211c80319c"
_KEY_ID: Final = "5e" * 32
_FAULTS: Final = (Fault(place="body.manifest.documents.0.amount", rule="string_pattern_mismatch"),)
_FAULTY: Final = frozenset({ProblemCode.BODY_INVALID, ProblemCode.MANIFEST_INVALID})

EXAMPLES: Final[dict[str, Any]] = {
    "SigningRequest": {
        "manifest": {
            "header": {
                "request": "STH-2026-11-0042",
                "caller": "igfmas",
                "system": "iGFMAS",
                "user": "800101145566",
                "office": "AG-KL-01",
                "action": "sah",
                "count": "1",
            },
            "documents": [
                {
                    "id": "BB000042",
                    "kind": "baucar-bayaran",
                    "title": "Baucar BB000042",
                    "payee": "Syarikat Maju Sdn Bhd",
                    "amount": "1842.50",
                    "currency": "MYR",
                    "sha256": "9f" * 32,
                }
            ],
        },
        "caller_key": _KEY_ID,
        "signature": "c2lnbmF0dXJlIG92ZXIgdGhlIHJvb3QgYnkgdGhlIGNhbGxlcidzIGtleS4uLg==",
    },
    "Started": {"request_id": _REQUEST_ID, "root": "3b" * 32, "status_url": _STATUS_URL},
    "UserMedium": {
        "user": "800101145566",
        "medium": "roaming-otp",
        "channels": ["gpki-mobile", "e-mail"],
        "certificate": {"status": "good", "not_after": "2028-11-22T08:00:00Z"},
    },
    "Authorisation": {"sealing_key_id": _KEY_ID, "sealed": "c2VhbGVk" * 36},
    "Accepted": {"attempt": "a7" * 32, "status_url": _STATUS_URL},
    "TokenSignatures": {"signatures": [{"document": "BB000042", "cms": "TUlJQi4uLg=="}]},
    "SignaturesAccepted": {"accepted": 1, "status_url": _STATUS_URL},
    "CancelAccepted": {"cancellation": "7d0d9a4e-2b7e-5b5e-8f0e-5d3c2f4e6a10", "status_url": _STATUS_URL},
    "NotMeReport": {
        "request_id": _REQUEST_ID,
        "reference_code": "K7Q",
        "said_at": "2026-11-28T02:15:00Z",
        "signature": "c2ln" * 21 + "cw==",
    },
    "NotMeTaken": {"request_id": _REQUEST_ID},
    "SealingKey": {"key_id": _KEY_ID, "chain": ["TUlJQi4uLg==", "TUlJQy4uLg=="]},
}


def problem_example(code: ProblemCode) -> dict[str, Any]:
    """The problem as an officer with English is answered."""
    errors = _FAULTS if code in _FAULTY else ()
    refused = bytes.fromhex("3b" * 32) if code is ProblemCode.ID_CONFLICT else None
    body = details(code, language="en", trace_id=_TRACE_ID, errors=errors, refused=refused)
    return body.model_dump(mode="json")
