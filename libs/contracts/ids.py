"""Deterministic ids: the same cause gives the same id, so that a repeat is recognised everywhere."""

from functools import lru_cache
from hashlib import sha1
from uuid import UUID, uuid5

GPKI_NAMESPACE = UUID("6f1b4f0e-5f0c-5e3b-9a35-0f3c6c1f7a11")
"""Root of every id of this platform (RFC 9562 UUIDv5)."""

_NAMESPACE_BYTES = GPKI_NAMESPACE.bytes
_VERSION_AND_VARIANT = 0x5 << 76 | 0b10 << 62
_NAME_BITS = ~(0xF << 76 | 0b11 << 62)

_KEPT = 1024
"""Ids kept, 0.4 KB each: a document names its request at every stage, and no more requests than this are under way."""


@lru_cache(maxsize=_KEPT)
def request_id_of(caller: str, callers_id: str) -> UUID:
    """The id of a request in keys, events and tables: two callers can never meet in one id."""
    return uuid5(uuid5(GPKI_NAMESPACE, caller), callers_id)


def event_id_of(event_type: str, *parts: object) -> UUID:
    """The id of an event over what makes it unique: request, document, stage, try."""
    name = "\x1f".join((event_type, *map(str, parts)))
    # uuid5 without its detour over the namespace's properties: several of these are made for every event.
    number = int.from_bytes(sha1(_NAMESPACE_BYTES + name.encode(), usedforsecurity=False).digest()[:16], "big")
    return UUID(int=number & _NAME_BITS | _VERSION_AND_VARIANT)
