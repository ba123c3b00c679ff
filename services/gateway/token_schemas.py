"""Bodies of the token route, which hold to the same rule as those of the other routes."""

from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from libs.contracts.base import Base64, Exact, Part
from libs.contracts.manifest import DocumentId
from libs.contracts.token_route import MAX_TOKEN_DOCUMENTS

MAX_CMS: Final = 16 * 1024
"""Bytes of one CMS: 2.5 KB with the issuing CA's certificate beside the officer's."""


class TokenSignature(Exact):
    """A document's detached CMS, as the officer's token signed it (`libs.crypto.cms`)."""

    document: DocumentId
    cms: Annotated[Base64, Field(min_length=1, max_length=MAX_CMS, repr=False)]


class TokenSignatures(Exact):
    """Signatures of documents of one request, each document once; what is left may follow in another call."""

    signatures: Annotated[tuple[TokenSignature, ...], Field(min_length=1, max_length=MAX_TOKEN_DOCUMENTS)]

    @model_validator(mode="after")
    def _documents_differ(self) -> Self:
        if len({one.document for one in self.signatures}) != len(self.signatures):
            raise ValueError("a document stands twice")
        return self


class SignaturesAccepted(Part):
    """So many signatures are published; what becomes of each document is told at `status_url`."""

    accepted: int
    status_url: str
