"""What the GPKI API answers, typed. Names that this release does not know are ignored, and so are new states and codes:
they are texts here. Bytes travel in standard base64, times in ISO 8601.
"""

import base64
import json
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints
from uuid import UUID

from .errors import AnswerError

T = TypeVar("T")


@dataclass(frozen=True)
class OfferedKey:
    """A sealing key as the API gives it, to be judged before anything is sealed to it (`SealingKey.judge`)."""

    key_id: str
    chain: tuple[bytes, ...]


@dataclass(frozen=True)
class OfficerCertificate:
    """The state of an officer's certificate: `good`, `suspended` or `revoked`."""

    status: str
    not_after: datetime | None = None


@dataclass(frozen=True)
class Medium:
    """With what an officer signs: `roaming-otp` or `token`; `channels` in the order of preference."""

    user: str
    medium: str
    channels: tuple[str, ...] = ()
    certificate: OfficerCertificate | None = None


@dataclass(frozen=True)
class Started:
    """The platform has the request; `root` is what it computed, and was compared with ours."""

    request_id: UUID
    root: str
    status_url: str


@dataclass(frozen=True)
class Accepted:
    """The platform has the authorisation; `attempt` names it in `Failure`."""

    attempt: str
    status_url: str


@dataclass(frozen=True)
class CancelAccepted:
    """The platform has the cancel; `cancellation` names it in the status."""

    cancellation: UUID
    status_url: str


@dataclass(frozen=True)
class ResendAccepted:
    """The platform has the ask for another code; `resend` names it in the status."""

    resend: UUID
    status_url: str


@dataclass(frozen=True)
class SignaturesAccepted:
    """The platform has so many signatures."""

    accepted: int
    status_url: str


@dataclass(frozen=True)
class Counts:
    """Documents that reached each stage."""

    signed: int = 0
    verified: int = 0
    posted: int = 0
    rejected: int = 0


@dataclass(frozen=True)
class Explanation:
    """A reason for a person to read: show it as it is."""

    title: str
    detail: str
    next_step: str
    signed: bool
    posted: bool
    language: str = ""
    lock_ends: str | None = None
    held_until: datetime | None = None


@dataclass(frozen=True)
class Dispatch:
    """A code that was delivered; `destination` is masked. Before `new_address_from` a newer address gets none."""

    number: int
    channel: str
    destination: str
    reference_code: str
    expires_at: datetime
    delivered_at: datetime | None = None
    new_address_from: datetime | None = None
    explanation: Explanation | None = None


@dataclass(frozen=True)
class Failure:
    """An attempt that did not authorise."""

    attempt: str
    reason: str
    safe_to_retry: bool
    reference_code: str | None = None
    attempts_left: int | None = None
    held_until: datetime | None = None
    explanation: Explanation | None = None


@dataclass(frozen=True)
class Wait:
    """Documents that wait at a stage, or all when None, and why. Nothing is lost, and nothing needs to be done."""

    documents: tuple[str, ...] | None
    stage: str
    why: str
    next_look: datetime
    explanation: Explanation | None = None


@dataclass(frozen=True)
class Rejection:
    """Documents that will not be posted, and why; None names all that are not listed elsewhere."""

    documents: tuple[str, ...] | None
    stage: str
    reason: str
    safe_to_retry: bool
    detail: str = ""
    held_until: datetime | None = None
    explanation: Explanation | None = None


@dataclass(frozen=True)
class PostedDocument:
    """One posted document."""

    document_id: str
    record_id: UUID


@dataclass(frozen=True)
class Result:
    """The end of a request, document by document."""

    posted: tuple[PostedDocument, ...]
    rejected: tuple[Rejection, ...]
    completed_at: datetime


@dataclass(frozen=True)
class Completed(Result):
    """The same on Kafka, with its request."""

    request_id: UUID


@dataclass(frozen=True)
class Cancellation:
    """A cancel that was asked for, and what came of it once that is known."""

    cancellation: UUID
    answer: str | None = None


@dataclass(frozen=True)
class Resend:
    """Another code that was asked for, and what came of it once that is known."""

    resend: UUID
    channel: str | None = None
    number: int | None = None
    refusal: str | None = None
    codes_left: int | None = None
    held_until: datetime | None = None


@dataclass(frozen=True)
class Status:
    """Everything that is known of a request now."""

    request_id: UUID
    state: str
    seq: int
    medium: str | None = None
    documents: int | None = None
    counts: Counts = Counts()
    dispatches: tuple[Dispatch, ...] = ()
    failures: tuple[Failure, ...] = ()
    rejections: tuple[Rejection, ...] = ()
    completed: Result | None = None
    cancellations: tuple[Cancellation, ...] = ()
    resends: tuple[Resend, ...] = ()
    waits: tuple[Wait, ...] = ()


@dataclass(frozen=True)
class Event:
    """One row of a request's timeline. `data` is of its kind: `read(Dispatch, event.data)` for `otp-dispatched`."""

    seq: int
    kind: str
    at: datetime
    reached: int | None
    data: Mapping[str, Any]


def parsed(text: str | bytes, what: str) -> Any:
    """The JSON that somebody else wrote. Raises AnswerError, which says `what` is none, and nothing of it."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise AnswerError(f"{what} is not JSON") from None


def read(kind: type[T], value: Any) -> T:
    """An answer of this kind from parsed JSON. Raises AnswerError, which names the field and never its value."""
    result: T = _read(kind, value, kind.__name__)
    return result


_FROM_TEXT: Mapping[Any, Callable[[str], Any]] = {
    bytes: partial(base64.b64decode, validate=True),
    datetime: lambda text: datetime.fromisoformat(text).astimezone(UTC),
    UUID: UUID,
}


def _read(kind: Any, value: Any, place: str) -> Any:
    if get_origin(kind) in {Union, types.UnionType}:
        return None if value is None else _read(get_args(kind)[0], value, place)
    if get_origin(kind) is tuple and isinstance(value, list):
        return tuple(_read(get_args(kind)[0], item, place) for item in value)
    if is_dataclass(kind) and isinstance(value, Mapping):
        return _read_dataclass(kind, value)
    if kind in _FROM_TEXT and isinstance(value, str):
        try:
            return _FROM_TEXT[kind](value)
        except (ValueError, OverflowError):
            raise AnswerError(f"{place} is not of the agreed form") from None
    if kind is Any or type(value) is kind or (get_origin(kind) is Mapping and isinstance(value, dict)):
        return value
    raise AnswerError(f"{place} is not of the agreed form")


def _read_dataclass(kind: Any, value: Mapping[str, Any]) -> Any:
    hints = get_type_hints(kind)
    found = {}
    for field in fields(kind):
        place = f"{kind.__name__}.{field.name}"
        if field.name in value:
            found[field.name] = _read(hints[field.name], value[field.name], place)
        elif field.default is MISSING:
            raise AnswerError(f"{place} is missing")
    return kind(**found)
