"""What every event has in common: frozen, additive, JSON with standard base64 for bytes."""

import binascii
from abc import abstractmethod
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, PlainSerializer


class Part(BaseModel):
    """A frozen part of an event; names that this release does not know are ignored (additive changes only)."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class Event(Part):
    """A frozen event, which knows its Kafka key and what makes it the same event when it is sent again."""

    @property
    @abstractmethod
    def key(self) -> str:
        """The Kafka key: nothing may depend on order between two keys."""

    @property
    @abstractmethod
    def uniqueness(self) -> tuple[object, ...]:
        """What the event id is computed over, beside the event's type: request, document, stage, try."""

    def identity(self) -> tuple[UUID, bytes] | None:
        """The (id, content hash) that recognise a repeat, when `ce_id` and the value's bytes are not to be trusted.

        Raises ValueError when the content has no identity.
        """
        return None


class Exact(BaseModel):
    """A frozen structure that is hashed as it stands, so that an unknown name is an error, never ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


UNKNOWN_NAME = frozenset({"extra_forbidden", "unexpected_keyword_argument"})
"""What pydantic calls a name that a model, or a dataclass, does not have; the last part of the place is that name."""


def _decode_base64(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return binascii.a2b_base64(value, strict_mode=True)
    except (binascii.Error, ValueError) as error:
        message = "not standard base64"
        raise ValueError(message) from error


def _to_utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:  # pydantic passes on nothing but a ValueError as a fault of the input
        message = "outside the years 1 to 9999"
        raise ValueError(message) from None


Base64 = Annotated[
    bytes,
    BeforeValidator(_decode_base64, json_schema_input_type=str),
    PlainSerializer(lambda value: binascii.b2a_base64(value, newline=False).decode("ascii"), return_type=str),
]
"""Bytes in Python, standard base64 (RFC 4648 section 4) in JSON."""

UtcTime = Annotated[AwareDatetime, AfterValidator(_to_utc)]
"""An aware time, always UTC; ISO 8601 in JSON."""
