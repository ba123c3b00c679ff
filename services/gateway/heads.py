"""The head of a call says one thing: what a proxy before us could read in another way than we do is refused."""

from collections.abc import Iterable
from typing import Final

ONCE: Final = frozenset(
    {
        *(b"authorization", b"host", b"content-length", b"content-type", b"transfer-encoding"),
        *(b"idempotency-key", b"last-event-id"),
    }
)
"""Names that decide who calls, what, and where the body ends; a second one is the sender's trick or fault."""


def is_ambiguous(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a name that counts stands twice, or the length is told in two ways (RFC 9112 section 6.1).

    Names are in lower case, as ASGI has them. About 1 µs.
    """
    found = [name for name, _ in headers if name in ONCE]
    return len(set(found)) < len(found) or {b"content-length", b"transfer-encoding"} <= set(found)
