"""What a discarded letter ends: the documents that its stage can never decide about (design section 3)."""

import json
from collections.abc import Collection, Mapping
from typing import Any, Final, get_args
from uuid import UUID

from pydantic import ValidationError

from libs.contracts import topics
from libs.contracts.manifest import Header
from libs.contracts.reasons import Reason
from libs.contracts.signing import Rejected, Stage
from services.operations.letters import Letter

ENDS: Final[Mapping[str, frozenset[Stage]]] = {
    topics.MEDIUM_RESOLVED.name: frozenset({"otp_dispatch", "hsm_signer", "crl_verifier"}),
    topics.OTP_DISPATCHED.name: frozenset({"hsm_signer"}),
    topics.SIGNED.name: frozenset({"crl_verifier"}),
    topics.VERIFIED.name: frozenset({"posting"}),
    topics.REJECTED.name: frozenset({"posting"}),
}
"""Topic → stages without whose handling of it a document stays open for ever.

Not here: what outsiders write, whose refusal ends nothing; what an officer may send again; what is for display.
"""


class RequestUnknownError(Exception):
    """The letter does not say which request it is of: the operator must."""


def rejection(letter: Letter, request: UUID | None = None) -> Rejected | None:
    """What ends with this letter, or None when nothing waits for it.

    `request` is asked for, and believed, only when the letter does not tell. Raises RequestUnknownError.
    """
    stage: Stage | None = next((stage for stage in get_args(Stage) if stage == letter.service), None)
    if stage is None or stage not in ENDS.get(letter.topic, frozenset()):
        return None
    content = _content(letter.record.value)
    by_document = topics.TOPICS[letter.topic].key == "document"
    request_id = _uuid(content.get("request_id")) or (None if by_document else _uuid(_text(letter.record.key)))
    request_id = request_id or request
    if request_id is None:
        raise RequestUnknownError(letter.name)
    documents: object = None
    if by_document:
        documents = (_text(letter.record.key),)
    elif letter.topic == topics.REJECTED.name:
        documents = content.get("documents")
    try:
        return Rejected.model_validate(
            {
                "request_id": request_id,
                "header": _header(content, request_id),
                "documents": documents,
                "stage": stage,
                "reason": Reason.POISON,
                # Not the operator's words: discarded again after a crash, it must be the same event.
                "detail": f"discarded dead letter {letter.name}",
                "safe_to_retry": Reason.POISON.safe_to_retry,
            }
        )
    except ValidationError:
        return None  # what it calls a document can be none


def concerns(letter: Letter, request: UUID, documents: Collection[str]) -> bool:
    """Whether a letter is, or may be, of this request, which has these documents.

    One that does not say whose it is may be of every request that has its document.
    """
    content, key = _content(letter.record.value), _text(letter.record.key)
    said = _uuid(content.get("request_id"))
    return request in (said, _uuid(key)) or (said is None and key in documents)


def _content(value: bytes) -> dict[str, Any]:
    try:
        content = json.loads(value)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _uuid(text: object) -> UUID | None:
    try:
        return UUID(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _text(key: bytes | None) -> str:
    return (key or b"").decode("utf-8", "replace")


def _header(content: dict[str, Any], request_id: UUID) -> Header | None:
    """The request's header, if the letter has it whole: a letter of another request's header tells nothing."""
    try:
        header = Header.model_validate(content.get("header") or content["signed"]["manifest"]["header"])
    except (KeyError, TypeError):
        return None
    except ValidationError:
        return None
    return header if header.request_id == request_id else None
