"""Deterministic ids: the same cause gives the same id, so that a repeat is recognised everywhere."""

from functools import lru_cache
from hashlib import sha1
from uuid import UUID, uuid5

from asyncpg.pgproto import pgproto

GPKI_NAMESPACE = UUID("6f1b4f0e-5f0c-5e3b-9a35-0f3c6c1f7a11")
"""Root of every id of this platform (RFC 9562 UUIDv5)."""

_NAMESPACE_BYTES = GPKI_NAMESPACE.bytes

_KEPT = 1024
"""Ids kept, 0.4 KB each: a document names its request at every stage, and no more requests than this are under way."""


@lru_cache(maxsize=_KEPT)
def request_id_of(caller: str, callers_id: str) -> UUID:
    """The id of a request in keys, events and tables: two callers can never meet in one id."""
    return uuid5(uuid5(GPKI_NAMESPACE, caller), callers_id)


def event_id_of(event_type: str, *parts: object) -> UUID:
    """The id of an event over what makes it unique: request, document, stage, try.

    Of asyncpg's subclass of UUID, which is equal to the other and compiled: these are hashed and compared all the way.
    """
    name = "\x1f".join((event_type, *map(str, parts)))
    # uuid5 without its detour over the namespace's properties: several of these are made for every event.
    digest = bytearray(sha1(_NAMESPACE_BYTES + name.encode(), usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50  # version 5
    digest[8] = digest[8] & 0x3F | 0x80  # RFC 9562's variant
    return pgproto.UUID(bytes(digest))
