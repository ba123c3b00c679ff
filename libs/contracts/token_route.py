"""The event of the token route: the officer's own token signed, on the officer's own machine (slide step 8')."""

import hashlib
from uuid import UUID

from libs.contracts.base import Base64, Event
from libs.contracts.manifest import Document, Header

MAX_TOKEN_DOCUMENTS = 500
"""A token asks for its PIN once and signs one by one: what takes longer than an officer sits there is split."""


class TokenSigned(Event):
    """One document's signature as the token made it. Header, entry, index and path prove the root it was made for.

    Another CMS of the same document is another event; the first outcome of a document counts, good or refused.
    """

    request_id: UUID
    header: Header
    index: int
    entry: Document
    path: tuple[Base64, ...]
    cms: Base64

    @property
    def key(self) -> str:
        return self.entry.id

    @property
    def uniqueness(self) -> tuple[object, ...]:
        return (self.request_id, self.entry.id, hashlib.sha256(self.cms).hexdigest())
