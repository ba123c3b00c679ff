"""A producer's signature of an event (design section 4.7): Ed25519 over topic, key, every `ce_*` header and the value.

It stands in the header `gpki-signature`: the key's id (SHA-256 of its SubjectPublicKeyInfo, 32 bytes), then the
signature (64 bytes). `traceparent` and `content-type` are not signed: nothing is decided by them.
"""

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256

from libs.contracts.cloudevents import Record

HEADER = "gpki-signature"

_DOMAIN = b"gpki.event.v1"
_KEY_ID_BYTES = 32
_SIGNATURE_BYTES = 64


def signature_input(record: Record) -> bytes:
    """What is signed: the domain; topic, key, name and value of each `ce_*` header in order, SHA-256 of the value.

    Each part has its length in 4 bytes (big-endian) before it.
    """
    parts = [record.topic.encode(), record.key or b""]
    for name, value in record.headers:
        if name.startswith("ce_"):
            parts += (name.encode(), value)
    parts.append(sha256(record.value).digest())
    return _DOMAIN + b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def with_signature(record: Record, key_id: str, sign: Callable[[bytes], bytes]) -> Record:
    """The record with its signature by the key of this id (hex)."""
    header = (HEADER, bytes.fromhex(key_id) + sign(signature_input(record)))
    return replace(record, headers=(*record.headers, header))


def signature_of(record: Record) -> tuple[str, bytes] | None:
    """The id of the key (hex) and the signature; None for a record that has none, two, or something else there."""
    found = [value for name, value in record.headers if name == HEADER]
    if len(found) != 1 or len(found[0]) != _KEY_ID_BYTES + _SIGNATURE_BYTES:
        return None
    return found[0][:_KEY_ID_BYTES].hex(), found[0][_KEY_ID_BYTES:]
