"""The rule of who may have what signed: judged by medium_lookup, and by the gateway before it publishes `requested`."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from libs.bus.trust import vouches
from libs.contracts.base import UNKNOWN_NAME
from libs.contracts.manifest import DOCUMENT_FIELDS, MAX_DOCUMENTS, Header, Manifest
from libs.contracts.reasons import Reason
from libs.contracts.signing import Requested
from libs.contracts.state import User
from libs.crypto.service_certificates import ServiceIdentity

_SHOWN_FAULTS = 5
_NAMES = {"header", "documents", *Header.model_fields, *DOCUMENT_FIELDS}


@dataclass(frozen=True)
class Refused:
    """A "no" that the caller gets to know; `header` only when it is one.

    `faults` are (place in the manifest, rule that it breaks), never a value of it; `detail` says them, or more, in one.
    """

    reason: Reason
    header: Header | None
    detail: str = ""
    faults: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Forged:
    """Not from the caller that it names; nobody gets an answer, and nothing is ended by it."""


def admit(event: Requested, identity: ServiceIdentity | None) -> Manifest | Refused | Forged:
    """Judge caller, system, office and manifest; `identity` is what the named key stands for, None if not usable.

    The signature comes first, over the root of what was received: only then is anything in it anybody's word. About
    20 µs a document: call it off the event loop.
    """
    received = event.manifest.header
    caller = received.get("caller", "")
    if not vouches(identity, caller=caller, root=event.commitment.root, signature=event.signature):
        return Forged()
    assert identity is not None
    header = _header(received)
    foreign = _foreign(received, identity)
    if foreign is not None:
        return Refused(Reason.CALLER_NOT_ALLOWED, header, f"header.{foreign} is not of the caller's key")
    documents = event.manifest.documents
    if len(documents) > MAX_DOCUMENTS:
        return Refused(Reason.TOO_MANY_DOCUMENTS, header)
    ids = [document.get("id") for document in documents]
    if len(set(ids)) != len(ids):
        return Refused(Reason.DOCUMENT_DUPLICATE, header)
    try:
        return Manifest.model_validate({"header": received, "documents": documents})
    except ValidationError as error:
        faults = _faults(error)
        return Refused(Reason.MANIFEST_INVALID, header, "; ".join(map(": ".join, faults)), faults)


def may_ask(offices: Collection[str], user: User) -> bool:
    """Whether a caller of these offices may ask for this officer: one who is registered in one of them; any, if none.

    Of an officer who is not registered nothing can be said: "unknown" is another answer than "not yours".
    """
    return not offices or user.office in offices


def _foreign(received: Mapping[str, str], identity: ServiceIdentity) -> str | None:
    """The name in the header for which this key may not speak; a key that names no office may name any."""
    if received.get("system") != identity.unit:
        return "system"
    return "office" if identity.offices and received.get("office") not in identity.offices else None


def _header(received: Mapping[str, str]) -> Header | None:
    try:
        return Header.model_validate(received)
    except ValidationError:
        return None


def _faults(error: ValidationError) -> tuple[tuple[str, str], ...]:
    found: list[Any] = error.errors(include_input=False, include_context=False, include_url=False)
    return tuple((".".join(map(_place, fault["loc"])), _rule(fault["type"])) for fault in found[:_SHOWN_FAULTS])


def _rule(name: str) -> str:
    # Callers are told one name, however we declared the structure.
    return "extra_forbidden" if name in UNKNOWN_NAME else name


def _place(part: int | str) -> str:
    # An unknown name is the sender's text, which an event of ours does not repeat.
    return str(part) if isinstance(part, int) or part in _NAMES else "(unknown name)"
